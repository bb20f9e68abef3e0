"""Runs as stored containers to train on: predicted windows with their features and what came of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.explain import run_config
from agents.report.rows import PredictionRows
from agents.targets.stored import StoredSweep, stored_sweeps
from models.datasets.window import cells_of_grid, with_column, with_features, with_outcomes, with_stamp
from models.datasets.writer import ContainerWriter
from stream.cell_rows import locate
from stream.container import grid_of
from stream.features import schema_of
from stream.run_folder import RunFolder

Progress = Callable[[int, int | None, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a dataset came to.

    skewed : sweeps left out, since their features could not be rebuilt as they were predicted from
    observed : outcomes, cells times horizons
    """

    windows: int
    rows: int
    skewed: int
    observed: int


def write_dataset(runs: Sequence[Path], out: Path, progress: Progress) -> Written:
    """Write ``out``, a new folder, which datasets of ``models.datasets`` read.

    Columns: ``cell_id``, ``stamp_ns``, ``features`` under the run's schema, ``before`` (at the window's own
    sweep: 0 unobserved, 1 seen through, 2 hit), and ``target`` (1 occupied, 0 seen through) and ``observed``,
    a column a horizon.
    Deterministic. Raises ConfigError, TableError, FileExistsError, MismatchError for runs that do not fit
    """
    totals = [pq.read_metadata(run / "sweeps.parquet").num_rows for run in runs if run_config(RunFolder(run))]
    skewed = observed = done = 0
    with ContainerWriter(out) as writer:
        for run in runs:
            folder = RunFolder(run)
            config, outcomes = run_config(folder), PredictionRows(run / "outcomes")
            grid, schema, horizons = grid_of(config), schema_of(config), config.task.horizons_ns
            names = [f"occupied_{horizon / 1e9:g}s" for horizon in horizons]
            for sweep in stored_sweeps(folder, config):
                done += 1
                progress(done, sum(totals), sweep.stream_id)
                if not sweep.matches:
                    skewed += 1
                    continue
                target, seen = _outcomes(outcomes, sweep, horizons)
                window = with_stamp(cells_of_grid(grid, sweep.features.cell_id), sweep.stamp_ns)
                window = with_features(window, schema.names, sweep.features.x, schema.hash)
                window = with_column(window, "before", sweep.features.before)
                writer.write(with_outcomes(window, names, target, seen))
                observed += int(seen.sum())
    return Written(windows=writer.windows, rows=writer.rows, skewed=skewed, observed=observed)


def _outcomes(
    outcomes: PredictionRows, sweep: StoredSweep, horizons: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What was found by cell and horizon, and where anything was."""
    shape = (len(sweep.features.cell_id), len(horizons))
    target, observed = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    table = outcomes.table(sweep.prediction_id)
    if table is None:
        return target, observed
    horizon, occupied = table["horizon_ns"].to_numpy(), table["occupied"].to_numpy(zero_copy_only=False)
    row, known = locate(sweep.features.cell_id, table["cell_id"].to_numpy())
    for column, horizon_ns in enumerate(horizons):
        chosen = known & (horizon == horizon_ns)
        target[row[chosen], column], observed[row[chosen], column] = occupied[chosen], True
    return target, observed
