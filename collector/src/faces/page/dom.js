// Making and changing elements. All text goes in as text, never as HTML, and none is unseen.

import { plain } from "./format.js";

/**
 * @param {string} tag
 * @param {Record<string, any>} [properties] attributes; `class`, `on…` listeners and `text` too
 * @param {...(Node | string | null | undefined)} children
 * @returns {any}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "text") element.textContent = plain(String(value));
    else if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : name === "title" ? plain(String(value)) : String(value));
  }
  const known = children.filter((child) => child !== null && child !== undefined);
  element.append(...known.map((child) => (typeof child === "string" ? plain(child) : child)));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} tag
 * @param {Record<string, any>} [attributes]
 * @param {...Node} children
 * @returns {any}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/** Sets a text, if it is another one: asking the DOM for the old one is slow too.
 * @param {any} element whose text nothing else sets @param {string} text */
export function setText(element, text) {
  if (element.shownText === text) return;
  element.shownText = text;
  element.textContent = plain(text);
}

/** @param {any} element whose attribute nothing else sets @param {string} name @param {string | null} value */
export function setAttribute(element, name, value) {
  const shown = (element.shownAttributes ??= {});
  if (shown[name] === value) return;
  shown[name] = value;
  if (value === null) element.removeAttribute(name);
  else element.setAttribute(name, name === "title" ? plain(value) : value);
}

/** A small graph of the last values, on a scale from 0. */
export class Sparkline {
  /** @param {string} className */
  constructor(className) {
    this.path = svg("path");
    this.element = svg("svg", { class: `spark ${className}`, viewBox: "0 0 60 16", preserveAspectRatio: "none", "aria-hidden": "true" }, this.path);
    this.drawn = "";
  }

  /** @param {ArrayLike<number> | null} values unknown is NaN @param {number} least the least top of the scale */
  draw(values, least) {
    let shape = "";
    if (values) {
      let top = least;
      for (let i = 0; i < values.length; i++) if (values[i] > top) top = values[i];
      let open = false;
      for (let i = 0; i < values.length; i++) {
        const value = values[i];
        if (Number.isNaN(value)) {
          if (open) shape += `V16Z`;
          open = false;
          continue;
        }
        const y = (15.5 - (value / top) * 14.5).toFixed(1);
        shape += open ? `L${i} ${y}` : `M${i} 16L${i} ${y}`;
        if (open === false) open = true;
      }
      if (open) shape += `V16Z`;
    }
    if (shape !== this.drawn) {
      this.drawn = shape;
      this.path.setAttribute("d", shape);
    }
  }
}
