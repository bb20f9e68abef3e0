"""Running scores of what was served, beside the baselines, made of outcomes as they come."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.judge import SHADOW_SWEEPS
from agents.newest import Newest
from models.scores.prequential import ONLINE, PrequentialScores
from models.scores.regions import ErrorMap, RegionError
from models.scores.tally import Reliability
from native.index64 import ancestor
from stream.config import Config
from stream.records import Outcome, Prediction, Shadow

SUMMARY_SECONDS = 2.0
SILENT_SECONDS = 60.0
"""Whoever was silent for so long keeps no forecasts: those whose outcomes were missed would stay."""
MOST_STREAMS = 4096
"""Whose forecasts are counted, for their warm-up."""


@dataclass(slots=True, kw_only=True)
class _Open:
    """A prediction whose outcomes come, its place in its stream, and the outcomes that wait for baselines.

    due : horizons that are not scored yet
    """

    prediction: Prediction
    index: int
    due: set[int]
    shadow: Shadow | None = None
    waiting: list[Outcome] = field(default_factory=list)


class Scoreboard:
    """Scores outcomes as Judge does: baselines wait for their shadow, so many later forecasts at most.

    It begins with what it sees first, so behind a cluster its warm-up is that of who watches.
    clock : monotonic, seconds; a summary, which takes a tenth of a second, is made so often at most
    One thread adds, any may read.
    """

    def __init__(self, config: Config, clock: Callable[[], float] = time.monotonic) -> None:
        task = config.task
        self._config = config
        self._lock = threading.Lock()
        self._scores = PrequentialScores(task.horizons_ns, task.primary_horizon_ns, task.warmup_sweeps)
        self._errors = ErrorMap()
        self._open: OrderedDict[str, _Open] = OrderedDict()
        self._early: OrderedDict[str, Shadow] = OrderedDict()
        self._predicted = Newest(MOST_STREAMS)  # place of the newest forecast, by stream
        self._heard: OrderedDict[str, float] = OrderedDict()  # when it came, by stream, latest last
        self._clock = clock
        self._summary: tuple[int, float, dict[str, Any]] = (-1, 0.0, {})
        self.outcomes = 0

    def add_prediction(self, prediction: Prediction) -> None:
        """Expect outcomes of a prediction."""
        with self._lock:
            index = self._predicted.get(prediction.stream_id) + 1
            self._predicted.note(prediction.stream_id, index)
            self._open[prediction.prediction_id] = _Open(
                prediction=prediction,
                index=index,
                due=set(prediction.horizons_ns),
                shadow=self._early.pop(prediction.prediction_id, None),
            )
            self._hear(prediction.stream_id)
            while len(self._open) > SHADOW_SWEEPS * len(self._heard):
                self._score(next(iter(self._open.values())), last=True)

    def _hear(self, stream_id: str) -> None:
        """Note that a stream is alive, and forget those that were silent for long."""
        now_s = self._heard[stream_id] = self._clock()
        self._heard.move_to_end(stream_id)
        while next(iter(self._heard.values())) < now_s - SILENT_SECONDS:
            self._heard.popitem(last=False)

    def add_shadow(self, shadow: Shadow) -> None:
        """Take what the baselines had expected."""
        with self._lock:
            found = self._open.get(shadow.prediction_id)
            if found is None:
                self._early[shadow.prediction_id] = shadow
                if len(self._early) > SHADOW_SWEEPS:
                    self._early.popitem(last=False)
            elif found.shadow is None:
                found.shadow = shadow
                self._score(found)

    def add_outcome(self, outcome: Outcome) -> None:
        """Score an outcome, now or when the baselines are there; one of an unknown prediction is left out."""
        with self._lock:
            found = self._open.get(outcome.prediction_id)
            if found is not None and outcome.horizon_ns in found.due:
                found.due.discard(outcome.horizon_ns)
                found.waiting.append(outcome)
                self._score(found)

    def _score(self, item: _Open, *, last: bool = False) -> None:
        """Score the outcomes that wait; those of the primary horizon wait for the shadow. last : no longer"""
        primary = self._config.task.primary_horizon_ns
        ready = [outcome for outcome in item.waiting
                 if last or item.shadow is not None or outcome.horizon_ns != primary]  # fmt: skip
        item.waiting = [outcome for outcome in item.waiting if outcome not in ready]
        for outcome in ready:
            self._add(item, outcome)
        if last or not (item.due or item.waiting):
            del self._open[item.prediction.prediction_id]

    def _add(self, item: _Open, outcome: Outcome) -> None:
        prediction, task = item.prediction, self._config.task
        column = prediction.horizons_ns.index(outcome.horizon_ns)
        probability = {ONLINE: np.ascontiguousarray(prediction.probability[outcome.row, column])}
        if outcome.horizon_ns == task.primary_horizon_ns:
            if item.shadow is not None:
                probability |= {name: p[outcome.row] for name, p in item.shadow.probability.items()}
            if item.index >= task.warmup_sweeps:
                self._errors.add(self._region(outcome.cell_id), probability[ONLINE], outcome.occupied)
        self._scores.add(
            stamp_ns=prediction.stamp_ns,
            horizon_ns=outcome.horizon_ns,
            sweep_index=item.index,
            cells_predicted=len(prediction.cell_id),
            probability=probability,
            occupied=outcome.occupied,
            before=outcome.before,
        )
        self.outcomes += 1

    def _region(self, cell_id: NDArray[np.uint64]) -> NDArray[np.uint64]:
        return ancestor(cell_id, max(self._config.grid.lod - self._config.task.region_levels, 0))

    # ---- reading ---------------------------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        """``scores`` and ``scores_by_horizon`` as in summary.json; None where nothing supports a score."""
        with self._lock:
            outcomes, made_s, summary = self._summary
            now_s = self._clock()
            if outcomes < 0 or (outcomes != self.outcomes and now_s - made_s >= SUMMARY_SECONDS):
                summary = self._scores.summary()
                self._summary = (self.outcomes, now_s, summary)
            return summary

    def series(self) -> dict[str, Any]:
        """Scores by sweep, as ``PrequentialScores.series``."""
        with self._lock:
            return self._scores.series()

    def reliability(self) -> Reliability:
        """Reliability of what was served at the primary horizon."""
        with self._lock:
            return self._scores.reliability()

    def worst(self, count: int, min_rows: int) -> list[RegionError]:
        """The regions with the highest loss, as ``ErrorMap.worst``."""
        with self._lock:
            return self._errors.worst(count, min_rows)
