// Label mode: cells that are chosen on the map or suggested, and a label for them.

import { valuesOf } from "./colour.js";
import { h, number, whole } from "./dom.js";
import { keyHeaders } from "./link.js";

const SUGGESTED = 20;
const MOST = 2000;
const SHOWN = 8;
const REASONS = {
  errs: "errs most", wrong: "errs more than it expected", uncertain: "unsure", contradicted: "words or sweeps differ",
  novel: "hardly seen", drawn: "drawn at random",
};
const FIRST = ["car", "person", "cyclist", "building", "vegetation", "ground", "noise"];

export class LabelPanel {
  // scene : whose cells are chosen; on : {mode(active), say(text, tone), fly(place), region(id)}
  constructor(scene, on) {
    this.scene = scene;
    this.on = on;
    this.chosen = new Set(); // BigInt
    this.active = false;
    this.given = [];
    this.classes = JSON.parse(localStorage.getItem("classes") || "null") || FIRST;
    this.label = h("input", { id: "label", maxlength: 64, autocomplete: "off", list: "classes", placeholder: "class", oninput: () => this.show() });
    this.by = h("input", { maxlength: 64, placeholder: "your name", value: localStorage.getItem("by") || "", onchange: () => localStorage.setItem("by", this.by.value) });
    this.moment = h("input", { type: "checkbox" });
    this.send = h("button.main", { type: "submit" });
    this.chips = h("div.row");
    this.names = h("datalist", { id: "classes" });
    this.count = h("p.chosen", { role: "status" });
    this.wanted = h("div");
    this.list = h("div");
    const button = (text, act) => h("button.fly", { type: "button", onclick: act }, text);
    this.element = h("div", {},
      h("h2", {}, "Label cells"),
      h("p.lead", {}, "Click cells to choose them, or drag a box; with Ctrl a box takes away. Turn with Alt or the right button held, or two fingers."),
      h("div.row", {}, button("Most uncertain", () => this.suggest("uncertainty")), button("Most wrong", () => this.suggest("error")),
        button("None", () => this.choose([], { only: true }))),
      this.count,
      h("form", { onsubmit: (event) => this.give(event) },
        h("h3", {}, h("label", { for: "label" }, "Label")), this.chips,
        h("div.row", { style: { "margin-top": "8px" } }, this.label, this.names, this.send),
        h("div.row", { style: { margin: "8px 0" } }, h("label", {}, "by ", this.by)),
        h("label", {}, this.moment, " of what was there at the moment that is shown, not at any time")),
      h("h3", {}, "Given here"), this.list,
      h("h3", {}, "Regions worth a word"), this.wanted,
    );
    this.setWanted([]);
    this.show();
  }

  setActive(active) {
    this.active = active;
    this.on.mode(active);
    this.scene.mark({ chosen: active ? this.chosen : new Set() });
  }

  // The queue: regions that were asked for, and those where forecasts err most
  setWanted(regions) {
    const text = JSON.stringify(regions);
    if (text === this.shownWanted) return;
    this.shownWanted = text;
    const choose = (region) => {
      if (region.place) this.on.fly(region.place);
      this.on.region(region.region);
    };
    this.wanted.replaceChildren(regions.length ? h("ol.list", {}, ...regions.slice(0, SHOWN).map((region) => h("li", {},
      h("div.head", {}, h("b", {}, REASONS[region.reason] ?? region.reason), h("span.muted.num", {}, number(region.value, 3)),
        h("button.fly", { type: "button", "aria-label": `Choose the cells of ${region.name}`, onclick: () => choose(region) }, "Choose")),
      h("p.mono", {}, region.name))))
      : h("p.empty", {}, "None yet: regions are listed when enough of their cells are scored, or when octastream label asks for them."));
  }

  // Cells of the frame by their rows; only those of the finest level can be labelled
  chooseRows(rows, how) {
    const { frame } = this.scene, fine = rows.filter((row) => frame.levels[row] === frame.lod);
    if (rows.length && !fine.length) this.on.say(`Only cells of LOD ${frame.lod} are labelled: choose it as detail.`);
    this.choose(fine.map((row) => frame.id[row]), how);
  }

  // ids : BigInt. only : these and no others; remove : take them away; toggle : the other way round
  choose(ids, { only = false, remove = false, toggle = false } = {}) {
    if (only) this.chosen.clear();
    for (const id of ids) {
      if (remove || (toggle && this.chosen.has(id))) this.chosen.delete(id);
      else if (this.chosen.size < MOST) this.chosen.add(id);
    }
    if (this.active) this.scene.mark({ chosen: this.chosen });
    this.show();
  }

  // The cells of the frame that a person's word would teach most.
  suggest(mode) {
    const { frame, horizon } = this.scene;
    if (!frame) return;
    const values = valuesOf(frame, mode, horizon);
    const worth = (i) => (values[i] < 0 ? -1 : mode === "error" ? Math.abs(values[i] - 127.5) : values[i]);
    const rows = Array.from(values.keys()).filter((i) => worth(i) >= 0).sort((a, b) => worth(b) - worth(a)).slice(0, SUGGESTED);
    this.chooseRows(rows, { only: true });
    if (!rows.length) this.on.say("There is nothing of this kind in what is shown.");
  }

  show() {
    const n = this.chosen.size;
    this.count.textContent = n ? `${whole(n)} ${n === 1 ? "cell" : "cells"} chosen` : "No cell chosen yet.";
    this.send.textContent = n ? `Label ${whole(n)}` : "Label";
    this.send.disabled = !n || !this.label.value.trim();
    this.chips.replaceChildren(...this.classes.slice(0, 9).map((name, k) => h("button.fly", {
      type: "button", title: `Key ${k + 1}`, "aria-pressed": String(name === this.label.value.trim()),
      onclick: () => this.setLabel(name),
    }, name)));
    this.names.replaceChildren(...this.classes.map((name) => h("option", { value: name })));
    this.list.replaceChildren(this.given.length ? h("ul.list", {}, ...this.given.slice(-12).reverse().map(({ label, count }) =>
      h("li", {}, h("div.head", {}, h("b", {}, label), h("span.muted", {}, `${whole(count)} ${count === 1 ? "cell" : "cells"}`)))))
      : h("p.empty", {}, "Labels that you give are kept by the server and merged by cell."));
  }

  setLabel(name) {
    this.label.value = name;
    this.show();
  }

  // The label of a number key
  pressed(key) {
    const name = this.classes[Number(key) - 1];
    if (name !== undefined) this.setLabel(name);
  }

  async give(event) {
    event.preventDefault();
    const label = this.label.value.trim(), ids = [...this.chosen];
    if (!label || !ids.length) return;
    this.send.disabled = true;
    const { frame } = this.scene;
    const rest = { label, ...(this.by.value.trim() ? { author: this.by.value.trim() } : {}) };
    const stamp = this.moment.checked && frame ? `,"at_ns":${frame.stampNs}` : "";
    const rows = ids.map((id) => `{"cell_id":${id}${stamp},${JSON.stringify(rest).slice(1)}`); // 64-bit ids, whole
    try {
      const answer = await fetch("/labels", {
        method: "POST", headers: { "Content-Type": "application/json", ...keyHeaders() }, body: `{"labels":[${rows.join(",")}]}`,
      });
      if (!answer.ok) throw new Error((await answer.json()).detail || answer.statusText);
      this.given.push({ label, count: ids.length });
      this.classes = [label, ...this.classes.filter((name) => name !== label)].slice(0, 30);
      localStorage.setItem("classes", JSON.stringify(this.classes));
      this.choose([], { only: true });
      this.on.say(`${whole(ids.length)} ${ids.length === 1 ? "cell is" : "cells are"} now “${label}”.`, "var(--good)");
    } catch (error) {
      this.on.say(`Not labelled: ${error.message}`, "var(--bad)");
      this.show();
    }
  }
}
