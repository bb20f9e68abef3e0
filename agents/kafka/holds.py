"""A person's word on which model may serve, sent to every Perceive of a cluster; and what was published."""

from __future__ import annotations

from agents.kafka.admin import ClusterError
from agents.kafka.log import KafkaLog
from agents.kafka.messages import Message
from agents.kafka.settings import KafkaSettings
from stream.codecs.inputs import headers_of
from stream.codecs.wire import decode, encode
from stream.records import RELEASE, ModelPublished
from stream.topics import HOLD_KEY, PUBLISHED, key_of

SOURCE = "octastream/models"
PLACE = (PUBLISHED, 0)
STRETCH = 4096
"""Messages that are read at once; a topic may hold millions."""


async def send_hold(record: ModelPublished, settings: KafkaSettings) -> int:
    """Append it where models are published; returns its offset.  Raises KafkaError"""
    async with KafkaLog(settings) as log:
        return await log.append(
            PUBLISHED, encode(record), key=key_of(record), partition=0, headers=headers_of(record, SOURCE)
        )


async def first_of_hold(log: KafkaLog, end: int) -> int:
    """Where a task that has never run must begin to read, to know what is held: at the newest such word,
    ``end`` where there is none or it was a release.

    Where none is, all that is retained of the topic is read. Raises KafkaError, LogError
    """
    newest = await _newest(log, end, hold=True)
    if newest is None or decode(PUBLISHED, newest.value).kind == RELEASE:
        return end
    return newest.offset


async def newest_model(settings: KafkaSettings) -> str | None:
    """The id of the model that was published last, whatever is held; None before the first one.

    Raises ClusterError where it is retained no more, KafkaError, LogError
    """
    async with KafkaLog(settings) as log:
        newest = await _newest(log, (await log.end([PLACE]))[PLACE], hold=False)
        deleted = (await log.beginning([PLACE]))[PLACE] > 0
    if newest is None and deleted:
        raise ClusterError(
            f"{PUBLISHED}: what was published last is retained no more; name it: octastream models pin"
        )
    return None if newest is None else (newest.key or b"").decode(errors="replace")


async def _newest(log: KafkaLog, end: int, *, hold: bool) -> Message | None:
    """The newest message before ``end`` that is a person's word, or that is none; looked for backwards."""
    begin = (await log.beginning([PLACE]))[PLACE]
    while end > begin:
        first = max(begin, end - STRETCH)
        for message in reversed(await log.read(PLACE, first, end)):
            if (message.key == HOLD_KEY) is hold:
                return message
        end = first
    return None
