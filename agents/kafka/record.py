"""What comes in the topics of a cluster, as a recording."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any

from agents.journal import Place
from agents.kafka.admin import places_of
from agents.kafka.messages import Message, record_of
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from agents.kafka.stretch import Cut, Location
from agents.recording import Recording
from agents.stop import Stop
from agents.task import Undecodable
from stream.topics import (
    ACTIVATED,
    ALARMS,
    BINNED,
    OUTCOMES,
    PREDICTIONS,
    PUBLISHED,
    REJECTED,
    STATIC,
    SWEEPS,
    TRANSFORMS,
)

RECORDED = (STATIC, TRANSFORMS, SWEEPS, BINNED, PREDICTIONS, OUTCOMES, ACTIVATED, PUBLISHED, REJECTED, ALARMS)
"""At equal times of appending in this order: a sweep after its pose, an outcome after its prediction."""
PAUSE_SECONDS = 0.2
"""Between two looks at what is new."""


async def record_topics(
    settings: KafkaSettings,
    recording: Recording,
    stop: Stop,
    *,
    begin: str | None = None,
    end: str | None = None,
    on_start: Callable[[], None] = lambda: None,
    on_message: Callable[[], None] = lambda: None,
) -> None:
    """Record what is appended from now on until told to stop.

    begin : a time of appending, to begin with what is there since then; static transforms are taken from
        the beginning, whenever they were sent
    end : a time of appending, which is not recorded any more; without it the recording goes on until told
    on_start : called once it is known from where on; on_message : after each message
    A topic is ordered within each robot; between topics, readers order by time.
    Raises ConfigError for what is no time, ClusterError where topics are missing or no broker answers,
    KafkaError
    """
    where = Location(text=f"kafka://{SWEEPS}", topic=SWEEPS, partition=None, robots=())
    first = None if begin is None else Cut.parse("--from", begin, where)
    last = None if end is None else Cut.parse("--to", end, where)
    places = await places_of(settings, RECORDED)
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans(places)
        at = {place: await _offset(partitions, place, span, first) for place, span in spans.items()}
        on_start()
        async for message in _messages(partitions, at, last, stop):
            for record in _records_of(message):
                recording.add(record, f"{message.place[0]}/{(message.key or b'').decode(errors='replace')}")
            on_message()
            if stop.told:
                return


async def _messages(
    partitions: Partitions, at: dict[Place, int], end: Cut | None, stop: Stop
) -> AsyncGenerator[Message]:
    """Messages by the time of appending, as far as they are there, and again what has come meanwhile."""
    while not stop.told:
        spans = await partitions.spans(list(at))
        stops = {
            place: span.stop if end is None else await _offset(partitions, place, span, end)
            for place, span in spans.items()
        }
        # Retention may have passed what was next, while nobody looked.
        fresh = {place: range(max(at[place], spans[place].start), stops[place]) for place in at}
        async for message in partitions.merged(fresh):
            yield message
        at = {place: max(at[place], stops[place]) for place in at}
        if end is not None:
            return
        await asyncio.sleep(PAUSE_SECONDS)


async def _offset(partitions: Partitions, place: Place, span: range, cut: Cut | None) -> int:
    """Where to begin in a partition, or to end."""
    if place[0] == STATIC and (cut is None or cut.option == "--from"):
        return span.start
    if cut is None:
        return span.stop
    return min(await partitions.offset_at(place, cut.appended_ms), span.stop)


def _records_of(message: Message) -> Iterator[Any]:
    record = record_of(message)
    if isinstance(record, Undecodable):
        yield record.letter
    elif isinstance(record, tuple):
        yield from record
    else:
        yield record
