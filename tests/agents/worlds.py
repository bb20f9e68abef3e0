"""A tiny world for tests of agents: a sensor drives past a wall, a box moves between them."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.perceive import Perceive
from models.online.builtin import builtin_of
from stream.config import Config, load_config
from stream.records import Binned, Outcome, Prediction
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.transform import Transform

STREAM = "robot/lidar"
FIRST_NS = 5_000_000_000
PERIOD_NS = 100_000_000
TRANSFORM_NS = 50_000_000
SPEED_M = 0.7
"""Metres a sweep."""

SETTINGS = (
    "grid.lod=6",
    "grid.map_frame=map",
    "task.warmup_sweeps=4",
    "task.horizons_ns=[200000000, 500000000]",
)


def config_of(*settings: str) -> Config:
    """Few cells, two horizons (0.2 and 0.5 s), a warm-up of 4 sweeps; then ``key=value`` settings."""
    return load_config(None, [*SETTINGS, *settings])


def perceive_of(config: Config) -> Perceive:
    """A Perceive that serves the built-in model."""
    return Perceive(config, builtin_of(config))


def stamp_of(index: float) -> int:
    """Stamp of a sweep by its number."""
    return FIRST_NS + round(index * PERIOD_NS)


def points_at(index: float) -> NDArray[np.float32]:
    """Points of the wall and of the box, sensor frame, float32 (N, 3); the sensor drives along x."""
    x, z = np.meshgrid(np.arange(-12.0, 40.0, 0.45), np.arange(-0.5, 2.0, 0.7))
    wall = np.stack([x.ravel(), np.full(x.size, 9.0), z.ravel()], axis=1)
    bx, bz = np.meshgrid(np.arange(0.0, 2.4, 0.4), np.arange(-0.5, 1.5, 0.5))
    box = np.stack([bx.ravel() + 14 - 1.1 * index, np.full(bx.size, 5.0), bz.ravel()], axis=1)
    points = np.concatenate([wall, box]) - [SPEED_M * index, 0.0, 0.0]
    jitter = np.random.default_rng(round(1000 * index) + 7).normal(0, 0.02, points.shape)
    return (points + jitter).astype(np.float32)


def sweep_of(
    index: float,
    *,
    stream_id: str = STREAM,
    points: NDArray[np.float32] | None = None,
    stamp_ns: int | None = None,
    frame: str = "lidar",
    part: int = 0,
    parts: int = 1,
) -> Sweep:
    """One sweep of the world, or one with the points given."""
    points = points_at(index) if points is None else points
    return Sweep(
        stream_id=stream_id,
        stamp_ns=stamp_of(index) if stamp_ns is None else stamp_ns,
        frame=frame,
        points=points,
        intensity=np.full(len(points), 0.5, np.float32),
        part=part,
        parts=parts,
    )


def parts_of(index: float, parts: int, stream_id: str = STREAM) -> list[Sweep]:
    """One sweep of the world, cut into parts."""
    pieces = np.array_split(points_at(index), parts)
    return [
        sweep_of(index, stream_id=stream_id, points=piece, part=part, parts=parts)
        for part, piece in enumerate(pieces)
    ]


def two_sensors(sweeps: int) -> list[Sweep]:
    """Two sensors that look at different halves of the world, half a period apart."""
    log = []
    for index in range(sweeps):
        left, right = np.array_split(points_at(index)[np.argsort(points_at(index)[:, 0])], 2)
        log.append(sweep_of(index, points=left, stream_id="robot/left"))
        later = sweep_of(index + 0.5, points=right, stream_id="robot/right")
        log.append(later)
    return log


def transform_at(stamp_ns: int, *, robot_id: str = "robot", child: str = "lidar") -> Transform:
    """Where the sensor is at a stamp."""
    index = (stamp_ns - FIRST_NS) / PERIOD_NS
    return Transform(
        robot_id=robot_id,
        stamp_ns=stamp_ns,
        parent="map",
        child=child,
        translation=(SPEED_M * index, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0),
    )


def transforms_to(last: float, *, robot_id: str = "robot", child: str = "lidar") -> list[Transform]:
    """Transforms from 0.7 s before the first sweep to just past a sweep; none lies on a sweep's stamp."""
    stamps = range(stamp_of(-7) + 20_000_000, stamp_of(last) + TRANSFORM_NS + 1, TRANSFORM_NS)
    return [transform_at(stamp, robot_id=robot_id, child=child) for stamp in stamps]


def drive(sweeps: int, *, robot_id: str = "robot", jitter: float = 0.0) -> list[Item]:
    """A log: sweeps and transforms by stamp, so that every sweep waits for the transform after it.

    jitter : sweeps come up to so many periods early or late
    """
    stream, early = f"{robot_id}/lidar", np.random.default_rng(7).uniform(-jitter, jitter, sweeps)
    items: list[Item] = [sweep_of(index + early[index], stream_id=stream) for index in range(sweeps)]
    items += transforms_to(sweeps - 1, robot_id=robot_id)
    return sorted(items, key=lambda item: getattr(item, "stamp_ns", 0))


def feed(agent: Any, records: Iterable[Any]) -> list[Any]:
    """Outputs of an agent over records."""
    return [output for record in records for output in agent.handle(record).outputs]


def of_type(records: Iterable[Any], kind: type) -> list[Any]:
    """The records of one type."""
    return [record for record in records if type(record) is kind]


def perceived(config: Config, sweeps: int) -> list[Any]:
    """What Perceive makes of a drive under the built-in model."""
    return feed(perceive_of(config), drive(sweeps))


def interleave(seed: int, *sequences: Sequence[Any]) -> list[Any]:
    """The sequences merged at random, each in its own order."""
    order = [which for which, sequence in enumerate(sequences) for _ in sequence]
    random.Random(seed).shuffle(order)
    iterators = [iter(sequence) for sequence in sequences]
    return [next(iterators[which]) for which in order]


def plain(value: Any) -> Any:
    """Anything an agent takes or gives, as plain values that compare bit for bit."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, value.tobytes())
    if hasattr(value, "to_pydict"):  # a pyarrow table
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, value.schema) as writer:
            writer.write_table(value.combine_chunks())
        return sink.getvalue().to_pybytes()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [(field.name, plain(getattr(value, field.name))) for field in dataclasses.fields(value)]
        return (type(value).__name__, fields)
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set):
        return [plain(item) for item in value]
    if hasattr(value, "predict"):
        return value.model_id
    return repr(value) if isinstance(value, float) else value


def joined(records: Iterable[Any]) -> list[Any]:
    """The records that Judge reads, out of any."""
    return [record for record in records if isinstance(record, Binned | Prediction)]


def keyed(outcomes: Iterable[Any]) -> dict[tuple[str, int], Any]:
    """Outcomes by prediction and horizon, as plain values; a second one for a key is an error."""
    found: dict[tuple[str, int], Any] = {}
    for outcome in of_type(outcomes, Outcome):
        key = (outcome.prediction_id, outcome.horizon_ns)
        assert key not in found, f"{key} has two outcomes"
        found[key] = plain(outcome)
    return found
