"""What follows from points and binned records alone, rebuilt the plain way, to compare a run with."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.in_order import epoch_of
from agents.simulation.outside import Outside
from agents.simulation.topics import fingerprint
from agents.simulation.world import World
from native.binning import Binner
from native.visibility import Rays
from native.window import CellFeatures
from stream.config import Config
from stream.container import RollingContainer, grid_of
from stream.features import digest
from stream.frames import FrameRegistry
from stream.records import Binned, Outcome, Prediction
from stream.sweep import Sweep
from stream.transform import Transform

Difference = tuple[str, Any, Any]
"""What differs, as given, as it should be."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExpectedPrediction:
    """What a prediction must say, whatever model made it."""

    stream_id: str
    stamp_ns: int
    seq: int
    features: CellFeatures
    state_digest: str

    def compare(self, record: Prediction, outside: Outside) -> Iterator[Difference]:
        """Where a prediction differs."""
        yield from _differences(
            ("last record", record.seq, self.seq),
            ("cells", fingerprint(record.cell_id), fingerprint(self.features.cell_id)),
            ("states before", fingerprint(record.before), fingerprint(self.features.before)),
            ("feature digest", record.feature_digest, digest(self.features)),
            ("state digest", record.state_digest, self.state_digest),
        )
        right = outside.make(record.model_id).predict(self.features.x, self.features.neighbor_index)
        yield from _differences(
            ("probability", fingerprint(np.asarray(record.probability)), fingerprint(np.asarray(right)))
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExpectedOutcome:
    """What an outcome must say."""

    observed_stamp_ns: int
    cell_id: NDArray[np.uint64]
    occupied: NDArray[np.bool_]


@dataclass(slots=True)
class _Stream:
    """A stream on the way through its records."""

    newest_ns: int = -1
    parts: set[int] = field(default_factory=set)
    opened: Binned | None = None


@dataclass(slots=True)
class _Seen:
    """What one stamp of a stream saw, so far: hits and passes by cell."""

    parts: int
    received: dict[int, Binned] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        return len(self.received) == self.parts

    def states(self) -> tuple[set[int], set[int]]:
        """Cells hit, and cells seen through."""
        hit: set[int] = set()
        through: set[int] = set()
        for record in self.received.values():
            hit |= set(record.cell_id[record.hits > 0].tolist())
            through |= set(record.cell_id[record.passes > 0].tolist())
        return hit, through


class Rebuilt:
    """Predictions and outcomes that must exist, and what is wrong with the binned records themselves.

    binned : one record for each identity, as a reader keeps them
    """

    def __init__(self, world: World, binned: Iterable[Binned]) -> None:
        self._config: Config = world.config
        self.faults: list[str] = []
        self.predictions: dict[str, ExpectedPrediction] = {}
        self.outcomes: dict[tuple[str, int], ExpectedOutcome] = {}
        self._seen: dict[tuple[str, int, int], _Seen] = {}  # by stream, epoch and stamp
        robots: dict[str, list[Binned]] = {}
        for record in binned:
            robots.setdefault(record.robot_id, []).append(record)
        sent = (*world.story, *world.closing)
        for robot, records in robots.items():
            records.sort(key=lambda record: record.seq)
            poses = _poses(robot, (item.record for item in sent if not item.fault))
            sweeps = {
                (item.record.stream_id, item.record.stamp_ns, item.record.part): item.record
                for item in sent
                if isinstance(item.record, Sweep) and item.record.robot_id == robot
            }
            self._walk(records, sweeps, None if robot in world.disordered else poses)
            pieces: dict[tuple[str, int], list[Binned]] = {}
            for record in records:
                pieces.setdefault((record.stream_id, epoch_of(record.seq)), []).append(record)
            for (stream_id, epoch), piece in pieces.items():
                self._judge(stream_id, epoch, piece)

    def unobserved(self, outcome: Outcome) -> int:
        """Cells of an outcome that no ray of the sweep it names has reached."""
        prediction = self.predictions.get(outcome.prediction_id)
        epoch = epoch_of(prediction.seq) if prediction else 0
        seen = self._seen.get((outcome.stream_id, epoch, outcome.observed_stamp_ns))
        hit, through = seen.states() if seen else (set[int](), set[int]())
        return len(set(outcome.cell_id.tolist()) - hit - through)

    # ---- evidence --------------------------------------------------------------------------------------

    def _walk(self, records: list[Binned], sweeps: dict[Any, Sweep], poses: FrameRegistry | None) -> None:
        container, streams = RollingContainer(self._config), dict[str, _Stream]()
        grid = grid_of(self._config)
        binner, rays = Binner(grid), Rays(grid)
        last = records[0]
        for record in records:
            if epoch_of(record.seq) != epoch_of(last.seq):  # another map, or the robot was forgotten
                for stream in streams.values():
                    self._close(container, stream, last.seq)
                container = RollingContainer(self._config)
                streams = {name: _Stream(newest_ns=stream.newest_ns) for name, stream in streams.items()}
            last = record
            newest = max(container.newest_ns, record.stamp_ns)
            for other in streams.values():  # a sweep that waits for parts is predicted before it is forgotten
                if other.opened is not None and other.opened.stamp_ns < newest - container.keep_ns:
                    self._close(container, other, record.seq - 1)
            stream = streams.setdefault(record.stream_id, _Stream())
            late = record.stamp_ns < stream.newest_ns or record.prediction_id in self.predictions
            if record.stamp_ns > stream.newest_ns:
                self._close(container, stream, record.seq - 1)
                stream.newest_ns, stream.parts = record.stamp_ns, set()
            sweep = sweeps.get((record.stream_id, record.stamp_ns, record.part))
            if sweep is None:
                self.faults.append(f"binned record {record.prediction_id} is of no sweep that was sent")
                continue
            self._compare(record, sweep, late, container, binner, rays, poses)
            container.fold(record)
            if not late:
                stream.parts.add(record.part)
                stream.opened = record
                if len(stream.parts) == record.parts:
                    self._close(container, stream, record.seq)

    def _compare(
        self,
        record: Binned,
        sweep: Sweep,
        late: bool,
        container: RollingContainer,
        binner: Binner,
        rays: Rays,
        poses: FrameRegistry | None,
    ) -> None:
        bins = binner.run(sweep.points, sweep.intensity, record.pose)
        tested = container.tested(record.stamp_ns, bins.cell_id)
        hits = np.zeros(len(tested), np.uint32)
        hits[np.searchsorted(tested, bins.cell_id)] = bins.hits
        rays.load(sweep.points, record.pose)
        pairs: list[Difference] = [
            ("late", record.late, late),
            ("cells", fingerprint(record.cell_id), fingerprint(tested)),
            ("hits", fingerprint(record.hits), fingerprint(hits)),
            ("sums", fingerprint(record.sums), fingerprint(bins.sums)),
            ("passes", fingerprint(record.passes), fingerprint(rays.passes(tested))),
        ]
        if poses is not None:
            pose = poses.look_up(self._config.grid.map_frame, sweep.frame, sweep.stamp_ns)
            pairs.append(("pose", fingerprint(record.pose), fingerprint(pose)))
        for what, given, right in _differences(*pairs):
            self.faults.append(f"binned record {record.prediction_id}: {what} is {given}, should be {right}")

    def _close(self, container: RollingContainer, stream: _Stream, seq: int) -> None:
        record, stream.opened = stream.opened, None
        if record is not None:
            self.predictions[record.prediction_id] = ExpectedPrediction(
                stream_id=record.stream_id,
                stamp_ns=record.stamp_ns,
                seq=seq,
                features=container.features(record),
                state_digest=container.digest(),
            )

    # ---- outcomes --------------------------------------------------------------------------------------

    def _judge(self, stream_id: str, epoch: int, records: list[Binned]) -> None:
        """The observer of a horizon is decided by the record with which it becomes known, as of then.

        records : of one stream and one epoch; what they do not decide has no outcome
        """
        task, stamps = self._config.task, list[int]()
        seen: dict[int, _Seen] = {}
        mine = [
            prediction
            for prediction in self.predictions.values()
            if prediction.stream_id == stream_id and epoch_of(prediction.seq) == epoch
        ]
        open_ = [(prediction, horizon) for prediction in mine for horizon in task.horizons_ns]
        for record in records:
            if record.stamp_ns not in seen:
                insort(stamps, record.stamp_ns)
                seen[record.stamp_ns] = _Seen(record.parts)
                self._seen[stream_id, epoch, record.stamp_ns] = seen[record.stamp_ns]
            seen[record.stamp_ns].received.setdefault(record.part, record)
            open_ = [item for item in open_ if not self._decide(*item, stamps, seen)]

    def _decide(
        self, prediction: ExpectedPrediction, horizon: int, stamps: list[int], seen: dict[int, _Seen]
    ) -> bool:
        target = prediction.stamp_ns + horizon
        place = bisect_left(stamps, target)
        if place == len(stamps) or (place == len(stamps) - 1 and not seen[stamps[place]].complete):
            return False
        near = stamps[max(place - 1, 0) : place + 1]
        observer = min(near, key=lambda stamp: (abs(stamp - target), stamp))
        if abs(observer - target) <= self._config.task.tolerance_ns and observer > prediction.stamp_ns:
            hit, through = seen[observer].states()
            cells = prediction.features.cell_id
            rows = [row for row, cell in enumerate(cells.tolist()) if cell in hit or cell in through]
            self.outcomes[f"{prediction.stream_id}/{prediction.stamp_ns}", horizon] = ExpectedOutcome(
                observed_stamp_ns=observer,
                cell_id=cells[rows],
                occupied=np.array([cell in hit for cell in cells[rows].tolist()], bool),
            )
        return True


def _poses(robot: str, records: Iterable[Any]) -> FrameRegistry:
    """Everything that was ever said about where a robot is."""
    registry = FrameRegistry(max_gap_ns=2**60)
    for record in records:
        if isinstance(record, Transform) and record.robot_id == robot:
            registry.add(record)
    return registry


def _differences(*pairs: Difference) -> Iterator[Difference]:
    return (pair for pair in pairs if pair[1] != pair[2])
