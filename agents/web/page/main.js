// The live page: puts its parts together.

import { CellPanel } from "./cell.js";
import { Controls } from "./controls.js";
import { $, h } from "./dom.js";
import { EventsPanel, nameOf } from "./events.js";
import { place } from "./frames.js";
import { LabelPanel } from "./labels.js";
import { Link } from "./link.js";
import { Look } from "./look.js";
import { ModelsPanel } from "./models.js";
import { Scene } from "./scene.js";
import { ScoresPanel } from "./scores.js";
import { StateLine } from "./state.js";
import { SystemPanel } from "./system.js";
import { Tabs } from "./tabs.js";
import { Theme } from "./theme.js";
import { Timeline } from "./timeline.js";

const TOAST_MS = 7000;
const MOST_TOASTS = 3;
const STORY_MS = 1000;

let hello = null, board = null, status = null;
const scene = makeScene();
const state = new StateLine(() => link.now());
const look = new Look(scene, { watch, cleared: () => select(null) });
const timeline = new Timeline({
  watch,
  past: (stamp, step) => link.send({ kind: "past", stamp_ns: String(stamp), step }),
});
const link = new Link(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`, {
  state: linkState, frame: newest, past, message: (message) => take[message.kind]?.(message),
});
const scores = new ScoresPanel(flyTo);
const models = new ModelsPanel();
const cell = new CellPanel({
  fly: flyTo,
  queue(id) {
    tabs.open("labels");
    labels.choose([id]);
  },
});
const events = new EventsPanel({
  fly: flyTo,
  alarm: (event, text) => toast(`${nameOf(event)}: ${text}`, "var(--bad)", event.place),
  promoted: (event, text) => toast(`${nameOf(event)}: ${text}`, "var(--good)"),
  unread: (count) => tabs.badge("events", count),
});
const system = new SystemPanel(scene, link);
const labels = new LabelPanel(scene, {
  mode: labelMode, say: toast, fly: flyTo, region: (region) => link.send({ kind: "region", region }),
});
const controls = new Controls(scene, { pick: picked, box: boxed, hover: hovered });
const tabs = new Tabs({
  cell: { name: "Cell", element: cell.element },
  scores: { name: "Scores", element: scores.element },
  models: { name: "Models", element: models.element },
  events: { name: "Alarms", element: events.element },
  system: { name: "System", element: system.element },
  labels: { name: "Label", element: labels.element },
}, opened);
new Theme((theme) => {
  scene.set({ theme });
  look.show();
});

function makeScene() {
  try {
    if (!("DecompressionStream" in window)) throw new Error("This browser is too old: it cannot inflate what the server sends.");
    return new Scene($("map"));
  } catch (error) {
    $("cover").replaceChildren(h("h2", {}, "No map"), h("p.muted", {}, error.message));
    throw error;
  }
}

// ---- what comes ---------------------------------------------------------------------------------------------

const take = {
  hello(message) {
    hello = message;
    look.begin(message);
    look.setRobots(message.robots);
    if (!timeline.live) timeline.goLive();
    watch();
  },
  status(message) {
    status = message;
    look.setRobots(Object.keys(message.robots));
    state.status(message);
    const own = message.robots[look.robot];
    scene.setPath(own ? own.path : []);
    timeline.setRange(own?.tape ?? null);
    timeline.setTicks(events.alarms().map((event) => ({ stampNs: BigInt(event.stamp_ns) })));
    if (tabs.now === "system") system.show(message, look.robot);
  },
  board(message) {
    board = message;
    labels.setWanted(message.wanted);
    if (tabs.now === "scores") scores.show(board);
    if (tabs.now === "models") models.show(board);
  },
  news: (message) => events.take(message),
  cell: (story) => cell.show(story),
  region(message) {
    labels.choose(message.cells.map(BigInt), { only: true });
    if (!message.cells.length) toast("The robot knows no cell of this region now.");
  },
  no_past: () => timeline.answered(),
  error: (message) => toast(message.detail, "var(--bad)"),
};

function linkState(name, more) {
  state.link(name, more);
  if (name === "disconnected") timeline.answered();
}

function newest(frame) {
  if (timeline.live) show(frame);
}

function past(frame) {
  if (!timeline.live) show(frame);
  timeline.answered();
}

function show(frame) {
  if (hello === null || frame.robot !== look.robot) return;
  scene.setFrame(place(frame, hello.grid.half_edge_lod0_m));
  look.setFrame(frame);
  state.frame();
  timeline.shown(frame);
}

function watch() {
  if (!look.robot || !hello) return;
  link.send({ kind: "watch", robot: look.robot, level: look.level, live: timeline.live });
  if (!timeline.live) timeline.want(null);
}

// ---- what is chosen -----------------------------------------------------------------------------------------

function select(id) {
  cell.id = id;
  scene.mark({ picked: id });
  if (id === null) cell.clear();
  else link.send({ kind: "cell", cell_id: String(id) });
}

function picked(row) {
  const id = row < 0 ? null : scene.frame.id[row];
  if (labels.active) {
    if (id !== null) labels.chooseRows([row], { toggle: true });
    return;
  }
  select(id);
  if (id !== null) tabs.open("cell");
}

function boxed(rows, { remove }) {
  labels.chooseRows(rows, { remove });
}

function hovered(row) {
  const id = row < 0 ? null : scene.frame.id[row];
  if (id !== scene.marked.hovered) scene.mark({ hovered: id });
}

function labelMode(active) {
  controls.boxing = active;
  $("map").classList.toggle("aiming", active);
}

function flyTo(to) {
  if (scene.follow) controls.toggleFollow();
  scene.fly({ target: to.centre, distance: Math.max(8, to.radius_m * 4), pitch: 0.75 });
  $("map").focus({ preventScroll: true });
}

function opened(key) {
  labels.setActive(key === "labels");
  events.seen(key === "events");
  if (key === "scores") scores.show(board);
  if (key === "models") models.show(board);
  if (key === "system" && status) system.show(status, look.robot);
}

setInterval(() => {
  if (cell.id !== null && tabs.now === "cell" && timeline.live) link.send({ kind: "cell", cell_id: String(cell.id) });
}, STORY_MS);

// ---- words and keys -----------------------------------------------------------------------------------------

function toast(text, tone = "var(--accent)", to = null) {
  const note = h("div.toast", { style: { "--tone": tone } }, h("p", {}, text),
    to ? h("button.fly", { type: "button", onclick: () => flyTo(to) }, "Show") : null);
  $("toasts").append(note);
  while ($("toasts").children.length > MOST_TOASTS) $("toasts").firstChild.remove();
  setTimeout(() => note.remove(), TOAST_MS);
}

const KEYS = {
  f: () => scene.fit(), t: () => scene.fromAbove(), r: () => controls.toggleFollow(), l: () => timeline.goLive(),
  " ": () => timeline.toggle(), ",": () => timeline.step(-1), ".": () => timeline.step(1), Escape: () => select(null),
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input:not([type=range]), select, textarea")) return;
  if (event.key === " " && event.target.closest("button, summary")) return;
  if (labels.active && /^[1-9]$/.test(event.key)) labels.pressed(event.key);
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

$("cover").addEventListener("click", (event) => event.target.closest("form") || link.now());

window.octastream = { scene, link, timeline, labels, look }; // for the console, and for tests
