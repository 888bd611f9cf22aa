// Numbers and times as people read them. `null` and `undefined` are unknown.

export const UNKNOWN = "–";

/** @param {any} value */
export const known = (value) => value !== null && value !== undefined && !Number.isNaN(value);

/** What moves or hides other text: control characters, and those that change its direction. */
// oxlint-disable-next-line no-control-regex
const UNSEEN = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g;

/** A text from elsewhere with what cannot be seen written out. @param {string} text */
export const plain = (text) => text.replace(UNSEEN, (one) => `\\u{${one.charCodeAt(0).toString(16)}}`);

/** Three digits at most, so that columns stay still. @param {number} value */
function short(value) {
  if (value >= 99.95) return String(Math.round(value));
  if (value >= 9.995) return value.toFixed(1);
  return value.toFixed(value === 0 ? 0 : 2);
}

/** @param {any} value @param {string[]} units @param {number} step */
function scaled(value, units, step) {
  if (!known(value)) return UNKNOWN;
  let index = 0;
  let size = Math.abs(value);
  while (size >= 999.5 && index < units.length - 1) {
    size /= step;
    index++;
  }
  const digits = index === 0 ? String(Math.round(size)) : short(size);
  return `${value < 0 ? "-" : ""}${digits} ${units[index]}`;
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB"];

/** Memory. @param {any} value */
export const memory = (value) => scaled(value, BINARY, 1024);

/** Bytes of I/O. @param {any} value */
export const bytes = (value) => scaled(value, DECIMAL, 1000);

/** Bytes per second. @param {any} value */
export const rate = (value) => (known(value) ? `${bytes(value)}/s` : UNKNOWN);

/** @param {any} value */
export function percent(value) {
  if (!known(value)) return UNKNOWN;
  if (value === 0) return "0 %";
  return `${value >= 99.95 ? Math.round(value) : value.toFixed(value < 9.995 ? 2 : 1)} %`;
}

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

/** @param {any} value */
export const count = (value) => (known(value) ? WHOLE.format(value) : UNKNOWN);

/** @param {any} seconds */
export function duration(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds < 0) return "0 s";
  if (seconds < 0.0995) return `${short(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const units = /** @type {[string, number][]} */ ([["d", 86400], ["h", 3600], ["min", 60], ["s", 1]]);
  const first = units.findIndex(([, length]) => whole >= length);
  const [unit, length] = units[first];
  const rest = first < 3 ? Math.floor((whole % length) / units[first + 1][1]) : 0;
  const head = `${Math.floor(whole / length)} ${unit}`;
  return rest > 0 && whole < 10 * length ? `${head} ${rest} ${units[first + 1][0]}` : head;
}

/** A short time such as that of a block operation. @param {any} seconds */
export function latency(seconds) {
  if (!known(seconds)) return UNKNOWN;
  if (seconds === Infinity) return "∞";
  if (seconds < 0.001) return `${short(seconds * 1e6)} µs`;
  return duration(seconds);
}

/** @param {any} time RFC 3339, or milliseconds */
export function clock(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? UNKNOWN : date.toLocaleTimeString("en-GB");
}

/** @param {any} time */
export function dateTime(time) {
  const date = new Date(time);
  return Number.isNaN(date.getTime()) ? UNKNOWN : `${date.toLocaleDateString("en-CA")} ${clock(time)}`;
}
