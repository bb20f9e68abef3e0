// Panels beside the map, one at a time.

import { $, h } from "./dom.js";

export class Tabs {
  // panels : {key: {name, element}}; changed : called with a key
  constructor(panels, changed) {
    this.panels = panels;
    this.changed = changed;
    this.buttons = {};
    for (const [key, { name, element }] of Object.entries(panels)) {
      const button = h("button", {
        id: `tab-${key}`, type: "button", role: "tab", "aria-controls": `panel-${key}`,
        onclick: () => this.open(key), onkeydown: (event) => this.key(event, key),
      }, name);
      this.buttons[key] = button;
      $("tabs").append(button);
      Object.assign(element, { id: `panel-${key}`, tabIndex: 0 });
      element.setAttribute("role", "tabpanel");
      element.setAttribute("aria-labelledby", `tab-${key}`);
      $("panels").append(element);
    }
    this.open(Object.keys(panels)[0]);
  }

  open(key) {
    this.now = key;
    for (const [name, button] of Object.entries(this.buttons)) {
      button.setAttribute("aria-selected", String(name === key));
      button.tabIndex = name === key ? 0 : -1;
      this.panels[name].element.hidden = name !== key;
    }
    this.buttons[key].scrollIntoView({ block: "nearest", inline: "nearest" });
    this.badge(key, 0);
    this.changed(key);
  }

  badge(key, count) {
    const button = this.buttons[key];
    button.querySelector(".badge")?.remove();
    if (count) button.append(h("span.badge", { "aria-label": `${count} new` }, count > 99 ? "99+" : count));
  }

  key(event, key) {
    const names = Object.keys(this.panels), place = names.indexOf(key);
    const to = { ArrowLeft: place - 1, ArrowRight: place + 1, Home: 0, End: names.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    const wanted = names[(to + names.length) % names.length];
    this.open(wanted);
    this.buttons[wanted].focus();
  }
}
