// Light or dark: as the system has it, or as chosen here.

import { $ } from "./dom.js";

const NAMES = { auto: "as the system has it", light: "light", dark: "dark" };

export class Theme {
  constructor(changed) {
    this.changed = changed;
    this.system = matchMedia("(prefers-color-scheme: dark)");
    this.chosen = localStorage.getItem("theme") || "auto";
    this.system.addEventListener("change", () => this.show());
    $("theme").addEventListener("click", () => {
      const names = Object.keys(NAMES);
      this.chosen = names[(names.indexOf(this.chosen) + 1) % names.length];
      localStorage.setItem("theme", this.chosen);
      this.show();
    });
    this.show();
  }

  show() {
    const theme = this.chosen === "auto" ? (this.system.matches ? "dark" : "light") : this.chosen;
    document.documentElement.dataset.theme = theme;
    $("theme").textContent = this.chosen === "auto" ? "Theme: auto" : `Theme: ${this.chosen}`;
    $("theme").title = `Theme: ${NAMES[this.chosen]}`;
    this.changed(theme);
  }
}
