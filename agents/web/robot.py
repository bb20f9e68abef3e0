"""One robot as it is served: its live container, its newest forecast, and what came of earlier ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.in_order import InOrder, epoch_of
from agents.web.cells import UNKNOWN, CellTable, at_lod
from agents.web.history import History, Remembered
from native.index64 import decode
from native.window import CellFeatures
from stream.cell_rows import locate
from stream.config import Config
from stream.container import RollingContainer
from stream.records import Binned, Outcome, Prediction

NEVER = -(2**62)
"""Stamp of the last return in a cell that had none."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class View:
    """What is served of a robot until its next sweep: a value, read by any thread without a lock.

    prediction : as Perceive made it; pose : float64 (12,), sensor to map at its stamp
    number : of the forecasts of this robot, from 1
    """

    prediction: Prediction
    pose: NDArray[np.float64]
    number: int


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class _Joined:
    """An outcome beside what had been forecast: cell_id ascending, forecast NaN where that is not known."""

    cell_id: NDArray[np.uint64]
    occupied: NDArray[np.bool_]
    forecast: NDArray[np.float32]


class Robot:
    """Folds one robot's records in Perceive's order, so that container and forecast are of one moment.

    history_ns, history_bytes : how much is kept to explain forecasts with
    One thread folds, any may read.
    """

    def __init__(self, config: Config, robot_id: str, *, history_ns: int, history_bytes: int) -> None:
        self.robot_id = robot_id
        self.view: View | None = None
        self._config = config
        self._lock = threading.Lock()
        self._history_options = (history_ns, config.keep_ns, history_bytes)
        self.begin_again()

    def begin_again(self) -> None:
        """Its log begins anew: what was served is served on until the first forecast of the new pass."""
        with self._lock:
            self._history = History(*self._history_options)
            self._order = InOrder(self._config.window.max_records)
            self._newest: dict[str, int] = {}  # stamp of the newest prediction, by stream
            self._joined: dict[int, _Joined] = {}
            self._begin_container()

    def _begin_container(self) -> None:
        self._container = RollingContainer(self._config)
        self._last: Binned | None = None
        self._cells, self._hit_ns = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._tables: dict[int, CellTable] = {}

    # ---- folding ---------------------------------------------------------------------------------------

    def fold(self, record: Binned | Prediction) -> list[Prediction]:
        """Add a record; returns the predictions whose turn has come, redelivered ones left out."""
        with self._lock:
            turned: list[Prediction] = []
            for taken in self._order.add(record):
                if isinstance(taken, Binned):
                    self._binned(taken)
                elif self._predicted(taken):
                    turned.append(taken)
            return turned

    def _binned(self, record: Binned) -> None:
        if self._last is not None and epoch_of(self._last.seq) != epoch_of(record.seq):
            self._begin_container()  # Perceive's began empty, too
        self._container.fold(record)
        self._last = record
        self._note_hits(record)
        self._history.binned(record)

    def _note_hits(self, record: Binned) -> None:
        """When each cell was last hit. A record lists every cell that the container keeps."""
        hit_ns = _carried(self._cells, self._hit_ns, record.cell_id, NEVER)
        hit = record.hits > 0
        hit_ns[hit] = np.maximum(hit_ns[hit], record.stamp_ns)
        self._cells, self._hit_ns = record.cell_id, hit_ns

    def _predicted(self, prediction: Prediction) -> bool:
        if prediction.stamp_ns <= self._newest.get(prediction.stream_id, -1):
            return False
        self._newest[prediction.stream_id] = prediction.stamp_ns
        self._history.predicted(prediction)
        record = self._container.record_of(prediction.stream_id, prediction.stamp_ns)
        if record is not None:  # else its sweep was before what is read
            number = self.view.number + 1 if self.view else 1
            self.view = View(prediction=prediction, pose=record.pose, number=number)
            self._tables = {}
        return True

    def observed(self, outcome: Outcome) -> None:
        """Add an outcome of one of its predictions."""
        with self._lock:
            prediction = self._history.prediction(outcome.prediction_id)
            forecast = np.full(len(outcome.row), np.nan, np.float32)
            if prediction is not None:
                column = prediction.horizons_ns.index(outcome.horizon_ns)
                forecast = prediction.probability[outcome.row, column]
            self._joined[outcome.horizon_ns] = _Joined(
                cell_id=outcome.cell_id, occupied=outcome.occupied, forecast=forecast
            )
            self._tables = {}
            self._history.observed(outcome)

    def share_history(self, most_bytes: int) -> None:
        """From now on so many bytes are kept to explain forecasts with."""
        with self._lock:
            self._history_options = (*self._history_options[:2], most_bytes)
            self._history.allow(most_bytes)

    def remembered(self, prediction_id: str) -> Remembered | None:
        """A forecast of the last seconds with all that is kept of it; None for one that is not."""
        with self._lock:
            return self._history.remembered(prediction_id)

    def recent(self) -> list[tuple[Prediction, dict[int, Outcome]]]:
        """Forecasts of the last seconds, the oldest first, with their outcomes by horizon."""
        with self._lock:
            return self._history.recent()

    # ---- reading ---------------------------------------------------------------------------------------

    def features(self) -> tuple[Prediction, CellFeatures] | None:
        """The newest forecast and its features, from the live container; None before there is one."""
        with self._lock:
            if self.view is None or self._last is None:
                return None
            prediction = self.view.prediction
            record = self._container.record_of(prediction.stream_id, prediction.stamp_ns)
            if record is None:
                return None
            return prediction, self._container.features(record)

    def poses(self) -> dict[str, dict[int, NDArray[np.float64]]]:
        """Where sensors were at remembered sweeps, by stream and stamp: float64 (3, 4), sensor to map.

        None from before the map was begun anew
        """
        with self._lock:
            return {} if self._last is None else self._history.poses(epoch_of(self._last.seq))

    def cells(self, lod: int) -> CellTable | None:
        """Every cell that is kept, at the grid's level or a coarser one; None before the first forecast.

        Made when it is asked for, once until the next sweep. Raises LodError for a level below 0
        """
        with self._lock:
            if self.view is None or self._last is None:
                return None
            if lod not in self._tables:
                self._tables[lod] = self._table(lod)
            return self._tables[lod]

    def _table(self, lod: int) -> CellTable:
        own_lod = self._config.grid.lod
        if own_lod not in self._tables:
            self._tables[own_lod] = self._finest()
        finest = self._tables[own_lod]
        if lod == own_lod:
            return finest
        level = self._container.coarser(own_lod - lod)
        centre = level.centroids() * self._config.grid.half_edge_m
        return at_lod(finest, lod, centre.astype(np.float32))

    def _finest(self) -> CellTable:
        assert self._last is not None and self.view is not None
        grid, horizons = self._config.grid, self._config.task.horizons_ns
        cell_id, hits, passes = self._container.evidence()
        hit_ns = _carried(self._cells, self._hit_ns, cell_id, NEVER)
        shape = (len(cell_id), len(horizons))
        outcome, forecast = np.full(shape, UNKNOWN, np.int8), np.full(shape, np.nan, np.float32)
        for column, joined in self._outcomes():
            row, known = locate(joined.cell_id, cell_id)
            outcome[known, column] = joined.occupied[row[known]]
            forecast[known, column] = joined.forecast[row[known]]
        return CellTable(
            robot_id=self.robot_id,
            stamp_ns=self._last.stamp_ns,
            lod=grid.lod,
            horizons_ns=horizons,
            cell_id=cell_id,
            centre=(decode(cell_id).sites * grid.half_edge_m).astype(np.float32),
            hits=hits.astype(np.int64),
            passes=passes.astype(np.int64),
            probability=probability_of(self.view.prediction, cell_id),
            outcome=outcome,
            forecast=forecast,
            age_ns=np.where(hit_ns == NEVER, np.int64(-1), self._container.newest_ns - hit_ns),
        )

    def _outcomes(self) -> Iterator[tuple[int, _Joined]]:
        for column, horizon in enumerate(self._config.task.horizons_ns):
            if horizon in self._joined:
                yield column, self._joined[horizon]


def probability_of(prediction: Prediction, wanted: NDArray[np.uint64]) -> NDArray[np.float32]:
    """What was forecast of cells, float32 (M, H); NaN for cells that were not."""
    row, known = locate(prediction.cell_id, wanted)
    probability = np.full((len(wanted), len(prediction.horizons_ns)), np.nan, np.float32)
    probability[known] = prediction.probability[row[known]]
    return probability


def _carried(
    cell_id: NDArray[np.uint64], values: NDArray[np.int64], wanted: NDArray[np.uint64], absent: int
) -> NDArray[np.int64]:
    """Values of ascending cells, for other cells."""
    row, known = locate(cell_id, wanted)
    found = np.full(len(wanted), absent, np.int64)
    found[known] = values[row[known]]
    return found
