"""Plays a log into Kafka as its robot would have sent it."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from agents.kafka.settings import KafkaSettings
from stream.codecs import tf
from stream.codecs.content_type import CDR
from stream.codecs.inputs import encode_pointcloud2, headers_of
from stream.codecs.wire import CONTENT_TYPE, encode
from stream.records import SweepRejected
from stream.sources.base import Damage, Item
from stream.sweep import Sweep
from stream.topics import MAX_MESSAGE_BYTES, key_of, topic_of
from stream.transform import Transform

SOURCE = "octastream/produce"
PART_BYTES = 7 * 2**20
"""A sweep above this is sent in parts, so that it fits a message with its frame and headers."""
POINT_BYTES = 20

Message = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
"""Topic, key, value, headers."""


def messages_of(items: Iterable[Item]) -> Iterator[tuple[int, Message]]:
    """What a robot would send, with the stamp at which: PointCloud2 and TFMessage, as ROS 2 does.

    Static transforms of a robot go in one message, all that are known so far, as their topic is compacted.
    What the log itself rejects goes to the dead letters. Sweeps with rays without return are sent in the own
    format, as PointCloud2 has no place for them.
    """
    static: dict[str, list[Transform]] = {}
    for item in items:
        if isinstance(item, Damage):
            return
        if isinstance(item, Sweep):
            for part in parts_of(item):
                yield part.stamp_ns, _sweep_message(part)
        elif isinstance(item, SweepRejected):
            yield item.stamp_ns, (topic_of(item), key_of(item), encode(item), headers_of(item, SOURCE))
        elif item.static:
            known = static.setdefault(item.robot_id, [])
            known.append(item)
            yield item.stamp_ns, _transforms_message(known)
        else:
            yield item.stamp_ns, _transforms_message([item])


def parts_of(sweep: Sweep) -> list[Sweep]:
    """The sweep, cut into parts where it is too large for a message; parts keep the stamp."""
    most = PART_BYTES // POINT_BYTES
    parts = -(-(len(sweep.points) + len(sweep.misses)) // most)
    if parts <= 1 or sweep.parts > 1:
        return [sweep]

    def cut(values: Any, part: int) -> Any:
        return (
            values
            if values is None
            else values[len(values) * part // parts : len(values) * (part + 1) // parts]
        )

    return [
        dataclasses.replace(
            sweep,
            points=cut(sweep.points, part),
            intensity=cut(sweep.intensity, part),
            time_offset_ns=cut(sweep.time_offset_ns, part),
            misses=cut(sweep.misses, part),
            part=part,
            parts=parts,
        )
        for part in range(parts)
    ]


def _sweep_message(sweep: Sweep) -> Message:
    own = len(sweep.misses) > 0
    value = encode(sweep) if own else encode_pointcloud2(sweep)
    kind = CONTENT_TYPE if own else CDR
    return topic_of(sweep), key_of(sweep), value, headers_of(sweep, SOURCE, content_type=kind)


def _transforms_message(transforms: list[Transform]) -> Message:
    first = transforms[-1]
    headers = headers_of(first, SOURCE, content_type=CDR)
    return topic_of(first), key_of(first), tf.encode_cdr(transforms), headers


class Producer:
    """Sends messages, and knows that they are durable."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = AIOKafkaProducer(
            **settings.clients(), acks="all", enable_idempotence=True, max_request_size=MAX_MESSAGE_BYTES
        )
        self._sent: set[asyncio.Future[Any]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings) -> AsyncIterator[Producer]:
        """A connected producer; on leaving, everything has been confirmed.  Raises KafkaError"""
        producer = cls(settings)
        try:
            await producer._producer.start()
            yield producer
            await producer.confirmed()
        finally:
            await producer._producer.stop()

    async def send(self, message: Message) -> None:
        """Send one message.  Raises KafkaError of any that was sent before and is refused"""
        topic, key, value, headers = message
        sent = await self._producer.send(topic, value, key=key, headers=headers)
        self._sent.add(sent)
        if len(self._sent) >= 64:
            await self.confirmed()

    async def confirmed(self) -> None:
        """Wait until everything sent is durable."""
        waiting, self._sent = self._sent, set()
        await asyncio.gather(*waiting)


async def produce(
    items: Iterable[Item],
    settings: KafkaSettings,
    *,
    speed: float | None,
    on_message: Callable[[int, str], None] = lambda stamp_ns, topic: None,
) -> int:
    """Send a log; returns the number of messages.

    speed : times as fast as recorded; None sends as fast as the broker takes it
    """
    count, first_ns, begin = 0, None, time.monotonic()
    async with Producer.open(settings) as producer:
        for stamp_ns, message in messages_of(items):
            if speed is not None and stamp_ns:
                first_ns = stamp_ns if first_ns is None else first_ns
                due = begin + (stamp_ns - first_ns) / 1e9 / speed
                if due > time.monotonic():
                    await asyncio.sleep(due - time.monotonic())
            await producer.send(message)
            on_message(stamp_ns, message[0])
            count += 1
    return count
