// Which lines the list has, and in which order.

import { label, sum } from "./picture.js";

/**
 * @typedef {import("./picture.js").Row} Row
 * @typedef {{key: string, row: Row, depth: number}} RowLine
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

/** @param {Map<string, Row>} rows @param {Options} options @returns {Line[]} */
export function lines(rows, options) {
  const filter = options.filter.toLowerCase();
  /** @type {RowLine[]} */
  const found = [];
  for (const [key, row] of rows) {
    if (!filter || matches(row, filter)) found.push({ key, row, depth: 0 });
  }
  const compare = order(options);
  sortBy(found, (line) => line.row, compare, options);
  return options.isTree ? tree(found, options, compare) : found;
}

/** The biggest first, names from A to Z; the unknown always last.
 * @param {Options} options @returns {(a: any, b: any) => number} */
function order({ sort, isReversed }) {
  const direction = (sort === "name" ? 1 : -1) * (isReversed ? -1 : 1);
  return (a, b) => {
    if (a === b) return 0;
    if (a === undefined) return 1;
    if (b === undefined) return -1;
    return (a < b ? -1 : 1) * direction;
  };
}

/** @template T @param {T[]} all @param {(one: T) => Row} rowOf @param {(a: any, b: any) => number} compare @param {Options} options */
function sortBy(all, rowOf, compare, { sort }) {
  const value = SORTS[sort] ?? SORTS.cpu;
  const keyed = all.map((one) => ({ one, by: value(rowOf(one)), name: SORTS.name(rowOf(one)) }));
  keyed.sort((a, b) => compare(a.by, b.by) || (a.name < b.name ? -1 : a.name > b.name ? 1 : 0));
  keyed.forEach(({ one }, index) => (all[index] = one));
}

const SUMMED = [
  "cpu_percent", "memory_bytes", "rx_bytes_per_second", "tx_bytes_per_second", "read_bytes_per_second", "write_bytes_per_second",
  "pids", "cpu_usage_seconds", "rx_bytes", "tx_bytes", "read_bytes", "write_bytes",
];

/** @param {RowLine[]} rows @param {Options} options @param {(a: any, b: any) => number} compare @returns {Line[]} */
function tree(rows, options, compare) {
  /** @type {Map<string, {line: GroupLine, rows: RowLine[]}>} */
  const groups = new Map();
  for (const line of rows) {
    const name = groupOf(line.row);
    let group = groups.get(name);
    if (!group) {
      const sums = { kind: "group", id: name, name, cgroup: name };
      const isFolded = options.folded.has(name);
      group = { line: { group: name, title: name, count: 0, sums, isFolded }, rows: [] };
      groups.set(name, group);
    }
    group.line.count++;
    for (const field of SUMMED) {
      const both = sum(group.line.sums[field], line.row[field]);
      if (both !== undefined) group.line.sums[field] = both;
    }
    group.rows.push({ ...line, depth: 1 });
  }
  const all = [...groups.values()];
  sortBy(all, (group) => group.line.sums, compare, options);
  return all.flatMap(({ line, rows }) => (line.isFolded ? [line] : [line, ...rows]));
}
