// What is around the list and the pages of containers: the host, the state of the connection, dialogs.

import { signIn } from "./connection.js";
import { Sparkline, el, setAttribute, setText } from "./dom.js";
import { UNKNOWN, count, dateTime, duration, known, memory, percent } from "./format.js";

/** @typedef {import("./picture.js").Picture} Picture */

const KEYS = [
  ["↑ ↓ PgUp PgDn Home End", "move (also j, k, g, G)"],
  ["Enter", "open a container; fold a group"],
  ["Esc", "back; remove the filter"],
  ["/", "filter by name, image, pod, project, id or cgroup"],
  ["t", "tree: by pod, Compose project or cgroup; ← → fold"],
  ["> <", "sort by the next column"],
  ["P M W B T N", "sort by CPU, memory, network, block, tasks, name"],
  ["I r", "reverse the order"],
  ["e", "containers that ended, with their last totals"],
  ["Space", "pause"],
  ["+ -", "longer or shorter interval"],
  ["[ ] End @", "charts: earlier, later, now, at a time"],
  ["i", "where the numbers come from"],
  ["?", "this help"],
];

const SIGNS = [
  [UNKNOWN, "unknown; pointing at it says why"],
  ["*", "on the host's network: bytes at the container's own sockets"],
  ["100 % CPU", "one CPU fully used"],
  ["Pressure", "share of the last 10 s in which some task waited: the worst of CPU, memory and I/O"],
];

/** One figure of the host. */
class Figure {
  /** @param {string} title @param {string} [hint] */
  constructor(title, hint = "") {
    this.value = el("span", { class: "value", text: UNKNOWN });
    this.note = el("span", { class: "note" });
    this.bar = el("i");
    this.meter = el("span", { class: "meter", "aria-hidden": "true" }, this.bar);
    this.element = el("div", { class: "figure", title: hint },
      el("dt", { text: title }), el("dd", {}, this.value, " ", this.note, this.meter));
  }

  /** @param {string} value @param {string} note @param {number | undefined} [share] from 0 to 1 */
  set(value, note, share) {
    setText(this.value, value);
    setText(this.note, note);
    this.meter.hidden = share === undefined;
    if (share !== undefined) {
      this.bar.style.width = `${Math.min(100, share * 100).toFixed(1)}%`;
      setAttribute(this.meter, "data-level", share > 0.95 ? "high" : share > 0.8 ? "raised" : null);
    }
  }
}

export class Header {
  /** @param {{home: () => void, pause: () => void, sources: () => void, help: () => void}} actions */
  constructor(actions) {
    this.status = el("span", { class: "status", role: "status" });
    this.pause = el("button", { type: "button", onclick: actions.pause, "aria-pressed": "false", title: "Space" }, "Pause");
    this.host = el("span", { class: "host" });
    this.system = el("span", { class: "system" });
    this.cpu = new Figure("CPU", "of all CPUs; 100 % is one CPU fully used");
    this.spark = new Sparkline("wide");
    this.cpu.element.append(this.spark.element);
    this.memory = new Figure("Memory", "in use, without what can be freed at once");
    this.load = new Figure("Load", "tasks that ran or waited uninterruptibly, over 1, 5 and 15 minutes");
    this.pressure = new Figure("Pressure", "share of the last 10 s in which some task waited for CPU, memory, I/O");
    this.containers = new Figure("Containers");
    this.own = new Figure("Tare itself", "CPU and resident memory of the daemon that serves this page");
    const figures = [this.cpu, this.memory, this.load, this.pressure, this.containers, this.own];
    this.element = el("header", {},
      el("div", { class: "top" },
        el("a", { class: "brand", href: "./", onclick: (/** @type {MouseEvent} */ event) => { event.preventDefault(); actions.home(); } }, "tare"),
        this.host, this.system, this.status,
        el("span", { class: "buttons" }, this.pause,
          el("button", { type: "button", onclick: actions.sources, title: "i" }, "Sources"),
          el("button", { type: "button", onclick: actions.help, title: "?" }, "Keys"))),
      el("dl", { class: "figures", "aria-label": "Host" }, ...figures.map((figure) => figure.element)));
  }

  /** @param {Picture} picture @param {boolean} isPaused */
  update(picture, isPaused) {
    const { host = {}, tare = {} } = picture.frame;
    setText(this.host, host.hostname ?? "");
    setText(this.system, [host.os_name, host.kernel && `Linux ${host.kernel}`, known(host.uptime_seconds) && `up ${duration(host.uptime_seconds)}`].filter(Boolean).join(" · "));
    const all = known(host.online_cpus) ? host.online_cpus * 100 : undefined;
    this.cpu.set(percent(host.cpu_percent), all ? `of ${all} %` : "", all && known(host.cpu_percent) ? host.cpu_percent / all : undefined);
    this.spark.draw(picture.own.host, all ?? 100);
    const used = host.memory_bytes - host.memory_available_bytes;
    this.memory.set(memory(used), `of ${memory(host.memory_bytes)}`, known(used) ? used / host.memory_bytes : undefined);
    const load = host.load_average;
    this.load.set(load ? load[0].toFixed(2) : UNKNOWN, load ? `${load[1].toFixed(2)} ${load[2].toFixed(2)}` : "");
    const waits = ["cpu", "memory", "io"].map((kind) => host.pressure?.[kind]?.some_avg10_percent);
    const worst = Math.max(...waits.filter(known));
    this.pressure.set(Number.isFinite(worst) ? percent(worst) : UNKNOWN, waits.some(known) ? waits.map((wait) => percent(wait).replace(" %", "")).join(" · ") : "not accounted");
    this.containers.set(picture.rows.size ? count(picture.rows.size) : picture.one.container ? "1" : "0", picture.ended.size ? `${count(picture.ended.size)} ended` : "");
    this.own.set(percent(picture.own.tare), memory(tare.resident_bytes));
    this.own.element.title = ownCost(tare);
    setAttribute(this.pause, "aria-pressed", String(isPaused));
    setText(this.pause, isPaused ? "Resume" : "Pause");
  }

  /** @param {import("./connection.js").State} state @param {string} note */
  state(state, note) {
    const texts = { open: "live", connecting: "connecting…", waiting: "reconnecting…", locked: "a key is needed", refused: note };
    setText(this.status, texts[state]);
    this.status.dataset.state = state;
  }
}

/** @param {any} tare */
function ownCost(tare) {
  const lines = [
    "CPU and resident memory of the daemon that serves this page",
    known(tare.sample_seconds) && `the last sample took ${duration(tare.sample_seconds)} of every ${duration(tare.interval_seconds)}`,
    known(tare.bpf_percent) && `its programs in the kernel: ${tare.bpf_percent.toFixed(3)} % of a CPU while measured`,
    known(tare.bpf_bytes) && `their maps: ${memory(tare.bpf_bytes)}`,
    known(tare.history_bytes) && `history: ${memory(tare.history_bytes)}`,
  ];
  return lines.filter(Boolean).join("\n");
}

/** @param {string} title @param {...Node} children */
function dialog(title, ...children) {
  const close = el("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => box.close() }, "×");
  const box = el("dialog", { "aria-label": title }, el("h2", { text: title }), close, ...children);
  box.addEventListener("close", () => box.remove());
  box.addEventListener("click", (/** @type {MouseEvent} */ event) => event.target === box && box.close());
  document.body.append(box);
  box.showModal();
  return box;
}

export function showHelp() {
  const list = (/** @type {string[][]} */ rows) => el("dl", { class: "keys" }, ...rows.flatMap(([key, what]) => [el("dt", { text: key }), el("dd", { text: what })]));
  dialog("Keys", list(KEYS), el("h3", { text: "Signs" }), list(SIGNS));
}

/** @param {Picture} picture */
export function showSources(picture) {
  const { tare = {} } = picture.frame;
  dialog("Where the numbers come from", sourcesTable(picture.frame.sources ?? {}),
    el("h3", { text: "What Tare itself costs" }),
    el("p", { class: "lines", text: `${percent(picture.own.tare)} of a CPU and ${memory(tare.resident_bytes)}\n${ownCost(tare).split("\n").slice(1).join("\n")}` }),
    el("p", { class: "note", text: `Tare ${tare.version ?? ""}, running since ${dateTime(tare.started_at)}` }));
}

/** @param {any} sources */
export function sourcesTable(sources) {
  const rows = Object.entries(sources).map(([family, source]) => el("tr", {},
    el("th", { scope: "row", text: family.replaceAll("_", " ") }),
    el("td", {}, el("span", { class: "chip", "data-state": source.state, text: source.state })),
    el("td", {}, el("code", { text: source.source ?? UNKNOWN })),
    el("td", { class: "reason", text: source.reason ?? "" })));
  const titles = ["Numbers", "State", "Source", "Why not better"];
  return el("div", { class: "scroll" }, el("table", { class: "plain sources" },
    el("thead", {}, el("tr", {}, ...titles.map((text) => el("th", { scope: "col", text })))),
    el("tbody", {}, ...rows)));
}

/** Asks for a key until the daemon accepts one. @param {string} note @param {() => void} accepted */
export function askForKey(note, accepted) {
  if (document.querySelector("dialog.login")) return;
  const input = el("input", { type: "password", id: "key", autocomplete: "current-password", required: true });
  const message = el("p", { class: "error", role: "alert", text: note });
  const submit = async (/** @type {Event} */ event) => {
    event.preventDefault();
    setText(message, "");
    try {
      if (await signIn(input.value)) {
        box.close();
        accepted();
        return;
      }
      setText(message, "The daemon does not accept it.");
    } catch {
      setText(message, "The daemon does not answer.");
    }
    input.select();
  };
  const box = dialog("This daemon needs a key",
    el("form", { onsubmit: submit },
      el("label", { for: "key", text: "Token, or name:password" }), input,
      el("button", { type: "submit" }, "Open"), message,
      el("p", { class: "note", text: "It is kept until this tab is closed, and sent to this daemon only." })));
  box.classList.add("login");
  box.addEventListener("cancel", (/** @type {Event} */ event) => event.preventDefault());
  input.focus();
}
