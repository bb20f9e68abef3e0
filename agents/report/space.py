"""Where the errors are: cells in 3D, and regions from above."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.report.figure import LEGEND, Figure, axis, colour_bar, layout, note, numbers, typed
from agents.report.scored import ONLINE, ScoredSweep
from agents.report.tally import CellLosses, RunTally, log_losses
from models.probability import quantise
from native.index64 import ancestor, decode, to_text
from stream.cell_rows import locate

MAX_DRAWN = 12_000
"""Cells drawn in one view of the 3D map; more are sampled."""
LOSS_TOP = 2.0
BAR = {"len": 0.6, "x": 1.0, "xanchor": "left", "y": 0.5}
VIEWS = ("loss", "probability", "outcome", "run")


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """A coarse cell: where its cells lie (their mean, metres), and how well it was forecast.

    outcomes : observed forecasts; occupied : share of them; forecast : mean probability
    loss : mean log loss, nats; share : of the run's summed loss, 0..1
    """

    text: str
    x: float
    y: float
    z: float
    outcomes: int
    occupied: float
    forecast: float
    loss: float
    share: float


def positions(cell_id: NDArray[np.uint64], half_edge_m: float) -> NDArray[np.float32]:
    """Cell sites in metres in the map frame, float32 (N, 3)."""
    metres: NDArray[np.float32] = (decode(cell_id).sites * half_edge_m).astype(np.float32)
    return metres


def regions(tally: RunTally, half_edge_m: float) -> list[Region]:
    """Regions with outcomes, highest mean loss first; those with few outcomes come last."""
    table = tally.regions.arrays()
    ids = table["region"]
    if not len(ids):
        return []
    summed = table["log_loss"] * table["n"]
    centre = _centres(tally.cells, ids, half_edge_m)
    return [
        Region(
            text=to_text(int(ids[i])), x=float(centre[i, 0]), y=float(centre[i, 1]), z=float(centre[i, 2]),
            outcomes=int(table["n"][i]), occupied=float(table["occupied"][i]),
            forecast=float(table["probability"][i]), loss=float(table["log_loss"][i]),
            share=float(summed[i] / summed.sum()),
        )
        for i in np.lexsort((ids, -table["log_loss"], table["n"] < _enough(table["n"]))).tolist()
    ]  # fmt: skip


def _enough(outcomes: NDArray[np.int64]) -> float:
    """Outcomes that a region must have to be ranked: a tenth of the mean over regions, at least 30."""
    return float(max(30.0, 0.1 * outcomes.mean()))


def _centres(cells: CellLosses, region: NDArray[np.uint64], half_edge_m: float) -> NDArray[np.float64]:
    """Mean position of the kept cells of each region; its own site where none is kept; float64 (R, 3)."""
    levels = int(decode(cells.cell_id[:1]).lod[0]) - int(decode(region[:1]).lod[0])
    centre = decode(region).sites * (half_edge_m * 2.0**levels)
    coarse = ancestor(cells.cell_id, int(decode(region[:1]).lod[0]))
    row, found = locate(region, coarse)
    row, xyz = row[found], positions(cells.cell_id[found], half_edge_m)
    count = np.bincount(row, minlength=len(region))
    sums = np.stack([np.bincount(row, xyz[:, i], len(region)) for i in range(3)], 1)
    return np.where(count[:, None] > 0, sums / np.maximum(count, 1)[:, None], centre)


def error_map(last: ScoredSweep, cells: CellLosses, ego: NDArray[np.float64], half_edge_m: float) -> Figure:
    """Cells of the newest scored sweep by loss, probability and outcome, and mean loss over the run.

    Each trace names its ``view`` in ``meta``; the page shows one view at a time, and the path always.
    """
    xyz = positions(last.cell_id, half_edge_m)
    probability = last.probability[ONLINE]
    seen = np.flatnonzero(last.observed)
    loss = log_losses(last.occupied, quantise(probability)).astype(np.float32)
    traces = [
        _shaded("loss", xyz[_sample(seen)], loss[_sample(seen)], "@loss", LOSS_TOP, "log loss (nats)"),
        _probability(xyz, probability),
        *_outcomes(xyz, last),
    ]
    if len(cells.cell_id):
        kept = _sample(np.arange(len(cells.cell_id)))
        run = positions(cells.cell_id[kept], half_edge_m)
        traces.append(_shaded("run", run, cells.mean[kept], "@loss", LOSS_TOP, "mean log loss (nats)"))
    if len(ego):
        traces.append(_path(ego))
    return {
        "data": traces,
        "layout": layout(
            620,
            scene=_scene(),
            legend=LEGEND | {"itemsizing": "constant"},
            margin={"l": 0, "r": 84, "t": 8, "b": 0},
        ),
    }


def _sample(rows: NDArray[np.intp]) -> NDArray[np.intp]:
    if len(rows) <= MAX_DRAWN:
        return rows
    return np.sort(np.random.default_rng(0).choice(rows, MAX_DRAWN, replace=False))


def _points(view: str, xyz: NDArray[np.float32], **more: Any) -> dict[str, Any]:
    return {
        "type": "scatter3d", "mode": "markers", "meta": {"view": view}, "visible": view == VIEWS[0],
        "x": typed(xyz[:, 0]), "y": typed(xyz[:, 1]), "z": typed(xyz[:, 2]), "showlegend": False, **more,
    }  # fmt: skip


def _shaded(view: str, xyz: NDArray[np.float32], values: NDArray[np.float32], scale: str, top: float,
            title: str) -> dict[str, Any]:  # fmt: skip
    size = (2.2 + 3.2 * np.clip(values / top, 0, 1)).astype(np.float32)
    return _points(
        view, xyz, name=title, hovertemplate="%{x:.1f}, %{y:.1f}, %{z:.1f} m: %{marker.color:.2f} nats",
        marker={"symbol": "square", "size": typed(size), "color": typed(values), "colorscale": scale,
                "cmin": 0, "cmax": top, "colorbar": colour_bar(title, **BAR), "line": {"width": 0}},
    )  # fmt: skip


def _probability(xyz: NDArray[np.float32], probability: NDArray[np.float32]) -> dict[str, Any]:
    rows = _sample(np.arange(len(xyz)))
    return _points(
        "probability", xyz[rows], name="probability",
        hovertemplate="%{x:.1f}, %{y:.1f}, %{z:.1f} m: %{marker.color:.2f}",
        marker={"symbol": "square", "size": 2.8, "color": typed(probability[rows]),
                "colorscale": "@probability", "cmin": 0, "cmax": 1, "line": {"width": 0},
                "colorbar": colour_bar("probability of occupied", **BAR)},
    )  # fmt: skip


def _outcomes(xyz: NDArray[np.float32], last: ScoredSweep) -> list[dict[str, Any]]:
    forecast = last.probability[ONLINE] >= 0.5
    seen, hit = last.observed, last.occupied
    groups = (
        ("occupied, as forecast", seen & hit & forecast, "@o-hit", 2.6),
        ("free, as forecast", seen & ~hit & ~forecast, "@o-free", 2.2),
        ("occupied, forecast free", seen & hit & ~forecast, "@o-missed", 3.6),
        ("free, forecast occupied", seen & ~hit & forecast, "@o-false", 3.6),
        ("not observed: no outcome", ~seen, "@o-unseen", 1.6),
    )
    traces = []
    for name, mask, colour, size in groups:
        rows = np.flatnonzero(mask)
        traces.append(
            _points(
                "outcome",
                xyz[_sample(rows)],
                name=f"{name} ({len(rows):,})",
                showlegend=True,
                hovertemplate="%{x:.1f}, %{y:.1f}, %{z:.1f} m",
                marker={"symbol": "square", "size": size, "color": colour, "line": {"width": 0}},
            )
        )
    return traces


def _path(ego: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "type": "scatter3d", "mode": "lines", "name": "path of the robot", "meta": {"view": "all"},
        "x": numbers(ego[:, 0], 2), "y": numbers(ego[:, 1], 2), "z": numbers(ego[:, 2], 2),
        "line": {"color": "@accent", "width": 6}, "showlegend": True, "hovertemplate": "%{x:.1f}, %{y:.1f} m",
    }  # fmt: skip


def _scene() -> dict[str, Any]:
    plane = {"showbackground": False, "gridcolor": "@grid", "zeroline": False, "linecolor": "@line",
             "tickfont": {"color": "@muted", "size": 11}}  # fmt: skip
    return {
        "aspectmode": "data", "dragmode": "turntable",
        "xaxis": {**plane, "title": {"text": "x (m)"}}, "yaxis": {**plane, "title": {"text": "y (m)"}},
        "zaxis": {**plane, "title": {"text": "z (m)"}, "nticks": 4},
        "camera": {"eye": {"x": -1.05, "y": -1.3, "z": 0.9}, "center": {"x": 0, "y": 0, "z": -0.2}},
    }  # fmt: skip


def region_map(found: list[Region], ego: NDArray[np.float64]) -> Figure | None:
    """Regions from above, coloured by mean loss, sized by outcomes, the worst ones numbered."""
    if not found:
        return None
    top = max(region.outcomes for region in found)
    ranked = [region.loss for region in found if region.outcomes >= 0.02 * top]
    traces: list[dict[str, Any]] = [{
        "type": "scatter", "mode": "markers", "name": "region",
        "x": numbers([r.x for r in found], 2), "y": numbers([r.y for r in found], 2),
        "customdata": [[r.outcomes, round(r.z, 1)] for r in found],
        "marker": {"size": numbers([5 + 22 * (r.outcomes / top) ** 0.5 for r in found], 1),
                   "color": numbers([r.loss for r in found], 4), "colorscale": "@loss",
                   "cmin": round(min(ranked), 3), "cmax": round(max(ranked) + 0.001, 3),
                   "line": {"width": 1, "color": "@surface"},
                   "colorbar": colour_bar("mean log loss (nats)")},
        "hovertemplate": "%{x:.1f}, %{y:.1f} m: %{marker.color:.3f} nats, %{customdata[0]:,} outcomes",
        "showlegend": False,
    }]  # fmt: skip
    if len(ego):
        traces.append({
            "type": "scatter", "mode": "lines", "name": "path of the robot", "x": numbers(ego[:, 0], 2),
            "y": numbers(ego[:, 1], 2), "line": {"color": "@accent", "width": 3}, "hoverinfo": "skip",
            "showlegend": True,
        })  # fmt: skip
    marks = [
        note(f"<b>{rank}</b>", round(r.x, 2), round(r.y, 2), font={"size": 13, "color": "@text"},
             xanchor="left", yanchor="bottom", xshift=3, yshift=3)
        for rank, r in enumerate(found[:10], 1)
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": layout(
            460, annotations=marks,
            xaxis=axis("x, map frame (m)", constrain="domain"),
            yaxis=axis("y, map frame (m)", scaleanchor="x", scaleratio=1),
        ),
    }  # fmt: skip
