"""Plain Plotly figures: dictionaries whose colours are names that the page resolves for its theme."""

from __future__ import annotations

import base64
import html
from typing import Any

import numpy as np
from numpy.typing import NDArray

Figure = dict[str, Any]

STYLE = {
    "online": ("@s-online", "solid", 3.0),
    "frozen": ("@s-frozen", "dash", 1.8),
    "linear": ("@s-linear", "solid", 1.8),
    "frequency": ("@s-frequency", "dot", 2.2),
    "persistence": ("@s-persistence", "dashdot", 1.8),
}
"""Colour, dash and width of a name, the same in every chart."""
ORDER = tuple(STYLE)
LEGEND = {"orientation": "h", "x": 0, "y": 1.0, "yanchor": "bottom", "font": {"size": 13}}
MAX_POINTS = 1_200
"""Points of a line; longer runs are shown as means of equal stretches."""


def ordered(names: Any) -> list[str]:
    """Names in the order of the report: the known ones first, challengers after them by name."""
    known = [name for name in ORDER if name in names]
    return known + sorted(str(name) for name in names if name not in ORDER)


def style(name: str, names: list[str]) -> tuple[str, str, float]:
    """Colour token, dash and width of a name; challengers take the spare colours in turn."""
    if name in STYLE:
        return STYLE[name]
    spare = [other for other in names if other not in STYLE]
    return f"@s-extra{spare.index(name) % 3}", "solid", 1.8


def plain(text: object) -> str:
    """Text from the run, safe inside a chart, where Plotly reads tags."""
    return html.escape(str(text), quote=False)


def typed(values: NDArray[Any]) -> Any:
    """A large array in Plotly's base64 form, a third of the size of its JSON text."""
    values = np.ascontiguousarray(values)
    kind = {"float32": "f4", "float64": "f8", "int32": "i4", "int16": "i2", "uint8": "u1"}[values.dtype.name]
    return {"dtype": kind, "bdata": base64.b64encode(values.tobytes()).decode("ascii")}


def numbers(values: Any, digits: int = 5) -> list[float | None]:
    """Values rounded for JSON; NaN becomes a gap."""
    return [round(float(v), digits) if np.isfinite(v) else None for v in values]


def thinned(x: NDArray[Any], y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """A line of at most MAX_POINTS points: means over equal stretches of rows, NaN skipped."""
    if len(x) <= MAX_POINTS:
        return x, y
    group = np.arange(len(x)) * MAX_POINTS // len(x)
    given = np.isfinite(y)
    count = np.bincount(group, given)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(group, np.where(given, y, 0.0)) / count
    return np.bincount(group, x) / np.bincount(group), mean


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with a title and the house's lines."""
    return {
        "title": {"text": title, "standoff": 8, "font": {"size": 13, "color": "@muted"}},
        "gridcolor": "@grid", "zeroline": False,
        "linecolor": "@line", "automargin": True, **more,
    }  # fmt: skip


def layout(height: int, **more: Any) -> dict[str, Any]:
    """A layout with the house's margins, font, legend on top and colours by name."""
    return {
        "height": height, "margin": {"l": 64, "r": 18, "t": 34, "b": 48},
        "paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)",
        "font": {"family": "inherit", "size": 13, "color": "@text"},
        "legend": LEGEND,
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "@muted", "activecolor": "@accent"},
        "hoverlabel": {"bgcolor": "@surface", "bordercolor": "@line", "font": {"color": "@text"}},
        **more,
    }  # fmt: skip


def span(values: Any, least: float = 0.02) -> list[float]:
    """An axis range around values with some air, at least ``least`` to each side."""
    given = [float(v) for v in values if v is not None and np.isfinite(v)]
    if not given:
        return [0.0, 1.0]
    air = max(least, 0.25 * (max(given) - min(given)))
    return [round(min(given) - air, 4), round(max(given) + air, 4)]


def colour_bar(title: str, **more: Any) -> dict[str, Any]:
    """A thin colour bar with its title along the side."""
    return {
        "title": {"text": title, "side": "right", "font": {"size": 13, "color": "@muted"}},
        "thickness": 12, "outlinewidth": 0, "tickfont": {"size": 12, "color": "@text"}, **more,
    }  # fmt: skip


def over(seconds: NDArray[np.float64]) -> list[float]:
    """An axis range over the whole run, a little wider so that marks at its ends are whole."""
    end = float(seconds[-1]) if len(seconds) else 1.0
    return [round(-0.015 * end - 0.001, 4), round(1.015 * end + 0.001, 4)]


def note(text: str, x: float, y: float, **more: Any) -> dict[str, Any]:
    """A small annotation without an arrow."""
    return {"text": text, "x": x, "y": y, "showarrow": False, "font": {"size": 12, "color": "@muted"}, **more}
