"""A finished run, played from its folder: the records that its agents had made, nothing is computed anew."""

from __future__ import annotations

import heapq
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.explain import run_config
from agents.recorded_run import by_horizon
from agents.report.rows import PredictionRows
from agents.report.source import RunEvent, read_run
from agents.sweep_ends import SweepEnd, with_ends
from agents.tempo import Tempo
from agents.web.feed import FeedStopped, paced
from agents.web.world import World
from stream.cell_rows import locate
from stream.config import ConfigError
from stream.records import (
    Binned,
    Event,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
    robot_of,
)
from stream.run_folder import RunFolder


class StoredFeed:
    """Plays the records of a run folder into a World.

    speed, loop : as in ReplayFeed
    Raises ConfigError, ReportError for a folder that holds no run
    """

    def __init__(self, path: Path, *, speed: float | None, loop: bool) -> None:
        self.config = run_config(RunFolder(path))
        self.name, self._path = str(path), path
        self._speed, self._loop = speed, loop
        if not read_run(path).prediction_id:
            raise ConfigError(f"--replay {path}: this run has no forecasts; replay its log instead")

    def run(self, world: World, stop: threading.Event) -> None:
        """Play until the run ends, or until told to stop; with ``loop`` again and again."""
        try:
            self._play(world, stop)
            while self._loop:
                world.begin_again()
                self._play(world, stop)
        except FeedStopped:
            return

    def _play(self, world: World, stop: threading.Event) -> None:
        tempo = Tempo(self._speed)
        for _due_ns, record in paced(StoredRun(self._path), lambda item: item[0], tempo, stop):
            world.fold(record)

    @property
    def models(self) -> Path:
        """Registry of the run."""
        return self._path / "models"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._path

    def runs(self) -> list[Path]:
        """The run folder."""
        return [self._path]

    def lag(self) -> int:
        """None: each is folded before the next one is made."""
        return 0

    def unready(self) -> str:
        """Never: what is stored does not change."""
        return ""

    def unhealthy(self) -> str:
        """Never, likewise."""
        return ""


class StoredRun:
    """The records of a run folder, each with the stamp at which it was made, in that order."""

    def __init__(self, path: Path) -> None:
        self._folder, self._run = RunFolder(path), read_run(path)
        self._keep_ns = run_config(self._folder).keep_ns
        self._datasets = {
            name: PredictionRows(path / name) for name in ("predictions", "shadows", "outcomes")
        }
        columns = zip(
            self._run.prediction_id, self._run.model_id, self._run.feature_digest, self._run.state_digest,
            strict=True,
        )  # fmt: skip
        self._sweeps = {prediction_id: rest for prediction_id, *rest in columns}

    def __iter__(self) -> Iterator[tuple[int, Any]]:
        robots = sorted({robot_of(stream_id) for stream_id in self._run.stream_id})
        lanes = [self._events(), *map(self._of_robot, robots)]
        return heapq.merge(*lanes, key=lambda item: item[0])

    def _of_robot(self, robot_id: str) -> Iterator[tuple[int, Any]]:
        """Binned sweeps of one robot, forecasts where they were made, outcomes when they were observed."""
        waiting: list[tuple[int, int, Outcome]] = []
        number = 0
        for step in with_ends(self._folder.records(robot_id, 0, 2**62), self._keep_ns):
            at_ns = step.at_ns if isinstance(step, SweepEnd) else step.stamp_ns
            while waiting and waiting[0][0] < at_ns:
                stamp_ns, _, outcome = heapq.heappop(waiting)
                yield stamp_ns, outcome
            if not isinstance(step, SweepEnd):
                yield at_ns, step
                continue
            yield from ((at_ns, made) for made in self._made(step.record, step.seq))
            for outcome in self._outcomes(step.record):
                number += 1
                heapq.heappush(waiting, (outcome.observed_stamp_ns, number, outcome))
        while waiting:
            stamp_ns, _, outcome = heapq.heappop(waiting)
            yield stamp_ns, outcome

    def _made(self, record: Binned, seq: int) -> Iterator[Prediction | Shadow]:
        table = self._datasets["predictions"].table(record.prediction_id)
        if table is None or record.prediction_id not in self._sweeps:
            return
        model_id, feature_digest, state_digest = self._sweeps[record.prediction_id]
        columns = by_horizon(table)
        cell_id: NDArray[np.uint64] = next(iter(columns.values()))["cell_id"]
        yield Prediction(
            prediction_id=record.prediction_id,
            robot_id=record.robot_id,
            stream_id=record.stream_id,
            stamp_ns=record.stamp_ns,
            seq=seq,
            model_id=model_id,
            horizons_ns=tuple(columns),
            cell_id=cell_id,
            probability=np.stack([column["probability"] for column in columns.values()], axis=1),
            before=_before(record, cell_id),
            feature_digest=feature_digest,
            state_digest=state_digest,
        )
        if (shadow := self._datasets["shadows"].table(record.prediction_id)) is not None:
            yield _shadow(record, shadow)

    def _outcomes(self, record: Binned) -> Iterator[Outcome]:
        predicted = self._datasets["predictions"].table(record.prediction_id)
        observed = self._datasets["outcomes"].table(record.prediction_id)
        if predicted is None or observed is None:
            return
        cell_id = next(iter(by_horizon(predicted).values()))["cell_id"]
        for horizon_ns, column in by_horizon(observed).items():
            yield Outcome(
                prediction_id=record.prediction_id,
                robot_id=record.robot_id,
                stream_id=record.stream_id,
                stamp_ns=record.stamp_ns,
                horizon_ns=horizon_ns,
                observed_stamp_ns=int(column["observed_stamp_ns"][0]),
                row=np.searchsorted(cell_id, column["cell_id"]).astype(np.int32),
                cell_id=column["cell_id"],
                occupied=column["occupied"].astype(bool),
                before=column["before"].astype(np.uint8),
            )

    def _events(self) -> Iterator[tuple[int, Any]]:
        for event in sorted(self._run.events, key=lambda event: event.stamp_ns):
            yield event.stamp_ns, record_of_event(event)


def record_of_event(event: RunEvent) -> Event | ModelActivated | ModelPublished | SweepRejected:
    """The record that a line of events.jsonl was made of."""
    fields = dict(event.fields)
    robot_id = str(fields.pop("robot_id", ""))
    try:
        if event.name == "activated":
            return ModelActivated(robot_id=robot_id, first_stamp_ns=event.stamp_ns, **fields)
        if event.name == "published":
            return ModelPublished(stamp_ns=event.stamp_ns, **fields)
        if event.name == "dead_letter":
            return SweepRejected(robot_id=robot_id, stamp_ns=event.stamp_ns, **fields)
    except TypeError:  # a line of another version; it is shown as it is
        fields = dict(event.fields)
    return Event(kind=event.name, stamp_ns=event.stamp_ns, robot_id=robot_id, fields=fields)


def _shadow(record: Binned, table: pa.Table) -> Shadow:
    columns = {name: table[name].to_numpy() for name in table.column_names}
    cell_id = columns.pop("cell_id")
    order = np.argsort(cell_id)
    return Shadow(
        prediction_id=record.prediction_id,
        robot_id=record.robot_id,
        stream_id=record.stream_id,
        stamp_ns=record.stamp_ns,
        cell_id=cell_id[order],
        probability={
            name: values[order].astype(np.float32)
            for name, values in columns.items()
            if len(values) and not np.isnan(values.astype(np.float64)).any()
        },
    )


def _before(record: Binned, cell_id: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """State of forecast cells in the last part of the sweep that they were forecast from."""
    row, known = locate(record.cell_id, cell_id)
    row = row[known]
    state = np.zeros(len(cell_id), np.uint8)
    state[known] = np.where(record.hits[row] > 0, 2, record.passes[row] > 0)
    return state
