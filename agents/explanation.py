"""How an explanation is shown: the digests, then the cells that surprised most."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.table import Table

from agents.console import grid
from agents.explain import Explanation
from native import index64

OUTCOMES = {-1: "[dim]-[/dim]", 0: "free", 1: "hit"}


def describe(explanation: Explanation, cells: int, features: bool) -> Iterator[RenderableType]:
    """What to print. cells : how many to show; features : also show the features of those."""
    same = "the same bits" if explanation.matches else "DIFFERENT from what was predicted from"
    yield grid(
        [
            ("prediction", explanation.prediction_id),
            ("model", explanation.model_id),
            ("stored digest", explanation.digest_stored),
            ("rebuilt digest", explanation.digest_rebuilt),
            ("features", f"{explanation.cells:,} cells x {len(explanation.names)}, {same}"),
            ("outcomes", _outcomes(explanation)),
        ]
    )
    rows = most_surprising(explanation, cells)
    if len(rows):
        yield _cell_table(explanation, rows)
    if features and len(rows):
        yield _feature_table(explanation, rows)


def most_surprising(explanation: Explanation, count: int) -> NDArray[np.intp]:
    """Rows of the cells with the largest error at any horizon, largest first; unobserved ones come last."""
    seen = explanation.occupied >= 0
    error = np.where(seen, np.abs(explanation.occupied - explanation.probability), -1.0)
    worst = error.max(axis=1, initial=-1.0)
    return np.argsort(-worst, kind="stable")[:count]


def _outcomes(explanation: Explanation) -> str:
    parts = []
    for place, horizon in enumerate(explanation.horizons_ns):
        column = explanation.occupied[:, place]
        seen = int((column >= 0).sum())
        parts.append(f"{horizon / 1e9:g} s: {seen:,} observed, {int((column == 1).sum()):,} hit")
    return "; ".join(parts)


def _cell_table(explanation: Explanation, rows: NDArray[np.intp]) -> Table:
    table = _table("cells that surprised most: forecast and outcome (- not observed)")
    table.add_column("cell", no_wrap=True)
    table.add_column("x y z, m", justify="right", no_wrap=True)
    for horizon in explanation.horizons_ns:
        table.add_column(f"{horizon / 1e9:g} s", no_wrap=True)
    centres = index64.decode(explanation.cell_id[rows]).sites * explanation.half_edge_m
    for row, centre in zip(rows, centres, strict=True):
        pairs = zip(explanation.probability[row], explanation.occupied[row], strict=True)
        table.add_row(
            _name(explanation, row),
            " ".join(f"{value:.1f}" for value in centre),
            *(f"{probability:.3f} {OUTCOMES[int(occupied)]}" for probability, occupied in pairs),
        )
    return table


def _table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )


def _feature_table(explanation: Explanation, rows: NDArray[np.intp]) -> Table:
    table = _table("their features")
    table.add_column("feature")
    for row in rows:
        table.add_column(f"…{_name(explanation, row)[-6:]}", justify="right")
    for column, name in enumerate(explanation.names):
        table.add_row(name, *(f"{explanation.features[row, column]:.4g}" for row in rows))
    return table


def _name(explanation: Explanation, row: np.intp) -> str:
    return index64.to_text(int(explanation.cell_id[row]))
