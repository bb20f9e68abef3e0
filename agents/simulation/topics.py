"""Which topic a record goes to, who reads which topics, and how records are told apart."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import numpy as np

from agents.journal import Place
from agents.simulation.log import PARTITIONS, partition_of
from agents.task_id import TaskId
from stream.records import (
    Binned,
    FeatureSample,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
)
from stream.sweep import Sweep
from stream.topics import AGENTS, ARCHIVE, JUDGE, LEARN, PERCEIVE, topic_of

Identity = tuple[Any, ...]
"""What a record is about; see ``identity``."""


def tasks_of(robots: Iterable[str]) -> tuple[TaskId, ...]:
    """The tasks that robots need: those on their partitions, and on 0, where records without a robot go."""
    used = sorted({partition_of(robot) for robot in robots})
    partitions = {PERCEIVE: used, JUDGE: used, LEARN: [0], ARCHIVE: sorted({0, *used})}
    return tuple(TaskId(agent, partition, PARTITIONS) for agent in AGENTS for partition in partitions[agent])


def place_of(record: Any) -> Place:
    """Topic and partition of a record."""
    topic = topic_of(record)
    if isinstance(record, ModelPublished):
        return (topic, 0)
    return (topic, partition_of(record.robot_id) if record.robot_id else 0)


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
