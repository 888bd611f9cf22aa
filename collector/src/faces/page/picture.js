// What the daemon has told so far, from the messages of `api/v1/live`.

import { SPARK_LENGTH, Sparks } from "./sparks.js";

/** Events that are kept. */
const EVENTS_MAX = 500;

/**
 * @typedef {Record<string, any>} Row
 * @typedef {{time: number, kind: "start" | "end" | "oom", name: string, id: string, note: string}} Event
 */

/** RFC 7396. `null` removes, because absent and unknown are the same.
 * @param {any} target @param {any} patch @returns {any} */
export function merge(target, patch) {
  if (typeof patch !== "object" || patch === null || Array.isArray(patch)) return patch;
  const merged = typeof target === "object" && target !== null && !Array.isArray(target) ? target : {};
  for (const [key, value] of Object.entries(patch)) {
    if (value === null) delete merged[key];
    else merged[key] = merge(merged[key], value);
  }
  return merged;
}

/** The same for a row, whose values have no parts. @param {Row} row @param {Row} change */
function mergeRow(row, change) {
  for (const field in change) {
    const value = change[field];
    if (value === null) delete row[field];
    else row[field] = value;
  }
}

/** @param {Row} row */
function howEnded(row) {
  const code = row.exit_code === undefined ? "" : `exit code ${row.exit_code}`;
  return row.oom_killed ? [code, "out of memory"].filter(Boolean).join(", ") : code;
}

/** The name that people know a row by. @param {Row} row */
export function label(row) {
  if (row.kind === "other") return row.cgroup;
  if (row.name) return row.name;
  return row.kind === "container" && row.id.length === 64 ? row.id.slice(0, 12) : row.id;
}

/** @param {any} first @param {any} second */
export function sum(first, second) {
  if (first === undefined && second === undefined) return undefined;
  return (first ?? 0) + (second ?? 0);
}

export class Picture {
  /** @type {Map<string, Row>} */
  rows = new Map();
  /** @type {Map<string, Row>} */
  ended = new Map();
  sparks = new Sparks();
  /** @type {Event[]} */
  events = [];
  /** Host, sources and Tare itself. @type {any} */
  frame = {};
  /** One container, if the picture is about one. @type {any} */
  one = {};
  /** CPU of the host so far, and of Tare now. @type {{host: Float32Array, tare: number | undefined}} */
  own = { host: new Float32Array(SPARK_LENGTH).fill(NaN), tare: undefined };
  time = 0;
  tick = 0;
  every = 1;
  /** @type {number | undefined} */
  interval = undefined;
  skipped = 0;
  hasData = false;

  clear() {
    Object.assign(this, new Picture());
  }

  /** @param {any} message */
  apply(message) {
    if (message.type === "skipped") {
      this.skipped += message.ticks;
      return;
    }
    const { type, tick, time, every, interval_seconds: interval, host, sources, tare } = message;
    const before = { time: this.time, cpu: this.frame.tare?.cpu_seconds };
    const isFull = type === "full";
    this.tick = tick;
    this.time = Date.parse(time);
    this.every = every;
    this.interval = interval;
    if (isFull) this.frame = {};
    merge(this.frame, { host: host ?? {}, sources: sources ?? {}, tare: tare ?? {} });
    if (message.rows) this.applyRows(isFull, message.rows, message.ended ?? {}, message.gone ?? [], message.ended_gone ?? []);
    else this.applyOne(isFull, message);
    const seconds = (this.time - before.time) / 1000;
    const used = this.frame.tare?.cpu_seconds - before.cpu;
    if (seconds > 0 && used >= 0) this.own.tare = (used / seconds) * 100;
    push(this.own.host, this.frame.host?.cpu_percent);
    this.hasData = true;
  }

  /** @param {boolean} isFull @param {any} message */
  applyOne(isFull, message) {
    if (isFull) this.one = {};
    for (const key of ["instance", "container", "ended"]) {
      if (message[key] === null) delete this.one[key];
      else if (message[key] !== undefined) this.one[key] = merge(this.one[key], message[key]);
    }
  }

  /**
   * @param {boolean} isFull @param {Record<string, Row>} rows @param {Record<string, Row>} ended
   * @param {number[]} gone @param {number[]} endedGone
   */
  applyRows(isFull, rows, ended, gone, endedGone) {
    if (isFull) {
      for (const key of this.rows.keys()) if (!(key in rows)) this.sparks.delete(key);
      this.rows.clear();
      this.ended.clear();
      this.events = [];
    }
    for (const key in rows) {
      const change = rows[key];
      const row = this.rows.get(key);
      if (row) {
        this.note(row, change);
        mergeRow(row, change);
      } else {
        this.rows.set(key, change);
        this.start(change);
        if (change.last_oom_kill_at) this.oom(change);
      }
    }
    for (const [key, change] of Object.entries(ended)) {
      const row = this.ended.get(key);
      if (row) {
        if (!row.name && change.name) this.rename(row.id, change.name);
        mergeRow(row, change);
        this.explain(row);
        continue;
      }
      const living = this.rows.get(key);
      this.ended.set(key, change);
      if (!living) this.start(change);
      if (change.last_oom_kill_at && change.last_oom_kill_at !== living?.last_oom_kill_at) this.oom(change);
      this.end(change);
    }
    for (const key of gone) {
      this.rows.delete(String(key));
      this.sparks.delete(String(key));
    }
    for (const key of endedGone) this.ended.delete(String(key));
    if (isFull) this.events.sort((a, b) => a.time - b.time);
    this.sparks.begin();
    for (const [key, row] of this.rows) {
      const network = sum(row.rx_bytes_per_second, row.tx_bytes_per_second);
      const block = sum(row.read_bytes_per_second, row.write_bytes_per_second);
      this.sparks.push(key, row.cpu_percent, network, block);
    }
  }

  /** What a change of a row means for the timeline. @param {Row} row @param {Row} change */
  note(row, change) {
    if (change.oom_kills > row.oom_kills) this.oom({ ...row, ...change });
    if (!row.name && change.name) this.rename(row.id, change.name);
    if (!row.started_at && change.started_at) this.start({ ...row, ...change });
  }

  /** @param {Row} row */
  start(row) {
    if (row.started_at) this.event("start", row, row.started_at, row.image ?? "");
  }

  /** @param {Row} row */
  oom(row) {
    const victim = row.last_oom_kill_command;
    const note = `out of memory${victim ? `, killed ${victim}` : ""}`;
    this.event("oom", row, row.last_oom_kill_at ?? this.time, note);
  }

  /** @param {Row} row */
  end(row) {
    this.event("end", row, row.ended_at, howEnded(row));
  }

  /** How a container ended may be told later than that it did. @param {Row} row */
  explain(row) {
    const time = new Date(row.ended_at).getTime();
    const event = this.events.findLast(({ kind, id }) => kind === "end" && id === row.id);
    if (event) Object.assign(event, { time, note: howEnded(row) });
  }

  /** @param {Event["kind"]} kind @param {Row} row @param {any} time @param {string} note */
  event(kind, row, time, note) {
    this.events.push({ time: new Date(time).getTime(), kind, name: label(row), id: row.id, note });
    if (this.events.length > 2 * EVENTS_MAX) this.events.splice(0, EVENTS_MAX);
  }

  /** A name that the runtime told late. @param {string} id @param {string} name */
  rename(id, name) {
    for (const event of this.events) if (event.id === id) event.name = name;
  }
}

/** @param {Float32Array} values @param {any} value */
function push(values, value) {
  values.copyWithin(0, 1);
  values[values.length - 1] = value ?? NaN;
}
