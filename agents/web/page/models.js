// The panel of models: which serves, where it came from, and what became of the others.

import { clockOf, h, shortModel, whole } from "./dom.js";

const KINDS = { prior: "prior", update: "update", promotion: "promotion", rollback: "rollback", "": "built in" };
const VERDICTS = { promoted: "promoted", rejected: "rejected", rolled_back: "rolled back", refused: "refused", model_failed: "failed" };

export class ModelsPanel {
  constructor() {
    this.element = h("div");
    this.show(null);
  }

  show(board) {
    const head = h("h2", {}, "Models");
    if (!board || !board.models.length) {
      this.element.replaceChildren(head, h("p.empty", {}, "No model has been activated yet."));
      return;
    }
    const byId = new Map(board.models.map((model) => [model.model_id, model]));
    const serving = Object.entries(board.serving);
    this.element.replaceChildren(
      head,
      h("h3", {}, "Serving"),
      h("table", {}, h("tbody", {}, ...serving.map(([stream, id]) => h("tr", {},
        h("th", { scope: "row" }, stream), h("td.mono", { title: id }, shortModel(id)),
        h("td.right.muted", {}, sinceOf(byId.get(id), stream)))))),
      h("h3", {}, "Lineage"),
      h("p.lead", {}, "The newest first; runs of updates of one another are drawn together."),
      this.lineage(board, byId),
    );
  }

  // Steps from what serves back to where it began, updates in a row as one; then what is on no such way.
  lineage(board, byId) {
    const serving = new Set(Object.values(board.serving));
    const ordered = [...board.models].reverse();
    const steps = [];
    for (const model of ordered) {
      const last = steps[steps.length - 1];
      const plain = model.kind === "update" && !verdicts(model).length && !serving.has(model.model_id);
      if (plain && last?.updates && last.first.parent_id === model.model_id) {
        last.updates += 1;
        last.first = model;
      } else if (plain) steps.push({ updates: 1, newest: model, first: model });
      else steps.push({ model });
    }
    return h("ol.list", {}, ...steps.map((step) => (step.model
      ? this.one(step.model, serving, byId) : this.many(step))));
  }

  one(model, serving, byId) {
    const verdict = verdicts(model);
    const promoted = model.kind === "promotion" || verdict.includes("promoted");
    return h(`li${promoted ? ".promoted" : ""}`, {},
      h("div.head", {}, h("b", { title: model.model_id }, h("span.mono", {}, shortModel(model.model_id))),
        serving.has(model.model_id) ? h("span.tag.serving", {}, "serves") : null,
        ...verdict.map((text) => h("span.tag", {}, text)),
        h("span.tag", {}, KINDS[model.kind] ?? model.kind)),
      h("p", {}, [
        model.published_ns !== "-1" ? `published at ${clockOf(BigInt(model.published_ns))}` : null,
        model.parent_id ? `from ${shortModel(model.parent_id)}${byId.has(model.parent_id) ? "" : " (no longer listed)"}` : null,
        model.events.trained > 1 ? `trained ${whole(model.events.trained)} times` : null,
        model.sha256 && model.sha256 !== "builtin" ? `sha256 ${model.sha256.slice(0, 12)}…` : null,
      ].filter(Boolean).join(" · ") || "part of the program: it needs no training"));
  }

  many({ updates, newest, first }) {
    return h("li", {},
      h("div.head", {}, h("b", {}, updates === 1 ? h("span.mono", {}, shortModel(newest.model_id)) : `${whole(updates)} updates`),
        h("span.tag", {}, "update")),
      h("p", {}, updates === 1 ? `from ${shortModel(newest.parent_id)}`
        : `${shortModel(first.model_id)} to ${shortModel(newest.model_id)}, each from the one before`));
  }
}

function verdicts(model) {
  return Object.entries(VERDICTS).filter(([kind]) => model.events[kind]).map(([, text]) => text);
}

function sinceOf(model, stream) {
  const stamp = model?.activated[stream];
  return stamp ? `since ${clockOf(BigInt(stamp))}` : "";
}
