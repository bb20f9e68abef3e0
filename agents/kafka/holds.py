"""A person's word on which model may serve, sent to every Perceive of a cluster."""

from __future__ import annotations

from agents.kafka.log import KafkaLog
from agents.kafka.messages import Message
from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import headers_of
from stream.codecs.wire import decode, encode
from stream.records import RELEASE, ModelPublished
from stream.topics import HOLD_KEY, PUBLISHED, key_of

SOURCE = "octastream/models"
PLACE = (PUBLISHED, 0)


async def send_hold(record: ModelPublished, settings: KafkaSettings) -> int:
    """Append it where models are published; returns its offset.  Raises KafkaError"""
    async with KafkaLog(settings) as log:
        return await log.append(
            PUBLISHED, encode(record), key=key_of(record), partition=0, headers=headers_of(record, SOURCE)
        )


async def first_of_hold(log: KafkaLog, end: int) -> int:
    """Where a task that has never run must begin to read, to know what is held: at the newest such word,
    ``end`` where there is none or it was a release.

    The topic is read once, all that is retained of it. Raises KafkaError
    """
    newest: Message | None = None
    begin = (await log.beginning([PLACE]))[PLACE]
    if begin >= end:
        return end
    async for message in log.follow(PLACE, begin):
        if message.key == HOLD_KEY and message.offset < end:
            newest = message
        if message.offset >= end - 1:
            break
    if newest is None or decode(PUBLISHED, newest.value).kind == RELEASE:
        return end
    return newest.offset
