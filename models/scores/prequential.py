"""Predict, wait for the outcome, score: the running scores of a whole run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scores.breakdown import HALF_LIFE_SWEEPS, WINDOW_SWEEPS, Breakdown, band_names
from models.scores.histogram import ScoreHistogram
from models.scores.series import ScoreSeries
from models.scores.tally import Reliability, SweepScore, row_keys, sweep_score, tally_of, tally_of_keys
from stream.records import HIT, SEEN_THROUGH

ONLINE = "online"
NAMES = ("persistence", "frequency", "linear", "frozen", ONLINE)
"""Predictors whose scores the summary shows; ``online`` is what was served."""


class SubsetScores:
    """Scores of one predictor at one horizon: all cells, and the two subsets fixed at prediction time."""

    def __init__(self) -> None:
        self.all = ScoreHistogram()
        self.freed = ScoreHistogram()
        self.appeared = ScoreHistogram()
        self._precision_sum = 0.0
        self._precision_sweeps = 0

    def add(
        self, probability: NDArray[np.float32], occupied: NDArray[np.bool_], before: NDArray[np.uint8]
    ) -> SweepScore:
        """Score the observed cells of one sweep and return that sweep's own scores."""
        keys = row_keys(probability, occupied)
        tally = tally_of_keys(keys)
        self.all.add_keys(keys)
        self.freed.add_keys(keys[before == HIT])
        self.appeared.add_keys(keys[before == SEEN_THROUGH])
        score = sweep_score(tally)
        if score.average_precision is not None:
            self._precision_sum += score.average_precision
            self._precision_sweeps += 1
        return score

    def summary(self) -> dict[str, float | int | None]:
        """The scores under the keys of ``summary.json``; None where nothing supports one."""
        tally = self.all.tally()
        sweeps = self._precision_sweeps
        return {
            "average_precision": tally.average_precision(),
            "average_precision_per_sweep": self._precision_sum / sweeps if sweeps else None,
            "log_loss": tally.log_loss(),
            "brier": tally.brier(),
            "ece": tally.ece(),
            "freed_average_precision": self.freed.tally().complement().average_precision(),
            "appeared_average_precision": self.appeared.average_precision(),
            "n": tally.n,
        }

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "all": self.all.state(),
            "freed": self.freed.state(),
            "appeared": self.appeared.state(),
            "precision_sum": self._precision_sum,
            "precision_sweeps": self._precision_sweeps,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> SubsetScores:
        """Rebuild from ``state``."""
        scores = cls()
        scores.all = ScoreHistogram.from_state(state["all"])
        scores.freed = ScoreHistogram.from_state(state["freed"])
        scores.appeared = ScoreHistogram.from_state(state["appeared"])
        scores._precision_sum = float(state["precision_sum"])
        scores._precision_sweeps = int(state["precision_sweeps"])
        return scores


class PrequentialScores:
    """Running scores: every predictor at the primary horizon, the served one at every horizon.

    horizons_ns : horizons of the predictions, ascending; primary_horizon_ns : one of them
    warmup_sweeps : predictions of the first so many sweeps of a stream are not scored
    series_cap : rows of the by-sweep series held at most
    Memory: 6 MiB a predictor and horizon, 42 MiB with the default three horizons, and 3 MiB a predictor for
    its ``Breakdown``.
    """

    def __init__(
        self,
        horizons_ns: Sequence[int],
        primary_horizon_ns: int,
        warmup_sweeps: int,
        *,
        series_cap: int = 4096,
    ) -> None:
        self._horizons = tuple(int(horizon) for horizon in horizons_ns)
        self._primary = int(primary_horizon_ns)
        self._warmup = int(warmup_sweeps)
        if self._primary not in self._horizons:
            raise ValueError(
                f"primary_horizon_ns: {self._primary} must be one of horizons_ns {self._horizons}"
            )
        if self._warmup < 0:
            raise ValueError(f"warmup_sweeps: must be >= 0, got {self._warmup}")
        self._scores = {(name, self._primary): SubsetScores() for name in NAMES}
        self._scores |= {(ONLINE, horizon): SubsetScores() for horizon in self._horizons if
                         horizon != self._primary}  # fmt: skip
        self._breakdown = {name: Breakdown() for name in NAMES}
        self._series = ScoreSeries(NAMES, series_cap)
        self.cells_due = 0
        self.cells_observed = 0

    def add(
        self,
        *,
        stamp_ns: int,
        horizon_ns: int,
        sweep_index: int,
        cells_predicted: int,
        probability: Mapping[str, NDArray[np.float32]],
        occupied: NDArray[np.bool_],
        before: NDArray[np.uint8],
        range_m: NDArray[np.float64] | None = None,
    ) -> dict[str, SweepScore]:
        """Score one outcome; call it once per (prediction, horizon) whose outcome sweep arrived.

        stamp_ns : of the prediction; sweep_index : place of its sweep in its stream, from 0
        cells_predicted : rows of the prediction, observed or not
        probability : by predictor, float32 (M,) on the grid, rows as ``occupied``; "online" is required,
            the others count at the primary horizon only, one that had no model yet is absent, and names
            outside ``NAMES`` (challengers, whose judge is the gate) are left alone
        occupied : bool (M,); before : uint8 (M,), state of the cell at the prediction's own sweep
        range_m : float64 (M,), metres from the sensor at that sweep; None where its place is not known
        Returns the scores of this sweep by predictor, whether it counts or is warm-up
        Raises ValueError for an unknown horizon, a missing "online", or arrays that do not match
        """
        if horizon_ns not in self._horizons:
            raise ValueError(f"horizon_ns: {horizon_ns} is not one of {self._horizons}")
        if ONLINE not in probability:
            raise ValueError("probability: the served forecast 'online' is missing")
        if before.shape != occupied.shape:
            raise ValueError(f"before: expected shape {occupied.shape}, got {before.shape}")
        primary = horizon_ns == self._primary
        names = [name for name in (NAMES if primary else (ONLINE,)) if name in probability]
        if sweep_index >= self._warmup:
            scores = {
                name: self._scores[name, horizon_ns].add(probability[name], occupied, before)
                for name in names
            }
            for name in names if primary else ():
                self._breakdown[name].add(probability[name], occupied, before, range_m)
        else:
            scores = {name: sweep_score(tally_of(probability[name], occupied)) for name in names}
        if primary:
            self.cells_due += cells_predicted
            self.cells_observed += len(occupied)
            self._series.add(stamp_ns, scores)
        return scores

    def summary(self) -> dict[str, Any]:
        """Scores of the run summary, None where unsupported.

        ``scores`` : name to scores at the primary horizon, all of ``NAMES``
        ``scores_by_horizon`` : horizon in nanoseconds, as text, to name to scores
        ``brier_parts`` : the same, to the parts of the Brier score (see ``Tally.decomposition``)
        ``scores_by_range`` : band of range at the primary horizon, as text, to name to scores
        ``scores_windowed``, ``scores_fading`` : what is late, and name to scores at the primary horizon
        """
        by_horizon: dict[str, dict[str, Any]] = {str(horizon): {} for horizon in self._horizons}
        parts: dict[str, dict[str, Any]] = {str(horizon): {} for horizon in self._horizons}
        for (name, horizon), scores in self._scores.items():
            by_horizon[str(horizon)][name] = scores.summary()
            found = scores.all.tally().decomposition()
            parts[str(horizon)][name] = asdict(found) if found else None
        return {
            "scores": dict(by_horizon[str(self._primary)]),
            "scores_by_horizon": by_horizon,
            "brier_parts": parts,
            "scores_by_range": self._by_range(),
            "scores_windowed": {
                "sweeps": WINDOW_SWEEPS,
                "scores": {name: breakdown.windowed() for name, breakdown in self._breakdown.items()},
            },
            "scores_fading": {
                "half_life_sweeps": HALF_LIFE_SWEEPS,
                "scores": {name: breakdown.fading() for name, breakdown in self._breakdown.items()},
            },
        }

    def _by_range(self) -> dict[str, dict[str, Any]]:
        bands: dict[str, dict[str, Any]] = {}
        for name, breakdown in self._breakdown.items():
            for band, scores in breakdown.by_range().items():
                bands.setdefault(band, {})[name] = scores
        return {band: bands[band] for band in band_names() if band in bands}

    def reliability(self, name: str = ONLINE, horizon_ns: int | None = None, bins: int = 15) -> Reliability:
        """Reliability curve of a predictor, at the primary horizon unless told; scored sweeps only."""
        horizon = self._primary if horizon_ns is None else horizon_ns
        return self._scores[name, horizon].all.reliability(bins)

    def series(self) -> dict[str, Any]:
        """Scores by sweep at the primary horizon, warm-up included (see ``ScoreSeries.arrays``)."""
        return self._series.arrays()

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "horizons_ns": list(self._horizons),
            "primary_horizon_ns": self._primary,
            "warmup_sweeps": self._warmup,
            "cells_due": self.cells_due,
            "cells_observed": self.cells_observed,
            "series": self._series.state(),
            "breakdown": {name: breakdown.state() for name, breakdown in self._breakdown.items()},
            "scores": {
                f"{name}/{horizon}": scores.state() for (name, horizon), scores in self._scores.items()
            },
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> PrequentialScores:
        """Rebuild from ``state``."""
        running = cls(state["horizons_ns"], state["primary_horizon_ns"], state["warmup_sweeps"])
        running.cells_due = int(state["cells_due"])
        running.cells_observed = int(state["cells_observed"])
        running._series = ScoreSeries.from_state(state["series"])
        running._breakdown = {name: Breakdown.from_state(part) for name, part in state["breakdown"].items()}
        for key, part in state["scores"].items():
            name, _, horizon = key.partition("/")
            running._scores[name, int(horizon)] = SubsetScores.from_state(part)
        return running
