// The page of one container.

import { Chart } from "./charts.js";
import { el, setText } from "./dom.js";
import { UNKNOWN, bytes, count, dateTime, duration, known, latency, memory, percent, plain, rate } from "./format.js";
import { sourcesTable } from "./frame.js";
import { Heatmap } from "./heatmap.js";
import { Past } from "./past.js";
import { label } from "./picture.js";
import { pointOf } from "./series.js";
import { Span } from "./span.js";

/**
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {import("./series.js").Series} Series
 */

/** The kernel adds pressure up every 2 s. */
const PRESSURE_SECONDS = 3.9;
/** What a chart knows before its first time, for rates, in seconds. */
const BEFORE = 5;

export class Detail {
  /** @param {string} name @param {Picture} picture @param {() => void} back */
  constructor(name, picture, back) {
    this.name = name;
    this.picture = picture;
    this.past = new Past(name, () => this.update());
    this.described = "";
    this.shownSources = "";
    /** @type {number[]} */
    this.bounds = [];
    this.span = new Span(() => this.update());
    this.title = el("h1", { text: name, tabindex: "-1" });
    this.state = el("span", { class: "chip" });
    this.facts = el("dl", { class: "facts" });
    this.message = el("p", { class: "empty", hidden: true });
    this.charts = makeCharts();
    this.charts.forEach(({ chart }) => (chart.onzoom = (range) => this.span.zoom(range)));
    this.heat = new Heatmap("Block latency");
    const figures = this.charts.map(({ chart }) => chart.element);
    figures.splice(5, 0, this.heat.element);
    this.grid = el("div", { class: "charts" }, ...figures);
    this.tables = el("div", { class: "tables" });
    this.sources = el("section", {}, el("h2", { text: "Where the numbers come from" }), el("div"));
    this.element = el("main", { class: "detail" },
      el("div", { class: "heading" },
        el("a", { class: "back", href: "../", onclick: (/** @type {Event} */ event) => { event.preventDefault(); back(); } }, "← All containers"),
        this.title, this.state),
      this.facts, this.span.element, this.message, this.grid, this.tables, this.sources);
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.restyle = () => {
      this.charts.forEach(({ chart }) => chart.restyle());
      this.update();
    };
    this.scheme.addEventListener("change", this.restyle);
    this.grid.addEventListener("dblclick", () => this.span.unzoom());
    this.update();
  }

  destroy() {
    this.scheme.removeEventListener("change", this.restyle);
    this.charts.forEach(({ chart }) => chart.destroy());
    this.past.close();
  }

  /** Asks again for what was refused. */
  load() {
    this.past.part = null;
    this.update();
  }

  /** Takes over the latest message. */
  apply() {
    const { picture } = this;
    const { container } = picture.one;
    if (!container) return;
    this.past.add(picture.time / 1000, pointOf(container), picture.interval ?? 1);
    if (container.block?.latency) this.bounds = container.block.latency.le_seconds;
  }

  update() {
    const { container, ended: receipt } = this.picture.one;
    const one = container ?? receipt;
    this.message.hidden = Boolean(one) || !this.picture.hasData;
    if (!one) {
      setText(this.message, `No container is called ${this.name}, and the daemon remembers none. If it starts, it appears here.`);
      setText(this.state, "");
      this.facts.replaceChildren();
      this.tables.replaceChildren();
    }
    if (one) this.describe(one);
    if (!this.picture.hasData) return;
    const { past, span } = this;
    const now = this.picture.time / 1000;
    const ended = one?.ended_at ? Date.parse(one.ended_at) / 1000 : now;
    const range = span.update(container ? now : Math.min(now, ended + 1));
    past.want(range);
    setText(span.note, past.origin(range, one?.started_at));
    const series = past.around(range).part([range[0] - BEFORE, range[1]]);
    this.grid.hidden = !one && series.times.length === 0;
    if (!one && !this.grid.hidden) setText(this.message, `${this.name} does not run, and the daemon remembers no end of it. This was recorded.`);
    for (const { chart, columns, note } of this.charts) {
      chart.update(series.times, columns(series), range);
      setText(chart.note, one ? note?.(one) ?? "" : "");
    }
    if (this.bounds.length === 0) this.bounds = past.part?.bounds ?? [];
    this.heat.update(series.cells(), this.bounds, range);
  }

  /** @param {any} one */
  describe(one) {
    const title = label(one);
    setText(this.title, title);
    document.title = plain(`${title} · Tare`);
    setText(this.state, one.state === "ended" ? `ended ${dateTime(one.ended_at)}` : one.health ? `${one.state}, ${one.health}` : one.state);
    this.state.dataset.state = one.state === "ended" || one.health === "unhealthy" ? "off" : one.state === "running" ? "on" : "degraded";
    const pod = one.pod && [one.pod.namespace, one.pod.name ?? one.pod.uid, one.pod.container].filter(Boolean).join(" / ");
    const rows = [
      ["Image", one.image], ["Runtime", one.runtime], ["Id", one.id], ["Pod", pod],
      ["Compose", one.compose && [one.compose.project, one.compose.service].filter(Boolean).join(" / ")],
      ["Started", one.started_at && dateTime(one.started_at)], ["Restarts", one.restart_count || undefined],
      ["Exit code", one.exit_code], ["OOM kills", one.memory?.oom_kills || undefined],
      ["Last OOM kill", one.memory?.last_oom_kill && `${dateTime(one.memory.last_oom_kill.at)}, ${one.memory.last_oom_kill.command} (${one.memory.last_oom_kill.pid})`],
      ["Cgroup", one.cgroup],
    ].filter(([, value]) => known(value) && value !== "");
    const text = JSON.stringify(rows);
    if (text !== this.described) {
      this.described = text;
      this.facts.replaceChildren(...rows.flatMap(([title, value]) => [el("div", {}, el("dt", { text: title }), el("dd", { text: String(value) }))]));
    }
    this.tables.replaceChildren(...tables(one).filter((table) => table !== null));
    const sources = JSON.stringify(this.picture.frame.sources) + (one.block?.reason ?? "");
    if (sources !== this.shownSources) {
      this.shownSources = sources;
      const reason = one.block?.reason ? el("p", { class: "note", text: `Block I/O of this container: ${one.block.reason}` }) : "";
      this.sources.lastElementChild?.replaceChildren(sourcesTable(this.picture.frame.sources ?? {}), reason);
    }
  }
}

/** @returns {{chart: Chart, columns: (series: Series) => (number | null)[][], note?: (one: any) => string}[]} */
function makeCharts() {
  return [
    {
      chart: new Chart({ title: "CPU", format: percent, top: 10, lines: [
        { label: "Used", color: "series-1", fill: true }, { label: "Quota", color: "limit", dash: true },
        { label: "Throttled periods", color: "series-4", scale: "share" }], percent: (value) => percent(value) }),
      columns: (series) => [series.rate("cpu", 100), filled(series, "quota"), series.share("throttled", "periods")],
      note: (one) => (known(one.cpu?.limit_cores) ? `quota ${percent(one.cpu.limit_cores * 100)}` : "no quota"),
    },
    {
      chart: new Chart({ title: "Memory", format: memory, top: 1 << 20, binary: true, lines: [
        { label: "Usage", color: "series-6", fill: true }, { label: "Anonymous and cache", color: "series-2", fill: true }, { label: "Anonymous", color: "series-3", fill: true },
        { label: "Working set", color: "series-1" }, { label: "Swap", color: "series-4" }, { label: "Limit", color: "limit", dash: true }] }),
      columns: (series) => {
        const [anonymous, cache] = [series.gauge("anonymous"), series.gauge("cache")];
        const both = anonymous.map((value, at) => (value === null || cache[at] === null ? null : value + /** @type {number} */ (cache[at])));
        return [series.gauge("usage"), both, anonymous, series.gauge("workingSet"), series.gauge("swap"), nearLimit(series)];
      },
      note: (one) => `${memory(one.memory?.working_set_bytes)} of ${memory(one.memory?.limit_bytes)}`,
    },
    {
      chart: new Chart({ title: "Network devices", format: rate, top: 1000, lines: [{ label: "Received", color: "series-2", fill: true }, { label: "Sent", color: "series-1" }] }),
      columns: (series) => [series.rate("rx"), series.rate("tx")],
      note: (one) => (one.network?.host_namespace ? "on the host's network: see its sockets" : known(one.network?.shared_with_count) && one.network.shared_with_count > 0 ? `shared with ${one.network.shared_with_count}` : ""),
    },
    {
      chart: new Chart({ title: "Own sockets", format: rate, top: 1000, lines: [{ label: "Received", color: "series-2", fill: true }, { label: "Sent", color: "series-1" }] }),
      columns: (series) => [series.rate("socketRx"), series.rate("socketTx")],
      note: (one) => (one.network?.sockets ? one.network.sockets.level === "l3" ? "IP packets" : "payload" : ""),
    },
    {
      chart: new Chart({ title: "Block I/O", format: rate, top: 1000, lines: [{ label: "Read", color: "series-2", fill: true }, { label: "Written", color: "series-1", fill: true }] }),
      columns: (series) => [series.rate("read"), series.rate("write")],
    },
    {
      chart: new Chart({ title: "Pressure", format: percent, top: 1, lines: [{ label: "CPU", color: "series-1" }, { label: "Memory", color: "series-3" }, { label: "I/O", color: "series-5" }] }),
      columns: (series) => ["cpuPressure", "memoryPressure", "ioPressure"].map((field) => series.rate(field, 100, PRESSURE_SECONDS)),
      note: () => "share of time in which some task waited",
    },
    {
      chart: new Chart({ title: "Tasks", format: count, top: 4, lines: [{ label: "Tasks", color: "series-1", fill: true }, { label: "Limit", color: "limit", dash: true }] }),
      columns: (series) => [series.gauge("pids"), near(series, "pids", "pidsLimit")],
      note: (one) => (known(one.pids?.limit) ? `limit ${count(one.pids.limit)}` : "no limit"),
    },
  ];
}

/** A setting that the history does not have: as it is now. @param {Series} series @param {string} field */
function filled(series, field) {
  const now = series.points.at(-1)?.[field] ?? null;
  return series.points.map((point) => point[field] ?? now);
}

/** A limit is drawn if it is near enough to mean something. @param {Series} series @param {string} value @param {string} limit */
function near(series, value, limit) {
  const limits = filled(series, limit);
  const most = Math.max(0, ...series.gauge(value).map((one) => one ?? 0));
  return limits.map((one) => (one !== null && one <= most * 20 ? one : null));
}

/** @param {Series} series */
const nearLimit = (series) => near(series, "workingSet", "limit");

/** @param {any} one */
function tables(one) {
  return [
    table("Network devices", ["Device", "Received", "Sent", "Packets in, out", "Errors", "Dropped"],
      Object.entries(one.network?.interfaces ?? {}).map(([name, device]) => [name, bytes(device.rx_bytes), bytes(device.tx_bytes), `${count(device.rx_packets)} ${count(device.tx_packets)}`, count(device.rx_errors + device.tx_errors), count(device.rx_dropped + device.tx_dropped)])),
    table("Own sockets", ["Transport", "Received", "Sent"], one.network?.sockets ? [
      ["all", bytes(one.network.sockets.rx_bytes), bytes(one.network.sockets.tx_bytes)],
      ...["tcp", "udp"].filter((kind) => one.network.sockets[kind]).map((kind) => [kind.toUpperCase(), bytes(one.network.sockets[kind].rx_bytes), bytes(one.network.sockets[kind].tx_bytes)]),
    ] : []),
    table("TCP", ["Opened", "Accepted", "Closed", "Failed", "Retransmits"], one.network?.tcp_events?.connections ? [
      [...["opened", "accepted", "closed", "failed"].map((kind) => count(one.network.tcp_events.connections[kind])), count(one.network.tcp_events.retransmits)]] : []),
    table("Block devices", ["Device", "Read", "Written", "Operations", "Mean service read, write"],
      Object.entries(one.block?.devices ?? {}).map(([id, device]) => [device.name ?? id, bytes(device.read_bytes), bytes(device.write_bytes), `${count(device.read_ops)} ${count(device.write_ops)}`,
        `${latency(device.read_ops ? device.read_service_seconds / device.read_ops : undefined)} ${latency(device.write_ops ? device.write_service_seconds / device.write_ops : undefined)}`])),
    table("Totals", ["CPU", "user", "system", "throttled", "Memory peak", "Limit hits"], [[duration(one.cpu?.usage_seconds), duration(one.cpu?.user_seconds), duration(one.cpu?.system_seconds), duration(one.cpu?.throttled_seconds), memory(one.memory?.peak_bytes), count(one.memory?.events?.max)]]),
  ];
}

/** @param {string} title @param {string[]} head @param {string[][]} rows */
function table(title, head, rows) {
  if (rows.length === 0) return null;
  return el("section", {}, el("h2", { text: title }), el("div", { class: "scroll" }, el("table", { class: "plain" },
    el("thead", {}, el("tr", {}, ...head.map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, ...rows.map((cells) => el("tr", {}, ...cells.map((text, at) => el(at === 0 ? "th" : "td", { scope: at === 0 ? "row" : null, text: text ?? UNKNOWN }))))))));
}
