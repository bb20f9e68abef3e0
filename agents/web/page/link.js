// The WebSocket: connects again by itself, and turns what comes into calls.

import { decodeFrame } from "./frames.js";

const FIRST_WAIT_MS = 500;
const MOST_WAIT_MS = 8000;
const PING_MS = 5000;
const PROTOCOL = "octastream";

export class Link {
  // on : {state, frame, past, message}, all called with plain values
  constructor(url, on) {
    this.url = url;
    this.on = on;
    this.wait = FIRST_WAIT_MS;
    this.bytes = 0;
    this.frames = 0;
    this.roundTripMs = null;
    this.pending = []; // frames that wait while another one is unpacked: of now and of the past, one each
    this.unpacking = false;
    this.socket = null;
    setInterval(() => this.send({ kind: "ping", at: performance.now() }), PING_MS);
    window.addEventListener("online", () => this.now());
    document.addEventListener("visibilitychange", () => document.hidden || this.now());
    this.open();
  }

  open() {
    this.timer = null;
    this.on.state("connecting");
    const socket = new WebSocket(this.url, protocols());
    this.socket = socket;
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      this.wait = FIRST_WAIT_MS;
      this.pending = [];
      this.on.state("connected");
      this.send({ kind: "ping", at: performance.now() });
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = (event) => {
      if (socket !== this.socket) return;
      this.on.state("disconnected", { reason: event.reason });
      askForKey(() => this.on.state("locked"));
      this.timer = setTimeout(() => this.open(), this.wait);
      this.wait = Math.min(this.wait * 1.7, MOST_WAIT_MS);
    };
  }

  // Try now instead of waiting any longer.
  now() {
    if (this.timer === null) return;
    clearTimeout(this.timer);
    this.open();
  }

  get connected() {
    return this.socket !== null && this.socket.readyState === WebSocket.OPEN;
  }

  send(values) {
    if (this.connected) this.socket.send(JSON.stringify(values));
  }

  take(data) {
    if (typeof data === "string") {
      this.bytes += data.length;
      const message = JSON.parse(data);
      if (message.kind === "pong") this.roundTripMs = performance.now() - message.at;
      else this.on.message(message);
      return;
    }
    this.bytes += data.byteLength;
    this.frames += 1;
    this.pending = this.pending.filter((other) => kindOf(other) !== kindOf(data)); // it is older
    this.pending.push(data);
    if (!this.unpacking) this.unpack();
  }

  async unpack() {
    this.unpacking = true;
    while (this.pending.length) {
      const frame = await decodeFrame(this.pending.shift());
      (frame.past ? this.on.past : this.on.frame)(frame);
    }
    this.unpacking = false;
  }
}

function kindOf(data) {
  return new DataView(data).getUint32(0, true);
}

// ---- the key, where the server wants one: kept as long as the window is open ---------------------------------

export function setKey(key) {
  sessionStorage.setItem("key", key);
}

export function keyHeaders() {
  const key = sessionStorage.getItem("key");
  return key ? { "X-API-Key": key } : {};
}

// Browsers can name protocols of a WebSocket, but no headers.
function protocols() {
  const key = sessionStorage.getItem("key");
  if (!key) return [PROTOCOL];
  const text = btoa(String.fromCharCode(...new TextEncoder().encode(key)));
  return [PROTOCOL, `${PROTOCOL}.key.${text.replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "")}`];
}

// A refused WebSocket does not say why; another question does.
async function askForKey(locked) {
  try {
    const answer = await fetch("/openapi.json", { method: "HEAD", headers: keyHeaders() });
    if (answer.status === 401) locked();
  } catch {
    // no server: the page says so already
  }
}
