"""A robot's messages in the topics of a cluster: what can be deleted, and until when the rest stays.

Kafka deletes a partition from its beginning up to an offset, nothing in between. So what goes is the
beginning of a partition as far as it is the robot's alone, and as far as no worker needs it any more.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.admin import RecordsToDelete

from agents.care.receipt import Left, TopicChange
from agents.care.subject import CareError
from agents.journal import Place
from agents.kafka.admin import admin_client, run
from agents.kafka.group import described
from agents.kafka.lag import lags
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from agents.kafka.snapshots import SnapshotStore
from agents.task_id import TaskId
from stream.topics import AGENTS, BY_NAME, LEARN, PUBLISHED, RECORDS, STATIC, SWEEPS, order_topic

LEAVING_SECONDS, POLL_SECONDS = 20.0, 1.0
"""A worker with a stable name is a member of its group for 15 s after it has stopped."""

AT_REST = ("Empty", "Dead")
"""States of a consumer group without members."""

ROBOTS_TOPICS = tuple(name for name in RECORDS if name != PUBLISHED)
"""Topics whose messages have a robot as their key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A robot's messages in a partition. alone : the offset before which there is no other robot's"""

    change: TopicChange
    span: range
    alone: int
    newest_ms: int
    newest_is_tombstone: bool


async def workers_running(settings: KafkaSettings) -> list[str]:
    """Agents whose groups have members.  Raises ClusterError, KafkaError"""
    async with admin_client(settings) as client:
        return [agent for agent in AGENTS if (await described(client, agent))["state"] not in AT_REST]


def require_stopped(settings: KafkaSettings, patience_s: float = LEAVING_SECONDS) -> None:
    """Raises CareError while workers run: what is taken out of their files they have in memory still.

    patience_s : how long to wait for groups to notice that workers have stopped
    """

    async def wait() -> list[str]:
        end = time.monotonic() + patience_s
        while (running := await workers_running(settings)) and time.monotonic() < end:
            await asyncio.sleep(POLL_SECONDS)
        return running

    running = run(wait())
    if running:
        raise CareError(
            f"workers run ({', '.join(running)}): they would write again what is deleted; stop them in good "
            "order (SIGTERM) first"
        )


async def delete_messages(
    settings: KafkaSettings, robot_id: str, *, dry_run: bool
) -> tuple[list[TopicChange], list[Left]]:
    """Delete a robot's messages as far as can be; what there was, and what is left.

    Raises ClusterError, KafkaError
    """
    settings = replace(settings, partitions=await _count(settings))
    places = [(name, partition) for name in ROBOTS_TOPICS for partition in range(settings.partitions)]
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans(places)
        found = [await _look(partitions, place, spans[place], robot_id.encode()) for place in places]
        found = [item for item in found if item.change.messages]
        needed = await _needed(settings, partitions)
    changes, left = [], []
    for item in found:
        change = await _delete(settings, item, needed, robot_id, dry_run)
        changes.append(change)
        if change.deleted < change.messages:
            left.append(_left(item, change, needed))
    return changes, left


async def _count(settings: KafkaSettings) -> int:
    async with admin_client(settings) as client:
        found: list[Mapping[str, Any]] = await client.describe_topics([SWEEPS])
    return len(found[0]["partitions"])


async def _look(partitions: Partitions, place: Place, span: range, key: bytes) -> _Found:
    """One pass over a partition; the values are not decoded."""
    messages, alone, newest_ms, tombstone = 0, span.stop, 0, False
    async for message in partitions.messages(place, span):
        if message.key == key:
            messages += 1
            newest_ms, tombstone = message.appended_ms, message.value is None
        else:
            alone = min(alone, message.offset)
    change = TopicChange(topic=place[0], partition=place[1], messages=messages)
    return _Found(change=change, span=span, alone=alone, newest_ms=newest_ms, newest_is_tombstone=tombstone)


async def _needed(settings: KafkaSettings, partitions: Partitions) -> dict[Place, int]:
    """By partition, the offset from which on a worker needs what lies there; those nobody needs are absent.

    A task whose last snapshot is not the end of its journal folds inputs again that it has acknowledged, so
    all that it reads is needed. An agent that has never run needs nothing.
    """
    store = SnapshotStore(settings.snapshots)
    journals = [(order_topic(agent), p) for agent in AGENTS
                for p in range(1 if agent == LEARN else settings.partitions)]  # fmt: skip
    ends = {place: span.stop for place, span in (await partitions.spans(journals)).items()}
    needed: dict[Place, int] = {}
    for lag in await lags(settings):
        partition = 0 if lag.agent == LEARN else lag.place[1]
        end = ends[order_topic(lag.agent), partition]
        snapshot = store.newest(TaskId(lag.agent, partition, settings.partitions)) if end else None
        if end and (snapshot is None or snapshot.memory.journal < end):
            first = lag.first
        elif lag.committed is None and end == 0:
            continue
        else:
            first = lag.committed or lag.first
        needed[lag.place] = min(first, needed.get(lag.place, first))
    return needed


async def _delete(
    settings: KafkaSettings, item: _Found, needed: Mapping[Place, int], robot_id: str, dry_run: bool
) -> TopicChange:
    place = (item.change.topic, item.change.partition)
    if place[0] == STATIC:
        return await _bury(settings, item, robot_id, dry_run)
    below = min(item.alone, needed.get(place, item.span.stop))
    if below <= item.span.start:
        return item.change
    async with Partitions.open(settings) as partitions:
        key, span = robot_id.encode(), range(item.span.start, below)
        deleted = sum([message.key == key async for message in partitions.messages(place, span)])
    if not dry_run:
        async with admin_client(settings) as client:
            await client.delete_records({TopicPartition(*place): RecordsToDelete(below)})
    return replace(item.change, deleted=deleted, below=below)


async def _bury(settings: KafkaSettings, item: _Found, robot_id: str, dry_run: bool) -> TopicChange:
    """A compacted topic forgets a key by a message without a value."""
    if item.newest_is_tombstone:
        return replace(item.change, tombstone=True)
    if not dry_run:
        async with AIOKafkaProducer(**settings.clients(), acks="all") as producer:
            await producer.send_and_wait(
                item.change.topic, None, key=robot_id.encode(), partition=item.change.partition
            )
    return replace(item.change, tombstone=True)


def _left(item: _Found, change: TopicChange, needed: Mapping[Place, int]) -> Left:
    place = (change.topic, change.partition)
    what = f"{change.messages - change.deleted} messages in {change.topic}-{change.partition}"
    if change.tombstone:
        why = "a tombstone lies behind them: the broker's next compaction takes them away"
    elif needed.get(place, item.span.stop) < item.alone:
        why = (
            "workers have not done with them; let them work off their lag, stop them in good order, and give "
            "the command again"
        )
    else:
        topic = BY_NAME[change.topic]
        days = f"{(topic.retention_ms or 0) / 86_400_000:g} days"
        why = (
            "messages of other robots lie before or among them; Kafka deletes from a partition's beginning "
            f"only; they go with the topic's retention ({days} unless set otherwise)"
        )
    return Left(what=what, why=why)
