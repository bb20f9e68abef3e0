// The panel of one cell: what is known of it, what was forecast and what came, why, and by which model.

import { Chart, keyOf } from "./chart.js";
import { NONE, ahead, clockOf, h, number, percent, secondsBetween, shortModel, whole } from "./dom.js";

const SHOWN = 12;
const REASONS = { true: "hit", false: "seen through", null: "not observed" };

export class CellPanel {
  // on : {fly(place), queue(id)}
  constructor(on) {
    this.on = on;
    this.id = null;
    this.story = null;
    this.chart = new Chart({
      label: "Forecasts of this cell over time, and what came of them", height: 140,
      xText: (x) => (x === 0 ? "now" : `${number(x, 1)} s`),
    });
    this.key = keyOf([
      { name: "forecast for that moment", colour: "var(--s-online)" },
      { name: "share of hits", colour: "var(--s-persistence)" }, { name: "hit or seen through", colour: "var(--s-linear)" },
    ]);
    this.features = h("details", {}, h("summary", {}, "Features"));
    this.search = h("input", { type: "search", placeholder: "Filter", "aria-label": "Filter features", oninput: () => this.filter() });
    this.rows = h("tbody");
    this.whence = h("p.lead");
    this.features.append(this.whence, this.search, h("table", {}, this.rows));
    this.head = h("div");
    this.recent = h("div");
    this.over = h("div", {}, h("h3", {}, "Over time"), this.chart.element, this.key);
    this.element = h("div", {}, this.head, this.over, this.recent, this.features);
    this.clear();
  }

  clear() {
    this.id = null;
    this.story = null;
    this.head.replaceChildren(h("h2", {}, "Cell"), h("p.empty", {},
      "Click a cell of the map, or move the map with the arrow keys and press Enter, to see its history, forecasts, features and model."));
    this.only(false);
  }

  only(whole) {
    for (const part of [this.over, this.recent, this.features]) part.hidden = !whole;
  }

  // A story as the server tells it
  show(story) {
    if (story.cell_id !== String(this.id)) return;
    this.story = story;
    const { now } = story;
    const place = { centre: story.centre, radius_m: 2 * story.half_edge_m };
    this.head.replaceChildren(
      h("h2", {}, "Cell"),
      h("p.mono", { title: `decimal ${story.cell_id}` }, story.text),
      h("p.lead", {}, `LOD ${story.lod} · half edge ${number(story.half_edge_m, 2)} m · at ${story.centre.map((v) => number(v, 1)).join(", ")} m`),
      h("div.row", {},
        h("button.fly", { type: "button", onclick: () => this.on.fly(place) }, "Show"),
        h("button.fly", { type: "button", onclick: () => this.on.queue(BigInt(story.cell_id)) }, "Label it"),
        h("button.fly", { type: "button", onclick: () => navigator.clipboard?.writeText(story.text) }, "Copy id")),
      this.about(story, now),
    );
    this.only(Boolean(story.past));
    if (!story.past) return;
    this.curves(story);
    this.forecasts(story);
    this.why(story);
  }

  about(story, now) {
    if (story.past === undefined) {
      return h("p.empty", {}, "A coarse cell is the union of its cells: as occupied as the most occupied of them. Choose the finest level of detail to see forecasts, features and history.");
    }
    if (!now) return h("p.empty", {}, "This cell is no longer kept: nothing has hit it for longer than the window and the longest horizon.");
    const fact = (name, value, more) => h("div", {}, h("dt", {}, name), h("dd", {}, value, more ? h("small", {}, more) : null));
    return h("div", {},
      h("dl.facts", {},
        fact("hits", whole(now.hits), `of ${whole(now.hits + (now.passes ?? 0))} rays`),
        fact("last return", now.age_s === null ? NONE : now.age_s < 0.05 ? "now" : `${number(now.age_s, 1)} s`, now.age_s >= 0.05 ? "ago" : null),
        fact("seen through", now.passes === null ? NONE : whole(now.passes), "rays")),
      h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "ahead"), h("th.right", {}, "forecast"), h("th.right", {}, "had been"), h("th", {}, "came"))),
        h("tbody", {}, ...story.horizons_ns.map((ns, k) => h("tr", {},
          h("th", { scope: "row" }, ahead(ns), k === story.primary ? h("span.muted", {}, " scored") : null),
          h("td.right", {}, now.probability ? percent(now.probability[k]) : NONE),
          h("td.right", {}, percent(now.forecast[k])),
          h("td", {}, REASONS[now.outcome[k]]))))));
  }

  curves({ past, now, horizons_ns: horizons, primary }) {
    const end = BigInt(now?.stamp_ns ?? past[past.length - 1]?.stamp_ns ?? 0);
    const at = (stamp) => secondsBetween(end, BigInt(stamp));
    const due = horizons[primary] / 1e9;
    const forecast = past.filter((row) => row.probability !== null).map((row) => [at(row.stamp_ns) + due, row.probability]);
    const first = past.length ? at(past[0].stamp_ns) : -1;
    this.chart.show({
      x: [first, due], y: [0, 1], rules: [[0, 0, 0, 1]],
      series: [
        { name: "share of hits", colour: "var(--s-persistence)", dash: "3 3", points: gaps(past.map((row) => [at(row.stamp_ns), row.occupancy])) },
        { name: "forecast", colour: "var(--s-online)", points: gaps(forecast) },
        { name: "came", colour: "var(--s-linear)", dots: "only", points: past.filter((row) => row.outcome !== null)
          .map((row) => [at(row.stamp_ns), row.outcome ? 1 : 0]) },
      ],
    });
  }

  forecasts({ forecasts, horizons_ns: horizons }) {
    const rows = forecasts.slice(-SHOWN).reverse();
    const mark = (outcome, p) => (outcome === null ? h("span.muted", {}, "") : h("span", {
      title: REASONS[outcome], style: { color: outcome === (p >= 0.5) ? "var(--good)" : "var(--bad)" },
    }, outcome ? " ■" : " □"));
    this.recent.replaceChildren(
      h("h3", {}, "Its last forecasts"),
      h("p.lead", {}, "■ hit, □ seen through, at the horizon; green where the likelier came true."),
      rows.length ? h("table", {},
        h("thead", {}, h("tr", {}, h("th", {}, "made at"), h("th", {}, "model"), ...horizons.map((ns) => h("th.right", {}, ahead(ns))))),
        h("tbody", {}, ...rows.map((row) => h("tr", {},
          h("td", {}, clockOf(BigInt(row.stamp_ns))), h("td.mono", { title: row.model }, shortModel(row.model)),
          ...row.probability.map((p, k) => h("td.right", {}, percent(p), mark(row.outcome[k], p)))))))
        : h("p.empty", {}, "It was not forecast in the last seconds: nothing hit it within the window."),
    );
  }

  why({ features }) {
    this.features.hidden = !features;
    if (!features) return;
    this.whence.textContent = `What ${features.model} read of it at ${clockOf(BigInt(features.stamp_ns))}; digest ${features.digest.slice(0, 12)}…`;
    this.rows.replaceChildren(...Object.entries(features.values).map(([name, value]) =>
      h("tr", {}, h("th.mono", { scope: "row" }, name), h("td.right", {}, number(value, 3)))));
    this.filter();
  }

  filter() {
    const wanted = this.search.value.trim().toLowerCase();
    for (const row of this.rows.rows) row.hidden = !row.firstChild.textContent.includes(wanted);
  }
}

// The same points with breaks where more than two seconds are missing.
function gaps(points) {
  const made = [];
  points.forEach((point, k) => {
    if (k && point[0] - points[k - 1][0] > 2) made.push([point[0], null]);
    made.push(point);
  });
  return made;
}
