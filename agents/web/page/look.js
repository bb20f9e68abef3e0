// What is looked at: robot, colour, horizon, level; and the legend.

import { MODES, legendOf, unknownColour } from "./colour.js";
import { $, ahead, h, whole } from "./dom.js";

export class Look {
  // on : {watch, cleared}: another robot or level is wanted; another robot is looked at
  constructor(scene, on) {
    this.scene = scene;
    this.on = on;
    this.robot = null;
    this.level = null;
    this.robots = "";
    for (const [mode, { name, hint }] of Object.entries(MODES)) {
      const input = h("input", { type: "radio", name: "mode", value: mode, checked: mode === scene.mode });
      input.addEventListener("change", () => this.setMode(mode));
      $("modes").append(h("label", { title: hint }, input, h("span", {}, name)));
    }
    $("horizon").addEventListener("change", () => {
      scene.set({ horizon: Number($("horizon").value) });
      this.show();
    });
    $("level").addEventListener("change", () => {
      this.level = levelOf($("level").value);
      on.watch();
    });
    $("robot").addEventListener("change", () => {
      this.robot = $("robot").value;
      this.other();
    });
    if (matchMedia("(max-width: 560px)").matches) $("look").open = false;
    this.show();
  }

  begin(hello) {
    this.hello = hello;
    const primary = hello.horizons_ns.indexOf(hello.primary_ns);
    if (this.level === null || !hello.levels.includes(this.level)) {
      this.level = hello.levels[0];
      this.scene.set({ horizon: primary });
    }
    $("horizon").replaceChildren(...hello.horizons_ns.map((ns, k) =>
      h("option", { value: k, selected: k === this.scene.horizon }, ahead(ns))));
    $("level").replaceChildren(...hello.levels.map((level) =>
      h("option", { value: level, selected: level === this.level }, levelName(level, hello.grid))));
    this.show();
  }

  setRobots(names) {
    if (names.join("\n") === this.robots) return;
    this.robots = names.join("\n");
    const select = $("robot");
    if (!names.includes(this.robot)) {
      this.robot = names[0] || null;
      this.other();
    }
    select.replaceChildren(...(names.length ? names : ["no robot yet"]).map((name) =>
      h("option", { value: name, selected: name === this.robot }, name)));
    select.disabled = !names.length;
  }

  // Another robot is looked at
  other() {
    this.scene.clear();
    this.on.cleared();
    this.on.watch();
  }

  setMode(mode) {
    this.scene.set({ mode });
    document.querySelector(`#modes input[value="${mode}"]`).checked = true;
    this.show();
  }

  setFrame(frame) {
    const first = this.frame === undefined;
    this.frame = frame;
    if (first) this.show();
    $("count").textContent = `${whole(frame.cells)} cells`;
  }

  show() {
    const { mode, theme } = this.scene, legend = legendOf(mode, theme, this.frame);
    const { name, horizon } = MODES[mode];
    const due = horizon && this.hello ? `, ${ahead(this.hello.horizons_ns[this.scene.horizon])} ahead` : "";
    $("looks").textContent = `${name}${due}`;
    $("hint").textContent = MODES[mode].hint;
    $("horizon-label").hidden = !MODES[mode].horizon;
    const unknown = h("span", {}, swatch(unknownColour(theme)), "unknown");
    const parts = legend.gradient ? [
      h("div.ramp", { style: { background: `linear-gradient(90deg, ${legend.gradient.join(", ")})` } }),
      h("div.ends", {}, h("span", {}, legend.ends[0]), legend.middle ? h("span", {}, legend.middle) : null,
        h("span", {}, legend.ends[1])),
    ] : [];
    const keys = (legend.items || []).map(([colour, text]) => h("span", {}, swatch(colour), text));
    $("legend").replaceChildren(...parts, h("div.keys", {}, ...keys, mode === "level" ? null : unknown));
  }
}

function swatch(colour) {
  return h("i", { style: { background: colour } });
}

function levelOf(text) {
  return text === "mixed" ? text : Number(text);
}

function levelName(level, grid) {
  if (level === "mixed") return "near fine, far coarse";
  const edge = (2 * grid.half_edge_lod0_m) / 2 ** level;
  return `LOD ${level} (${Number(edge.toPrecision(3))} m)`;
}
