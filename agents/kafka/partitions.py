"""Reading partitions by offset, for people who want to know what lies there; no group, nothing committed."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal, TypeVar

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.journal import Place, Receipt
from agents.kafka.admin import ClusterError
from agents.kafka.messages import Message, message_of
from agents.kafka.metadata import unhurried
from agents.kafka.settings import KafkaSettings
from stream.topics import MAX_MESSAGE_BYTES

POLL_MS = 500
STALL_SECONDS = 60
"""A broker that is away for longer than this while messages are due has gone for good."""
BEHIND_SECONDS = 5.0
"""A broker may be behind another one, or its clock behind ours, for so long."""
MERGED_FETCH_BYTES = 48 * 2**20
"""Of all partitions in one fetch, below what a broker grants (55 MiB). While messages of some partitions wait
to be merged the client asks for others ten times a second only, so one fetch should fill all empty ones."""
WAIT_MS = 10
"""Who reads what is there needs no news, and other requests wait behind a fetch at a partition's end."""

Reset = Literal["earliest", "none"]
T = TypeVar("T")


def new_reader(
    settings: KafkaSettings,
    reset: Reset = "earliest",
    *,
    fetch_bytes: int = MAX_MESSAGE_BYTES,
    wait_ms: int = POLL_MS,
) -> AIOKafkaConsumer:
    """A consumer without a group, not started yet.

    reset : what an offset that is no more leads to: the first that there is, or an error
    fetch_bytes : of all partitions in one fetch
    wait_ms : how long a broker that has nothing new may wait before it says so
    """
    consumer = AIOKafkaConsumer(
        **settings.clients(),
        enable_auto_commit=False,
        auto_offset_reset=reset,
        fetch_max_bytes=fetch_bytes,
        fetch_max_wait_ms=wait_ms,
        max_partition_fetch_bytes=MAX_MESSAGE_BYTES,
    )
    unhurried(consumer._client)
    return consumer


async def asked_twice(ask: Callable[[], Awaitable[T]], falls_short: Callable[[T], bool]) -> T:
    """What a broker says of ends; asked again where that falls short, as it may be behind for a moment."""
    found = await ask()
    if falls_short(found):
        await asyncio.sleep(BEHIND_SECONDS)
        found = await ask()
    return found


class Partitions:
    """A consumer that is sent from one partition to another; one iteration at a time."""

    def __init__(self, consumer: AIOKafkaConsumer, settings: KafkaSettings) -> None:
        self._consumer, self._settings = consumer, settings

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings, reset: Reset = "earliest") -> AsyncIterator[Partitions]:
        """Connected; ``reset`` as in ``new_reader``.  Raises KafkaError"""
        consumer = new_reader(settings, reset, fetch_bytes=MERGED_FETCH_BYTES, wait_ms=WAIT_MS)
        await consumer.start()
        await asyncio.sleep(0)  # stopped before its own tasks have begun, it would cancel whoever stops it
        try:
            yield cls(consumer, settings)
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

    async def messages(self, place: Place, offsets: range) -> AsyncGenerator[Message]:
        """Messages of a stretch of offsets; those that are no more are left out."""
        at = TopicPartition(*place)
        if not offsets:
            return
        self._consumer.assign([at])
        self._consumer.seek(at, offsets.start)
        while await self._consumer.position(at) < offsets.stop:
            for record in (await self._consumer.getmany(at, timeout_ms=POLL_MS)).get(at, []):
                if record.offset < offsets.stop:
                    yield message_of(record, self._settings)

    async def merged(self, spans: Mapping[Place, range]) -> AsyncGenerator[Message]:
        """Messages of stretches of several partitions by the time at which they were appended.

        Equal times come in the order of ``spans``; each partition keeps its own. Holds one fetch a partition.
        Raises ClusterError when messages that are due do not come; OffsetOutOfRangeError, under ``reset``
        none, for those that are no more
        """
        order = {place: number for number, (place, span) in enumerate(spans.items()) if span}
        if not order:
            return
        self._consumer.assign([TopicPartition(*place) for place in order])
        for place in order:
            self._consumer.seek(TopicPartition(*place), spans[place].start)
        heads: list[tuple[int, int, Message]] = []
        for place, number in order.items():
            head = await self._next(place, spans[place].stop)
            if head is not None:
                heapq.heappush(heads, (head.appended_ms, number, head))
        while heads:
            _, number, message = heads[0]
            yield message
            head = await self._next(message.place, spans[message.place].stop)
            if head is None:
                heapq.heappop(heads)
            else:
                heapq.heapreplace(heads, (head.appended_ms, number, head))

    async def _next(self, place: Place, stop: int) -> Message | None:
        """The next message of an assigned partition, None where there is no more below ``stop``."""
        at = TopicPartition(*place)
        try:
            async with asyncio.timeout(STALL_SECONDS):
                while await self._consumer.position(at) < stop:
                    found = await self._consumer.getmany(at, timeout_ms=POLL_MS, max_records=1)
                    for record in found.get(at, []):
                        return message_of(record, self._settings) if record.offset < stop else None
        except TimeoutError as error:
            raise ClusterError(
                f"{place[0]}-{place[1]}: nothing has come for {STALL_SECONDS} s, but messages up to offset "
                f"{stop - 1} are due; look whether its broker is up"
            ) from error
        return None

    async def message(self, receipt: Receipt) -> Message | None:
        """One message, None where it is no more or not yet there."""
        place, offset = receipt
        if offset not in (await self.spans([place]))[place]:
            return None
        async for message in self.messages(place, range(offset, offset + 1)):
            return message
        return None
