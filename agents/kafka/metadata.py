"""What clients know of topics, and how often they ask for it."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.client import AIOKafkaClient
from aiokafka.cluster import ClusterMetadata
from aiokafka.errors import UnknownTopicOrPartitionError

from stream.topics import BY_NAME

TRIES, PAUSE_SECONDS = 100, 0.1
HURRY_SECONDS = 0.2
"""Between two questions of a client for the leaders of the same topics."""


def is_led(client: AIOKafkaClient, at: TopicPartition) -> bool:
    """Whether a client knows who leads a partition."""
    return client.cluster.leader_for_partition(at) not in (None, -1)


def unhurried(client: AIOKafkaClient) -> None:
    """Have a client take its time: for a partition without a leader it asks a thousand times a second."""
    update, asked, asked_s = client._metadata_update, frozenset[str](), -math.inf

    async def updated(cluster: ClusterMetadata, topics: Iterable[str] | None) -> bool:
        nonlocal asked, asked_s
        wanted = frozenset(topics or ())
        if wanted == asked:  # what is asked for the first time is wanted at once
            await asyncio.sleep(asked_s + HURRY_SECONDS - time.monotonic())
        asked, asked_s = wanted, time.monotonic()
        done: bool = await update(cluster, topics)
        return done

    client._metadata_update = updated


async def require_partitions(producer: AIOKafkaProducer, name: str, common: int) -> None:
    """Wait until a producer knows every partition of a topic of octastream; others are let pass.

    A broker tells of a topic that was made a moment ago with some of its partitions first. A key that is
    hashed over these would send a robot's message to another partition than all that follow, and a partition
    that is named would be refused.

    common : partitions of topics that have more than one
    Raises UnknownTopicOrPartitionError where the topic still has fewer after ten seconds
    """
    topic = BY_NAME.get(name)
    if topic is None:
        return
    wanted, known = set(range(topic.partitions(common))), set[int]()
    for _ in range(TRIES):
        known = set(await producer.partitions_for(name) or ())
        if wanted <= known:
            return
        await producer.client.force_metadata_update()
        await asyncio.sleep(PAUSE_SECONDS)
    raise UnknownTopicOrPartitionError(
        f"{name}: the broker tells of {len(known)} partitions, {len(wanted)} are needed: octastream topics"
    )
