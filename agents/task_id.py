"""Names of tasks: which agent on which partition, and what that reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.journal import Place
from agents.protocol import Key
from stream.records import ModelActivated
from stream.sweep import Sweep
from stream.topics import ARCHIVE, INPUTS, JUDGE, LEARN, PERCEIVE, PUBLISHED, answer_topic, order_topic


@dataclass(frozen=True, slots=True, order=True)
class TaskId:
    """One agent on one partition; Learn reads all of them and has partition 0.

    partitions : how many each topic of robots has
    """

    agent: str
    partition: int
    partitions: int = field(compare=False)

    def __str__(self) -> str:
        return f"{self.agent}-{self.partition}"

    @property
    def journal(self) -> Place:
        """Where the task writes in which order it folded its inputs."""
        return (order_topic(self.agent), self.partition)

    @property
    def answers(self) -> Place:
        """Where results of its requests come back."""
        return (answer_topic(self.agent), self.partition)

    @property
    def inputs(self) -> tuple[Place, ...]:
        """The partitions it folds and acknowledges."""
        partitions = range(self.partitions) if self.agent == LEARN else (self.partition,)
        return tuple((topic, partition) for topic in INPUTS[self.agent] for partition in partitions)

    @property
    def sources(self) -> tuple[Place, ...]:
        """Inputs and what else it folds: answers, and models where it cares; of Archive one task does."""
        models = self.agent == PERCEIVE or (self.agent == ARCHIVE and self.partition == 0)
        return (*self.inputs, self.answers, *([(PUBLISHED, 0)] if models else []))


def input_key(agent: str, record: Any) -> Key | None:
    """The key under which an agent releases an input; None for what it takes without a receipt."""
    kind = type(record).__name__.lower()
    if agent == PERCEIVE and isinstance(record, Sweep):
        return (kind, record.stream_id, record.stamp_ns, record.part)
    if agent == JUDGE:
        return (kind, record.stream_id, record.stamp_ns, getattr(record, "part", 0))
    if agent == LEARN and hasattr(record, "stream_id"):
        stamp = record.first_stamp_ns if isinstance(record, ModelActivated) else record.stamp_ns
        return (kind, record.stream_id, stamp, getattr(record, "part", 0), getattr(record, "horizon_ns", 0))
    return None
