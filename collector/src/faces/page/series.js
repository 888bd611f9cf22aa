// Numbers over time: from the daemon's history, and from what arrives.

/** Points of a chart that are kept. */
const POINTS_MAX = 7200;

/**
 * One container at one instant: totals and gauges. `null` is unknown. `latency` has the operations
 * in each bucket of latency.
 * @typedef {Record<string, any>} Point
 * @typedef {{from: number, time: number, counts: number[]}} Cell operations by latency between two times
 */

/** What a history calls the fields of a point, and by how much it is divided. @type {[string, string, number][]} */
const HISTORY = [
  ["cpu_usage_nanoseconds", "cpu", 1e9],
  ["cpu_periods", "periods", 1],
  ["cpu_throttled_periods", "throttled", 1],
  ["memory_working_set_bytes", "workingSet", 1],
  ["memory_oom_kills", "oomKills", 1],
  ["network_receive_bytes", "rx", 1],
  ["network_transmit_bytes", "tx", 1],
  ["socket_receive_bytes", "socketRx", 1],
  ["socket_transmit_bytes", "socketTx", 1],
  ["block_read_bytes", "read", 1],
  ["block_write_bytes", "write", 1],
  ["pids", "pids", 1],
  ["memory_usage_bytes", "usage", 1],
  ["memory_anonymous_bytes", "anonymous", 1],
  ["memory_cache_bytes", "cache", 1],
  ["memory_swap_bytes", "swap", 1],
  ["cpu_pressure_microseconds", "cpuPressure", 1e6],
  ["memory_pressure_microseconds", "memoryPressure", 1e6],
  ["io_pressure_microseconds", "ioPressure", 1e6],
];

/** @param {any} history an answer of `api/v1/history` @returns {{time: number, point: Point}[]} */
export function pointsOf(history) {
  return history.times.map((/** @type {string} */ time, /** @type {number} */ index) => {
    /** @type {Point} */
    const point = {};
    for (const [from, to, divisor] of HISTORY) {
      const value = history.series[from]?.[index];
      if (value !== null && value !== undefined) point[to] = value / divisor;
    }
    const latency = latencyAt(history.block_latency, index);
    if (latency) point.latency = latency;
    return { time: Date.parse(time) / 1000, point };
  });
}

/** Operations in each bucket of latency; `null` if they are unknown.
 * @param {any} latency @param {number} index @returns {number[] | null} */
function latencyAt(latency, index) {
  if (!latency) return null;
  const counts = latency.read.map(() => 0);
  for (const columns of [latency.read, latency.write]) {
    for (const [bucket, column] of columns.entries()) {
      // Without an operation there is no column.
      if (column.length === 0) continue;
      if (column[index] === null) return null;
      counts[bucket] += column[index];
    }
  }
  return counts;
}

/** @param {any} container a document of the API @returns {Point} */
export function pointOf(container) {
  const { cpu = {}, memory = {}, network = {}, block = {}, pids = {} } = container;
  const devices = Object.entries(network.interfaces ?? {});
  /** @type {Point} */
  const point = {
    cpu: cpu.usage_seconds,
    periods: cpu.periods,
    throttled: cpu.throttled_periods,
    quota: cpu.limit_cores === undefined ? undefined : cpu.limit_cores * 100,
    workingSet: memory.working_set_bytes,
    anonymous: memory.rss_bytes,
    cache: memory.cache_bytes,
    usage: memory.usage_bytes,
    swap: memory.swap_bytes,
    limit: memory.limit_bytes,
    oomKills: memory.oom_kills,
    socketRx: network.sockets?.rx_bytes,
    socketTx: network.sockets?.tx_bytes,
    read: block.read_bytes,
    write: block.write_bytes,
    pids: pids.current,
    pidsLimit: pids.limit,
    cpuPressure: cpu.pressure?.some_seconds,
    memoryPressure: memory.pressure?.some_seconds,
    ioPressure: block.pressure?.some_seconds,
    latency: block.latency?.read.buckets.map((/** @type {number} */ reads, /** @type {number} */ bucket) => reads + block.latency.write.buckets[bucket]),
  };
  if (network.interfaces && !network.host_namespace) {
    point.rx = devices.reduce((all, [, device]) => all + device.rx_bytes, 0);
    point.tx = devices.reduce((all, [, device]) => all + device.tx_bytes, 0);
  }
  return point;
}

/** @param {Point} point */
const defined = (point) => Object.fromEntries(Object.entries(point).filter(([, value]) => value !== undefined));

/** The points of one container, oldest first. */
export class Series {
  constructor() {
    /** @type {number[]} */
    this.times = [];
    /** @type {Point[]} */
    this.points = [];
  }

  /** Adds what is newer than the last point. @param {number} time seconds @param {Point} point */
  add(time, point) {
    const last = this.times.at(-1);
    if (last !== undefined && time <= last + 0.001) {
      // The history has fewer fields of the same sample.
      if (time >= last - 0.001) this.points[this.points.length - 1] = { ...this.points.at(-1), ...defined(point) };
      return;
    }
    this.push(time, point);
    if (this.times.length > POINTS_MAX) {
      this.times.shift();
      this.points.shift();
    }
  }

  /** Adds what is newer than the last point, however many there are. @param {number} time @param {Point} point */
  push(time, point) {
    this.times.push(time);
    this.points.push(point);
  }

  /** The part between two times, with a point on each side. @param {[number, number]} range */
  part([from, to]) {
    const begin = this.times.findIndex((time) => time >= from);
    const first = Math.max(0, (begin < 0 ? this.times.length : begin) - 1);
    const after = this.times.findIndex((time) => time > to);
    const end = after < 0 ? this.times.length : after + 1;
    const part = new Series();
    part.times = this.times.slice(first, end);
    part.points = this.points.slice(first, end);
    return part;
  }

  /** @param {string} field */
  gauge(field) {
    return this.points.map((point) => point[field] ?? null);
  }

  /** Growth per second; unknown where the counter fell.
   * @param {string} field @param {number} [factor] @param {number} [seconds] the least time that it is over */
  rate(field, factor = 1, seconds = 0) {
    let from = -1;
    return this.points.map((point, index) => {
      while (from + 1 < index && this.times[index] - this.times[from + 1] >= seconds) from++;
      const [now, before] = [point[field], this.points[from]?.[field]];
      if (now === undefined || now === null || before === undefined || before === null || now < before) return null;
      return ((now - before) / (this.times[index] - this.times[from])) * factor;
    });
  }

  /** How much of the growth of one counter is that of another, in percent. @param {string} part @param {string} all */
  share(part, all) {
    const [parts, wholes] = [this.rate(part), this.rate(all)];
    return parts.map((value, index) => {
      const whole = wholes[index];
      if (value === null || whole === null) return null;
      return whole > 0 ? (value / whole) * 100 : 0;
    });
  }

  /** Operations by latency from each point to the next. @returns {Cell[]} */
  cells() {
    /** @type {Cell[]} */
    const cells = [];
    for (let at = 1; at < this.points.length; at++) {
      const [before, now] = [this.points[at - 1].latency, this.points[at].latency];
      if (!before || !now) continue;
      const counts = now.map((/** @type {number} */ count, /** @type {number} */ bucket) => count - (before[bucket] ?? 0));
      // It fell: another life of the same name.
      if (counts.some((/** @type {number} */ count) => count < 0)) continue;
      cells.push({ from: this.times[at - 1], time: this.times[at], counts });
    }
    return cells;
  }
}
