"""What a study has found: tables and charts as plain values, for study.json and the page."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Cell = str | float | int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows under columns; the first column names the row. note : what the figures are"""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a chart, or the bars of one colour; None is a gap. x : numbers, or names of bars"""

    name: str
    x: tuple[float | str, ...]
    y: tuple[float | None, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A vertical line with a word: something happened there."""

    x: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Lines, points or bars over one axis."""

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    marks: tuple[Mark, ...] = ()
    kind: Literal["line", "points", "bars"] = "line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One sentence; ``holds`` says whether it is what was hoped for, None where nothing was."""

    text: str
    holds: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyResult:
    """A finished study.

    question : what it asks; method : how, in a few sentences; logs : every log that was replayed
    """

    study: str
    title: str
    question: str
    method: str
    logs: tuple[str, ...]
    findings: tuple[Finding, ...]
    tables: tuple[Table, ...]
    charts: tuple[Chart, ...]
    settings: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, deterministic: no time, no place."""
        return dataclasses.asdict(self)


def line(name: str, values: NDArray[np.float64], x: Sequence[float] | None = None) -> Line:
    """A line over sweeps 0, 1, ... or over ``x``; values that are not finite are gaps."""
    places = range(len(values)) if x is None else x
    return Line(
        name=name,
        x=tuple(float(place) for place in places),
        y=tuple(round(float(value), 6) if np.isfinite(value) else None for value in values),
    )


def number(value: float | None, digits: int = 4) -> float | None:
    """A value for a table; None where it is not finite."""
    return round(float(value), digits) if value is not None and np.isfinite(value) else None
