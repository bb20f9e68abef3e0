"""Appending to partitions and reading them by offset, beside Faust's own consumer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaTimeoutError

from agents.journal import Place, Receipt
from agents.kafka.messages import Headers, Message, message_of, named
from agents.kafka.metadata import require_partitions
from agents.kafka.partitions import POLL_MS, WAIT_MS, new_reader
from agents.kafka.settings import KafkaSettings
from stream.topics import MAX_MESSAGE_BYTES

REQUEST_MS = 80_000
"""A broker may be silent for a minute. Shorter than what a driver waits for an operation."""


class LogError(Exception):
    """The log does not hold what was written there; says which partition and offset."""


class LogLost(LogError):
    """The log ends before what was read of it: to go on would take what comes for what was folded."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Outgoing:
    """A message to append; without a partition its key decides."""

    topic: str
    value: bytes
    key: bytes | None = None
    partition: int | None = None
    headers: Headers = ()


async def _patiently(
    ask: Callable[[list[TopicPartition]], Awaitable[dict[TopicPartition, int]]], places: Sequence[Place]
) -> dict[TopicPartition, int]:
    """Ask once more where the broker was silent for as long as the client waits, 40 s: it may come back.

    Raises KafkaError
    """
    asked = [TopicPartition(*place) for place in places]
    try:
        return await ask(asked)
    except KafkaTimeoutError:
        return await ask(asked)


class KafkaLog:
    """One producer, and one consumer without a group that is sent to where something has to be read."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._producer = AIOKafkaProducer(
            **settings.clients(),
            acks="all",
            enable_idempotence=True,
            max_request_size=MAX_MESSAGE_BYTES,
            request_timeout_ms=REQUEST_MS,
        )
        self._reader = new_reader(settings, reset="none", wait_ms=WAIT_MS)
        self._reading = asyncio.Lock()

    async def __aenter__(self) -> KafkaLog:
        try:
            await self._producer.start()
            await self._reader.start()
        except BaseException:  # clients that were begun have sockets and tasks
            await self._stop()
            raise
        await asyncio.sleep(0)  # a reader that is stopped before its first step raises CancelledError
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    async def _stop(self) -> None:
        await self._producer.stop()
        await self._reader.stop()

    async def append(
        self,
        topic: str,
        value: bytes,
        *,
        key: bytes | None = None,
        partition: int | None = None,
        headers: Headers = (),
    ) -> int:
        """Append one message and wait until it is durable; returns its offset.  Raises KafkaError"""
        message = Outgoing(topic=topic, value=value, key=key, partition=partition, headers=headers)
        return (await self.append_all([message]))[0]

    async def append_all(self, messages: Sequence[Outgoing]) -> list[int]:
        """Append messages and wait until all are durable; their offsets. Where one fails, others may be.

        Raises KafkaError when one is not known to be
        """
        for topic in dict.fromkeys(item.topic for item in messages):
            await require_partitions(self._producer, topic, self._settings.partitions)
        sent = [await self._send(item) for item in messages]
        return [int(found.offset) for found in await asyncio.gather(*sent)]

    async def _send(self, item: Outgoing) -> asyncio.Future[Any]:
        with named(item.topic, item.key):
            sent: asyncio.Future[Any] = await self._producer.send(
                item.topic, item.value, key=item.key, partition=item.partition, headers=list(item.headers)
            )
        return sent

    async def end(self, places: Sequence[Place]) -> dict[Place, int]:
        """The offset that the next message of each partition will have."""
        found = await _patiently(self._reader.end_offsets, places)
        return {(at.topic, at.partition): offset for at, offset in found.items()}

    async def beginning(self, places: Sequence[Place]) -> dict[Place, int]:
        """The offset of the first message that each partition still has; its end, when it has none."""
        found = await _patiently(self._reader.beginning_offsets, places)
        return {(at.topic, at.partition): offset for at, offset in found.items()}

    async def read(self, place: Place, first: int, end: int) -> list[Message]:
        """Messages from ``first`` up to but without ``end``; an offset may stand for none.

        Raises LogError when some of them are no more: their retention was too short
        """
        if first >= end:
            return []
        at = TopicPartition(*place)
        async with self._reading:
            self._reader.assign([at])
            beginning = (await _patiently(self._reader.beginning_offsets, [place]))[at]
            if beginning > first:
                raise LogError(f"{place[0]}-{place[1]}: begins at {beginning}, {first} is needed; "
                               "its retention is too short")  # fmt: skip
            self._reader.seek(at, first)
            found: list[Message] = []
            while await self._reader.position(at) < end:
                for records in (await self._reader.getmany(at, timeout_ms=POLL_MS)).values():
                    found += [message_of(record, self._settings) for record in records]
            self._reader.pause(at)  # else it asks for more, and every other question waits behind that
        return [message for message in found if message.offset < end]

    async def fetch(self, receipts: Sequence[Receipt]) -> dict[Receipt, Message]:
        """Messages by place and offset; whole stretches are read, so receipts should be neighbours."""
        spans: dict[Place, tuple[int, int]] = {}
        for place, offset in receipts:
            first, end = spans.get(place, (offset, offset + 1))
            spans[place] = (min(first, offset), max(end, offset + 1))
        return {
            (place, message.offset): message
            for place, (first, end) in spans.items()
            for message in await self.read(place, first, end)
        }

    async def follow(self, place: Place, first: int) -> AsyncIterator[Message]:
        """Messages of one partition from an offset on, for ever; from the first that there is, if later."""
        reader = new_reader(self._settings, reset="none")
        at = TopicPartition(*place)
        await reader.start()
        try:
            reader.assign([at])
            beginning = (await reader.beginning_offsets([at]))[at]
            reader.seek(at, max(first, beginning))
            async for record in reader:
                yield message_of(record, self._settings)
        finally:
            await reader.stop()
