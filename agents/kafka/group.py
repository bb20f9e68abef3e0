"""The group of an agent's workers, and the partitions that it shares out among them.

A worker that comes back under its name in the group is given what its last process had, and nobody shares
out anew (KIP-345). What has come meanwhile, as more partitions or a topic that an older version did not read,
would be nobody's: only from version 9 of JoinGroup on does Kafka have the leader look (KIP-814), and aiokafka
speaks 5.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata
from aiokafka.errors import KafkaError, for_code

from agents.journal import Place
from agents.kafka.admin import admin_client
from agents.kafka.settings import KafkaSettings
from stream.topics import INPUTS, group_of

STABLE = "Stable"
PATIENCE_SECONDS = 30.0
RETRY_SECONDS = 0.25

T = TypeVar("T")


async def left_out(settings: KafkaSettings, agent: str) -> list[Place]:
    """Partitions that an agent reads and no member of its group has.

    None while they are being shared out; nor while a member does not read all topics yet, an older version:
    Faust would give what only some read to these, and partitions of one number would have two owners.
    Raises ClusterError, KafkaError
    """
    async with admin_client(settings) as client:
        group = await described(client, agent)
    members = group["members"]
    if group["state"] != STABLE or not all(set(INPUTS[agent]) <= _topics(member) for member in members):
        return []
    wanted = {(topic, partition) for topic in INPUTS[agent] for partition in range(settings.partitions)}
    return sorted(wanted.difference(*map(_places, members)))


async def described(client: AIOKafkaAdminClient, agent: str) -> Mapping[str, Any]:
    """What the broker says of an agent's group.  Raises KafkaError

    One group a request: aiokafka 0.14 takes the answer for an older version, whose groups are shorter, and
    cannot find the second one.
    """

    async def ask() -> dict[str, Any]:
        [answer] = await client.describe_consumer_groups([group_of(agent)])
        group: dict[str, Any]
        [group] = answer.to_object()["groups"]
        if group["error_code"]:
            raise for_code(group["error_code"])(group_of(agent))
        return group

    return await patiently(ask)


async def patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """What a cluster says of a group, asked again while it may know more in a moment.  Raises KafkaError

    One that has had no group yet needs time to say so; a broker that has just started loads what it knows.
    """
    end = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return await ask()
        except KafkaError as error:
            if not error.retriable or time.monotonic() >= end:
                raise
        await asyncio.sleep(RETRY_SECONDS)


def _topics(member: Mapping[str, Any]) -> set[str]:
    return set(ConsumerProtocolMemberMetadata.decode(member["member_metadata"]).subscription)


def _places(member: Mapping[str, Any]) -> set[Place]:
    shared = member["member_assignment"]
    found = ConsumerProtocolMemberAssignment.decode(shared).assignment if shared else []
    return {(topic, partition) for topic, partitions in found for partition in partitions}
