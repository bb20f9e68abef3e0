"""What comes in the topics of a cluster, as a recording."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Mapping
from typing import Any, TypeVar

from aiokafka.errors import KafkaTimeoutError

from agents.journal import Place
from agents.kafka.admin import ClusterError, places_of
from agents.kafka.log import LogLost
from agents.kafka.messages import Message, record_of
from agents.kafka.partitions import BEHIND_SECONDS, Partitions, asked_twice
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

LOGGER = logging.getLogger(__name__)

T = TypeVar("T")


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
    """Record what is appended from now on until told to stop. A broker that goes away is waited for.

    begin : a time of appending, to begin with what is there since then; static transforms are taken from
        the beginning, whenever they were sent
    end : a time of appending, which is not recorded any more; it may be still to come. Without it the
        recording goes on until told
    on_start : called once it is known from where on; on_message : after each message
    A topic is ordered within each robot; between topics, readers order by time.
    Raises ConfigError for what is no time, ClusterError where topics are missing or no broker answers to
    begin with, LogLost where a topic was made anew meanwhile, KafkaError
    """
    where = Location(text=f"kafka://{SWEEPS}", topic=SWEEPS, partition=None, robots=())
    first = None if begin is None else Cut.parse("--from", begin, where)
    last = None if end is None else Cut.parse("--to", end, where)
    places = await places_of(settings, RECORDED)
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans(places)
        at = {place: await _offset(partitions, place, span, first) for place, span in spans.items()}
        on_start()
        async for message in _messages(partitions, at, last, stop, settings.bootstrap):
            for record in _records_of(message):
                recording.add(record, f"{message.place[0]}/{(message.key or b'').decode(errors='replace')}")
            on_message()
            if stop.told:
                return


async def _messages(
    partitions: Partitions, at: dict[Place, int], end: Cut | None, stop: Stop, bootstrap: str
) -> AsyncGenerator[Message]:
    """Messages by the time of appending, as far as they are there, and again what has come meanwhile.

    at : how far each partition is recorded, kept up to date
    """
    heard_s = time.monotonic()
    while not stop.told:
        last = end is not None and 1e3 * (time.time() - BEHIND_SECONDS) >= end.appended_ms
        try:
            fresh = await _unless_told(stop, _fresh(partitions, at, end))
            messages = partitions.merged(fresh)
            while message := await _unless_told(stop, anext(messages, None)):
                if message.offset < at[message.place]:  # the client goes to the beginning of what is new
                    raise _lost(message.place, at[message.place], f"{message.offset} comes again")
                at[message.place], heard_s = message.offset + 1, time.monotonic()
                yield message
        except (KafkaTimeoutError, ClusterError) as error:
            silent_s = time.monotonic() - heard_s
            LOGGER.warning("%s: is waited for, %.0f s by now: %s", bootstrap, silent_s, error)
            continue
        except _Told:
            return
        at |= {place: span.stop for place, span in fresh.items() if span}
        if last:
            return
        heard_s = time.monotonic()
        await asyncio.sleep(PAUSE_SECONDS)


class _Told(Exception):
    """It is to end, and what is waited for may take long."""


async def _unless_told(stop: Stop, work: Awaitable[T]) -> T:
    """What is waited for, unless it is to end before that comes.  Raises _Told"""
    task = asyncio.ensure_future(work)
    while not (await asyncio.wait({task}, timeout=PAUSE_SECONDS))[0]:
        if stop.told:
            task.cancel()
            await asyncio.wait({task})
            raise _Told
    return task.result()


async def _fresh(partitions: Partitions, at: Mapping[Place, int], end: Cut | None) -> dict[Place, range]:
    """What is there to be recorded next.  Raises LogLost, KafkaTimeoutError"""
    spans = await asked_twice(lambda: partitions.spans(list(at)), lambda spans: bool(_shorter(spans, at)))
    for place in _shorter(spans, at):
        raise _lost(place, at[place], f"ends at {spans[place].stop}")
    stops = {
        place: span.stop if end is None else await _offset(partitions, place, span, end)
        for place, span in spans.items()
    }
    # Retention may have passed what was next, while nobody looked.
    return {place: range(max(at[place], span.start), stops[place]) for place, span in spans.items()}


def _shorter(spans: Mapping[Place, range], at: Mapping[Place, int]) -> list[Place]:
    return [place for place, span in spans.items() if span.stop < at[place]]


def _lost(place: Place, known: int, found: str) -> LogLost:
    return LogLost(
        f"{place[0]}-{place[1]}: {found}, but is recorded up to {known}: the topic was made anew, or has "
        "lost messages; record again, into another file"
    )


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
