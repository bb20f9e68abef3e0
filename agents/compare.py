"""Runs of one log beside each other, on the cells that all of them forecast and saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from agents.explain import run_config
from agents.report.scored import ONLINE, ScoredSweep, scored_sweeps
from agents.report.source import RunFolder as ReportedRun
from agents.report.source import read_run
from models.scores.histogram import ScoreHistogram
from stream.config import Config
from stream.features import schema_of
from stream.progress import Progress
from stream.run_folder import RunFolder


class CompareError(ValueError):
    """Runs that cannot be compared; says in what they differ, and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One run.  schema : hash of its features; scores : of its common cells; own : number of all its rows"""

    run: str
    schema: str
    scores: ScoreHistogram
    own: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Several runs.  sweeps : common ones; contradicted : cells left out, which the runs saw otherwise"""

    runs: tuple[Compared, ...]
    sweeps: int
    contradicted: int


def compare(runs: Sequence[Path], progress: Progress) -> Comparison:
    """Score the served forecasts of runs at the primary horizon, on the cells that all have outcomes of.

    Features, windows and models may differ; grid and primary horizon must not, else nothing is in common.
    Sweeps within any run's warm-up do not count. Deterministic; a few row groups are held of each.
    Raises CompareError, ConfigError, ReportError
    """
    if len(runs) < 2:
        raise CompareError("compare: name two runs or more")
    configs = [run_config(RunFolder(run)) for run in runs]
    _require_alike(runs, configs)
    reported = [read_run(run) for run in runs]
    keys = [_scored_ids(run) for run in reported]
    common = set(keys[0]).intersection(*keys[1:])
    own = [0] * len(runs)
    scores = [ScoreHistogram() for _ in runs]
    sweeps = contradicted = 0
    pairs = enumerate(zip(reported, keys, strict=True))
    streams = [_observed(run, ids, own, place) for place, (run, ids) in pairs]
    for together in _aligned(streams, common):
        sweeps += 1
        progress(sweeps, len(common), "")
        contradicted += _add(together, scores)
    if not sum(histogram.n for histogram in scores):
        raise CompareError(f"{runs[0]}: has no scored cell in common with the others; are they of one log?")
    return Comparison(
        runs=tuple(
            Compared(run=str(run), schema=schema_of(config).hash, scores=histogram, own=rows)
            for run, config, histogram, rows in zip(runs, configs, scores, own, strict=True)
        ),
        sweeps=sweeps,
        contradicted=contradicted,
    )


def _require_alike(runs: Sequence[Path], configs: Sequence[Config]) -> None:
    for run, config in zip(runs[1:], configs[1:], strict=True):
        for name in ("half_edge_m", "lod", "tier", "map_frame", "frame_ids"):
            mine, other = getattr(configs[0].grid, name), getattr(config.grid, name)
            if mine != other:
                raise CompareError(
                    f"{run}: grid.{name} is {other}, that of {runs[0]} {mine}: they have no cells in common"
                )
        mine, other = configs[0].task.primary_horizon_ns, config.task.primary_horizon_ns
        if mine != other:
            raise CompareError(f"{run}: task.primary_horizon_ns is {other}, that of {runs[0]} {mine}")


def _scored_ids(run: ReportedRun) -> dict[str, int]:
    """Place of every prediction after the warm-up."""
    return {name: place for place, name in enumerate(run.prediction_id) if place >= run.warmup}


def _observed(
    run: ReportedRun, ids: dict[str, int], own: list[int], place: int
) -> Iterator[tuple[str, ScoredSweep]]:
    """The sweeps of a run that count, with their prediction; its rows are added up on the way."""
    missing: list[str] = []
    for sweep in scored_sweeps(run, missing):
        name = run.prediction_id[sweep.index]
        if name in ids:
            own[place] += int(sweep.observed.sum())
            yield name, sweep
    damaged = [line for line in missing if not line.startswith("shadows/")]
    if damaged:
        raise CompareError(f"{run.path}: {' '.join(damaged)}")


def _aligned(
    streams: Sequence[Iterator[tuple[str, ScoredSweep]]], common: set[str]
) -> Iterator[list[ScoredSweep]]:
    """Sweeps that all runs have, in the order of the first; each run's own are passed over."""
    waiting: list[dict[str, ScoredSweep]] = [{} for _ in streams]
    for name, first in streams[0]:
        if name not in common:
            continue
        together = [first]
        for stream, held in zip(streams[1:], waiting[1:], strict=True):
            while name not in held:
                other = next(stream, None)
                if other is None:
                    break
                if other[0] in common:
                    held[other[0]] = other[1]
            if name in held:
                together.append(held.pop(name))
        if len(together) == len(streams):
            yield together
    for stream in streams[1:]:
        for _ in stream:  # so that their own rows are complete
            pass


def _add(sweeps: Sequence[ScoredSweep], scores: Sequence[ScoreHistogram]) -> int:
    """Score the common cells of one sweep; how many were left out, since the runs saw different things."""
    cells = sweeps[0].cell_id[_usable(sweeps[0])]
    for sweep in sweeps[1:]:
        cells = np.intersect1d(cells, sweep.cell_id[_usable(sweep)], assume_unique=True)
    rows = [np.searchsorted(sweep.cell_id, cells) for sweep in sweeps]
    occupied = np.stack([sweep.occupied[row] for sweep, row in zip(sweeps, rows, strict=True)])  # (R, N)
    same = np.all(occupied == occupied[0], axis=0)
    for sweep, row, histogram in zip(sweeps, rows, scores, strict=True):
        histogram.add(sweep.probability[ONLINE][row[same]], occupied[0, same])
    return int((~same).sum())


def _usable(sweep: ScoredSweep) -> np.ndarray:
    """Cells with an outcome and a forecast."""
    usable: np.ndarray = sweep.observed & ~np.isnan(sweep.probability[ONLINE])
    return usable
