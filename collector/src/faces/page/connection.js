// The websocket to the daemon: keys, reconnection, and what its state is.

const WAITS = [500, 1000, 2000, 4000, 5000];

/** Where the daemon is: the page works below any path. */
export const BASE = new URL(document.documentElement.dataset.root || "./", location.href);

const STORED = "tare.key";

/** The value of `Authorization`; kept until the tab is closed. */
export const key = {
  get: () => sessionStorage.getItem(STORED),
  /** @param {string | null} value */
  set: (value) => (value === null ? sessionStorage.removeItem(STORED) : sessionStorage.setItem(STORED, value)),
};

/** @param {string} path @param {string | null} [authorization] */
export function request(path, authorization = key.get()) {
  const headers = authorization ? { Authorization: authorization } : undefined;
  // Without credentials the browser does not ask for a password by itself.
  return fetch(new URL(path, BASE), { headers, credentials: "omit", cache: "no-store" });
}

/** @param {string} text */
function base64(text) {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}

/** Tries a token, or `name:password`; whether the daemon accepts it. @param {string} secret */
export async function signIn(secret) {
  const keys = [`Bearer ${secret}`, ...(secret.includes(":") ? [`Basic ${base64(secret)}`] : [])];
  for (const one of keys) {
    const answer = await request("api/v1/host", one);
    if (answer.status !== 401) {
      key.set(one);
      return true;
    }
  }
  return false;
}

/**
 * @typedef {"connecting" | "open" | "waiting" | "locked" | "refused"} State
 * @typedef {{onmessage: (message: any) => void, onstate: (state: State, note: string) => void}} Listener
 */

export class Connection {
  /** @param {string} query @param {Listener} listener */
  constructor(query, listener) {
    this.query = query;
    this.listener = listener;
    this.failures = 0;
    this.isClosed = false;
    /** @type {WebSocket | null} */
    this.socket = null;
    /** @type {any} */
    this.timer = null;
    /** @type {any} */
    this.watchdog = null;
    this.open();
  }

  open() {
    const url = new URL(`api/v1/live${this.query}`, BASE);
    url.protocol = url.protocol.replace("http", "ws");
    const secret = key.get();
    const encoded = secret && base64(secret).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
    const socket = new WebSocket(url, ["tare.live.v1", ...(encoded ? [`authorization.tare.${encoded}`] : [])]);
    this.socket = socket;
    this.listener.onstate("connecting", "");
    let isOpened = false;
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      const message = JSON.parse(event.data);
      if (!isOpened) {
        isOpened = true;
        this.failures = 0;
        this.listener.onstate("open", "");
      }
      this.watch(message);
      this.listener.onmessage(message);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket || this.isClosed) return;
      this.socket = null;
      clearTimeout(this.watchdog);
      if (event.code === 1008) this.listener.onstate("locked", event.reason);
      else this.retry();
    };
  }

  /** A daemon that is silent for long is gone, whatever TCP says. @param {any} message */
  watch(message) {
    clearTimeout(this.watchdog);
    const seconds = (message.tare?.interval_seconds ?? message.interval_seconds ?? 1) * (message.every ?? 1);
    this.watchdog = setTimeout(() => this.restart(), 1000 * Math.max(10, 4 * seconds));
  }

  restart() {
    const socket = this.socket;
    this.socket = null;
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    socket?.close();
    if (!this.isClosed) this.open();
  }

  /** A failed websocket does not say why; a request does. */
  async retry() {
    const wait = WAITS[Math.min(this.failures++, WAITS.length - 1)] * (0.75 + Math.random() / 2);
    this.listener.onstate("waiting", "");
    clearTimeout(this.timer);
    this.timer = setTimeout(async () => {
      try {
        const answer = await request("api/v1/host");
        if (this.isClosed) return;
        if (answer.status === 401) {
          this.listener.onstate("locked", "");
          return;
        }
        if (answer.status === 421) {
          this.listener.onstate("refused", (await answer.json()).error);
          return;
        }
      } catch {
        // It is not there.
        if (!this.isClosed) this.retry();
        return;
      }
      this.open();
    }, wait);
  }

  close() {
    this.isClosed = true;
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.socket?.close();
    this.socket = null;
  }
}
