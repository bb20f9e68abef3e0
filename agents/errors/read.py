"""A run's error map, with all that the page and the tables say beside it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.report.path import ego_path
from agents.report.source import RunEvent, RunFolder, read_run
from models.scores.error_table import error_table
from models.scores.region_errors import ErrorTable
from native.errors import OctaError
from native.index64 import from_text
from stream.run_tables import RunTables, run_tables


class ErrorMapError(ValueError):
    """A run without an error map; says what it lacks and the way out."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RunErrors:
    """The error map of one run.

    alarms : of drift, by region; ego : sensor positions, float64 (S, 3), metres
    damaged : stored files that were left out
    """

    run: RunFolder
    table: ErrorTable
    alarms: Counter[int]
    ego: NDArray[np.float64]
    damaged: list[str]


def read_errors(path: Path, horizon_s: float | None = None, levels: int | None = None) -> RunErrors:
    """As ``counted_errors``, where the tables are not asked again."""
    with counted_errors(path, horizon_s, levels) as (errors, _):
        return errors


@contextmanager
def counted_errors(
    path: Path, horizon_s: float | None = None, levels: int | None = None
) -> Iterator[tuple[RunErrors, RunTables]]:
    """Count the error map of a run folder; its tables can be asked for more meanwhile.

    horizon_s : seconds, default the primary horizon
    levels : LODs that regions are coarser than cells, default as in the run
    Raises ErrorMapError where nothing can be judged, ReportError where ``path`` is no run, TableError
    """
    run = read_run(path)
    horizon_ns = run.primary_ns if horizon_s is None else round(1e9 * horizon_s)
    if levels is not None and levels < 0:
        raise ErrorMapError(f"--levels {levels}: must be 0 or more")
    with run_tables(path) as tables:
        table = error_table(
            tables,
            horizon_ns=horizon_ns,
            warmup=run.warmup,
            region_levels=run.region_levels if levels is None else levels,
            half_edge_m=run.half_edge_m,
        )
        if table is None:
            stored = tables.table("SELECT DISTINCT horizon_ns FROM outcomes ORDER BY horizon_ns")[
                "horizon_ns"
            ]
            asked = None if horizon_s is None else horizon_ns
            raise ErrorMapError(_nothing(run, asked, stored.tolist()))
        found = RunErrors(
            run=run, table=table, alarms=alarms_of(run.events), ego=ego_path(path), damaged=tables.damaged
        )
        yield found, tables


def _nothing(run: RunFolder, asked_ns: int | None, stored: list[int]) -> str:
    if asked_ns is not None and stored and asked_ns not in stored:
        known = ", ".join(f"{horizon / 1e9:g}" for horizon in stored)
        return f"--horizon {asked_ns / 1e9:g}: the run has outcomes at {known} s"
    return (
        f"{run.path}: no forecast after the warm-up of {run.warmup} sweeps has an outcome: replay a longer "
        "log, or with --set task.warmup_sweeps=N"
    )


def alarms_of(events: list[RunEvent]) -> Counter[int]:
    """Alarms of drift by region, where they name one, by text or number."""
    found: Counter[int] = Counter()
    for event in events:
        region = event.fields.get("region")
        if event.name == "drift" and region is not None:
            text = str(region)
            try:
                found[int(text) if text.isdigit() else from_text(text)] += 1
            except OctaError:
                continue  # of another grid, or none: an alarm without a place on this map
    return found
