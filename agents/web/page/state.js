// Whether the page is connected, and whether what it shows is of now.

import { $, h } from "./dom.js";
import { setKey } from "./link.js";

const QUIET_S = 3;

export class StateLine {
  // again : called to connect anew
  constructor(again) {
    this.again = again;
    this.name = "connecting";
    this.known = null; // the newest status
    this.shown = false; // whether there are cells
    this.since = performance.now();
    setInterval(() => this.show(), 500);
    this.show();
  }

  link(name, { reason } = {}) {
    if (name === "connected") this.known = null;
    if (name === "connecting" && this.name !== "connecting") return; // still without a server
    if (name === "disconnected" && this.name === "locked") return;
    this.name = name;
    this.reason = reason;
    this.show();
  }

  status(message) {
    this.known = message;
    this.show();
  }

  frame() {
    this.heard = performance.now();
    this.shown = true;
    this.show();
  }

  show() {
    const [state, text] = this.words();
    const line = $("state");
    if (line.dataset.state !== state) line.dataset.state = state;
    if (line.lastChild.textContent !== text) line.lastChild.textContent = text;
    this.cover(state);
    if (this.known) $("source").textContent = this.known.source;
  }

  words() {
    if (this.name !== "connected") return [this.name, this.name];
    if (this.known?.unready) return ["behind", "behind"];
    if (!this.shown || (this.known && !Object.keys(this.known.robots).length)) return ["waiting", "waiting for a forecast"];
    const quiet = (performance.now() - this.heard) / 1e3;
    if (quiet > QUIET_S) return ["quiet", `nothing new for ${Math.round(quiet)} s`];
    return ["live", "live"];
  }

  cover(state) {
    if (state === "locked") {
      this.askForKey();
      return;
    }
    const [title, text] = {
      disconnected: ["Disconnected", `${this.reason ? `${this.reason}. ` : ""}The page connects again by itself. Click to try now.`],
      connecting: ["Connecting", ""],
      waiting: ["No forecast yet", this.known?.unready
        || "Cells appear with the first forecast; a robot has one after its first sweeps."],
    }[this.shown && state !== "disconnected" ? "" : state] || ["", ""];
    if (this.covered === title + text) return;
    this.covered = title + text;
    $("cover").replaceChildren(...(title ? [h("h2", {}, title), h("p.muted", {}, text)] : []));
  }

  askForKey() {
    if (this.covered === "locked") return;
    this.covered = "locked";
    const key = h("input", { type: "password", "aria-label": "Key", autocomplete: "off", required: true });
    $("cover").replaceChildren(h("h2", {}, "A key is needed"), h("p.muted", {}, "This server answers only who has one of its keys."),
      h("form.row", {
        onsubmit: (event) => {
          event.preventDefault();
          setKey(key.value.trim());
          this.again();
        },
      }, key, h("button.main", { type: "submit" }, "Open")));
    key.focus();
  }
}
