"""Runs as stored containers to train on: predicted windows with their features and what came of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.explain import run_config
from agents.report.rows import PredictionRows
from agents.targets.stored import stored_sweeps
from agents.training_sets.rows import outcomes_of, target_names
from models.datasets.window import (
    SOURCE,
    cells_of_grid,
    with_column,
    with_features,
    with_outcomes,
    with_stamp,
)
from models.datasets.writer import ContainerWriter
from stream.container import grid_of
from stream.features import schema_of
from stream.framed import source_of
from stream.progress import Progress
from stream.run_folder import RunFolder
from stream.sweep_rows import count_sweeps


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


def write_windows(runs: Sequence[Path], out: Path, progress: Progress) -> Written:
    """Write ``out``, a new folder, which datasets of ``models.datasets`` read.

    Columns: ``cell_id``, ``stamp_ns``, ``source``, the number of the stream, ``features`` under the run's
    schema, ``before`` (at the window's own
    sweep: 0 unobserved, 1 seen through, 2 hit), and ``target`` (1 occupied, 0 seen through) and ``observed``,
    a column a horizon.
    Deterministic. Raises ConfigError, TableError, FileExistsError, MismatchError for runs that do not fit
    """
    totals = [count_sweeps(run) for run in runs if run_config(RunFolder(run))]
    skewed = observed = done = 0
    with ContainerWriter(out) as writer:
        for run in runs:
            folder = RunFolder(run)
            config, outcomes = run_config(folder), PredictionRows(run / "outcomes")
            grid, schema, horizons = grid_of(config), schema_of(config), config.task.horizons_ns
            names = target_names(config)
            for sweep in stored_sweeps(folder, config):
                done += 1
                progress(done, sum(totals), sweep.stream_id)
                if not sweep.matches:
                    skewed += 1
                    continue
                target, seen = outcomes_of(outcomes, sweep, horizons)
                window = with_stamp(cells_of_grid(grid, sweep.features.cell_id), sweep.stamp_ns)
                source = np.full(len(window), source_of(sweep.stream_id), np.uint64)
                window = with_column(window, SOURCE, source)
                window = with_features(window, schema.names, sweep.features.x, schema.hash)
                window = with_column(window, "before", sweep.features.before)
                writer.write(with_outcomes(window, names, target, seen))
                observed += int(seen.sum())
    return Written(windows=writer.windows, rows=writer.rows, skewed=skewed, observed=observed)
