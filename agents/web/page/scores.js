// The panel of scores: what is served against the baselines, over time, by horizon, and whether it can be relied on.

import { Chart, keyOf } from "./chart.js";
import { NONE, ahead, h, number, percent, secondsBetween, whole } from "./dom.js";

const NAMES = { online: "served", frozen: "frozen", linear: "linear", frequency: "frequency", persistence: "persistence" };
const ABOUT = {
  online: "the model that serves", frozen: "the model at the end of the warm-up, never trained again",
  linear: "a linear model on the same features", frequency: "how often the cell was hit", persistence: "hit just now",
};
const COLUMNS = [
  ["average_precision", "AP ↑", 1], ["log_loss", "log loss ↓", -1], ["brier", "Brier ↓", -1], ["ece", "ECE ↓", -1],
];

const MARKED = { prior: "var(--mixed)", promotion: "var(--good)", rollback: "var(--bad)" };

const colour = (name) => `var(--s-${name})`;

export class ScoresPanel {
  // fly : called with a place of the map
  constructor(fly) {
    this.fly = fly;
    this.element = h("div");
    const seconds = (x) => `${number(x, 0)} s`;
    this.loss = new Chart({ label: "Log loss over time, by predictor", xText: seconds });
    this.precision = new Chart({ label: "Average precision over time, by predictor", xText: seconds });
    this.reliability = new Chart({
      label: "Reliability: share that came true, by forecast probability", height: 190, xText: (x) => number(x, 2),
    });
    this.parts = Object.fromEntries(["lead", "table", "curves", "horizons", "worst"].map((name) => [name, h("div")]));
    this.element.append(
      h("h2", {}, "Scores"), this.parts.lead, this.parts.table, this.parts.curves,
      h("h3", {}, "Reliability"), h("p.lead", {}, "Forecast against what came of it; on the line is right."),
      this.reliability.element,
      h("h3", {}, "By horizon"), this.parts.horizons,
      h("h3", {}, "Where it errs most"), this.parts.worst,
    );
    this.parts.curves.append(
      h("h3", {}, "Log loss (nats a cell), lower is better"), this.loss.element,
      h("h3", {}, "Average precision, higher is better"), this.precision.element,
    );
    this.show(null);
  }

  show(board) {
    const scored = board && board.scores.online && board.scores.online.n > 0;
    for (const part of [...this.element.children].slice(2)) part.hidden = !scored && !this.curved(board);
    this.parts.table.hidden = !scored;
    if (!board || !(scored || this.curved(board))) {
      this.parts.lead.replaceChildren(h("p.empty", {},
        "Nothing is scored yet: forecasts wait for later sweeps that show what came of them, and those of the warm-up do not count."));
      return;
    }
    this.lead(board, scored);
    this.table(board);
    this.curves(board.curves, board.models);
    this.reliable(board.reliability);
    this.horizons(board);
    this.worst(board.worst);
  }

  curved(board) {
    return board && Object.keys(board.curves.names).length > 0;
  }

  lead(board, scored) {
    const text = scored
      ? `${whole(board.scores.online.n)} cells scored, ${ahead(board.primary_ns)} ahead, after the warm-up; all predictors on the same cells.`
      : "Warm-up: curves show it, the table begins after it.";
    this.parts.lead.replaceChildren(h("p.lead", {}, text));
  }

  table(board) {
    const names = Object.keys(NAMES).filter((name) => board.scores[name]?.n);
    const best = Object.fromEntries(COLUMNS.map(([key, , sign]) => {
      const values = names.map((name) => board.scores[name][key]).filter((value) => value !== null);
      return [key, sign > 0 ? Math.max(...values) : Math.min(...values)];
    }));
    this.parts.table.replaceChildren(h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "predictor"), ...COLUMNS.map(([, title]) => h("th.right", {}, title)))),
      h("tbody", {}, ...names.map((name) => h("tr", { title: ABOUT[name] },
        h("th", { scope: "row" }, h("i.dot", { style: { background: colour(name) } }), NAMES[name]),
        ...COLUMNS.map(([key]) => {
          const value = board.scores[name][key];
          return h(`td.right${value !== null && value === best[key] ? ".best" : ""}`, {}, number(value, 4));
        }))))));
  }

  curves({ stamp_ns: stamps, names }, models) {
    const first = stamps.length ? BigInt(stamps[0]) : 0n;
    const marks = models.filter((model) => MARKED[model.kind] && BigInt(model.published_ns) >= first)
      .map((model) => ({ x: secondsBetween(first, BigInt(model.published_ns)), colour: MARKED[model.kind] }));
    const xs = stamps.map((stamp) => secondsBetween(first, BigInt(stamp)));
    const known = Object.keys(NAMES).filter((name) => names[name]).reverse();
    for (const [chart, metric] of [[this.loss, "log_loss"], [this.precision, "average_precision"]]) {
      const series = known.map((name) => ({
        name: NAMES[name], colour: colour(name), points: xs.map((x, k) => [x, names[name][metric][k]]),
      }));
      chart.show({ series, marks: marks.filter(({ x }) => x <= xs[xs.length - 1]) });
    }
    this.key?.remove();
    this.key = keyOf([
      ...known.reverse().map((name) => ({ name: NAMES[name], colour: colour(name) })),
      ...(marks.length ? [{ name: "prior, promotion, rollback", colour: MARKED.promotion }] : []),
    ]);
    this.parts.curves.append(this.key);
  }

  reliable({ probability, occupied }) {
    this.reliability.show({
      x: [0, 1], y: [0, 1], rules: [[0, 0, 1, 1]],
      series: [{ name: "came true", colour: colour("online"), dots: true,
        points: probability.map((p, k) => [p, occupied[k]]) }],
    });
  }

  horizons(board) {
    const rows = Object.entries(board.scores_by_horizon).map(([ns, scores]) => [Number(ns), scores.online])
      .filter(([, scores]) => scores?.n).sort(([a], [b]) => a - b);
    this.parts.horizons.replaceChildren(h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "ahead"), ...COLUMNS.map(([, title]) => h("th.right", {}, title)))),
      h("tbody", {}, ...rows.map(([ns, scores]) => h("tr", {}, h("th", { scope: "row" }, ahead(ns)),
        ...COLUMNS.map(([key]) => h("td.right", {}, number(scores[key], 4))))))));
  }

  worst(regions) {
    if (!regions.length) {
      this.parts.worst.replaceChildren(h("p.empty", {}, "No region has enough scored cells yet."));
      return;
    }
    const most = Math.max(...regions.map((region) => region.log_loss));
    this.parts.worst.replaceChildren(h("table", {},
      h("thead", {}, h("tr", {}, h("th", {}, "log loss"), h("th.right", {}, "forecast"), h("th.right", {}, "came true"),
        h("th.right", {}, "cells"), h("th", {}, h("span.sr", {}, "Show")))),
      h("tbody", {}, ...regions.slice(0, 8).map((region) => h("tr", {},
        h("td", {}, h("span.meter", { style: { "--w": `${(100 * region.log_loss) / most}%` } }), ` ${number(region.log_loss, 3)}`),
        h("td.right", {}, percent(region.probability)), h("td.right", {}, percent(region.occupied)),
        h("td.right", {}, whole(region.n)),
        h("td", {}, region.place ? h("button.fly", {
          type: "button", "aria-label": `Show region ${region.name}`, onclick: () => this.fly(region.place),
        }, "Show") : NONE))))));
  }
}
