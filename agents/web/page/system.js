// The panel of lag and latency: where a forecast's time goes, how far behind the page is, what it costs.

import { Chart } from "./chart.js";
import { bytes, h, number, whole } from "./dom.js";

const STAGES = { decode: "decode the sweep", bin: "bin it", visibility: "cast its rays", features: "features", inference: "inference", total: "all of it" };
const PERIOD_MS = 100;

export class SystemPanel {
  constructor(scene, link) {
    this.scene = scene;
    this.link = link;
    this.last = { at: performance.now(), bytes: 0, frames: 0, pictures: 0 };
    this.totals = new Chart({ label: "Milliseconds of the last forecasts", height: 120, yDigits: 0, xText: (x) => `−${number(-x, 0)}` });
    this.facts = h("dl.facts");
    this.history = h("div", {}, h("h3", {}, "The last forecasts (ms)"), this.totals.element);
    this.stages = h("div");
    this.records = h("div");
    this.element = h("div", {},
      h("h2", {}, "Lag and latency"), this.facts,
      h("h3", {}, "A forecast, from sweep to probabilities (ms)"), this.stages, this.history,
      h("details", {}, h("summary", {}, "Records read"), this.records));
  }

  show(status, robot) {
    const now = performance.now(), seconds = (now - this.last.at) / 1e3;
    const { link, scene } = this;
    const rate = (value, before) => (value - before) / seconds;
    const own = status.robots[robot];
    const fact = (name, value, more) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, more) : null));
    this.facts.replaceChildren(
      fact("forecast", own && own.silent_s !== null ? `${number(own.silent_s, 1)} s` : "–", "ago"),
      fact("updates", `${number(rate(link.frames, this.last.frames), 1)} / s`, `${bytes(rate(link.bytes, this.last.bytes))}/s`),
      fact("to the server", link.roundTripMs === null ? "–" : `${number(link.roundTripMs, 0)} ms`, "and back"),
      fact("pictures", `${number(rate(scene.pictures, this.last.pictures), 0)} / s`, `${number(scene.renderer.ms ?? null, 0)} ms each`),
      fact("waiting", whole(status.lag), "records not read"),
      fact("pages open", whole(status.viewers), `tape ${bytes(status.tape_bytes)}`),
    );
    this.last = { at: now, bytes: link.bytes, frames: link.frames, pictures: scene.pictures };
    this.latency(status);
    this.records.replaceChildren(h("table", {}, h("tbody", {}, ...Object.entries(status.records).sort().map(([kind, count]) =>
      h("tr", {}, h("th", { scope: "row" }, kind), h("td.right", {}, whole(count)))))));
  }

  latency({ latency, totals }) {
    const known = Object.keys(STAGES).filter((stage) => latency[stage]);
    if (!known.length) {
      this.stages.replaceChildren(h("p.empty", {},
        "Stages are measured where forecasts are made; a stored run or a cluster's topics do not tell them."));
      this.history.hidden = true;
      return;
    }
    this.history.hidden = false;
    const most = Math.max(...known.map((stage) => latency[stage].p99));
    this.stages.replaceChildren(h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "stage"), h("th", {}, ""), ...["p50", "p99", "max"].map((name) => h("th.right", {}, name)))),
      h("tbody", {}, ...known.map((stage) => h("tr", {},
        h("th", { scope: "row" }, STAGES[stage]),
        h("td", {}, h("span.meter", { style: { "--w": `${(100 * latency[stage].p50) / most}%` } })),
        ...["p50", "p99", "max"].map((name) => h("td.right", {}, number(latency[stage][name], 1))))))));
    this.totals.show({
      series: [{ name: "ms", colour: "var(--s-online)", points: totals.map((value, k) => [k - totals.length, value]) }],
      y: [0, Math.max(PERIOD_MS, ...totals) * 1.05],
      rules: [[-totals.length, PERIOD_MS, 0, PERIOD_MS]],
    });
  }
}
