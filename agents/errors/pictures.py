"""The pictures of the error map: the map from above, regions against what is right, loss over time."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.errors.read import RunErrors
from agents.report.figure import Figure, axis, colour_bar, layout, numbers
from models.scores.region_errors import Pixels, RegionErrors
from native.index64 import to_text

VIEWS = ("loss", "calibration", "coverage")
BINS = 60
LINES = ("@s-frozen", "@s-linear", "@s-frequency", "@s-extra0", "@s-extra1", "@s-extra2")
GAP = 0.3
"""Of forecast and share at which the colours of calibration end."""


def top_down(errors: RunErrors, worst: list[RegionErrors]) -> Figure:
    """The map from above, coloured by loss, calibration or coverage; the worst regions are numbered."""
    pixels = errors.table.pixels
    gap = pixels.forecast - pixels.occupied / np.where(pixels.observed > 0, pixels.observed, np.nan)
    top = float(np.nanquantile(pixels.loss, 0.98)) if np.isfinite(pixels.loss).any() else 1.0
    traces = [
        _heat(pixels, "loss", pixels.loss, "@loss", (0, max(round(top, 2), 0.1)),
              "mean log loss (nats)", ".3f"),
        _heat(pixels, "calibration", gap, "@gap", (-GAP, GAP), "forecast minus share occupied", "+.3f"),
        _heat(pixels, "coverage", pixels.observed / pixels.due, "@probability", (0, 1),
              "share of forecasts with an outcome", ".2f"),
    ]  # fmt: skip
    if len(errors.ego):
        traces.append(_path(errors.ego))
    traces.append(_marks(worst))
    return {
        "data": traces,
        "layout": layout(
            620, legend={"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}},
            xaxis=axis("x, map frame (m)", constrain="domain", showgrid=False),
            yaxis=axis("y, map frame (m)", scaleanchor="x", scaleratio=1, showgrid=False),
        ),
    }  # fmt: skip


def _heat(pixels: Pixels, view: str, values: NDArray[np.float64], scale: str, span: tuple[float, float],
          title: str, digits: str) -> dict[str, Any]:  # fmt: skip
    side = pixels.side_m
    column = np.rint((pixels.x - pixels.x.min()) / side).astype(int)
    row = np.rint((pixels.y - pixels.y.min()) / side).astype(int)
    image = np.full((row.max() + 1, column.max() + 1), np.nan, np.float32)
    image[row, column] = values
    return {
        "type": "heatmap", "name": title, "meta": {"view": view}, "visible": view == VIEWS[0],
        "z": {"dtype": "f4", "bdata": base64.b64encode(image.tobytes()).decode("ascii"),
              "shape": f"{image.shape[0]}, {image.shape[1]}"},
        "x0": round(float(pixels.x.min()), 3), "dx": side, "y0": round(float(pixels.y.min()), 3), "dy": side,
        "colorscale": scale, "zmin": span[0], "zmax": span[1], "zsmooth": False, "showlegend": False,
        "colorbar": colour_bar(title),
        "hovertemplate": f"%{{x:.1f}}, %{{y:.1f}} m: %{{z:{digits}}}<extra></extra>",
    }  # fmt: skip


def _path(ego: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "name": "path of the robot", "meta": {"view": "all"},
        "x": numbers(ego[:, 0], 2), "y": numbers(ego[:, 1], 2), "line": {"color": "@text", "width": 3},
        "hoverinfo": "skip", "showlegend": True,
    }  # fmt: skip


def _marks(worst: list[RegionErrors]) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "markers+text", "name": "worst regions", "meta": {"view": "all"},
        "x": numbers([region.x for region in worst], 2), "y": numbers([region.y for region in worst], 2),
        "text": [f"<b>{rank}</b>" for rank in range(1, len(worst) + 1)],
        "textfont": {"size": 12, "color": "@text"}, "showlegend": bool(worst),
        "marker": {"symbol": "circle", "size": 22, "color": "@surface", "opacity": 0.85,
                   "line": {"width": 1.5, "color": "@text"}},
        "hoverinfo": "skip",
    }  # fmt: skip


def against(errors: RunErrors, worst: list[RegionErrors]) -> Figure | None:
    """Regions: loss against what the forecasts expected, and share occupied against mean forecast."""
    found = [region for region in errors.table.regions if region.observed]
    if not found:
        return None
    expected = [region.tally.entropy() or 0.0 for region in found]
    loss = [region.loss or 0.0 for region in found]
    forecast = [region.forecast or 0.0 for region in found]
    occupied = [region.occupied or 0.0 for region in found]
    top = round(1.08 * max(*expected, *loss), 3)
    places = {region.region: str(rank) for rank, region in enumerate(worst, 1)}
    most = max(region.observed for region in found)
    shared: dict[str, Any] = {
        "type": "scatter", "mode": "markers+text", "showlegend": False, "textfont": {"size": 11},
        "text": [places.get(region.region, "") for region in found], "textposition": "top center",
        "customdata": [[to_text(region.region), region.observed] for region in found],
        "marker": {"size": numbers([6 + 20 * (region.observed / most) ** 0.5 for region in found], 1),
                   "color": "@s-online", "opacity": 0.55, "line": {"width": 1, "color": "@surface"}},
    }  # fmt: skip
    hover = "%{customdata[0]}: %{x:.3f}, %{y:.3f}, %{customdata[1]:,} outcomes<extra></extra>"
    traces: list[dict[str, Any]] = [
        _diagonal(top, ""), _diagonal(1, "2"),
        {**shared, "x": numbers(expected), "y": numbers(loss), "hovertemplate": hover},
        {**shared, "x": numbers(forecast), "y": numbers(occupied), "xaxis": "x2", "yaxis": "y2",
         "hovertemplate": hover},
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": layout(
            430,
            xaxis=axis("log loss that the forecasts expect (nats)", domain=[0, 0.45], range=[0, top]),
            yaxis=axis("log loss (nats)", range=[0, top]),
            xaxis2=axis("mean forecast", domain=[0.57, 1], anchor="y2", range=[0, 1]),
            yaxis2=axis("share occupied", anchor="x2", range=[0, 1]),
        ),
    }  # fmt: skip


def _diagonal(top: float, number: str) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines", "x": [0, top], "y": [0, top], "hoverinfo": "skip",
        "xaxis": f"x{number}", "yaxis": f"y{number}", "line": {"color": "@line", "width": 1.5},
        "showlegend": False,
    }  # fmt: skip


def courses(errors: RunErrors, worst: list[RegionErrors]) -> Figure | None:
    """Loss over time: the whole run, and its worst regions."""
    table = errors.table
    seconds = (table.stamp_ns - errors.run.stamp_ns[0]) / 1e9
    rows, loss = np.zeros(len(seconds)), np.zeros(len(seconds))
    for region in table.regions:
        rows[region.course.place - 1] += region.course.rows
        loss[region.course.place - 1] += region.course.rows * region.course.loss
    if not rows.any():
        return None
    seen = rows > 0
    traces = [_line("whole run", seconds[seen], loss[seen] / rows[seen], "@s-online", 3.0)]
    for rank, (region, colour) in enumerate(zip(worst, LINES, strict=False), 1):
        place, values = region.course.binned(BINS)
        at = np.interp(place, np.arange(1, len(seconds) + 1), seconds)
        traces.append(_line(f"region {rank}", at, values, colour, 1.8))
    return {
        "data": traces,
        "layout": layout(
            340, hovermode="x unified", xaxis=axis("time since the first sweep (s)"),
            yaxis=axis("log loss (nats a cell)", rangemode="tozero"),
        ),
    }  # fmt: skip


def _line(
    name: str, x: NDArray[np.float64], y: NDArray[np.float64], colour: str, width: float
) -> dict[str, Any]:
    return {
        "type": "scatter", "mode": "lines+markers" if len(x) < 4 else "lines", "name": name,
        "x": numbers(x, 3), "y": numbers(y), "line": {"color": colour, "width": width},
        "hovertemplate": "%{y:.3f}",
    }  # fmt: skip
