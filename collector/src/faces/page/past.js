// What a container did: live messages, and before them the daemon's memory and its recording.

import { request } from "./connection.js";
import { clock, dateTime } from "./format.js";
import { Series, pointsOf } from "./series.js";

/**
 * @typedef {[number, number]} Range seconds since 1970
 * @typedef {{from: number, to: number, step: number, series: Series, bounds: number[], recorded: number | null, problem: string}} Part
 */

/** Points that are asked for, over the width of a chart. */
const POINTS = 500;
/** A finer part is asked for if the one at hand has fewer points in sight. */
const POINTS_LEAST = 200;
/** Others may read the recording; then it is asked for again, after milliseconds. */
const AGAIN = 1000;

export class Past {
  /** @param {string} name @param {() => void} onload */
  constructor(name, onload) {
    this.name = name;
    this.onload = onload;
    this.live = new Series();
    /** What is before the first message. @type {Part | null} */
    this.part = null;
    this.interval = 1;
    this.isLoading = false;
    /** @type {Range | null} */
    this.wanted = null;
    /** @type {any} */
    this.timer = null;
    this.isClosed = false;
  }

  /** Adds what a message says. @param {number} time @param {any} point @param {number} interval */
  add(time, point, interval) {
    this.interval = interval;
    const last = this.live.times.at(-1);
    if (last !== undefined && time - last > Math.max(5, 3 * interval)) {
      // The connection was gone. The daemon knows what was meanwhile.
      this.live = new Series();
      this.part = null;
    }
    this.live.add(time, point);
  }

  /** Where live messages begin. */
  begin() {
    return this.live.times[0] ?? Infinity;
  }

  /** All that is known around a time. @param {Range} range */
  around(range) {
    const { part, live } = this;
    if (!part || part.from > range[1]) return live;
    const isApart = part.to < this.begin();
    if (isApart && range[1] > part.to) return live;
    const all = new Series();
    part.series.times.forEach((time, at) => time < this.begin() + 0.001 && all.push(time, part.series.points[at]));
    if (!isApart) live.times.forEach((time, at) => all.add(time, live.points[at]));
    return all;
  }

  /** Asks the daemon for what a range lacks. @param {Range} range */
  want(range) {
    const { part } = this;
    const [from, to] = range;
    const end = Math.min(to, this.begin());
    if (from >= end) return;
    const finest = Math.max(this.interval, (to - from) / POINTS_LEAST);
    if (part && part.from <= from && part.to >= end && part.step <= finest) return;
    this.wanted = range;
    if (!this.isLoading) this.load();
  }

  /** The wanted range, and half as much on each side for those who go on. */
  async load() {
    const range = this.wanted;
    if (!range || this.isClosed) return;
    this.wanted = null;
    const more = (range[1] - range[0]) / 2;
    const from = range[0] - more;
    const to = range[1] + more < this.begin() - 1 ? range[1] + more : Infinity;
    const step = Math.max(0, (range[1] - range[0]) / POINTS);
    const query = new URLSearchParams({ container: this.name, from: from.toFixed(3), latency: "true" });
    if (to !== Infinity) query.set("to", to.toFixed(3));
    if (step > this.interval) query.set("step", step.toFixed(3));
    this.isLoading = true;
    try {
      const answer = await request(`api/v1/history?${query}`);
      if (answer.status === 503) {
        this.wanted ??= range;
      } else if (answer.ok || answer.status === 404) {
        this.take(answer.ok ? await answer.json() : { times: [], series: {}, recorded_rows: null }, from, to, step);
      }
    } catch {
      // The connection says so.
    }
    this.isLoading = false;
    if (this.isClosed) return;
    if (this.wanted) this.timer = setTimeout(() => this.load(), AGAIN);
    this.onload();
  }

  /** @param {any} history @param {number} from @param {number} to @param {number} step */
  take(history, from, to, step) {
    const series = new Series();
    for (const { time, point } of pointsOf(history)) series.push(time, point);
    this.part = { from, to, step, series, bounds: history.block_latency?.le_seconds ?? [], recorded: history.recorded_rows, problem: history.problem ?? "" };
  }

  /** Where the numbers of a range come from, and why there are not more. @param {Range} range @param {any} started */
  origin([from, to], started) {
    if (this.isLoading || this.wanted) return "loading…";
    const { part } = this;
    if (!part || from >= this.begin()) return "";
    const { times } = part.series;
    const far = Date.now() / 1000 - from > 86_400;
    const at = (/** @type {number} */ time) => (far ? dateTime : clock)(time * 1000);
    const texts = [];
    const least = 2 * Math.max(part.step, this.interval);
    const recorded = times[(part.recorded ?? 0) - 1];
    if (recorded >= from) texts.push(recorded >= to - least ? "from the recording" : `until ${at(recorded)} from the recording, then from memory`);
    const first = times[0] ?? this.begin();
    if (part.problem) texts.push(`the recording cannot be read: ${part.problem}`);
    else if (first > from + least && !(Date.parse(started) / 1000 > first - 5)) {
      const since = Number.isFinite(first) && first <= to ? `before ${at(first)}` : "here";
      texts.push(part.recorded === null ? `nothing is in memory ${since}, and nothing is recorded` : `nothing is recorded ${since}`);
    }
    return texts.join("; ");
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
  }
}
