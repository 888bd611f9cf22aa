// Charts over time, drawn by uPlot, and the heatmap of latencies.

import { el } from "./dom.js";
import { latency } from "./format.js";

/** @type {any} */
const uPlot = /** @type {any} */ (window).uPlot;

/**
 * @typedef {{label: string, color: string, fill?: boolean, dash?: boolean, scale?: string}} Line
 * @typedef {{title: string, lines: Line[], format: (value: any) => string, top?: number, binary?: boolean, percent?: (value: any) => string}} Options
 */

/** A colour of the style sheet. @param {string} name */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

/** Steps of an axis of memory. */
const BINARY = Array.from({ length: 50 }, (_, power) => 2 ** power);

const CURSORS = uPlot?.sync("time");

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
        { ...axis, space: 70, size: 26, values: (/** @type {any} */ _, /** @type {number[]} */ splits) => splits.map((second) => new Date(second * 1000).toLocaleTimeString("en-GB")) },
        { ...axis, size: 72, space: 30, incrs: binary ? BINARY : undefined, values: values(format) },
        ...(scales.has("share") ? [{ ...axis, scale: "share", side: 1, size: 44, grid: { show: false }, values: values(percent ?? format) }] : []),
      ],
      series: [
        { label: "Time", value: (/** @type {any} */ _, /** @type {any} */ second) => (second === null ? "" : new Date(second * 1000).toLocaleTimeString("en-GB")) },
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

/** How long block operations took: time from left to right, latency from bottom to top. */
export class Heatmap {
  /** @param {string} title */
  constructor(title) {
    this.canvas = el("canvas", { role: "img", "aria-label": title });
    this.note = el("span", { class: "note" });
    this.element = el("figure", { class: "chart" }, el("figcaption", {}, el("span", { text: title }), this.note), el("div", { class: "plot heat" }, this.canvas));
    this.canvas.addEventListener("mousemove", (/** @type {MouseEvent} */ event) => this.hover(event));
    /** @type {{time: number, counts: number[]}[]} */
    this.cells = [];
    /** @type {number[]} */
    this.bounds = [];
    /** @type {[number, number]} */
    this.range = [0, 1];
  }

  /** @param {{time: number, counts: number[]}[]} cells @param {number[]} bounds @param {[number, number]} range */
  update(cells, bounds, range) {
    Object.assign(this, { cells, bounds, range });
    const used = cells.flatMap(({ counts }) => counts.map((count, bucket) => (count ? bucket : -1)).filter((bucket) => bucket >= 0));
    this.element.classList.toggle("unknown", used.length === 0);
    const { canvas } = this;
    canvas.style.visibility = used.length ? "visible" : "hidden";
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (!width) return;
    canvas.width = width * ratio;
    canvas.height = height * ratio;
    const pen = canvas.getContext("2d");
    pen.scale(ratio, ratio);
    this.low = Math.max(0, Math.min(...used, 30) - 1);
    this.high = Math.max(this.low + 6, ...used.map((bucket) => bucket + 1));
    const rows = this.high - this.low + 1;
    const cell = { width: Math.max(2, ((width - 72) / Math.max(1, range[1] - range[0])) * this.step()), height: (height - 22) / rows };
    const most = Math.max(1, ...cells.flatMap(({ counts }) => counts));
    pen.fillStyle = color("series-5");
    for (const { time, counts } of cells) {
      if (time < range[0] || time > range[1]) continue;
      const x = 72 + ((time - range[0]) / (range[1] - range[0])) * (width - 72) - cell.width;
      for (let bucket = this.low; bucket <= this.high; bucket++) {
        if (!counts[bucket]) continue;
        pen.globalAlpha = 0.2 + 0.8 * (Math.log1p(counts[bucket]) / Math.log1p(most));
        pen.fillRect(x, (this.high - bucket) * cell.height, cell.width, cell.height - 0.5);
      }
    }
    pen.globalAlpha = 1;
    pen.fillStyle = color("faint");
    pen.font = "11px system-ui, sans-serif";
    pen.textAlign = "right";
    for (let bucket = this.low; bucket <= this.high; bucket += Math.ceil(rows / 6)) {
      pen.fillText(`≤ ${latency(bounds[bucket] ?? Infinity)}`, 64, (this.high - bucket + 0.5) * cell.height + 4);
    }
  }

  step() {
    const { cells } = this;
    return cells.length > 1 ? (cells[cells.length - 1].time - cells[0].time) / (cells.length - 1) : 1;
  }

  /** @param {MouseEvent} event */
  hover(event) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const time = this.range[0] + ((event.offsetX - 72) / (width - 72)) * (this.range[1] - this.range[0]);
    const rows = (this.high ?? 0) - (this.low ?? 0) + 1;
    const bucket = (this.high ?? 0) - Math.floor(event.offsetY / ((height - 22) / rows));
    const found = this.cells.find((cell) => cell.time >= time && cell.time - this.step() < time);
    const operations = found?.counts[bucket] ?? 0;
    this.note.textContent = found ? `${new Date(found.time * 1000).toLocaleTimeString("en-GB")}: ${operations} of at most ${latency(this.bounds[bucket] ?? Infinity)}` : "";
  }

  restyle() {}
  destroy() {}
}
