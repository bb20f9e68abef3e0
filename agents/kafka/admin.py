"""Topics of a cluster: made, checked, and how far their readers are."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from agents.kafka.settings import KafkaSettings
from stream.topics import TOPICS


@asynccontextmanager
async def admin_client(settings: KafkaSettings) -> AsyncIterator[Any]:
    """A connected admin client.  Raises KafkaConnectionError"""
    client = AIOKafkaAdminClient(**settings.clients())
    await client.start()
    try:
        yield client
    finally:
        await client.close()


async def create_topics(settings: KafkaSettings, replication: int = 1) -> list[str]:
    """Make every topic that is not there; returns their names.  Raises KafkaError"""
    async with admin_client(settings) as client:
        there = set(await client.list_topics())
        missing = [topic for topic in TOPICS if topic.name not in there]
        await client.create_topics(
            [
                NewTopic(
                    topic.name,
                    topic.partitions(settings.partitions),
                    replication,
                    topic_configs=topic.config(),
                )
                for topic in missing
            ]
        )
    return [topic.name for topic in missing]


async def check_topics(settings: KafkaSettings) -> list[str]:
    """What is wrong with the topics of a cluster, a line each; empty when workers can start."""
    async with admin_client(settings) as client:
        there = set(await client.list_topics())
        present = [topic.name for topic in TOPICS if topic.name in there]
        described: list[Mapping[str, Any]] = await client.describe_topics(present)
    counts = {item["topic"]: len(item["partitions"]) for item in described}
    wrong = [f"{topic.name}: not there" for topic in TOPICS if topic.name not in there]
    for topic in TOPICS:
        expected, found = topic.partitions(settings.partitions), counts.get(topic.name)
        if found is not None and found != expected:
            wrong.append(f"{topic.name}: {found} partitions, expected {expected}")
    return wrong
