// How long block operations took: time from left to right, latency from bottom to top.

import { color } from "./charts.js";
import { el } from "./dom.js";
import { clock, count, latency } from "./format.js";

/** @typedef {import("./series.js").Cell} Cell */

/** Where the plot begins, and how high the axis is, in pixels. */
const [LEFT, BELOW] = [72, 22];
/** The least width of a column, in pixels. */
const WIDTH_LEAST = 3;
/** Buckets that are shown at least. */
const BUCKETS_LEAST = 7;

export class Heatmap {
  /** @param {string} title */
  constructor(title) {
    this.canvas = el("canvas", { role: "img", "aria-label": title });
    this.note = el("span", { class: "note" });
    this.element = el("figure", { class: "chart" }, el("figcaption", {}, el("span", { text: title }), this.note), el("div", { class: "plot heat" }, this.canvas));
    this.canvas.addEventListener("mousemove", (/** @type {MouseEvent} */ event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", () => (this.note.textContent = ""));
    /** @type {Cell[]} */
    this.columns = [];
    /** @type {number[]} */
    this.bounds = [];
    /** @type {[number, number]} */
    this.range = [0, 1];
    this.low = 0;
    this.high = BUCKETS_LEAST;
  }

  /** @param {Cell[]} cells @param {number[]} bounds @param {[number, number]} range */
  update(cells, bounds, range) {
    const { canvas } = this;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const perSecond = (width - LEFT) / Math.max(1, range[1] - range[0]);
    Object.assign(this, { bounds, range, columns: columns(cells, range, WIDTH_LEAST / perSecond) });
    let [lowest, highest, most] = [Infinity, -1, 1];
    for (const { counts } of this.columns) {
      counts.forEach((operations, bucket) => {
        if (!operations) return;
        lowest = Math.min(lowest, bucket);
        highest = Math.max(highest, bucket);
        most = Math.max(most, operations);
      });
    }
    this.element.classList.toggle("unknown", highest < 0);
    canvas.style.visibility = highest < 0 ? "hidden" : "visible";
    if (!width) return;
    this.low = Math.max(0, Math.min(lowest, 30) - 1);
    this.high = Math.max(this.low + BUCKETS_LEAST - 1, highest + 1);
    const ratio = devicePixelRatio || 1;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    const high = (height - BELOW) / (this.high - this.low + 1);
    pen.fillStyle = color("series-5");
    for (const { from, time, counts } of this.columns) {
      const [x, end] = [from, time].map((second) => LEFT + Math.max(0, second - range[0]) * perSecond);
      for (let bucket = this.low; bucket <= this.high; bucket++) {
        if (!counts[bucket]) continue;
        pen.globalAlpha = 0.2 + 0.8 * (Math.log1p(counts[bucket]) / Math.log1p(most));
        pen.fillRect(x, (this.high - bucket) * high, Math.max(end - x, 2), high - 0.5);
      }
    }
    this.axes(pen, width, height, high);
  }

  /** @param {any} pen @param {number} width @param {number} height @param {number} high of a bucket */
  axes(pen, width, height, high) {
    pen.globalAlpha = 1;
    pen.fillStyle = color("faint");
    pen.font = "11px system-ui, sans-serif";
    pen.textAlign = "right";
    const rows = this.high - this.low + 1;
    for (let bucket = this.low; bucket <= this.high; bucket += Math.ceil(rows / 6)) {
      pen.fillText(`≤ ${latency(this.bounds[bucket] ?? Infinity)}`, LEFT - 8, (this.high - bucket + 0.5) * high + 4);
    }
    const [from, to] = this.range;
    pen.fillText(clock(to * 1000), width - 2, height - 6);
    pen.textAlign = "left";
    pen.fillText(clock(from * 1000), LEFT, height - 6);
  }

  /** @param {MouseEvent} event */
  hover(event) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const [from, to] = this.range;
    const time = from + ((event.offsetX - LEFT) / (width - LEFT)) * (to - from);
    const bucket = this.high - Math.floor(event.offsetY / ((height - BELOW) / (this.high - this.low + 1)));
    const found = this.columns.find((column) => column.from < time && time <= column.time);
    const operations = found?.counts[bucket] ?? 0;
    this.note.textContent = found ? `${clock(found.time * 1000)}: ${count(operations)} of at most ${latency(this.bounds[bucket] ?? Infinity)}` : "";
  }
}

/** The cells in a range, put together so that each is wide enough.
 * @param {Cell[]} cells @param {[number, number]} range @param {number} seconds @returns {Cell[]} */
export function columns(cells, [from, to], seconds) {
  /** @type {Cell[]} */
  const found = [];
  for (const cell of cells) {
    if (cell.time <= from || cell.from >= to) continue;
    const last = found.at(-1);
    if (last && last.time === cell.from && cell.time - last.from <= seconds) {
      last.time = cell.time;
      cell.counts.forEach((operations, bucket) => (last.counts[bucket] += operations));
    } else {
      found.push({ ...cell, counts: [...cell.counts] });
    }
  }
  return found;
}
