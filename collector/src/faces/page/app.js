// The page of Tare: the list at `./`, and a page for each container at `./c/NAME`.

import { BASE, Connection } from "./connection.js";
import { Header, askForKey, showHelp, showSources } from "./frame.js";
import { plain } from "./format.js";
import { List } from "./list.js";
import { Picture } from "./picture.js";

/**
 * @typedef {import("./picture.js").Row} Row
 * @typedef {import("./detail.js").Detail} Detail
 */

/** The list needs no charts: they are loaded when nothing else is to be done. */
const charts = () => import("./detail.js");

const EVERY = [1, 2, 5, 10, 30, 60];

const picture = new Picture();
let every = 1;
let isPaused = false;
let isDrawing = false;
/** @type {Connection | null} */
let connection = null;
/** @type {Detail | null} */
let detail = null;

/** The address of a container. @param {Row} row */
const path = (row) => `c/${encodeURIComponent(row.name && row.kind !== "other" ? row.name : row.id)}`;
/** @param {Row} row */
const href = (row) => BASE.pathname + path(row);

const header = new Header({ home: () => go(""), pause, sources: () => showSources(picture), help: showHelp });
const list = new List(picture, { href, open: (row) => go(path(row)), changed: remember });
document.querySelector("header")?.replaceWith(header.element);

/** Opens a part of the page. @param {string} to */
function go(to) {
  history.pushState(null, "", new URL(to || ".", BASE));
  route();
}

/** Shows what the address says. */
function route() {
  const address = location.pathname;
  const rest = address.slice(BASE.pathname.length);
  const name = rest.startsWith("c/") ? decodeURIComponent(rest.slice(2)) : null;
  detail?.destroy();
  detail = null;
  picture.clear();
  if (name === null) {
    recall();
    document.title = "Tare";
    document.querySelector("main")?.replaceWith(list.element);
    list.prefilled.clear();
    list.update();
  } else {
    document.title = plain(`${name} · Tare`);
    charts().then(({ Detail }) => {
      if (address !== location.pathname || detail) return;
      detail = new Detail(name, picture, () => go(""));
      document.querySelector("main")?.replaceWith(detail.element);
      detail.title.focus({ preventScroll: true });
      detail.apply();
      draw();
    });
  }
  connect(name);
}

/** @param {string | null} name */
function connect(name) {
  connection?.close();
  const query = new URLSearchParams();
  if (name !== null) query.set("container", name);
  if (every > 1) query.set("every", String(every));
  const text = query.toString();
  connection = new Connection(text && `?${text}`, {
    onmessage(message) {
      picture.apply(message);
      if (message.type !== "skipped") detail?.apply();
      draw();
    },
    onstate(state, note) {
      header.state(state, note);
      document.body.classList.toggle("stale", state !== "open" && picture.hasData);
      if (state === "locked") askForKey(note, () => { connection?.restart(); detail?.load(); });
    },
  });
}

/** Draws once per frame at most, and not at all while nobody looks. */
function draw() {
  if (isDrawing || isPaused) return;
  isDrawing = true;
  requestAnimationFrame(() => {
    isDrawing = false;
    const begun = performance.now();
    header.update(picture, isPaused);
    if (detail) detail.update();
    else list.update();
    document.body.dataset.drawMs = (performance.now() - begun).toFixed(1);
  });
}

function pause() {
  isPaused = !isPaused;
  header.update(picture, isPaused);
  if (!isPaused) draw();
}

/** @param {number} step */
function changeInterval(step) {
  const at = Math.max(0, Math.min(EVERY.length - 1, EVERY.indexOf(every) + step));
  if (EVERY[at] === every) return;
  every = EVERY[at];
  route();
}

/** What the list shows is part of the address, so that it can be shared. */
function remember() {
  const { options, isEnded } = list;
  const query = new URLSearchParams();
  if (isEnded) query.set("ended", "");
  if (options.sort !== (isEnded ? "ended" : "cpu")) query.set("sort", options.sort);
  if (options.isReversed) query.set("reverse", "");
  if (options.filter) query.set("filter", options.filter);
  if (options.isTree) query.set("tree", "");
  const text = query.toString().replace(/=(?=&|$)/g, "");
  history.replaceState(null, "", new URL(text ? `?${text}` : ".", BASE));
}

function recall() {
  const query = new URLSearchParams(location.search);
  const isEnded = query.has("ended");
  if (isEnded !== list.isEnded) list.setEnded(isEnded);
  Object.assign(list.options, {
    sort: query.get("sort") ?? (isEnded ? "ended" : "cpu"),
    isReversed: query.has("reverse"),
    filter: query.get("filter") ?? "",
    isTree: query.has("tree"),
  });
  list.filter.value = list.options.filter;
}

/** Keys as in `tare top`. @type {Record<string, () => void>} */
const LIST_KEYS = {
  ArrowUp: () => list.move(-1), k: () => list.move(-1), ArrowDown: () => list.move(1), j: () => list.move(1),
  PageUp: () => list.page(-1), PageDown: () => list.page(1),
  Home: () => list.mark(0), g: () => list.mark(0), End: () => list.mark(Infinity), G: () => list.mark(Infinity),
  ArrowLeft: () => list.foldMarked(true), ArrowRight: () => list.foldMarked(false),
  Enter: () => list.enter(),
  "/": () => list.filter.focus(),
  t: () => list.set({ isTree: !list.options.isTree }),
  e: () => list.setEnded(!list.isEnded),
  ">": () => list.sortNext(1), "<": () => list.sortNext(-1),
  I: () => list.set({ isReversed: !list.options.isReversed }), r: () => list.set({ isReversed: !list.options.isReversed }),
  N: () => list.sortBy("name"), P: () => list.sortBy("cpu"), C: () => list.sortBy("cpu"), M: () => list.sortBy("memory"),
  W: () => list.sortBy("network"), B: () => list.sortBy("block"), T: () => list.sortBy("pids"),
  Escape: () => list.set({ filter: "" }),
};

/** @type {Record<string, () => void>} */
const DETAIL_KEYS = {
  Escape: () => go(""), Backspace: () => go(""),
  "[": () => detail?.span.pan(-0.5), "]": () => detail?.span.pan(0.5), End: () => detail?.span.pan(Infinity), "@": () => detail?.span.input.focus(),
};

/** @type {Record<string, () => void>} */
const COMMON_KEYS = {
  " ": pause, "+": () => changeInterval(1), "=": () => changeInterval(1), "-": () => changeInterval(-1),
  "?": showHelp, h: showHelp, i: () => showSources(picture),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.tagName === "INPUT") {
    if (event.key === "Escape" && !detail) list.set({ filter: "" });
    if (["Escape", "Enter", ...(detail ? [] : ["ArrowDown"])].includes(event.key)) {
      event.preventDefault();
      target.blur();
      if (!detail) list.table.focus({ preventScroll: true });
    }
    return;
  }
  // A button or a link has its own use of these.
  if (["Enter", " "].includes(event.key) && ["BUTTON", "A"].includes(target.tagName)) return;
  const action = COMMON_KEYS[event.key] ?? (detail ? DETAIL_KEYS : LIST_KEYS)[event.key];
  if (!action) return;
  event.preventDefault();
  action();
});

document.addEventListener("visibilitychange", () => !document.hidden && picture.hasData && draw());
addEventListener("popstate", route);
route();
setTimeout(charts, 3000);
