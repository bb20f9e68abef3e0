"""Which topic a record goes to, who reads which topics, and how records are told apart."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from agents.protocol import Key
from agents.simulation.log import PARTITIONS, Place, partition_of
from stream.records import (
    Binned,
    Event,
    FeatureSample,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.transform import Transform

PERCEIVE, JUDGE, LEARN, ARCHIVE = "perceive", "judge", "learn", "archive"
AGENTS = (PERCEIVE, JUDGE, LEARN, ARCHIVE)

SWEEPS, TRANSFORMS, STATIC = "sweep.received", "transform.received", "transform.static"
BINNED, PREDICTIONS, SHADOWS = "container.binned", "prediction.made", "shadow.made"
OUTCOMES, PUBLISHED, ACTIVATED = "outcome.observed", "model.published", "model.activated"
REJECTED, ALARMS, SAMPLES = "sweep.rejected", "alarm.raised", "feature.sampled"

Identity = tuple[Any, ...]
"""What a record is about; see ``identity``."""

_TOPICS: dict[type, str] = {
    Sweep: SWEEPS,
    Transform: TRANSFORMS,
    Binned: BINNED,
    Prediction: PREDICTIONS,
    Shadow: SHADOWS,
    Outcome: OUTCOMES,
    ModelPublished: PUBLISHED,
    ModelActivated: ACTIVATED,
    SweepRejected: REJECTED,
    Event: ALARMS,
    FeatureSample: SAMPLES,
}

_INPUTS: dict[str, tuple[str, ...]] = {
    PERCEIVE: (SWEEPS, TRANSFORMS, STATIC),
    JUDGE: (BINNED, PREDICTIONS, SHADOWS),
    LEARN: (BINNED, PREDICTIONS, OUTCOMES, ACTIVATED),
    ARCHIVE: (BINNED, PREDICTIONS, SHADOWS, OUTCOMES, ACTIVATED, REJECTED, ALARMS, SAMPLES),
}


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What became of a request: ``record`` is for the agent that asked, None when there is nothing to say."""

    request: str
    record: Any


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """One agent on one partition; Learn reads all of them and has partition 0."""

    agent: str
    partition: int

    def __str__(self) -> str:
        return f"{self.agent}-{self.partition}"

    @property
    def journal(self) -> Place:
        """Where the task writes in which order it folded its inputs."""
        return (f"order.{self.agent}", self.partition)

    @property
    def answers(self) -> Place:
        """Where results of its effects come back."""
        return (f"answer.{self.agent}", self.partition)

    @property
    def inputs(self) -> tuple[Place, ...]:
        """The partitions it folds and acknowledges."""
        partitions = range(PARTITIONS) if self.agent == LEARN else (self.partition,)
        return tuple((topic, partition) for topic in _INPUTS[self.agent] for partition in partitions)

    @property
    def sources(self) -> tuple[Place, ...]:
        """Inputs and what else it folds: answers, and models where it cares."""
        reads_models = self.agent == PERCEIVE or (self.agent == ARCHIVE and self.partition == 0)
        return (*self.inputs, self.answers, *([(PUBLISHED, 0)] if reads_models else []))


def tasks_of(robots: Iterable[str]) -> tuple[TaskId, ...]:
    """The tasks that robots need: those on their partitions, and on 0, where records without a robot go."""
    used = sorted({partition_of(robot) for robot in robots})
    partitions = {PERCEIVE: used, JUDGE: used, LEARN: [0], ARCHIVE: sorted({0, *used})}
    return tuple(TaskId(agent, partition) for agent in AGENTS for partition in partitions[agent])


def place_of(record: Any) -> Place:
    """Topic and partition of a record."""
    if isinstance(record, Transform) and record.static:
        return (STATIC, partition_of(record.robot_id))
    topic = _TOPICS[type(record)]
    if isinstance(record, ModelPublished):
        return (topic, 0)
    robot_id = getattr(record, "robot_id", "") or getattr(record, "stream_id", "").split("/")[0]
    return (topic, partition_of(robot_id) if robot_id else 0)


def input_key(agent: str, record: Any) -> Key | None:
    """The key under which an agent releases an input; None for what it takes without a receipt."""
    kind = type(record).__name__.lower()
    if agent == PERCEIVE and isinstance(record, Sweep):
        return (kind, record.stream_id, record.stamp_ns, record.part)
    if agent == JUDGE:
        return (kind, record.stream_id, record.stamp_ns, getattr(record, "part", 0))
    if agent == LEARN and not isinstance(record, Answer):
        stamp = record.first_stamp_ns if isinstance(record, ModelActivated) else record.stamp_ns
        return (kind, record.stream_id, stamp, getattr(record, "part", 0), getattr(record, "horizon_ns", 0))
    return None


def identity(record: Any) -> Identity:
    """Two records with one identity must be equal: it is by this that readers keep one of them."""
    kind = type(record).__name__
    if isinstance(record, Sweep | Binned):
        return (kind, record.stream_id, record.stamp_ns, record.part)
    if isinstance(record, Outcome):
        return (kind, record.prediction_id, record.horizon_ns)
    if isinstance(record, Prediction | Shadow | FeatureSample):
        return (kind, record.prediction_id)
    if isinstance(record, ModelActivated):
        return (kind, record.stream_id, record.first_stamp_ns)
    return (kind, fingerprint(record))


def fingerprint(value: Any) -> str:
    """Digest of a record and everything in it; equal for equal records."""
    sha = hashlib.blake2b(digest_size=12)
    _feed(value, sha)
    return sha.hexdigest()


_PLAIN = frozenset((str, int, float, bool, bytes, type(None)))


@cache
def _names(kind: type) -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def _feed(value: Any, sha: Any) -> None:
    kind = type(value)
    if kind in _PLAIN:
        sha.update(repr(value).encode())
    elif kind is np.ndarray:
        sha.update(f"{value.dtype.str}{value.shape}".encode())
        sha.update(np.ascontiguousarray(value).data)
    elif dataclasses.is_dataclass(kind):
        sha.update(kind.__name__.encode())
        for name in _names(kind):
            _feed(getattr(value, name), sha)
    elif isinstance(value, Mapping):
        for key in sorted(value):
            sha.update(str(key).encode())
            _feed(value[key], sha)
    elif isinstance(value, list | tuple):
        sha.update(f"[{len(value)}".encode())
        for item in value:
            _feed(item, sha)
    else:
        sha.update(repr(value).encode())
