"""Plays a log into Kafka as its robot would have sent it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from aiokafka import AIOKafkaProducer

from agents.journal import Place
from agents.kafka.messages import named
from agents.kafka.metadata import is_led, unhurried
from agents.kafka.settings import KafkaSettings
from agents.tempo import Tempo
from stream.codecs import foxglove, tf
from stream.codecs.content_type import CDR, PROTOBUF
from stream.codecs.inputs import encode_foxglove, encode_pointcloud2, headers_of
from stream.codecs.wire import CONTENT_TYPE, encode
from stream.config import ConfigError
from stream.records import SweepRejected
from stream.sources.base import Damage, Item
from stream.sweep import Sweep, cut
from stream.topics import MAX_MESSAGE_BYTES, key_of, topic_of
from stream.transform import Transform

SOURCE = "octastream/produce"
PART_BYTES = 7 * 2**20
"""A sweep above this is sent in parts, so that it fits a message with its frame and headers."""
POINT_BYTES = 20

Message = tuple[str, bytes, bytes, list[tuple[str, bytes]]]
"""Topic, key, value, headers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Whose messages a robot sends: how sweeps and transforms are encoded, and the content type of each."""

    sweep: Callable[[Sweep], bytes]
    sweep_type: str
    transforms: Callable[[Iterable[Transform]], bytes]
    transforms_type: str


ROS2 = Words(sweep=encode_pointcloud2, sweep_type=CDR, transforms=tf.encode_cdr, transforms_type=CDR)
FOXGLOVE = Words(
    sweep=encode_foxglove,
    sweep_type=f"{PROTOBUF}; schema={foxglove.CLOUD}",
    transforms=foxglove.encode_transforms,
    transforms_type=f"{PROTOBUF}; schema={foxglove.TRANSFORMS}",
)


def words_of(name: str) -> Words:
    """Those of ``ros2`` or ``foxglove``.  Raises ConfigError where a package for them is not installed"""
    if name == "ros2":
        return ROS2
    try:
        foxglove.require()
    except ModuleNotFoundError as error:
        raise ConfigError(f"--messages {name}: {error}") from error
    return FOXGLOVE


def messages_of(items: Iterable[Item], words: Words = ROS2) -> Iterator[tuple[int, Message]]:
    """What a robot would send, with the stamp at which.

    words : PointCloud2 and TFMessage, as ROS 2 does, or Foxglove's PointCloud and FrameTransforms

    Static transforms of a robot go in one message, all that are known so far, as their topic is compacted: of
    each edge the newest, the one that came last at the end.
    What the log itself rejects goes to the dead letters. Sweeps with rays without return, and those of hits
    only, are sent in the own format, as neither cloud has a place for either.
    """
    static: dict[str, dict[tuple[str, str], Transform]] = {}
    for item in items:
        if isinstance(item, Damage):
            return
        if isinstance(item, Sweep):
            for part in cut(item, PART_BYTES // POINT_BYTES):
                yield part.stamp_ns, _sweep_message(part, words)
        elif isinstance(item, SweepRejected):
            yield item.stamp_ns, (topic_of(item), key_of(item), encode(item), headers_of(item, SOURCE))
        elif item.static:
            known = static.setdefault(item.robot_id, {})
            known.pop((item.parent, item.child), None)
            known[item.parent, item.child] = item
            yield item.stamp_ns, _transforms_message(list(known.values()), words)
        else:
            yield item.stamp_ns, _transforms_message([item], words)


def _sweep_message(sweep: Sweep, words: Words) -> Message:
    own = len(sweep.misses) > 0 or sweep.hits_only
    value = encode(sweep) if own else words.sweep(sweep)
    kind = CONTENT_TYPE if own else words.sweep_type
    return topic_of(sweep), key_of(sweep), value, headers_of(sweep, SOURCE, content_type=kind)


def _transforms_message(transforms: list[Transform], words: Words) -> Message:
    first = transforms[-1]
    headers = headers_of(first, SOURCE, content_type=words.transforms_type)
    return topic_of(first), key_of(first), words.transforms(transforms), headers


class Producer:
    """Sends messages, and knows that they are durable."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = AIOKafkaProducer(
            **settings.clients(), acks="all", enable_idempotence=True, max_request_size=MAX_MESSAGE_BYTES
        )
        self._sent: set[asyncio.Future[Any]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, settings: KafkaSettings, *, patient: bool = False) -> AsyncIterator[Producer]:
        """A connected producer; on leaving, everything has been confirmed.  Raises KafkaError

        patient : a partition without a leader is waited for, as a broker that is away is; otherwise what is
        for it is refused after 40 s
        """
        producer = cls(settings)
        if patient:
            unhurried(producer._producer.client)
            producer._producer._message_accumulator._batch_ttl = math.inf
        try:
            await producer._producer.start()
            yield producer
            await producer.confirmed()
        finally:
            await producer._producer.stop()

    async def send(self, message: Message) -> None:
        """Send one message.  Raises KafkaError of any that was sent before and is refused"""
        topic, key, value, headers = message
        with named(topic, key):
            sent = await self._producer.send(topic, value, key=key, headers=headers)
        self._sent.add(sent)
        if len(self._sent) >= 64:
            await self.confirmed()

    async def confirmed(self) -> None:
        """Wait until everything sent is durable."""
        waiting, self._sent = self._sent, set()
        await asyncio.gather(*waiting)

    def leaderless(self) -> list[Place]:
        """Partitions for which messages wait, but that have no leader to take them."""
        client, waiting = self._producer.client, self._producer._message_accumulator._batches
        return [(at.topic, at.partition) for at in sorted(waiting) if not is_led(client, at)]


async def produce(
    items: Iterable[Item],
    settings: KafkaSettings,
    *,
    speed: float | None,
    words: Words = ROS2,
    on_message: Callable[[int, str], None] = lambda stamp_ns, topic: None,
) -> int:
    """Send a log; returns the number of messages.

    speed : times as fast as recorded; None sends as fast as the broker takes it
    words : as in ``messages_of``
    """
    count, tempo = 0, Tempo(speed)
    async with Producer.open(settings) as producer:
        for stamp_ns, message in messages_of(items, words):
            if wait_s := tempo.wait_s(stamp_ns):
                await asyncio.sleep(wait_s)
            await producer.send(message)
            on_message(stamp_ns, message[0])
            count += 1
    return count
