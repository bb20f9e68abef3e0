"""Topics of the log: names and settings, which record goes where and under which key, and who reads it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from stream.records import (
    HOLDS,
    Binned,
    Event,
    FeatureSample,
    LabelGiven,
    LabelRequested,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.transform import Transform

PERCEIVE, JUDGE, LEARN, ARCHIVE = AGENTS = ("perceive", "judge", "learn", "archive")

SWEEPS = "octa.sweep.received.v1"
TRANSFORMS = "octa.transform.received.v1"
STATIC = "octa.transform.static.v1"
BINNED = "octa.container.binned.v1"
PREDICTIONS = "octa.prediction.made.v1"
SHADOWS = "octa.shadow.made.v1"
OUTCOMES = "octa.outcome.observed.v1"
SAMPLES = "octa.feature.sampled.v1"
PUBLISHED = "octa.model.published.v1"
ACTIVATED = "octa.model.activated.v1"
REJECTED = "octa.sweep.rejected.v1"
ALARMS = "octa.alarm.raised.v1"
LABELS_REQUESTED = "octa.label.requested.v1"
LABELS_GIVEN = "octa.label.given.v1"

MAX_MESSAGE_BYTES = 8 * 2**20
"""Cap on one message, the same at producer, broker and consumer; larger sweeps are sent in parts."""

_DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic as it is to be created.

    cleanup : ``delete`` drops what is older than ``retention_ms``, ``compact`` keeps the newest message of a
        key, ``compact,delete`` does both
    retention_ms : None keeps for ever
    single : one partition; otherwise the count that all such topics share, so that the partition of a robot
        is the same in each
    """

    name: str
    cleanup: Literal["delete", "compact", "compact,delete"] = "delete"
    retention_ms: int | None = 7 * _DAY_MS
    max_message_bytes: int = MAX_MESSAGE_BYTES
    single: bool = False

    def partitions(self, common: int) -> int:
        """How many partitions it gets where topics have ``common`` of them."""
        return 1 if self.single else common

    def config(self) -> dict[str, str]:
        """Settings of the topic in Kafka's words.

        The log keeps the time at which a message was appended, whatever its producer says: a recording of
        last year must not be deleted on arrival, and agents wait for partitions by that time.
        """
        return {
            "cleanup.policy": self.cleanup,
            "retention.ms": str(-1 if self.retention_ms is None else self.retention_ms),
            "max.message.bytes": str(self.max_message_bytes),
            "message.timestamp.type": "LogAppendTime",
        }


def order_topic(agent: str) -> str:
    """The journal of an agent's tasks: in which order each folded its inputs."""
    return f"octa.order.{_known(agent)}.v1"


def answer_topic(agent: str) -> str:
    """Where results of an agent's requests come back to it."""
    return f"octa.answer.{_known(agent)}.v1"


def group_of(agent: str) -> str:
    """The consumer group of an agent's workers."""
    return f"octa-{_known(agent)}"


def _known(agent: str) -> str:
    if agent not in AGENTS:
        raise ValueError(f"agent: {agent!r} is not one of {', '.join(AGENTS)}")
    return agent


TOPICS: tuple[Topic, ...] = (
    Topic(name=SWEEPS, retention_ms=_DAY_MS),
    Topic(name=TRANSFORMS, retention_ms=_DAY_MS),
    Topic(name=STATIC, cleanup="compact", retention_ms=None),
    Topic(name=BINNED),
    Topic(name=PREDICTIONS),
    Topic(name=SHADOWS),
    Topic(name=OUTCOMES),
    Topic(name=SAMPLES),
    Topic(name=PUBLISHED, cleanup="compact,delete", retention_ms=30 * _DAY_MS, single=True),
    Topic(name=ACTIVATED, retention_ms=30 * _DAY_MS),
    Topic(name=REJECTED, retention_ms=30 * _DAY_MS),
    Topic(name=ALARMS, retention_ms=30 * _DAY_MS),
    Topic(name=LABELS_REQUESTED, retention_ms=30 * _DAY_MS),
    Topic(name=LABELS_GIVEN, retention_ms=30 * _DAY_MS),
    # Learn has one task for all robots, the others have one for each partition.
    *(Topic(name=order_topic(agent), single=agent == LEARN) for agent in AGENTS),
    *(Topic(name=answer_topic(agent), single=agent == LEARN) for agent in AGENTS),
)

BY_NAME: dict[str, Topic] = {topic.name: topic for topic in TOPICS}

INPUTS: dict[str, tuple[str, ...]] = {
    PERCEIVE: (SWEEPS, TRANSFORMS, STATIC),
    JUDGE: (BINNED, PREDICTIONS, SHADOWS),
    LEARN: (BINNED, PREDICTIONS, OUTCOMES, ACTIVATED),
    ARCHIVE: (BINNED, PREDICTIONS, SHADOWS, OUTCOMES, ACTIVATED, REJECTED, ALARMS, SAMPLES, LABELS_GIVEN),
}
"""What an agent's consumer group reads and acknowledges; answers, and models where it cares, come on top."""

RECORDS: dict[str, type] = {
    SWEEPS: Sweep,
    TRANSFORMS: Transform,
    STATIC: Transform,
    BINNED: Binned,
    PREDICTIONS: Prediction,
    SHADOWS: Shadow,
    OUTCOMES: Outcome,
    SAMPLES: FeatureSample,
    PUBLISHED: ModelPublished,
    ACTIVATED: ModelActivated,
    REJECTED: SweepRejected,
    ALARMS: Event,
    LABELS_REQUESTED: LabelRequested,
    LABELS_GIVEN: LabelGiven,
}
"""The record type of a topic."""

_TOPICS = {kind: name for name, kind in RECORDS.items() if name != STATIC}


HOLD_KEY = b"hold"
"""Of what a person says on which model may serve: no model is called so, and none replaces it."""


def topic_of(record: Any) -> str:
    """Topic of a record; static transforms have their own.  Raises TypeError for what has none."""
    if isinstance(record, Transform) and record.static:
        return STATIC
    try:
        return _TOPICS[type(record)]
    except KeyError:
        raise TypeError(f"{type(record).__name__} has no topic; see stream/topics.py") from None


def key_of(record: Any) -> bytes:
    """Key of a record, which decides its partition and, on compacted topics, what replaces it.

    The robot id, so that everything of a robot is in one partition of every topic; the model id of a
    ModelPublished, HOLD_KEY of one that holds models. An Event that belongs to no robot has the empty key:
    unlike a null key it always leads to the same partition, so such events keep their order.
    Raises TypeError for what has no topic
    """
    topic_of(record)
    if isinstance(record, ModelPublished):
        return HOLD_KEY if record.kind in HOLDS else str(record.model_id).encode()
    return str(record.robot_id).encode()
