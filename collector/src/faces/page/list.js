// The list of containers: virtual rows, sorting, filter, tree, timeline.

import { request } from "./connection.js";
import { Sparkline, el, setAttribute, setText, svg } from "./dom.js";
import { UNKNOWN, bytes, clock, count, dateTime, duration, known, memory, percent, plain } from "./format.js";
import { Order, pressure } from "./lines.js";
import { label } from "./picture.js";
import { Series, pointsOf } from "./series.js";
import { SPARK_LENGTH } from "./sparks.js";

/**
 * @typedef {import("./picture.js").Picture} Picture
 * @typedef {import("./picture.js").Row} Row
 * @typedef {import("./lines.js").Line} Line
 * @typedef {{id: string, title: string, hint: string, sort: string, size: string, family?: string, spark?: "cpu" | "network" | "block", least?: number,
 *   text: (row: Row, now: number) => string, second?: (row: Row) => string, note?: (row: Row) => string, share?: (row: Row) => number | undefined, level?: (row: Row) => string | null}} Column
 */

const ROW_HEIGHT = 32;
const ROWS_AROUND = 6;
/** Seconds on the timeline. */
const TIMELINE = 300;
/** Rows whose small graphs are filled from the history. */
const PREFILLED_MAX = 80;

/** @param {number | undefined} value @param {number} raised @param {number} high */
const level = (value, raised, high) => (value === undefined || value < raised ? null : value < high ? "raised" : "high");

/** @type {Column} */
const NAME = { id: "name", title: "Name", hint: "", sort: "name", size: "a", text: (row) => label(row) };

/** @type {Column[]} */
const LIVING = [
  NAME,
  { id: "cpu", title: "CPU", hint: "100 % is one CPU fully used", sort: "cpu", size: "a", family: "cpu", spark: "cpu", least: 100, text: (row) => percent(row.cpu_percent), level: (row) => (row.cpu_limit_cores ? level(row.cpu_percent / row.cpu_limit_cores, 90, 98) : null) },
  { id: "throttled", title: "Throttled", hint: "share of its periods in which its quota stopped it", sort: "throttled", size: "d", family: "cpu", text: (row) => (row.cpu_limit_cores ? percent(row.throttled_percent) : ""), level: (row) => level(row.throttled_percent, 5, 25) },
  { id: "memory", title: "Memory", hint: "working set, and the limit in force", sort: "memory", size: "a", family: "memory", text: (row) => memory(row.memory_bytes), note: (row) => `/ ${memory(row.memory_limit_bytes)}` },
  { id: "limit", title: "Of limit", hint: "working set as a share of the limit", sort: "limit", size: "c", family: "memory", text: (row) => percent(row.memory_percent), share: (row) => row.memory_percent, level: (row) => level(row.memory_percent, 80, 95) },
  { id: "network", title: "Network in, out /s", hint: "bytes per second received, sent", sort: "network", size: "b", family: "network_interfaces", spark: "network", least: 1000, text: (row) => bytes(row.rx_bytes_per_second), second: (row) => bytes(row.tx_bytes_per_second) + (row.network_view === "sockets" ? " *" : "") },
  { id: "block", title: "Block read, write /s", hint: "bytes per second read, written", sort: "block", size: "b", family: "block", spark: "block", least: 1000, text: (row) => bytes(row.read_bytes_per_second), second: (row) => bytes(row.write_bytes_per_second) },
  { id: "pressure", title: "Pressure", hint: "share of the last 10 s in which some task waited: the worst of CPU, memory and I/O", sort: "pressure", size: "d", text: (row) => percent(pressure(row)), level: (row) => level(pressure(row), 20, 60) },
  { id: "pids", title: "Tasks", hint: "threads of all its processes", sort: "pids", size: "d", family: "pids", text: (row) => count(row.pids), level: (row) => (row.pids_limit ? level((row.pids / row.pids_limit) * 100, 80, 95) : null) },
  { id: "started", title: "Up", hint: "since its first process started", sort: "started", size: "d", text: (row, now) => (row.started_at ? duration((now - Date.parse(row.started_at)) / 1000) : row.kind === "group" ? "" : UNKNOWN) },
];

/** @type {Column[]} */
const ENDED = [
  NAME,
  { id: "ended", title: "Ended", hint: "when its last process ended", sort: "ended", size: "a", text: (row, now) => (row.ended_at ? `${duration((now - Date.parse(row.ended_at)) / 1000)} ago` : "") },
  { id: "exit", title: "Exit", hint: "exit code of its first process", sort: "exit", size: "a", text: (row) => (row.kind === "group" ? "" : known(row.exit_code) ? `${row.exit_code}${row.oom_killed ? " OOM" : ""}` : UNKNOWN), level: (row) => (row.oom_killed ? "high" : row.exit_code ? "raised" : null) },
  { id: "seconds", title: "CPU time", hint: "in all", sort: "seconds", size: "a", text: (row) => duration(row.cpu_usage_seconds) },
  { id: "peak", title: "Memory peak", hint: "highest usage, page cache included", sort: "peak", size: "c", text: (row) => (row.kind === "group" ? "" : memory(row.memory_peak_bytes)) },
  { id: "network", title: "Network in, out", hint: "bytes in all", sort: "received", size: "b", text: (row) => bytes(row.rx_bytes), second: (row) => bytes(row.tx_bytes) },
  { id: "block", title: "Block read, write", hint: "bytes in all", sort: "read", size: "b", text: (row) => bytes(row.read_bytes), second: (row) => bytes(row.write_bytes) },
];

/** A row of the table. It shows one line after another while the list is scrolled. */
class RowView {
  /** @param {Column[]} columns @param {List} list */
  constructor(columns, list) {
    this.columns = columns;
    this.link = el("a", { tabindex: "-1" });
    this.extra = el("span", { class: "extra" });
    this.dot = el("span", { class: "dot", "aria-hidden": "true" });
    this.cells = columns.map((column, index) => {
      const value = index === 0 ? this.link : el("span", { class: "value" });
      const note = column.note ? el("span", { class: "note" }) : null;
      const second = column.second ? el("span", { class: "value second" }) : null;
      const spark = column.spark ? new Sparkline("") : null;
      const bar = column.share ? el("i") : null;
      const meter = bar && el("span", { class: "meter", "aria-hidden": "true" }, bar);
      const cell = el(index === 0 ? "th" : "td", { class: `c-${column.id} size-${column.size}`, scope: index === 0 ? "row" : null });
      if (index === 0) cell.append(this.dot, value, this.extra);
      else cell.append(...[spark?.element, meter, value, second, note && " ", note].filter((child) => child));
      return { cell, value, second, note, spark, bar };
    });
    this.element = el("tr", { role: "row" }, ...this.cells.map((cell) => cell.cell));
    this.element.addEventListener("click", (/** @type {MouseEvent} */ event) => list.click(this.index, event));
    this.index = -1;
  }

  /** @param {Line} line @param {number} index @param {List} list */
  show(line, index, list) {
    this.index = index;
    const { picture, now, marked } = list;
    const isGroup = "group" in line;
    const row = isGroup ? line.sums : line.row;
    setAttribute(this.element, "aria-rowindex", String(index + 2));
    setAttribute(this.element, "aria-selected", String(index === marked));
    setAttribute(this.element, "id", `row-${index}`);
    setAttribute(this.element, "aria-level", list.options.isTree ? (isGroup ? "1" : "2") : null);
    setAttribute(this.element, "aria-expanded", isGroup ? String(!line.isFolded) : null);
    this.element.className = isGroup ? "group" : list.options.isTree ? "member" : "";
    setText(this.link, isGroup ? line.title : label(row));
    setText(this.extra, isGroup ? `${line.count}` : row.image ?? row.pod_container ?? "");
    this.dot.dataset.state = isGroup ? (line.isFolded ? "folded" : "unfolded") : row.health === "unhealthy" || row.oom_kills ? "bad" : row.state;
    setAttribute(this.link, "href", isGroup ? null : list.href(row));
    setAttribute(this.element, "title", null);
    this.columns.forEach((column, at) => {
      const { cell, value, second, note, spark, bar } = this.cells[at];
      if (at > 0) {
        const text = isGroup && ["throttled", "limit", "pressure"].includes(column.id) ? "" : column.text(row, now);
        setText(value, text);
        const reason = text === UNKNOWN && column.family ? picture.frame.sources?.[column.family]?.reason ?? "not known yet" : null;
        setAttribute(cell, "title", reason);
        setAttribute(cell, "data-level", isGroup ? null : column.level?.(row) ?? null);
      } else {
        setAttribute(cell, "title", isGroup ? line.title : [label(row), row.image, row.id, row.cgroup].filter(Boolean).join("\n"));
      }
      if (second) setText(second, column.second?.(row) ?? "");
      if (bar) bar.parentElement.hidden = isGroup;
      if (note) setText(note, isGroup ? "" : column.note?.(row) ?? "");
      if (spark && column.spark) spark.draw(isGroup ? null : picture.sparks.values(line.key, column.spark), column.least ?? 1);
      if (bar) bar.style.width = `${Math.min(100, (!isGroup && column.share?.(row)) || 0).toFixed(1)}%`;
    });
  }
}

export class List {
  /** @param {Picture} picture @param {{href: (row: Row) => string, open: (row: Row) => void, changed: () => void}} actions */
  constructor(picture, actions) {
    this.picture = picture;
    this.actions = actions;
    this.href = actions.href;
    this.options = { sort: "cpu", isReversed: false, filter: "", isTree: false, folded: new Set() };
    this.isEnded = false;
    this.marked = 0;
    /** The key of the marked line, which stays marked when the order changes. @type {string | null} */
    this.markedKey = null;
    this.now = Date.now();
    this.order = new Order();
    /** @type {Line[]} */
    this.lines = [];
    /** @type {RowView[]} */
    this.views = [];
    /** @type {Set<string>} */
    this.prefilled = new Set();
    this.filter = el("input", { type: "search", placeholder: "Filter  /", "aria-label": "Filter", spellcheck: "false", oninput: () => this.set({ filter: this.filter.value }) });
    this.treeButton = el("button", { type: "button", title: "t", onclick: () => this.set({ isTree: !this.options.isTree }) }, "Tree");
    this.endedButton = el("button", { type: "button", title: "e", onclick: () => this.setEnded(!this.isEnded) }, "Ended");
    this.shown = el("span", { class: "note", role: "status" });
    this.timeline = new Timeline(actions.open);
    this.before = el("td", { "aria-hidden": "true" });
    this.after = el("td", { "aria-hidden": "true" });
    this.body = el("tbody");
    this.head = el("thead");
    this.table = el("table", { class: "list", role: "grid", tabindex: "0", "aria-label": "Containers" }, this.head, this.body);
    this.empty = el("p", { class: "empty", hidden: true });
    this.viewport = el("div", { class: "viewport", onscroll: () => this.draw() }, this.table, this.empty);
    this.element = el("main", { class: "listing" },
      el("h1", { class: "unseen", text: "Containers" }),
      el("div", { class: "tools" }, this.filter, this.treeButton, this.endedButton, this.shown),
      this.viewport, this.timeline.element);
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(this.viewport);
    this.columns = LIVING;
    this.useColumns(LIVING);
  }

  /** @param {Column[]} columns */
  useColumns(columns) {
    this.columns = columns;
    this.views = [];
    this.headers = columns.map((column) => {
      const button = el("button", { type: "button", title: column.hint, tabindex: "-1", onclick: () => this.sortBy(column.sort) }, column.title);
      return el("th", { class: `c-${column.id} size-${column.size}`, scope: "col" }, button);
    });
    this.head.replaceChildren(el("tr", { role: "row", "aria-rowindex": "1" }, ...this.headers));
    this.before.colSpan = this.after.colSpan = columns.length;
    this.top = el("tr", { class: "space", role: "presentation" }, this.before);
    this.bottom = el("tr", { class: "space", role: "presentation" }, this.after);
    this.body.replaceChildren(this.top, this.bottom);
  }

  /** @param {Partial<import("./lines.js").Options>} change */
  set(change) {
    Object.assign(this.options, change);
    if (this.filter.value !== this.options.filter) this.filter.value = this.options.filter;
    this.update();
    this.actions.changed();
  }

  /** @param {boolean} isEnded */
  setEnded(isEnded) {
    this.isEnded = isEnded;
    this.useColumns(isEnded ? ENDED : LIVING);
    this.viewport.scrollTop = 0;
    this.markedKey = null;
    this.marked = 0;
    this.set({ sort: isEnded ? "ended" : "cpu", isReversed: false });
  }

  /** @param {string} sort */
  sortBy(sort) {
    if (!this.columns.some((column) => column.sort === sort)) return;
    this.set(this.options.sort === sort ? { isReversed: !this.options.isReversed } : { sort, isReversed: false });
  }

  /** @param {number} step */
  sortNext(step) {
    const at = this.columns.findIndex((column) => column.sort === this.options.sort);
    const next = this.columns[(at + step + this.columns.length) % this.columns.length];
    this.set({ sort: next.sort, isReversed: false });
  }

  /** Takes over what the picture has. */
  update() {
    const { picture, options } = this;
    this.now = picture.time || Date.now();
    const rows = this.isEnded ? picture.ended : picture.rows;
    this.lines = this.order.lines(rows, options);
    if (this.markedKey !== null) {
      const at = this.lines.findIndex((line) => keyOf(line) === this.markedKey);
      this.marked = at >= 0 ? at : Math.min(this.marked, Math.max(0, this.lines.length - 1));
    }
    const total = rows.size;
    const shown = this.lines.filter((line) => !("group" in line)).length;
    setText(this.shown, options.filter ? `${count(shown)} of ${count(total)}` : "");
    setAttribute(this.treeButton, "aria-pressed", String(options.isTree));
    setAttribute(this.endedButton, "aria-pressed", String(this.isEnded));
    setText(this.endedButton, picture.ended.size ? `Ended ${count(picture.ended.size)}` : "Ended");
    this.columns.forEach((column, at) => {
      const isSorted = column.sort === options.sort;
      const isAscending = (column.sort === "name") !== options.isReversed;
      setAttribute(this.headers?.[at], "aria-sort", isSorted ? (isAscending ? "ascending" : "descending") : null);
    });
    setAttribute(this.table, "aria-rowcount", String(this.lines.length + 1));
    const message = !picture.hasData ? "Waiting for the first sample…"
      : options.filter && total ? "Nothing fits the filter. Esc removes it."
      : this.isEnded ? "No container has ended since the daemon started."
      : "No containers run here. They appear when they start.";
    setText(this.empty, message);
    this.empty.hidden = this.lines.length > 0;
    this.draw();
    this.timeline.update(picture);
  }

  /** Draws the lines that are in sight. */
  draw() {
    const { viewport, lines: all } = this;
    const first = Math.max(0, Math.floor(viewport.scrollTop / ROW_HEIGHT) - ROWS_AROUND);
    const fit = Math.ceil(viewport.clientHeight / ROW_HEIGHT) + 2 * ROWS_AROUND;
    const last = Math.min(all.length, first + fit);
    while (this.views.length < last - first) {
      const view = new RowView(this.columns, this);
      this.views.push(view);
      this.bottom.before(view.element);
    }
    this.before.style.height = `${first * ROW_HEIGHT}px`;
    this.after.style.height = `${(all.length - last) * ROW_HEIGHT}px`;
    this.views.forEach((view, at) => {
      const line = all[first + at];
      view.element.hidden = first + at >= last;
      if (line && first + at < last) view.show(line, first + at, this);
    });
    setAttribute(this.table, "aria-activedescendant", all.length ? `row-${this.marked}` : null);
    if (!this.isEnded) this.prefill(all.slice(first, last));
  }

  /** Fills the small graphs of lines in sight from the history. @param {Line[]} inSight */
  prefill(inSight) {
    for (const line of inSight) {
      if ("group" in line || this.prefilled.size >= PREFILLED_MAX || this.prefilled.has(line.key)) continue;
      this.prefilled.add(line.key);
      this.queue = (this.queue ?? Promise.resolve()).then(() => this.fill(line.key, line.row)).catch(() => {});
    }
  }

  /** @param {string} key @param {Row} row */
  async fill(key, row) {
    const { picture } = this;
    const step = (picture.interval ?? 1) || 1;
    const from = picture.time / 1000 - step * (SPARK_LENGTH + 2);
    const answer = await request(`api/v1/history?container=${encodeURIComponent(row.id)}&from=${from.toFixed(3)}&step=${(step * 0.9).toFixed(3)}`);
    if (!answer.ok) return;
    const series = new Series();
    for (const { time, point } of pointsOf(await answer.json())) series.add(time, point);
    const both = (/** @type {string} */ a, /** @type {string} */ b) => {
      const [first, second] = [series.rate(a), series.rate(b)];
      return first.map((value, at) => (value === null || second[at] === null ? NaN : value + /** @type {number} */ (second[at])));
    };
    const isSockets = row.network_view === "sockets";
    const { sparks } = picture;
    sparks.fillOlder(key, "cpu", series.rate("cpu", 100).map((value) => value ?? NaN));
    sparks.fillOlder(key, "network", isSockets ? both("socketRx", "socketTx") : both("rx", "tx"));
    sparks.fillOlder(key, "block", both("read", "write"));
  }

  /** @param {number} step */
  move(step) {
    this.mark(this.marked + step);
  }

  /** @param {number} pages */
  page(pages) {
    this.move(pages * Math.max(1, Math.floor(this.viewport.clientHeight / ROW_HEIGHT) - 2));
  }

  /** @param {number} index */
  mark(index) {
    this.marked = Math.max(0, Math.min(this.lines.length - 1, index));
    const line = this.lines[this.marked];
    this.markedKey = line ? keyOf(line) : null;
    const [top, header] = [this.marked * ROW_HEIGHT, this.head.offsetHeight];
    const { scrollTop, clientHeight } = this.viewport;
    if (top < scrollTop) this.viewport.scrollTop = top;
    else if (top + ROW_HEIGHT + header > scrollTop + clientHeight) this.viewport.scrollTop = top + ROW_HEIGHT + header - clientHeight;
    this.table.classList.add("marking");
    this.draw();
  }

  /** @param {number} index @param {MouseEvent} event */
  click(index, event) {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    if (String(getSelection()) !== "") return;
    event.preventDefault();
    this.mark(index);
    this.enter();
  }

  enter() {
    const line = this.lines[this.marked];
    if (!line) return;
    if ("group" in line) this.fold(line.group, !line.isFolded);
    else this.actions.open(line.row);
  }

  /** @param {boolean} isFolded */
  foldMarked(isFolded) {
    for (let at = this.marked; at >= 0; at--) {
      const line = this.lines[at];
      if (line && "group" in line) {
        this.markedKey = keyOf(line);
        this.fold(line.group, isFolded);
        return;
      }
    }
  }

  /** @param {string} group @param {boolean} isFolded */
  fold(group, isFolded) {
    if (isFolded) this.options.folded.add(group);
    else this.options.folded.delete(group);
    this.update();
  }
}

/** @param {Line} line */
const keyOf = (line) => ("group" in line ? `group ${line.group}` : line.key);

/** Starts, ends and OOM kills of the last minutes. */
class Timeline {
  /** @param {(row: Row) => void} open */
  constructor(open) {
    this.open = open;
    this.marks = svg("svg", { class: "marks", role: "img", "aria-label": "Starts, ends and OOM kills of the last five minutes" });
    this.list = el("ol", { class: "events", "aria-label": "Latest events" });
    this.drawn = "";
    this.element = el("section", { class: "timeline", "aria-label": "Events" }, this.marks, this.list);
  }

  /** @param {Picture} picture */
  update(picture) {
    const now = picture.time;
    const recent = picture.events.filter((event) => event.time > now - TIMELINE * 1000);
    const shapes = { start: "M0 -4.5L4 3H-4Z", end: "M-3.2 -3.2H3.2V3.2H-3.2Z", oom: "M-4 -4L4 4M4 -4L-4 4" };
    const axis = [0, 60, 120, 180, 240, 300].map((age) => {
      const text = svg("text", { x: `${100 - (age / TIMELINE) * 100}%`, y: 30, "text-anchor": age === 0 ? "end" : age === TIMELINE ? "start" : "middle" });
      text.textContent = age === 0 ? "now" : `${age / 60} min`;
      return text;
    });
    const line = svg("line", { x1: "0", x2: "100%", y1: 18.5, y2: 18.5 });
    const marks = recent.map((event) => {
      const holder = svg("svg", { x: `${100 - ((now - event.time) / (TIMELINE * 1000)) * 100}%`, y: 10, overflow: "visible" });
      const title = svg("title");
      title.textContent = plain(`${clock(event.time)} ${event.name} ${WORDS[event.kind]} ${event.note}`);
      holder.append(svg("path", { class: event.kind, d: shapes[event.kind] }, title));
      return holder;
    });
    this.marks.replaceChildren(line, ...axis, ...marks);
    const latest = [...picture.events].sort((a, b) => b.time - a.time).slice(0, 40);
    const key = latest.map((event) => `${event.time}${event.kind}${event.name}${event.note}`).join();
    if (key === this.drawn) return;
    this.drawn = key;
    this.list.replaceChildren(...latest.map((event) => el("li", { class: event.kind, title: dateTime(event.time) },
      el("time", { text: clock(event.time) }), " ",
      el("a", { href: "#", tabindex: "-1", onclick: (/** @type {Event} */ click) => { click.preventDefault(); this.open({ id: event.id, name: event.name }); } }, event.name), " ",
      el("span", { class: "what", text: WORDS[event.kind] }), " ", el("span", { class: "note", text: event.note }))));
  }
}

/** @type {Record<string, string>} */
const WORDS = { start: "started", end: "ended", oom: "ran" };
