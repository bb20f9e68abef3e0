"""A study as one self-contained page, in the clothes of the run report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from agents import report
from agents.report.figure import Figure, axis, layout, note, plain, style
from agents.studies.result import Cell, Chart, StudyResult

HERE = Path(__file__).parent
CLOTHES = Path(report.__file__).parent
"""Style sheet and script of the run report."""

MARKS = {True: "✓ ", False: "✗ ", None: ""}
DASHES = ("solid", "dash", "dot", "dashdot")
SPARE = (
    "@s-extra0",
    "@s-extra1",
    "@s-extra2",
    "@s-linear",
    "@s-frequency",
    "@t2",
    "@t4",
    "@t0",
    "@t5",
    "@t1",
)
KNOWN = {"online": "online", "frozen": "frozen", "oracle": "linear", "periodic": "frequency"}
"""Contestants that look the same in every chart, as names of the report."""


def page_of(result: StudyResult) -> str:
    """The page; the same result gives the same bytes."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.globals["shown"] = _shown
    figures = {f"chart-{place}": _figure(chart) for place, chart in enumerate(result.charts)}
    return environment.get_template("page.html.j2").render(
        result=result, tone=_tone(result), marks=MARKS, figures=figures,
        titles={f"chart-{place}": chart.title for place, chart in enumerate(result.charts)},
        css=Markup((CLOTHES / "page.css").read_text(encoding="utf-8")),
        js=Markup((CLOTHES / "page.js").read_text(encoding="utf-8")), plotly=Markup(get_plotlyjs()),
    )  # fmt: skip


def _tone(result: StudyResult) -> str:
    judged = [finding.holds for finding in result.findings if finding.holds is not None]
    if not judged:
        return "none"
    return "good" if all(judged) else "bad" if not any(judged) else "mixed"


def _shown(cell: Cell) -> str:
    if cell is None:
        return "-"
    return f"{cell:,}" if isinstance(cell, int) else f"{cell:g}" if isinstance(cell, float) else cell


def _figure(chart: Chart) -> Figure:
    traces: list[dict[str, Any]] = []
    for place, shown in enumerate(chart.lines):
        colour, dash, width = _look(shown.name, place)
        if chart.kind == "bars":
            traces.append({
                "type": "bar", "name": plain(shown.name), "x": [plain(str(name)) for name in shown.x],
                "y": list(shown.y), "marker": {"color": colour}, "hovertemplate": "%{y:.4f}",
            })  # fmt: skip
            continue
        traces.append({
            "type": "scatter", "mode": "lines" if chart.kind == "line" else "markers",
            "name": plain(shown.name), "x": list(shown.x), "y": list(shown.y),
            "line": {"color": colour, "dash": dash, "width": width}, "marker": {"color": colour, "size": 7},
            "hovertemplate": "%{y:.4f}",
        })  # fmt: skip
    shapes = [
        {"type": "line", "xref": "x", "yref": "paper", "x0": mark.x, "x1": mark.x, "y0": 0, "y1": 1,
         "line": {"color": "@muted", "width": 1, "dash": "dot"}}
        for mark in chart.marks
    ]  # fmt: skip
    notes = [
        note(plain(mark.text), mark.x, 1, yref="paper", xanchor="left", yanchor="top") for mark in chart.marks
    ]
    return {
        "data": traces,
        "layout": layout(
            380, hovermode="x unified", shapes=shapes, annotations=notes, xaxis=axis(chart.x_title),
            yaxis=axis(chart.y_title),
        ),
    }  # fmt: skip


def _look(name: str, place: int) -> tuple[str, str, float]:
    if name in KNOWN:
        return style(KNOWN[name], [])
    return SPARE[place % len(SPARE)], DASHES[place // len(SPARE) % len(DASHES)], 1.8
