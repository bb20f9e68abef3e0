"""Charts along the run that need no outcomes: latency by stage and the lineage of models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.report.figure import LEGEND, Figure, axis, layout, note, numbers, over, plain, thinned
from agents.report.source import ModelEntry, RunEvent, RunFolder, section

TOTAL = "total"
QUANTILES = (("p50", "median"), ("p99", "99th percentile"), ("max", "maximum"))
TURNS = {"promoted": "promoted", "rejected": "rejected", "refused": "refused", "rolled_back": "rolled back"}
MAX_TURNS = 12
LANES = ("built in", "prior", "update")
"""From the top; others follow by name."""
ENDED = {"rejected": "rejected", "refused": "refused", "rolled_back": "rolled back"}


def latency_bars(run: RunFolder) -> Figure | None:
    """Milliseconds by stage at the median, the 99th percentile and the maximum; the total as a mark."""
    latency = section(run.summary, "latency_ms")
    stages = [name for name in latency if name != TOTAL and isinstance(latency[name], dict)]
    if not stages:
        return None
    rows = [label for _, label in QUANTILES]
    traces: list[dict[str, Any]] = [
        {
            "type": "bar", "orientation": "h", "name": plain(name), "y": rows,
            "x": [latency[name].get(key) for key, _ in QUANTILES],
            "marker": {"color": _stage_colour(index)}, "hovertemplate": "%{x:.2f} ms",
        }
        for index, name in enumerate(stages)
    ]  # fmt: skip
    total = section(latency, TOTAL)
    if total:
        traces += _totals(
            total, [sum(latency[name].get(key) or 0 for name in stages) for key, _ in QUANTILES]
        )
    return {
        "data": traces,
        "layout": layout(
            260, barmode="stack", bargap=0.35, legend=LEGEND | {"traceorder": "normal"},
            xaxis=axis("milliseconds", rangemode="tozero"),
            yaxis=axis("", autorange="reversed", ticklabelstandoff=8),
            margin={"l": 64, "r": 70, "t": 34, "b": 48},
        ),
    }  # fmt: skip


def _totals(total: dict[str, Any], stacked: list[float]) -> list[dict[str, Any]]:
    """The mark of the whole sweep on each bar, and its figure to the right of both."""
    rows = [label for _, label in QUANTILES]
    values = [total.get(key) for key, _ in QUANTILES]
    mark = {
        "type": "scatter", "mode": "markers", "name": "whole sweep", "y": rows, "x": values,
        "marker": {"symbol": "line-ns", "size": 36, "line": {"width": 3, "color": "@text"}, "color": "@text"},
        "hovertemplate": "%{x:.2f} ms",
    }  # fmt: skip
    figures = {
        "type": "scatter", "mode": "text", "y": rows, "showlegend": False, "hoverinfo": "skip",
        "x": [max(bar, value or 0.0) for bar, value in zip(stacked, values, strict=True)],
        "text": ["" if value is None else f"  {value:.1f} ms" for value in values],
        "textposition": "middle right", "cliponaxis": False,
    }  # fmt: skip
    return [mark, figures]


def latency_curves(run: RunFolder) -> Figure | None:
    """Milliseconds by stage, stacked, sweep by sweep."""
    if len(run.seconds) < 2 or not run.latency_ms:
        return None
    traces: list[dict[str, Any]] = []
    known = np.isfinite(np.stack(list(run.latency_ms.values()))).any(axis=0)
    for index, (name, values) in enumerate(run.latency_ms.items()):
        x, y = thinned(run.seconds[known], values[known])
        trace = {"type": "scatter", "mode": "lines", "name": plain(name), "x": numbers(x, 3),
                 "y": numbers(y, 3), "hovertemplate": "%{y:.1f} ms", "showlegend": False}  # fmt: skip
        if name == TOTAL:
            trace |= {"line": {"color": "@text", "width": 1.6}, "name": "whole sweep"}
        else:
            colour = _stage_colour(index)
            trace |= {"stackgroup": "stage", "line": {"width": 0.5, "color": colour}, "fillcolor": colour}
        traces.append(trace)
    return {
        "data": traces,
        "layout": layout(
            280, hovermode="x unified", xaxis=axis("time since the first sweep (s)", range=over(run.seconds)),
            yaxis=axis("milliseconds", rangemode="tozero"), margin={"l": 64, "r": 70, "t": 12, "b": 48},
        ),
    }  # fmt: skip


def _stage_colour(index: int) -> str:
    return f"@t{index % 6}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """One model of the run: where it came from, when it appeared and what became of it.

    seconds : of its first use, else of its training, else 0; sweeps : predictions made by it
    line : the network and schedule it belongs to, as its training event names it
    state : ``active``, ``not used``, ``rejected``, ``refused`` or ``rolled back``
    loss : reported when it was trained, else from its manifest, NaN where neither says
    """

    model_id: str
    parent_id: str
    kind: str
    seconds: float
    line: str
    sweeps: int
    state: str
    loss: float
    steps: int | None
    examples: int | None


def lineage(run: RunFolder) -> list[Lineage]:
    """Every model that the registry, the events or the sweeps name, in order of appearance."""
    entries = {model.model_id: model for model in run.models}
    noted: dict[str, dict[str, Any]] = {}
    for event in run.events:
        model_id = event.fields.get("model_id")
        if model_id:
            noted.setdefault(str(model_id), {}).setdefault(event.name, event)
    used: dict[str, list[int]] = {}
    for index, model_id in enumerate(run.model_id):
        used.setdefault(model_id, []).append(index)
    ids = dict.fromkeys([*entries, *noted, *filter(None, used)])
    models = [_entry(run, key, entries.get(key), noted.get(key, {}), used.get(key, [])) for key in ids]
    return sorted(models, key=lambda model: (model.seconds, model.sweeps == 0, model.model_id))


def _entry(run: RunFolder, model_id: str, entry: ModelEntry | None, noted: dict[str, Any],
           used: list[int]) -> Lineage:  # fmt: skip
    trained = noted.get("trained")
    fields = trained.fields if trained else {}
    training = entry.training if entry else {}
    ended = [text for name, text in ENDED.items() if name in noted]
    loss = fields.get("loss", (entry.metrics if entry else {}).get("log_loss"))
    return Lineage(
        model_id=model_id, parent_id=str((entry.parent_id if entry else "") or fields.get("parent_id") or ""),
        kind=_kind(entry, trained),
        seconds=_appeared(run, noted, used), line=str(fields.get("lineage", "")), sweeps=len(used),
        state=ended[0] if ended else "active" if used or "activated" in noted else "not used",
        loss=float(loss) if isinstance(loss, int | float) else float("nan"),
        steps=training.get("steps", fields.get("steps")), examples=training.get("examples"),
    )  # fmt: skip


def _kind(entry: ModelEntry | None, trained: RunEvent | None) -> str:
    if entry:
        return entry.kind or "model"
    if trained is None:
        return "built in"
    return str(trained.fields.get("kind") or "challenger")  # trained, but never stored to be served


def _appeared(run: RunFolder, noted: dict[str, Any], used: list[int]) -> float:
    if used:
        return float(run.seconds[used[0]])
    return min((event.seconds for event in noted.values()), default=0.0)


def lineage_chart(models: list[Lineage], run: RunFolder) -> Figure | None:
    """Models along time: a lane by kind, a line from each parent, and the loss at training below."""
    if not any(model.kind != "built in" for model in models):
        return None
    lanes = list(dict.fromkeys(model.kind for model in models))
    lanes.sort(key=lambda kind: (LANES.index(kind) if kind in LANES else len(LANES), kind))
    states = [
        _state(models, ("active",), "served", "circle", "@s-online"),
        _state(models, ("not used",), "not served", "circle-open", "@muted"),
        _state(models, tuple(ENDED.values()), "rejected, refused or rolled back", "x", "@s-frozen"),
        _again(models, run),
    ]
    losses = _losses(models)
    bottom = 0.62 if losses else 0.0
    lines, words = _turns(run)
    shown = layout(
        230 + 34 * len(lanes) + 90 * bool(losses), shapes=lines, annotations=words,
        xaxis=axis("time since the first sweep (s)", anchor="y2" if losses else "y", range=over(run.seconds)),
        yaxis=axis("", domain=[bottom, 1], type="category", categoryorder="array",
                   categoryarray=[plain(lane) for lane in reversed(lanes)],
                   range=[-0.6, len(lanes) - 0.4], ticklabelstandoff=8),
    )  # fmt: skip
    if losses:
        shown["yaxis2"] = axis("loss (nats)", domain=[0, bottom - 0.1])
        shown["annotations"].append(
            note("loss reported when the model was trained", 0, bottom - 0.09, xref="paper", yref="paper",
                 xanchor="left", yanchor="bottom")
        )  # fmt: skip
    return {"data": [_edges(models), *[trace for trace in states if trace["x"]], *losses], "layout": shown}


def _edges(models: list[Lineage]) -> dict[str, Any]:
    place = {model.model_id: model for model in models}
    x: list[float | None] = []
    y: list[str | None] = []
    for model in models:
        parent = place.get(model.parent_id)
        if parent is not None:
            x += [round(parent.seconds, 3), round(model.seconds, 3), None]
            y += [plain(parent.kind), plain(model.kind), None]
    return {
        "type": "scatter", "mode": "lines", "x": x, "y": y, "hoverinfo": "skip", "showlegend": False,
        "line": {"color": "@line", "width": 1.5},
    }  # fmt: skip


def _losses(models: list[Lineage]) -> list[dict[str, Any]]:
    """A trace in the lower panel for each line of models that reports losses; the served one stands out."""
    lines: dict[str, list[Lineage]] = {}
    for model in models:
        if np.isfinite(model.loss):
            lines.setdefault(model.line, []).append(model)
    served = {model.line for model in models if model.sweeps and model.line in lines}
    traces = []
    for index, (line, members) in enumerate(sorted(lines.items(), key=lambda item: item[0] not in served)):
        colour = "@s-online" if line in served or index == 0 else f"@s-extra{index % 3}"
        traces.append({
            "type": "scatter", "mode": "lines+markers", "yaxis": "y2", "showlegend": len(lines) > 1,
            "name": f"loss of {plain(line)}", "x": numbers([m.seconds for m in members], 3),
            "y": numbers([m.loss for m in members]), "text": [plain(m.model_id) for m in members],
            "line": {"color": colour, "width": 1.6}, "marker": {"size": 5, "color": colour},
            "hovertemplate": "%{text}: %{y:.4f} nats",
        })  # fmt: skip
    return traces


def _again(models: list[Lineage], run: RunFolder) -> dict[str, Any]:
    """Models that came back after another one had served, as after a rollback."""
    kinds = {model.model_id: model.kind for model in models}
    seen: set[str] = set()
    rows = []
    for index, model_id in enumerate(run.model_id):
        if index and model_id != run.model_id[index - 1] and model_id in seen:
            rows.append((float(run.seconds[index]), model_id))
        seen.add(model_id)
    return {
        "type": "scatter", "mode": "markers", "name": f"served again ({len(rows)})",
        "x": numbers([seconds for seconds, _ in rows], 3), "y": [plain(kinds[m]) for _, m in rows],
        "text": [f"<b>{plain(m)}</b><br>served again" for _, m in rows], "hovertemplate": "%{text}",
        "marker": {"symbol": "triangle-left", "size": 12, "color": "@s-frequency"},
    }  # fmt: skip


def _turns(run: RunFolder) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """A line and a word where models were promoted, rejected, refused or rolled back; the first few."""
    turns = [event for event in run.events if event.name in TURNS and event.stamp_ns][:MAX_TURNS]
    lines = [
        {"type": "line", "xref": "x", "yref": "y domain", "x0": round(event.seconds, 3), "y0": 0, "y1": 1,
         "x1": round(event.seconds, 3), "line": {"color": "@s-frozen", "width": 1.2, "dash": "dot"}}
        for event in turns
    ]  # fmt: skip
    words = [
        note(TURNS[event.name], round(event.seconds, 3), 0, yref="y domain", xanchor="left", yanchor="bottom",
             xshift=3)
        for event in turns
    ]  # fmt: skip
    return lines, words


def _state(
    models: list[Lineage], states: tuple[str, ...], name: str, symbol: str, colour: str
) -> dict[str, Any]:
    chosen = [model for model in models if model.state in states]
    return {
        "type": "scatter", "mode": "markers", "name": f"{name} ({len(chosen)})",
        "x": numbers([m.seconds for m in chosen], 3), "y": [plain(m.kind) for m in chosen],
        "text": [
            f"<b>{plain(m.model_id)}</b><br>{plain(m.kind)} of {plain(m.parent_id or 'nothing')}<br>"
            f"{m.state}, {m.sweeps} sweeps" for m in chosen
        ],
        "marker": {"symbol": symbol, "size": 10, "color": colour, "line": {"width": 1.5, "color": colour}},
        "hovertemplate": "%{text}",
    }  # fmt: skip
