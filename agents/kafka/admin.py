"""Topics of a cluster: made and checked; and a cluster that cannot be used, as one line."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError

from agents.journal import Place
from agents.kafka.settings import KafkaSettings
from stream.topics import TOPICS, Topic

REQUEST_MS = 15_000
VISIBLE_TRIES, VISIBLE_SECONDS = 100, 0.1
EXISTS = TopicAlreadyExistsError.errno
CHECKED = ("cleanup.policy", "max.message.bytes", "message.timestamp.type")
"""Settings of a topic that agents rely on. How long it keeps messages is for whoever pays for the disks."""

T = TypeVar("T")


class ClusterError(Exception):
    """A cluster that cannot be used: says which, why and the way out."""


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, with nothing but errors of its own on the terminal.

    The loop is not made the thread's own, as Faust asks for that one later.
    """
    with _heard(), asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        return runner.run(work)


@contextmanager
def _heard() -> Iterator[list[str]]:
    """What aiokafka says meanwhile, instead of on the terminal: a refused login is in no exception."""
    said: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            said.append(record.getMessage())
            del said[:-1]  # the last one is the reason

    logger, listener = logging.getLogger("aiokafka"), Listener(logging.WARNING)
    propagate = logger.propagate
    logger.addHandler(listener)
    logger.propagate = False
    try:
        yield said
    finally:
        logger.removeHandler(listener)
        logger.propagate = propagate


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[Any]:
    """A connected admin client.  Raises ClusterError where no broker answers or the login is refused"""
    client = AIOKafkaAdminClient(**settings.clients(), request_timeout_ms=REQUEST_MS)
    try:
        with _heard() as said:
            try:
                await client.start()
            except KafkaError as error:
                reason = said[-1] if said else str(error)
                raise ClusterError(
                    f"{settings.bootstrap}: no broker to talk to ({reason}); start one, or correct "
                    "--bootstrap and --security-protocol"
                ) from error
        yield client
    finally:
        await client.close()


async def create_topics(settings: KafkaSettings, replication: int = 1) -> list[str]:
    """Make every topic that is not there; returns their names.

    Raises ClusterError, with nothing made, when one is there with another number of partitions; KafkaError
    """
    async with admin_client(settings) as client:
        counts = await _counts(client)
        _refuse_wrong(counts, settings.partitions)
        missing = [topic for topic in TOPICS if topic.name not in counts]
        answer = await client.create_topics([_new(topic, settings, replication) for topic in missing])
        refused = {name: text for name, code, text in answer.topic_errors if code and code != EXISTS}
        if refused:
            name, text = next(iter(refused.items()))
            raise ClusterError(f"{name}: the broker does not make it: {text}")
        _refuse_wrong(await _all_counts(client), settings.partitions)
    others = {name for name, code, _ in answer.topic_errors if code == EXISTS}  # made at the same moment
    return [topic.name for topic in missing if topic.name not in others]


async def check_topics(settings: KafkaSettings) -> list[str]:
    """What is wrong with the topics of a cluster, a line each; empty when workers can start."""
    async with admin_client(settings) as client:
        counts = await _counts(client)
        configs = await _configs(client, list(counts))
    wrong = [f"{topic.name}: not there" for topic in TOPICS if topic.name not in counts]
    wrong += _wrong_counts(counts, settings.partitions)
    for topic in TOPICS:
        expected, found = topic.config(), configs.get(topic.name, {})
        wrong += [
            f"{topic.name}: {key} is {found[key]}, expected {expected[key]}"
            for key in CHECKED
            if key in found and found[key] != expected[key]
        ]
    return wrong


async def require_topics(settings: KafkaSettings) -> None:
    """Raises ClusterError when a topic is missing or is not as agents need it."""
    wrong = await check_topics(settings)
    if wrong:
        raise ClusterError(
            f"topics: {_short(wrong)}; octastream topics check shows all, octastream topics create makes "
            "what is missing"
        )


async def places_of(settings: KafkaSettings, topics: Sequence[str]) -> list[Place]:
    """Partitions of topics, in their order.  Raises ClusterError where one is missing"""
    async with admin_client(settings) as client:
        there = set(await client.list_topics())
        missing = [name for name in topics if name not in there]
        if missing:
            raise ClusterError(f"{missing[0]}: not there; octastream topics create makes what is missing")
        described = await client.describe_topics(list(topics))
    counts = {item["topic"]: len(item["partitions"]) for item in described}
    return [(name, partition) for name in topics for partition in range(counts[name])]


def _refuse_wrong(counts: Mapping[str, int], common: int) -> None:
    wrong = _wrong_counts(counts, common)
    if wrong:
        raise ClusterError(
            f"{_short(wrong)}; give --partitions as many as there are, or delete these topics first"
        )


async def _all_counts(client: Any) -> dict[str, int]:
    """Partitions of all topics, once the broker that is asked has heard of what another has made.

    And once each has a leader: a producer that begins before that knows some of the partitions only, and may
    send a robot's transforms to another one than its sweeps.
    """
    for _ in range(VISIBLE_TRIES):
        described = await _described(client)
        led = all(part["leader"] >= 0 for item in described for part in item["partitions"])
        if len(described) == len(TOPICS) and led:
            return _partitions(described)
        await asyncio.sleep(VISIBLE_SECONDS)
    raise ClusterError("topics: made, but not to be seen; look with octastream topics check in a while")


def _short(wrong: Sequence[str]) -> str:
    return wrong[0] + (f", and {len(wrong) - 1} more" if len(wrong) > 1 else "")


def _new(topic: Topic, settings: KafkaSettings, replication: int) -> NewTopic:
    partitions = topic.partitions(settings.partitions)
    return NewTopic(topic.name, partitions, replication, topic_configs=topic.config())


async def _counts(client: Any) -> dict[str, int]:
    """Partitions of those of our topics that are there."""
    return _partitions(await _described(client))


def _partitions(described: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    return {item["topic"]: len(item["partitions"]) for item in described}


async def _described(client: Any) -> list[Mapping[str, Any]]:
    """What the broker says of those of our topics that are there."""
    there = set(await client.list_topics())
    present = [topic.name for topic in TOPICS if topic.name in there]
    described: list[Mapping[str, Any]] = await client.describe_topics(present) if present else []
    return [item for item in described if item["partitions"]]


def _wrong_counts(counts: Mapping[str, int], common: int) -> list[str]:
    return [
        f"{topic.name}: {counts[topic.name]} partitions, expected {topic.partitions(common)}"
        for topic in TOPICS
        if topic.name in counts and counts[topic.name] != topic.partitions(common)
    ]


async def _configs(client: Any, names: list[str]) -> dict[str, dict[str, str]]:
    """Settings by topic; one that may not be looked at has none."""
    if not names:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, name, dict.fromkeys(CHECKED, "")) for name in names]
    return {
        name: {entry[0]: entry[1] for entry in entries}
        for answer in await client.describe_configs(resources)
        for code, _, _, name, entries in answer.resources
        if code == 0
    }
