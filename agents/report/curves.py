"""Charts of the scores: over time, by horizon, and calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from agents.report.figure import (
    LEGEND,
    Figure,
    axis,
    layout,
    note,
    numbers,
    ordered,
    over,
    plain,
    span,
    style,
    thinned,
)
from agents.report.scored import ONLINE
from agents.report.source import RunFolder, section
from agents.report.tally import Curve
from models.probability import GRID
from models.scores.histogram import ScoreHistogram

STEPS = 50
"""Bars of the histogram of forecasts."""


def score_curves(run: RunFolder, curves: dict[str, Curve]) -> Figure | None:
    """Average precision and log loss by sweep and name; warm-up shaded, activations as a rug."""
    if not curves:
        return None
    names, seconds = ordered(curves), run.seconds
    traces: list[dict[str, Any]] = []
    for name in names:
        colour, dash, width = style(name, names)
        curve = curves[name]
        for panel, values in (("y", curve.average_precision), ("y2", curve.log_loss)):
            x, y = thinned(seconds[curve.index], np.array(values))
            traces.append({
                "type": "scatter", "mode": "lines+markers" if len(x) == 1 else "lines", "name": plain(name),
                "legendgroup": plain(name), "showlegend": panel == "y", "x": numbers(x, 3), "y": numbers(y),
                "yaxis": panel, "line": {"color": colour, "dash": dash, "width": width},
                "hovertemplate": "%{y:.4f}",
            })  # fmt: skip
    traces += [_rug(run), *_alarms(run)]
    shapes, notes = _warmup(run)
    return {
        "data": traces,
        "layout": layout(
            620, hovermode="x unified", shapes=shapes, annotations=notes,
            xaxis=axis("time since the first sweep (s)", anchor="y3", range=over(seconds)),
            yaxis=axis("average precision (↑)", domain=[0.56, 1]),
            yaxis2=axis("log loss (nats a cell, ↓)", domain=[0.08, 0.52], rangemode="tozero"),
            yaxis3={"domain": [0, 0.045], "visible": False, "range": [0, 1], "fixedrange": True},
        ),
    }  # fmt: skip


def _rug(run: RunFolder) -> dict[str, Any]:
    events = [event for event in run.events if event.name == "activated"]
    return {
        "type": "scatter", "mode": "markers", "name": "model activated", "yaxis": "y3",
        "x": numbers([event.seconds for event in events], 3), "y": [0.5] * len(events),
        "text": [plain(event.fields.get("model_id", "")) for event in events],
        "marker": {"symbol": "line-ns", "size": 11, "color": "@muted",
                   "line": {"width": 1.6, "color": "@muted"}},
        "hovertemplate": "%{text}",
    }  # fmt: skip


def _alarms(run: RunFolder) -> list[dict[str, Any]]:
    """Drift alarms along the bottom: where several come at one sweep, one mark that says how many."""
    names: dict[float, list[str]] = {}
    for event in run.events:
        if event.name == "drift":
            names.setdefault(event.seconds, []).append(str(event.fields.get("detector", "")))
    if not names:
        return []
    texts = [", ".join(f"{plain(k)} {some.count(k)}" for k in sorted(set(some))) for some in names.values()]
    return [{
        "type": "scatter", "mode": "markers", "name": "drift alarm", "yaxis": "y3",
        "x": numbers(list(names), 3), "y": [0.9] * len(names), "text": texts,
        "marker": {"symbol": "triangle-down", "size": 9, "color": "@s-frozen"},
        "hovertemplate": "drift: %{text}",
    }]  # fmt: skip


def _warmup(run: RunFolder) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    count, seconds = min(run.warmup, len(run.seconds)), run.seconds
    if not count:
        return [], []
    end = (seconds[count - 1] + seconds[count]) / 2 if count < len(seconds) else seconds[-1]
    shapes = [
        {"type": "rect", "xref": "x", "yref": f"{panel} domain", "x0": 0, "x1": round(float(end), 3), "y0": 0,
         "y1": 1, "fillcolor": "@shade", "line": {"width": 0}, "layer": "below"}
        for panel in ("y", "y2")
    ]  # fmt: skip
    return shapes, [note("warm-up, not scored", 0, 0.085, yref="paper", xanchor="left", yanchor="bottom")]


def by_horizon(summary: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:
    """``scores_by_horizon`` as name to horizon (ns) to scores, whether or not the file nests by name."""
    found: dict[str, dict[int, dict[str, Any]]] = {}
    for outer, inner in (summary.get("scores_by_horizon") or {}).items():
        if not isinstance(inner, dict):
            continue
        if "average_precision" in inner:
            inner = {ONLINE: inner}
        for key, scores in inner.items():
            horizon, name = (outer, key) if str(outer).isdigit() else (key, outer)
            if str(horizon).isdigit() and isinstance(scores, dict):
                found.setdefault(str(name), {})[int(horizon)] = scores
    return found


def horizon_chart(summary: dict[str, Any], primary_ns: int) -> Figure | None:
    """Average precision and log loss against the horizon, by name; baselines where they are scored."""
    scores = _with_baselines(by_horizon(summary), primary_ns, section(summary, "scores"))
    names = [
        n for n in ordered(scores) if any(s.get("average_precision") is not None for s in scores[n].values())
    ]
    if not names:
        return None
    traces: list[dict[str, Any]] = []
    for name in names:
        colour, dash, _ = style(name, names)
        rows = sorted(scores[name].items())
        for key, number in (("average_precision", ""), ("log_loss", "2")):
            values = [row.get(key) for _, row in rows]
            traces.append({
                "type": "scatter", "mode": "lines+markers+text" if name == ONLINE else "lines+markers",
                "name": plain(name), "legendgroup": plain(name), "showlegend": not number,
                "x": [horizon / 1e9 for horizon, _ in rows], "y": values,
                "xaxis": f"x{number}", "yaxis": f"y{number}",
                "text": ["" if v is None else f"{v:.3f}" for v in values],
                "textposition": "bottom right" if number else "top right", "textfont": {"size": 12},
                "line": {"color": colour, "dash": dash}, "marker": {"size": 9, "color": colour},
                "cliponaxis": False, "hovertemplate": "%{x} s: %{y:.4f}",
            })  # fmt: skip
    ticks = sorted({horizon / 1e9 for rows in scores.values() for horizon in rows})
    across = {"tickvals": ticks, "range": [0, ticks[-1] * 1.12]}
    shown = [row for name in names for row in scores[name].values()]
    return _side_by_side(traces, shown, "horizon (s)", (0.41, 0.57), across)


def range_chart(summary: dict[str, Any]) -> Figure | None:
    """Average precision and log loss against range, by name."""
    bands = section(summary, "scores_by_range")
    names = ordered({name for band in bands for name in section(bands, band)})
    if not names:
        return None
    traces: list[dict[str, Any]] = []
    for name in names:
        colour, dash, width = style(name, names)
        rows = [section(section(bands, band), name) for band in bands]
        for key, number in (("average_precision", ""), ("log_loss", "2")):
            traces.append({
                "type": "scatter", "mode": "lines+markers", "name": plain(name), "legendgroup": plain(name),
                "showlegend": not number, "x": [f"{band} m" for band in bands],
                "y": [row.get(key) for row in rows], "xaxis": f"x{number}", "yaxis": f"y{number}",
                "customdata": [row.get("n") for row in rows],
                "line": {"color": colour, "dash": dash, "width": width},
                "marker": {"size": 8, "color": colour},
                "hovertemplate": "%{x}: %{y:.4f}, %{customdata:,} outcomes",
            })  # fmt: skip
    shown = [section(section(bands, band), name) for band in bands for name in names]
    return _side_by_side(traces, shown, "range", (0.44, 0.56), {"type": "category"})


def _side_by_side(
    traces: list[dict[str, Any]],
    scores: Sequence[Mapping[str, Any]],
    title: str,
    gap: tuple[float, float],
    across: Mapping[str, Any],
) -> Figure:
    """Average precision on the left and log loss on the right, over axes alike.

    scores : what is shown, which decides how far the axes reach
    gap : between the two, where it begins and ends, shares of the width
    """
    ranges = [span([row.get(key) for row in scores]) for key in ("average_precision", "log_loss")]
    return {
        "data": traces,
        "layout": layout(
            340,
            xaxis=axis(title, domain=[0, gap[0]], **across),
            xaxis2=axis(title, domain=[gap[1], 1], anchor="y2", **across),
            yaxis=axis("average precision (↑)", range=ranges[0]),
            yaxis2=axis("log loss (nats a cell, ↓)", anchor="x2", range=ranges[1]),
        ),
    }  # fmt: skip


def _with_baselines(scores: dict[str, dict[int, dict[str, Any]]], primary_ns: int,
                    at_primary: dict[str, Any]) -> dict[str, dict[int, dict[str, Any]]]:  # fmt: skip
    """The scores by horizon, and the primary horizon's for names that have no others."""
    return {name: {primary_ns: section(at_primary, name)} for name in at_primary} | scores


def reliability(scores: dict[str, ScoreHistogram]) -> Figure | None:
    """Share occupied against forecast probability by name, and how often each forecast was made."""
    names = [name for name in ordered(scores) if scores[name].n]
    if not names:
        return None
    traces: list[dict[str, Any]] = [{
        "type": "scatter", "mode": "lines", "x": [0, 1], "y": [0, 1], "name": "perfect", "hoverinfo": "skip",
        "line": {"color": "@line", "width": 1.5}, "showlegend": False,
    }]  # fmt: skip
    for name in names:
        colour, dash, width = style(name, names)
        table = scores[name].reliability()
        traces.append({
            "type": "scatter", "mode": "lines+markers", "name": plain(name), "legendgroup": plain(name),
            "x": numbers(table.probability), "y": numbers(table.occupied), "customdata": table.count.tolist(),
            "line": {"color": colour, "dash": dash, "width": width}, "marker": {"size": 6, "color": colour},
            "hovertemplate": "forecast %{x:.3f}, occupied %{y:.3f}, %{customdata:,} cells",
        })  # fmt: skip
    traces += _frequencies(scores[ONLINE]) if ONLINE in scores else []
    return {
        "data": traces,
        "layout": layout(
            430, barmode="stack", bargap=0.08, legend2=LEGEND | {"x": 0.6, "yanchor": "top"},
            xaxis=axis("forecast probability", domain=[0, 0.46], range=[-0.02, 1.02]),
            yaxis=axis("share that was occupied", range=[-0.02, 1.02]),
            xaxis2=axis("forecast probability", domain=[0.58, 1], anchor="y2", range=[-0.02, 1.02]),
            yaxis2=axis(f"cells in each {1 / STEPS:g} of probability", anchor="x2"),
        ),
    }  # fmt: skip


def _frequencies(scores: ScoreHistogram) -> list[dict[str, Any]]:
    """How often the served model forecast each probability, split by what became of the cell."""
    tally = scores.tally()
    place = tally.k * STEPS // GRID
    parts = (("was free", tally.negatives, "@o-free"), ("was occupied", tally.positives, "@o-hit"))
    return [
        {
            "type": "bar", "name": name, "x": numbers((np.arange(STEPS) + 0.5) / STEPS),
            "y": np.bincount(place, part, STEPS).astype(int).tolist(), "xaxis": "x2", "yaxis": "y2",
            "marker": {"color": colour, "line": {"width": 0}}, "legend": "legend2",
            "hovertemplate": "%{y:,} cells near %{x:.2f}",
        }
        for name, part, colour in parts
    ]  # fmt: skip
