"""A run folder as records in the order in which they were made: cells, forecasts, outcomes and events."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.explain import run_config
from agents.recording import line_of
from agents.report.rows import PredictionRows
from agents.report.source import read_run
from agents.sweep_ends import SweepEnd, with_ends
from stream.config import Config
from stream.records import Binned, Outcome, robot_of
from stream.run_folder import RunFolder
from stream.sinks.base import Line
from stream.sinks.evidence import Forecast

Recorded = Binned | Forecast | Outcome | Line


class RecordedRun:
    """What a run has stored.

    config : of the run; sweeps : predictions in it
    Raises ConfigError, ReportError for a folder that holds no run
    """

    def __init__(self, path: Path) -> None:
        self._folder = RunFolder(path)
        self.config: Config = run_config(self._folder)
        self._run = read_run(path)
        self._predictions = PredictionRows(path / "predictions")
        self._outcomes = PredictionRows(path / "outcomes")

    @property
    def sweeps(self) -> int:
        """Sweeps that were forecast."""
        return len(self._run.prediction_id)

    @property
    def damage(self) -> str:
        """Which of its files cannot be read, empty for none."""
        names = [*self._predictions.damaged, *self._outcomes.damaged]
        return f"{self._folder.path}: cut off: {', '.join(names)}" if names else ""

    def __iter__(self) -> Iterator[Recorded]:
        """Binned sweeps of the robots that were forecast, forecasts where they were made, and their outcomes.

        Raises TableError for damaged containers
        """
        robots = sorted({robot_of(stream_id) for stream_id in self._run.stream_id})
        return heapq.merge(self._events(), *map(self._of_robot, robots), key=_stamp_of)

    def _events(self) -> Iterator[Line]:
        events = sorted(self._run.events, key=lambda event: event.stamp_ns)
        for event in events:
            yield line_of({"event": event.name, "stamp_ns": event.stamp_ns, **event.fields})

    def _of_robot(self, robot_id: str) -> Iterator[Recorded]:
        for step in with_ends(self._folder.records(robot_id, 0, 2**62), self.config.keep_ns):
            if isinstance(step, SweepEnd):
                yield from self._forecast(step.record)
            else:
                yield step

    def _forecast(self, record: Binned) -> Iterator[Forecast | Outcome]:
        table = self._predictions.table(record.prediction_id)
        if table is None:
            return
        columns = by_horizon(table)
        forecast = Forecast(
            stream_id=record.stream_id,
            stamp_ns=record.stamp_ns,
            cell_id=next(iter(columns.values()))["cell_id"],
            probability={horizon: column["probability"] for horizon, column in columns.items()},
        )
        yield forecast
        observed = self._outcomes.table(record.prediction_id)
        for horizon_ns, column in ({} if observed is None else by_horizon(observed)).items():
            yield Outcome(
                prediction_id=record.prediction_id,
                robot_id=record.robot_id,
                stream_id=record.stream_id,
                stamp_ns=record.stamp_ns,
                horizon_ns=horizon_ns,
                observed_stamp_ns=int(column["observed_stamp_ns"][0]),
                row=np.searchsorted(forecast.cell_id, column["cell_id"]).astype(np.int32),
                cell_id=column["cell_id"],
                occupied=column["occupied"],
                before=column["before"],
            )


def _stamp_of(record: Recorded) -> int:
    return record.stamp_ns


def by_horizon(table: pa.Table) -> dict[int, dict[str, NDArray[Any]]]:
    """Columns of one prediction by horizon, rows by cell."""
    columns = {name: table[name].to_numpy() for name in table.column_names}
    found = {}
    for horizon_ns in np.unique(columns["horizon_ns"]).tolist():
        rows = np.flatnonzero(columns["horizon_ns"] == horizon_ns)
        rows = rows[np.argsort(columns["cell_id"][rows], kind="stable")]
        found[horizon_ns] = {name: values[rows] for name, values in columns.items()}
    return found
