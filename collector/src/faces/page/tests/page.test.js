// Unit tests of the parts of the page that need no browser: `cargo xtask test --only web`.

import assert from "node:assert/strict";
import { test } from "node:test";

import { bytes, duration, latency, memory, percent, rate } from "../format.js";
import { Order, groupOf, matches } from "../lines.js";
import { Picture, label, merge } from "../picture.js";
import { Series, pointOf, pointsOf } from "../series.js";

const options = { sort: "cpu", isReversed: false, filter: "", isTree: false, folded: new Set() };
const row = (name, fields = {}) => ({ id: `id-${name}`, name, kind: "container", cgroup: `/docker/${name}`, state: "running", ...fields });

test("numbers are short and have units, and unknown is no number", () => {
  assert.deepEqual([0, 999, 1023, 1536, 268435456, 25200000000].map(memory), ["0 B", "999 B", "1.00 KiB", "1.50 KiB", "256 MiB", "23.5 GiB"]);
  assert.deepEqual([13_100_000, 999.6].map(bytes), ["13.1 MB", "1.00 kB"]);
  assert.deepEqual([0, 0.004, 12.345, 99.97, 250].map(percent), ["0 %", "0.00 %", "12.3 %", "100 %", "250 %"]);
  assert.deepEqual([0, 0.02, 9.94, 61, 3600, 90_061].map(duration), ["0 ms", "20.0 ms", "9.9 s", "1 min 1 s", "1 h", "1 d 1 h"]);
  assert.equal(latency(0.000004), "4.00 µs");
  for (const format of [memory, bytes, percent, duration, latency, rate]) assert.equal(format(undefined), "–");
});

test("the biggest come first, names from A to Z, and the unknown last in either direction", () => {
  const rows = new Map([["1", row("b", { cpu_percent: 1 })], ["2", row("a", {})], ["3", row("c", { cpu_percent: 7 })]]);
  const order = new Order();
  const names = (change) => order.lines(rows, { ...options, ...change }).map((line) => line.row.name).join("");
  assert.equal(names({}), "cba");
  assert.equal(names({ isReversed: true }), "bca");
  assert.equal(names({ sort: "name" }), "abc");
  assert.equal(names({ sort: "name", isReversed: true }), "cba");
  assert.equal(names({ filter: "ID-C" }), "c");
  assert.equal(names({ sort: "no such column" }), "cba");
  rows.delete("3");
  rows.set("4", row("d", { cpu_percent: 3 }));
  rows.get("2").name = "e";
  assert.equal(names({}), "dbe");
  assert.equal(names({ sort: "name" }), "bde");
});

test("a tree has pods, Compose projects and cgroups with sums of what is known", () => {
  const rows = new Map([
    ["1", row("x", { pod: "web-0", namespace: "shop", cpu_percent: 5 })],
    ["2", row("y", { pod: "web-0", namespace: "shop" })],
    ["3", row("z", { compose_project: "blog", cpu_percent: 9, pids: 2 })],
    ["4", row("w", {})],
  ]);
  const tree = new Order().lines(rows, { ...options, isTree: true, folded: new Set(["compose blog"]) });
  assert.deepEqual(tree.map((line) => line.title ?? line.row.name), ["compose blog", "pod shop/web-0", "x", "y", "/docker", "w"]);
  assert.deepEqual([tree[1].count, tree[1].sums.cpu_percent, tree[1].sums.pids], [2, 5, undefined]);
  assert.equal(groupOf({ cgroup: "/a" }), "/");
  assert.ok(matches(rows.get("3"), "blog") && !matches(rows.get("4"), "blog"));
});

test("messages add up to what the daemon knows", () => {
  const picture = new Picture();
  const at = (second) => new Date(1e12 + second * 1000).toISOString();
  picture.apply({
    type: "full", tick: 1, time: at(0), every: 1, host: { cpu_percent: 5, pressure: { cpu: { a: 1 } } }, tare: { cpu_seconds: 1 },
    rows: { 1: row("web", { cpu_percent: 1, started_at: at(-9), oom_kills: 0 }), 2: row("db") }, ended: { 0: row("old", { ended_at: at(-5), exit_code: 3 }) },
  });
  picture.apply({ type: "skipped", ticks: 2 });
  picture.apply({
    type: "changes", tick: 2, time: at(2), every: 1, host: { pressure: { cpu: null } }, tare: { cpu_seconds: 1.1 },
    rows: { 1: { cpu_percent: null, pids: 4, oom_kills: 1, last_oom_kill_at: at(1), last_oom_kill_command: "<b>" }, 3: row("new") },
    ended: { 2: row("db", { ended_at: at(1) }) }, gone: [2],
  });
  assert.deepEqual([...picture.rows.keys()], ["1", "3"]);
  assert.deepEqual(picture.rows.get("1"), row("web", { pids: 4, started_at: at(-9), oom_kills: 1, last_oom_kill_at: at(1), last_oom_kill_command: "<b>" }));
  assert.deepEqual(picture.frame.host, { cpu_percent: 5, pressure: {} });
  assert.deepEqual(picture.events.map((event) => `${event.kind} ${event.name}`), ["start web", "end old", "oom web", "end db"]);
  assert.equal(picture.events[2].note, "out of memory, killed <b>");
  assert.ok(Math.abs(picture.own.tare - 5) < 1e-9 && picture.skipped === 2);
  assert.equal(picture.sparks.values("1", "cpu").at(-2), 1);
  assert.ok(picture.sparks.values("2", "cpu") === null && Number.isNaN(picture.sparks.values("1", "cpu").at(-1)));
  picture.apply({ type: "full", tick: 9, time: at(9), every: 1, rows: {}, ended: {} });
  assert.deepEqual([picture.rows.size, picture.frame.host, picture.events], [0, {}, []]);
});

test("what is told late of a start and an end is on the timeline", () => {
  const picture = new Picture();
  const at = (second) => new Date(1e12 + second * 1000).toISOString();
  const events = () => picture.events.map(({ time, kind, name, note }) => [(time - 1e12) / 1000, kind, name, note]);
  picture.apply({ type: "full", tick: 1, time: at(0), every: 1, rows: { 1: { id: "x", kind: "container" } }, ended: {} });
  assert.deepEqual(events(), []);
  picture.apply({ type: "changes", tick: 2, time: at(1), every: 1, rows: { 1: { name: "web", started_at: at(0) } }, ended: {} });
  picture.apply({ type: "changes", tick: 3, time: at(2), every: 1, rows: {}, ended: { 1: { id: "x", kind: "container", name: "web", started_at: at(0), ended_at: at(2) } }, gone: [1] });
  assert.deepEqual(events(), [[0, "start", "web", ""], [2, "end", "web", ""]]);
  picture.apply({ type: "changes", tick: 4, time: at(3), every: 1, rows: {}, ended: { 1: { exit_code: 137, oom_killed: 1 } } });
  assert.deepEqual(events()[1], [2, "end", "web", "exit code 137, out of memory"]);
});

test("one container changes by merge patches", () => {
  const picture = new Picture();
  picture.apply({ type: "full", tick: 1, time: "2026-01-01T00:00:00Z", instance: 7, container: { id: "x", cpu: { a: 1, b: null }, list: [1] } });
  picture.apply({ type: "changes", tick: 2, time: "2026-01-01T00:00:01Z", container: { cpu: { a: null, c: 2 }, list: [2, 3] } });
  assert.deepEqual(picture.one, { instance: 7, container: { id: "x", cpu: { c: 2 }, list: [2, 3] } });
  picture.apply({ type: "changes", tick: 3, time: "2026-01-01T00:00:02Z", container: null, ended: { id: "x" } });
  assert.deepEqual(picture.one, { instance: 7, ended: { id: "x" } });
  assert.deepEqual(merge({ a: 1 }, { a: { b: 1 } }), { a: { b: 1 } });
});

test("a row is called as people call it", () => {
  assert.equal(label({ kind: "container", id: "a".repeat(64) }), "aaaaaaaaaaaa");
  assert.equal(label({ kind: "service", id: "ssh.service" }), "ssh.service");
  assert.equal(label({ kind: "other", id: "/a", cgroup: "/a" }), "/a");
});

test("history and live points make one series, and rates are unknown after a fall", () => {
  const series = new Series();
  const history = { times: ["1970-01-01T00:00:01Z", "1970-01-01T00:00:02Z"], series: { cpu_usage_nanoseconds: [1e9, 15e8], pids: [null, 3] } };
  for (const { time, point } of pointsOf(history)) series.add(time, point);
  series.add(2, pointOf({ pids: { current: 3, limit: 9 } }));
  series.add(3, pointOf({ cpu: { usage_seconds: 2.5 }, network: { interfaces: { a: { rx_bytes: 1, tx_bytes: 2 }, b: { rx_bytes: 3, tx_bytes: 4 } } } }));
  series.add(4, pointOf({ cpu: { usage_seconds: 1 } }));
  assert.deepEqual(series.rate("cpu", 100), [null, 50, 100, null]);
  assert.deepEqual(series.rate("cpu", 100, 1.5), [null, null, 75, null]);
  assert.deepEqual(series.gauge("pids"), [null, 3, null, null]);
  assert.deepEqual([series.points[1].pidsLimit, series.points[2].rx, series.points[2].tx], [9, 4, 6]);
});
