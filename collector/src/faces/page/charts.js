// Charts over time, drawn by uPlot.

import { el } from "./dom.js";
import { clock, dateTime } from "./format.js";
import uPlotModule from "./uPlot.js";

/** @type {any} */
const uPlot = uPlotModule;

/**
 * @typedef {{label: string, color: string, fill?: boolean, dash?: boolean, scale?: string}} Line
 * @typedef {{title: string, lines: Line[], format: (value: any) => string, top?: number, binary?: boolean, percent?: (value: any) => string}} Options
 */

/** A colour of the style sheet. @param {string} name */
export const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** The texts of an axis of time; with the day where there are several.
 * @param {any} plot @param {number[]} splits */
function times(plot, splits) {
  const { min, max } = plot.scales.x;
  const write = (/** @type {number} */ second) => (max - min > 86_400 ? dateTime(second * 1000).slice(5, 16) : clock(second * 1000));
  return splits.map(write);
}

/** Steps of an axis of memory. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

const CURSORS = uPlot.sync("time");

export class Chart {
  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    /** A part was dragged over. @type {(range: [number, number]) => void} */
    this.onzoom = () => {};
    this.holder = el("div", { class: "plot" });
    this.note = el("span", { class: "note" });
    this.element = el("figure", { class: "chart" }, el("figcaption", {}, el("span", { text: options.title }), this.note), this.holder);
    /** @type {any} */
    this.plot = null;
    /** @type {(number | null)[][]} */
    this.data = [[], ...options.lines.map(() => [])];
    this.resize = new ResizeObserver(() => this.plot?.setSize(this.size()));
    this.resize.observe(this.holder);
  }

  size() {
    return { width: Math.max(200, this.holder.clientWidth), height: 160 };
  }

  make() {
    const { lines, format, top, percent, binary } = this.options;
    const [text, grid] = [color("faint"), color("line")];
    const font = "11px system-ui, sans-serif";
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { show: false }, font };
    const scales = new Set(lines.map((line) => line.scale ?? "y"));
    const range = (/** @type {any} */ _, /** @type {any} */ __, /** @type {number | null} */ max) => [0, Math.max(top ?? 1, (max ?? 0) * 1.08)];
    const values = (/** @type {(value: any) => string} */ write) => (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map(write);
    const settings = {
      ...this.size(),
      cursor: { sync: { key: CURSORS.key }, points: { size: 6 }, drag: { x: true, y: false } },
      legend: { live: true },
      hooks: { setSelect: [(/** @type {any} */ plot) => this.select(plot)] },
      scales: { x: { time: true }, y: { range }, ...(scales.has("share") ? { share: { range: [0, 100] } } : {}) },
      axes: [
        { ...axis, space: 70, size: 26, values: times },
        { ...axis, size: 72, space: 30, incrs: binary ? BINARY : undefined, values: values(format) },
        ...(scales.has("share") ? [{ ...axis, scale: "share", side: 1, size: 44, grid: { show: false }, values: values(percent ?? format) }] : []),
      ],
      series: [
        { label: "Time", value: (/** @type {any} */ _, /** @type {any} */ second) => (second === null ? "" : dateTime(second * 1000)) },
        ...lines.map((line) => ({
          label: line.label,
          scale: line.scale ?? "y",
          stroke: color(line.color),
          width: line.dash ? 1.25 : 1.5,
          dash: line.dash ? [5, 4] : undefined,
          fill: line.fill ? `${color(line.color)}2e` : undefined,
          points: { show: false },
          spanGaps: false,
          value: (/** @type {any} */ _, /** @type {any} */ value) => (line.scale === "share" ? percent ?? format : format)(value),
        })),
      ],
    };
    this.plot = new uPlot(settings, this.data, this.holder);
  }

  /** @param {any} plot */
  select(plot) {
    const { left, width } = plot.select;
    if (width > 4) this.onzoom([plot.posToVal(left, "x"), plot.posToVal(left + width, "x")]);
  }

  /** @param {number[]} times seconds @param {(number | null)[][]} columns @param {[number, number] | null} range */
  update(times, columns, range) {
    this.data = [times, ...columns];
    if (!this.plot) {
      if (!this.holder.clientWidth) return;
      this.make();
    } else {
      this.plot.setData(this.data, false);
    }
    if (range) this.plot.setScale("x", { min: range[0], max: range[1] });
    // Without a pointer the legend shows the latest values.
    if (this.plot.cursor.idx === null || this.plot.cursor.idx === undefined) this.plot.setLegend({ idx: times.length - 1 });
    this.element.classList.toggle("unknown", columns.every((column) => column.every((value) => value === null)));
  }

  /** Draws it anew, in the colours of now. */
  restyle() {
    this.plot?.destroy();
    this.plot = null;
  }

  destroy() {
    this.resize.disconnect();
    this.plot?.destroy();
  }
}
