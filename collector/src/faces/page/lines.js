// Which lines the list has, and in which order.

import { label, sum } from "./picture.js";

/**
 * @typedef {import("./picture.js").Row} Row
 * @typedef {{key: string, row: Row}} RowLine
 * @typedef {{by: any, name: string}} Sorted
 * @typedef {RowLine & Sorted & {named: any}} SortedLine
 * @typedef {{group: string, title: string, count: number, sums: Row, isFolded: boolean}} GroupLine
 * @typedef {RowLine | GroupLine} Line
 * @typedef {{sort: string, isReversed: boolean, filter: string, isTree: boolean, folded: Set<string>}} Options
 */

/** What a column sorts by. @type {Record<string, (row: Row) => any>} */
export const SORTS = {
  name: (row) => label(row).toLowerCase(),
  cpu: (row) => row.cpu_percent,
  throttled: (row) => row.throttled_percent,
  memory: (row) => row.memory_bytes,
  limit: (row) => row.memory_percent,
  network: (row) => sum(row.rx_bytes_per_second, row.tx_bytes_per_second),
  block: (row) => sum(row.read_bytes_per_second, row.write_bytes_per_second),
  pressure: (row) => pressure(row),
  pids: (row) => row.pids,
  started: (row) => (row.started_at ? Date.parse(row.started_at) : undefined),
  ended: (row) => (row.ended_at ? Date.parse(row.ended_at) : undefined),
  exit: (row) => row.exit_code,
  seconds: (row) => row.cpu_usage_seconds,
  peak: (row) => row.memory_peak_bytes,
  received: (row) => sum(row.rx_bytes, row.tx_bytes),
  read: (row) => sum(row.read_bytes, row.write_bytes),
};

/** The worst of the three pressures. @param {Row} row */
export function pressure(row) {
  const all = [row.cpu_pressure_percent, row.memory_pressure_percent, row.io_pressure_percent];
  const known = all.filter((value) => value !== undefined);
  return known.length ? Math.max(...known) : undefined;
}

/** @param {Row} row @param {string} lower a text in lower case */
export function matches(row, lower) {
  const texts = [row.name, row.id, row.image, row.pod, row.namespace, row.compose_project, row.cgroup];
  return texts.some((text) => text !== undefined && text.toLowerCase().includes(lower));
}

/** The group of a row: its pod, its Compose project, or the cgroup that it is in. @param {Row} row */
export function groupOf(row) {
  if (row.pod) return `pod ${row.namespace ? `${row.namespace}/` : ""}${row.pod}`;
  if (row.compose_project) return `compose ${row.compose_project}`;
  return row.cgroup.replace(/\/[^/]*$/, "") || "/";
}

/**
 * The lines of the list. They stay in the order in which they were the last time: what is nearly
 * sorted is sorted in less time.
 */
export class Order {
  /** @type {Map<string, SortedLine>} */
  known = new Map();
  /** @type {SortedLine[]} */
  sorted = [];

  /** @param {Map<string, Row>} rows @param {Options} options @returns {Line[]} */
  lines(rows, options) {
    this.follow(rows);
    const filter = options.filter.toLowerCase();
    const found = filter ? this.sorted.filter((line) => matches(line.row, filter)) : this.sorted;
    const value = SORTS[options.sort] ?? SORTS.cpu;
    for (const line of found) line.by = value(line.row);
    found.sort(order(options));
    return options.isTree ? tree(found, options) : found;
  }

  /** Takes over which rows there are. @param {Map<string, Row>} rows */
  follow(rows) {
    const { known } = this;
    let isNew = this.sorted.length !== rows.size;
    for (const [key, row] of rows) {
      const line = known.get(key);
      if (line?.row === row) {
        if (line.named !== row.name) Object.assign(line, { named: row.name, name: SORTS.name(row) });
        continue;
      }
      known.set(key, { key, row, by: undefined, named: row.name, name: SORTS.name(row) });
      isNew = true;
    }
    if (!isNew) return;
    for (const key of known.keys()) if (!rows.has(key)) known.delete(key);
    this.sorted = this.sorted.map((line) => known.get(line.key)).filter((line) => line !== undefined);
    const placed = new Set(this.sorted);
    for (const line of known.values()) if (!placed.has(line)) this.sorted.push(line);
  }
}

/** The biggest first, names from A to Z; the unknown always last.
 * @param {Options} options @returns {(a: Sorted, b: Sorted) => number} */
function order({ sort, isReversed }) {
  const direction = (sort === "name" ? 1 : -1) * (isReversed ? -1 : 1);
  return (a, b) => {
    if (a.by === b.by) return a.name < b.name ? -1 : a.name > b.name ? 1 : 0;
    if (a.by === undefined) return 1;
    if (b.by === undefined) return -1;
    return a.by < b.by ? -direction : direction;
  };
}

const SUMMED = [
  "cpu_percent", "memory_bytes", "rx_bytes_per_second", "tx_bytes_per_second", "read_bytes_per_second", "write_bytes_per_second",
  "pids", "cpu_usage_seconds", "rx_bytes", "tx_bytes", "read_bytes", "write_bytes",
];

/** @param {RowLine[]} rows @param {Options} options @returns {Line[]} */
function tree(rows, options) {
  /** @type {Map<string, {line: GroupLine, rows: RowLine[], by: any, name: string}>} */
  const groups = new Map();
  for (const line of rows) {
    const name = groupOf(line.row);
    let group = groups.get(name);
    if (!group) {
      const sums = { kind: "group", id: name, name, cgroup: name };
      const isFolded = options.folded.has(name);
      group = { line: { group: name, title: name, count: 0, sums, isFolded }, rows: [], by: undefined, name: name.toLowerCase() };
      groups.set(name, group);
    }
    group.line.count++;
    add(group.line.sums, line.row);
    group.rows.push(line);
  }
  const value = SORTS[options.sort] ?? SORTS.cpu;
  const all = [...groups.values()];
  for (const group of all) group.by = value(group.line.sums);
  all.sort(order(options));
  return all.flatMap(({ line, rows }) => (line.isFolded ? [line] : [line, ...rows]));
}

/** @param {Row} sums @param {Row} row */
function add(sums, row) {
  for (const field of SUMMED) {
    const value = row[field];
    if (value !== undefined) sums[field] = (sums[field] ?? 0) + value;
  }
}
