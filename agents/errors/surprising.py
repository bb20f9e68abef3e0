"""What surprised the forecasts of a stored run most, cell by cell."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.report.rows import PredictionRows
from agents.report.source import RunFolder, read_run
from models.scores.surprise import surprise
from native.neighbors import neighbor_table
from stream.cell_rows import locate
from stream.files import replacing
from stream.progress import Progress
from stream.run_tables import run_tables

SCHEMA = pa.schema([
    ("stream_id", pa.string()), ("stamp_ns", pa.int64()), ("cell_id", pa.uint64()), ("occupied", pa.bool_()),
    ("before", pa.uint8()), ("surprise", pa.float32()),
])  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SurprisedSweep:
    """One sweep that revealed outcomes at the primary horizon.

    cell_id : uint64 (N,), ascending, cells that were forecast and observed; occupied : bool (N,)
    before : uint8 (N,), their state when the forecast at the primary horizon was made
    surprise : float32 (N,), nats
    """

    stream_id: str
    stamp_ns: int
    cell_id: NDArray[np.uint64]
    occupied: NDArray[np.bool_]
    before: NDArray[np.uint8]
    surprise: NDArray[np.float32]

    def table(self) -> pa.Table:
        """The same as rows."""
        count = len(self.cell_id)
        return pa.table(
            [
                pa.repeat(self.stream_id, count), pa.array(np.full(count, self.stamp_ns)), self.cell_id,
                self.occupied, self.before, self.surprise,
            ],
            schema=SCHEMA,
        )  # fmt: skip


def surprised_sweeps(path: Path, progress: Progress) -> Iterator[SurprisedSweep]:
    """Every sweep after the warm-up that revealed outcomes at the primary horizon, by stream and stamp.

    Forecasts of all horizons that name the sweep count. Holds a few row groups, never the run.
    Raises ReportError where ``path`` is no run, TableError
    """
    run = read_run(path)
    forecasts, outcomes = PredictionRows(path / "predictions"), PredictionRows(path / "outcomes")
    joins = _joins(run)
    for done, ((stream_id, stamp_ns), made) in enumerate(sorted(joins.items())):
        progress(done, len(joins), stream_id)
        if run.primary_ns in made:
            found = _surprised(forecasts, outcomes, made, run.primary_ns)
            if found is not None:
                cells, occupied, before, score = found
                yield SurprisedSweep(
                    stream_id=stream_id, stamp_ns=stamp_ns, cell_id=cells, occupied=occupied, before=before,
                    surprise=score,
                )  # fmt: skip


def write_surprise(sweeps: Iterable[SurprisedSweep], out: Path) -> Iterator[SurprisedSweep]:
    """Write sweeps to a Parquet file as they pass by; it appears when all have.  Raises OSError"""
    with replacing(out) as part, pq.ParquetWriter(part, SCHEMA, compression="zstd") as writer:
        for sweep in sweeps:
            writer.write_table(sweep.table())
            yield sweep


def top_rows(sweeps: Iterable[SurprisedSweep], count: int) -> tuple[list[dict[str, Any]], int]:
    """The rows of highest surprise, highest first, and how many there are in all."""
    best, rows = SCHEMA.empty_table(), 0
    for sweep in sweeps:
        table = sweep.table()
        rows += len(table)
        keys = [("surprise", "descending"), ("stamp_ns", "ascending"), ("cell_id", "ascending")]
        best = pa.concat_tables([best, table]).sort_by(keys).slice(0, count)
    return best.to_pylist(), rows


def _joins(run: RunFolder) -> dict[tuple[str, int], dict[int, str]]:
    """By stream and stamp of a sweep: horizons that it decided, and which prediction at each."""
    counts: dict[str, int] = {}
    counted = set()
    for name, stream in zip(run.prediction_id, run.stream_id, strict=True):
        counts[stream] = counts.get(stream, 0) + 1
        if counts[stream] > run.warmup:
            counted.add(name)
    with run_tables(run.path) as tables:
        found = tables.table(
            "SELECT DISTINCT prediction_id, horizon_ns, observed_stamp_ns FROM outcomes ORDER BY ALL"
        )
    joins: dict[tuple[str, int], dict[int, str]] = {}
    for name, horizon, stamp in zip(*(found[k].tolist() for k in found), strict=True):
        if name in counted:
            joins.setdefault((name.rpartition("/")[0], stamp), {})[horizon] = name
    return joins


def _surprised(
    forecasts: PredictionRows, outcomes: PredictionRows, made: dict[int, str], primary_ns: int
) -> tuple[NDArray[np.uint64], NDArray[np.bool_], NDArray[np.uint8], NDArray[np.float32]] | None:
    table = outcomes.table(made[primary_ns])
    if table is None:
        return None
    at = table["horizon_ns"].to_numpy() == primary_ns
    cell_id, first = np.unique(table["cell_id"].to_numpy()[at], return_index=True)
    occupied, before = (table[name].to_numpy()[at][first] for name in ("occupied", "before"))
    columns = [_forecast(forecasts, made[horizon], horizon, cell_id) for horizon in sorted(made)]
    score = surprise(np.column_stack(columns), occupied, neighbor_table(cell_id))
    return cell_id, occupied, before, score


def _forecast(
    forecasts: PredictionRows, prediction_id: str, horizon_ns: int, cell_id: NDArray[np.uint64]
) -> NDArray[np.float32]:
    """What one prediction said of cells at one horizon, float32 (N,), NaN where nothing."""
    values = np.full(len(cell_id), np.nan, np.float32)
    table = forecasts.table(prediction_id)
    if table is None:
        return values
    at = table["horizon_ns"].to_numpy() == horizon_ns
    cells = table["cell_id"].to_numpy()[at]
    row, known = locate(cell_id, cells)
    values[row[known]] = table["probability"].to_numpy()[at][known]
    return values
