"""The group of an agent's workers, and the partitions that it shares out among them.

A worker that comes back under its name in the group is given what its last process had, and nobody shares
out anew (KIP-345). What has come meanwhile, as more partitions or a topic that an older version did not read,
would be nobody's: only from version 9 of JoinGroup on does Kafka have the leader look (KIP-814), and aiokafka
speaks 5.
"""

from __future__ import annotations

from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment
from aiokafka.errors import for_code

from agents.journal import Place
from agents.kafka.admin import admin_client
from agents.kafka.settings import KafkaSettings
from stream.topics import INPUTS, group_of

STABLE = "Stable"


async def left_out(settings: KafkaSettings, agent: str) -> list[Place]:
    """Partitions that an agent reads and no member of its group has; none while they are being shared out.

    Raises ClusterError, KafkaError
    """
    async with admin_client(settings) as client:
        group = await described_group(client, agent)
    if group["error_code"]:
        raise for_code(group["error_code"])(group_of(agent))
    if group["state"] != STABLE:
        return []
    wanted = {(topic, partition) for topic in INPUTS[agent] for partition in range(settings.partitions)}
    for member in group["members"]:
        wanted.difference_update(_places(member["member_assignment"]))
    return sorted(wanted)


async def described_group(client: AIOKafkaAdminClient, agent: str) -> dict[str, Any]:
    """What its broker says of an agent's group; aiokafka does not understand an answer about several."""
    [answer] = await client.describe_consumer_groups([group_of(agent)])
    [group] = answer.to_object()["groups"]
    found: dict[str, Any] = group
    return found


def _places(assignment: bytes) -> list[Place]:
    if not assignment:
        return []
    decoded = ConsumerProtocolMemberAssignment.decode(assignment)
    return [(topic, partition) for topic, partitions in decoded.assignment for partition in partitions]
