// The panel of alarms and events; who looks at one flies to its region.

import { clockOf, h, number } from "./dom.js";

const MOST = 300;
const SHOWN = 120;
const NEWS = { promoted: "A model was promoted", rolled_back: "A model was rolled back", rejected: "A challenger was rejected" };
const QUIET = new Set(["published", "activated", "trained"]); // each sweep in process: hidden unless asked for
const BY_PLAN = new Set(["amount", "time"]); // so are trainings that nothing but a plan has caused
const HIDDEN = new Set(["event", "stamp_ns", "number", "alarm", "place", "robot_id", "region", "cell_id", "cell"]);

export class EventsPanel {
  // on : {fly(place), alarm(event, text), promoted(event, text), unread(count)}
  constructor(on) {
    this.on = on;
    this.events = [];
    this.pass = null;
    this.unread = 0;
    this.open = false;
    this.filter = "important";
    this.element = h("div");
    this.items = h("ol.list");
    this.none = h("p.empty");
    const choices = [["important", "Important"], ["alarms", "Alarms"], ["all", "All"]];
    this.element.append(
      h("h2", {}, "Alarms and events"),
      h("fieldset.choice", { style: { margin: "8px 0" } }, h("legend.sr", {}, "Show"), ...choices.map(([key, name]) => {
        const input = h("input", { type: "radio", name: "events", value: key, checked: key === this.filter });
        input.addEventListener("change", () => {
          this.filter = key;
          this.show();
        });
        return h("label", {}, input, h("span", {}, name));
      })),
      this.none, this.items,
    );
    this.show();
  }

  // first : what had happened before the page was opened is no news
  take({ pass, after, events }) {
    const first = this.pass === null || after === 0;
    if (pass !== this.pass) this.events = [];
    this.pass = pass;
    const known = this.events.length ? this.events[0].number : 0;
    const fresh = events.filter((event) => event.number > known);
    this.events = [...fresh.reverse(), ...this.events].slice(0, MOST);
    if (!first) fresh.reverse().forEach((event) => this.tell(event));
    if (fresh.length) this.show();
  }

  tell(event) {
    const text = textOf(event);
    if (event.alarm) {
      if (!this.open) this.unread += 1;
      this.on.alarm(event, text);
    } else if (event.event === "promoted") this.on.promoted(event, text);
    this.on.unread(this.unread);
  }

  seen(open) {
    this.open = open;
    if (open) this.unread = 0;
    if (open) this.show();
  }

  alarms() {
    return this.events.filter((event) => event.alarm);
  }

  show() {
    if (!this.open && this.events.length) return;
    const wanted = this.events.filter((event) => this.filter === "all" || event.alarm
      || (this.filter === "important" && !isQuiet(event))).slice(0, SHOWN);
    this.items.replaceChildren(...wanted.map((event) => this.row(event)));
    this.none.hidden = wanted.length > 0;
    this.none.textContent = this.events.length ? "None of this kind." : "Nothing has happened yet.";
  }

  row(event) {
    const kind = event.alarm ? ".alarm" : event.event === "promoted" ? ".promoted" : "";
    return h(`li${kind}`, {},
      h("div.head", {}, h("b", {}, nameOf(event)), h("span.muted.num", {}, clockOf(BigInt(event.stamp_ns))),
        event.place ? h("button.fly", { type: "button", onclick: () => this.on.fly(event.place) }, "Show") : null),
      h("p", {}, textOf(event)));
  }
}

function isQuiet(event) {
  return QUIET.has(event.event) || (event.event === "triggered" && BY_PLAN.has(event.when));
}

export function nameOf(event) {
  return NEWS[event.event] || `${event.event[0].toUpperCase()}${event.event.slice(1).replaceAll("_", " ")}`;
}

function textOf(event) {
  if (event.event === "drift" && event.before !== undefined) {
    return `log loss ${number(event.before)} → ${number(event.loss)} ${event.region ? "in a region" : "of the stream"}, told by ${event.detector} after ${event.sweeps} sweeps of ${event.cells} cells · ${event.stream_id}`;
  }
  const parts = event.robot_id ? [event.robot_id] : [];
  for (const [key, value] of Object.entries(event)) {
    if (HIDDEN.has(key) || value === "" || value === null) continue;
    const shown = typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value;
    const text = typeof shown === "object" ? JSON.stringify(shown) : String(shown);
    parts.push(`${key.replaceAll("_", " ")} ${text.length > 90 ? `${text.slice(0, 88)}…` : text}`);
  }
  return parts.join(" · ");
}
