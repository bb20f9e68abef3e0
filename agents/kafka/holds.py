"""A person's word on which model may serve, sent to every Perceive of a cluster; and what was published."""

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

    The topic is read once, all that is retained of it. Raises KafkaError, LogError
    """
    newest = await _newest(log, end, hold=True)
    if newest is None or decode(PUBLISHED, newest.value).kind == RELEASE:
        return end
    return newest.offset


async def newest_model(settings: KafkaSettings) -> str | None:
    """The id of the model that was published last, whatever is held; None before the first one.

    Raises KafkaError, LogError
    """
    async with KafkaLog(settings) as log:
        newest = await _newest(log, (await log.end([PLACE]))[PLACE], hold=False)
    return None if newest is None else str(decode(PUBLISHED, newest.value).model_id)


async def _newest(log: KafkaLog, end: int, *, hold: bool) -> Message | None:
    """The newest message before ``end`` that is a person's word, or that is none."""
    begin = (await log.beginning([PLACE]))[PLACE]
    messages = await log.read(PLACE, begin, end)
    return next((message for message in reversed(messages) if (message.key == HOLD_KEY) is hold), None)
