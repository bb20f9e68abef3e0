"""Predictions joined with their outcomes at the primary horizon, one sweep after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.report.rows import PredictionRows
from agents.report.source import RunFolder
from stream.cell_rows import locate

ONLINE = "online"
"""The name of the served model in the scores; all other names are shadows."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ScoredSweep:
    """One sweep's forecasts at the primary horizon, and what became of them.

    index : place in the run; cell_id : uint64 (N,), ascending, each once
    probability : name to float32 (N,), NaN where that name gave none
    observed : bool (N,); occupied : bool (N,), meaningful where observed
    """

    index: int
    cell_id: NDArray[np.uint64]
    probability: dict[str, NDArray[np.float32]]
    observed: NDArray[np.bool_]
    occupied: NDArray[np.bool_]


def scored_sweeps(run: RunFolder, missing: list[str]) -> Iterator[ScoredSweep]:
    """Every sweep that has outcomes at the primary horizon, in order of stamps.

    Holds a few row groups at a time, never the run. Rows written twice count once. What is absent or
    damaged is noted in ``missing``.
    """
    predictions, outcomes, shadows = (
        PredictionRows(run.path / name) for name in ("predictions", "outcomes", "shadows")
    )
    for name, rows in (("predictions", predictions), ("outcomes", outcomes), ("shadows", shadows)):
        missing.extend(f"{name}/{file} is cut off and was left out." for file in rows.damaged)
        if not len(rows):
            missing.append(f"{name}/ holds no rows: {_CONSEQUENCE[name]}")
    for index, prediction_id in enumerate(run.prediction_id):
        forecast, outcome = predictions.table(prediction_id), outcomes.table(prediction_id)
        if forecast is None or outcome is None:
            continue
        sweep = _join(index, run.primary_ns, forecast, outcome, shadows.table(prediction_id))
        if sweep is not None:
            yield sweep


_CONSEQUENCE = {
    "predictions": "nothing can be scored or drawn by cell.",
    "outcomes": "no forecast has met its later sweep: no curves, no calibration, no error map.",
    "shadows": "the served model cannot be compared with baselines sweep by sweep.",
}


def _join(index: int, horizon_ns: int, forecast: pa.Table, outcome: pa.Table,
          shadow: pa.Table | None) -> ScoredSweep | None:  # fmt: skip
    forecast, outcome = _at(forecast, horizon_ns), _at(outcome, horizon_ns)
    if not len(forecast) or not len(outcome):
        return None
    cell_id, first = np.unique(_column(forecast, "cell_id"), return_index=True)
    row, found = locate(cell_id, _column(outcome, "cell_id"))
    observed, occupied = np.zeros((2, len(cell_id)), np.bool_)
    observed[row[found]] = True
    occupied[row[found]] = _column(outcome, "occupied")[found]
    probability = {ONLINE: _column(forecast, "probability").astype(np.float32)[first]}
    if shadow is not None:
        probability |= _shadows(cell_id, shadow)
    return ScoredSweep(index=index, cell_id=cell_id, probability=probability, observed=observed,
                       occupied=occupied)  # fmt: skip


def _at(table: pa.Table, horizon_ns: int) -> pa.Table:
    return table.filter(pa.array(_column(table, "horizon_ns") == horizon_ns))


def _column(table: pa.Table, name: str) -> NDArray[np.generic]:
    values: NDArray[np.generic] = table.column(name).to_numpy()
    return values


def _shadows(cell_id: NDArray[np.generic], shadow: pa.Table) -> dict[str, NDArray[np.float32]]:
    row, found = locate(cell_id, _column(shadow, "cell_id"))
    named: dict[str, NDArray[np.float32]] = {}
    for name in shadow.column_names:
        if not pa.types.is_floating(shadow.schema.field(name).type) or name == ONLINE:
            continue
        values = np.full(len(cell_id), np.nan, np.float32)
        values[row[found]] = _column(shadow, name).astype(np.float32)[found]
        named[name] = values
    return named
