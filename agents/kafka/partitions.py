"""Reading partitions by offset, for people who want to know what lies there; no group, nothing committed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.journal import Place, Receipt
from agents.kafka.messages import Message, message_of
from agents.kafka.settings import KafkaSettings
from stream.topics import MAX_MESSAGE_BYTES

POLL_MS = 500


def new_reader(settings: KafkaSettings, reset: Literal["earliest", "none"] = "earliest") -> AIOKafkaConsumer:
    """A consumer without a group, not started yet.

    reset : what an offset that is no more leads to: the first that there is, or an error
    """
    return AIOKafkaConsumer(
        **settings.clients(),
        enable_auto_commit=False,
        auto_offset_reset=reset,
        fetch_max_bytes=MAX_MESSAGE_BYTES,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    )


class Partitions:
    """A consumer that is sent from one partition to another; one iteration at a time."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings) -> AsyncIterator[Partitions]:
        """Connected.  Raises KafkaError"""
        consumer = new_reader(settings)
        await consumer.start()
        await asyncio.sleep(0)  # stopped before its own tasks have begun, it would cancel whoever stops it
        try:
            yield cls(consumer)
        finally:
            await consumer.stop()

    async def spans(self, places: Sequence[Place]) -> dict[Place, range]:
        """The offsets that each partition holds now."""
        at = [TopicPartition(*place) for place in places]
        first, end = await self._consumer.beginning_offsets(at), await self._consumer.end_offsets(at)
        return {(item.topic, item.partition): range(first[item], end[item]) for item in at}

    async def offset_at(self, place: Place, appended_ms: int) -> int:
        """Offset of the first message that was appended at this time or later; the end if there is none."""
        at = TopicPartition(*place)
        found = (await self._consumer.offsets_for_times({at: appended_ms}))[at]
        if found is not None:
            return int(found.offset)
        return int((await self._consumer.end_offsets([at]))[at])

    async def messages(self, place: Place, offsets: range) -> AsyncIterator[Message]:
        """Messages of a stretch of offsets; those that are no more are left out."""
        at = TopicPartition(*place)
        if not offsets:
            return
        self._consumer.assign([at])
        self._consumer.seek(at, offsets.start)
        while await self._consumer.position(at) < offsets.stop:
            for record in (await self._consumer.getmany(at, timeout_ms=POLL_MS)).get(at, []):
                if record.offset < offsets.stop:
                    yield message_of(record)

    async def message(self, receipt: Receipt) -> Message | None:
        """One message, None where it is no more or not yet there."""
        place, offset = receipt
        if offset not in (await self.spans([place]))[place]:
            return None
        async for message in self.messages(place, range(offset, offset + 1)):
            return message
        return None
