"""How far the agents are: what their groups have acknowledged of each partition, and what is left."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka import TopicPartition
from aiokafka.errors import GroupLoadInProgressError

from agents.journal import Place
from agents.kafka.admin import admin_client
from agents.kafka.group import patiently
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from stream.topics import AGENTS, INPUTS, group_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """Of one group on one partition.

    committed : the offset before which everything is acknowledged, None before the first time
    first, end : what the partition holds
    """

    agent: str
    place: Place
    committed: int | None
    first: int
    end: int

    @property
    def left(self) -> int:
        """Messages that are there and not acknowledged."""
        return self.end - max(self.committed or 0, self.first)

    @property
    def lost(self) -> int:
        """Messages that were deleted before they were acknowledged: the topic's retention is too short.

        Of a group that has never acknowledged anything nothing is said: it may be new.
        """
        return 0 if self.committed is None else max(0, self.first - self.committed)


async def lags(settings: KafkaSettings) -> list[Lag]:
    """Of all agents and the partitions they read, in their order.  Raises ClusterError, KafkaError"""
    places = {
        agent: [(topic, partition) for topic in INPUTS[agent] for partition in range(settings.partitions)]
        for agent in AGENTS
    }
    async with admin_client(settings) as client:
        committed = {agent: await _committed(client, agent, places[agent]) for agent in AGENTS}
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans(sorted({place for found in places.values() for place in found}))
    return [
        Lag(
            agent=agent,
            place=place,
            committed=committed[agent].get(place),
            first=spans[place].start,
            end=spans[place].stop,
        )
        for agent in AGENTS
        for place in places[agent]
    ]


async def _committed(client: Any, agent: str, places: Sequence[Place]) -> dict[Place, int]:
    """What a group has acknowledged, without places of which it has acknowledged nothing."""
    at = [TopicPartition(*place) for place in places]

    async def ask() -> dict[TopicPartition, Any]:
        found: dict[TopicPartition, Any]
        found = await client.list_consumer_group_offsets(group_of(agent), partitions=at)
        if set(found) != set(at):  # an error with the whole group, of which the client says nothing
            raise GroupLoadInProgressError(f"{group_of(agent)}: the broker names no offsets")
        return found

    found = await patiently(ask)
    return {(item.topic, item.partition): meta.offset for item, meta in found.items() if meta.offset >= 0}
