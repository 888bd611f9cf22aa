// The time that the charts of a container show.

import { el, setAttribute } from "./dom.js";

/** @type {[string, number][]} */
const PRESETS = [["1 min", 60], ["5 min", 300], ["15 min", 900], ["1 h", 3600], ["6 h", 21_600], ["24 h", 86_400], ["7 d", 604_800]];
const PRESET = 300;
/** What a chart can show at least, in seconds. */
const SECONDS_LEAST = 2;

export class Span {
  /** @param {() => void} changed */
  constructor(changed) {
    this.changed = changed;
    const query = new URLSearchParams(location.search);
    const [seconds, to] = [Number(query.get("seconds")), Number(query.get("to"))];
    /** The length that a double click goes back to. */
    this.preset = seconds >= SECONDS_LEAST ? seconds : PRESET;
    this.seconds = this.preset;
    /** Seconds since 1970; `null` follows the time. @type {number | null} */
    this.end = to > 0 ? to : null;
    this.now = 0;
    this.buttons = PRESETS.map(([text, length]) => el("button", { type: "button", onclick: () => this.show(length) }, text));
    this.later = button("▶", "Later  ]", () => this.pan(0.5));
    this.present = el("button", { type: "button", title: "End", onclick: () => this.set(this.seconds, null) }, "Now");
    this.input = el("input", { type: "datetime-local", step: "1", "aria-label": "Show this time", title: "@", onchange: () => this.showTime() });
    this.note = el("span", { class: "note", role: "status" });
    this.element = el("div", { class: "ranges", role: "group", "aria-label": "Time range" },
      ...this.buttons, button("◀", "Earlier  [", () => this.pan(-0.5)), this.later, this.present, this.input, this.note);
  }

  /** Shows the last so many seconds, or so many around the time that is shown. @param {number} seconds */
  show(seconds) {
    this.preset = seconds;
    const middle = this.end === null ? null : this.end - this.seconds / 2;
    this.set(seconds, middle === null ? null : middle + seconds / 2);
  }

  /** @param {[number, number]} range */
  zoom([from, to]) {
    this.set(Math.max(SECONDS_LEAST, to - from), to);
  }

  /** Goes back to the length before, and to the present if that is in sight. */
  unzoom() {
    this.show(this.preset);
  }

  /** @param {number} share of what is shown */
  pan(share) {
    this.set(this.seconds, (this.end ?? this.now) + share * this.seconds);
  }

  /** Shows the time of the input, in the middle. */
  showTime() {
    const time = new Date(this.input.value).getTime() / 1000;
    if (time > 0) this.set(this.seconds, time + this.seconds / 2);
  }

  /** @param {number} seconds @param {number | null} end */
  set(seconds, end) {
    this.seconds = seconds;
    this.end = end === null || end >= this.now ? null : end;
    const query = new URLSearchParams();
    if (seconds !== PRESET) query.set("seconds", String(Math.round(seconds * 10) / 10));
    if (this.end !== null) query.set("to", this.end.toFixed(1));
    const text = query.toString();
    history.replaceState(null, "", text ? `?${text}` : location.pathname);
    this.changed();
  }

  /** What is shown when it is this time. @param {number} now @returns {[number, number]} */
  update(now) {
    this.now = now;
    const end = this.end ?? now;
    this.buttons.forEach((button, at) => setAttribute(button, "aria-pressed", String(PRESETS[at][1] === this.seconds)));
    setAttribute(this.present, "aria-pressed", String(this.end === null));
    this.later.disabled = this.end === null;
    if (document.activeElement !== this.input) this.input.value = local(end - this.seconds / 2);
    return [end - this.seconds, end];
  }
}

/** @param {string} text @param {string} title @param {() => void} onclick */
function button(text, title, onclick) {
  return el("button", { type: "button", title, "aria-label": title.split("  ")[0], onclick }, text);
}

/** As the input wants it: local time. @param {number} seconds */
function local(seconds) {
  const date = new Date(seconds * 1000);
  return new Date(date.getTime() - date.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
}
