"""Following topics as they grow: what agents say, in the order of appending; no group, nothing committed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from aiokafka import AIOKafkaConsumer, TopicPartition

from agents.journal import Place
from agents.kafka.admin import ClusterError, places_of
from agents.kafka.messages import Message, message_of, record_of
from agents.kafka.metadata import is_led
from agents.kafka.partitions import MERGED_FETCH_BYTES, asked_twice, new_reader
from agents.kafka.settings import KafkaSettings
from agents.kafka.silence import Silence
from agents.kafka.vitals import STARTING, Vitals
from agents.task import Undecodable
from stream.topics import (
    ACTIVATED,
    ALARMS,
    BINNED,
    LABELS_REQUESTED,
    OUTCOMES,
    PREDICTIONS,
    PUBLISHED,
    REJECTED,
    SHADOWS,
)

NEWS = (PUBLISHED, ACTIVATED, REJECTED, ALARMS, LABELS_REQUESTED)
FOLLOWED = (*NEWS, BINNED, PREDICTIONS, SHADOWS, OUTCOMES)
"""At equal times of appending in this order: an outcome after its prediction."""
NEWEST = 256
"""Of news, so many messages of each partition are read from before; they are few, and old ones still hold."""
FULL, LOW = 32, 8
"""Messages of one partition that wait for others at which it is paused and resumed."""
POLL_MS = 200
CATCHING_UP = "reads what is there since --lookback"


class Merge:
    """Messages of several partitions by the time at which they were appended, each in its own order.

    places : at equal times, messages come in the order of these
    """

    def __init__(self, places: Iterable[Place]) -> None:
        self._rank = {place: number for number, place in enumerate(places)}
        self._waiting: dict[Place, deque[Message]] = {place: deque() for place in self._rank}

    def add(self, place: Place, messages: Iterable[Message]) -> None:
        """Messages of one partition that came next."""
        self._waiting[place].extend(messages)

    def waiting(self, place: Place) -> int:
        """How many messages of a partition wait for others."""
        return len(self._waiting[place])

    def ready(self, at_end: Callable[[Place], bool]) -> Iterator[Message]:
        """Messages whose turn has come: nothing older can come of any partition that has more to give.

        at_end : whether all that lies in a partition has been added
        """
        while all(waiting or at_end(place) for place, waiting in self._waiting.items()):
            heads = [
                (waiting[0].appended_ms, self._rank[place], place)
                for place, waiting in self._waiting.items()
                if waiting
            ]
            if not heads:
                return
            yield self._waiting[min(heads)[2]].popleft()


class Follower:
    """Reads the topics of a cluster from some seconds ago on, and goes on reading.

    fold : takes every record, in the thread that ``run`` is called in
    lookback_s : what was appended so long ago or later is read; containers must reach back to be whole
    store : a folder that must be reachable, None for none
    """

    def __init__(
        self, settings: KafkaSettings, fold: Callable[[Any], None], *, lookback_s: float, store: Path | None
    ) -> None:
        self._settings, self._fold, self._lookback_s = settings, fold, lookback_s
        self.vitals = Vitals(store, self._ask)
        self.lag: Mapping[Place, int] = {}
        self.undecodable = 0
        self._consumer: AIOKafkaConsumer | None = None
        self._silence = Silence()
        self._ends: dict[Place, int] = {}  # when it began
        self._newest_ends: dict[Place, int] = {}

    def unready(self) -> str:
        """Why what was folded may be out of date; empty while it is not."""
        return self._silence.reason() or self.vitals.unready()

    async def run(self, told: Callable[[], bool]) -> None:
        """Follow until told to stop.

        Raises ClusterError where topics are missing or were made anew, KafkaError
        """
        places = await places_of(self._settings, FOLLOWED)
        consumer = self._consumer = new_reader(
            self._settings, fetch_bytes=MERGED_FETCH_BYTES, wait_ms=POLL_MS
        )
        await consumer.start()
        failed: list[BaseException] = []
        try:
            await self._begin(consumer, places)
            await self.vitals.attend(lambda error: failed.append(error or RuntimeError("watching ended")))
            async for message in self._messages(consumer, places, lambda: told() or bool(failed)):
                self._take(message)
                await asyncio.sleep(0)  # there may be many, and others have work in this loop, too
            if failed:
                raise failed[0]
        finally:
            self.vitals.stage = "was told to stop"
            await self.vitals.leave()
            await consumer.stop()

    async def _begin(self, consumer: AIOKafkaConsumer, places: Sequence[Place]) -> None:
        """Go to where reading begins, and note where partitions end now."""
        at = [TopicPartition(*place) for place in places]
        consumer.assign(at)
        first, ends = await consumer.beginning_offsets(at), await consumer.end_offsets(at)
        since_ms = max(0, int(1e3 * (time.time() - self._lookback_s)))
        found = await consumer.offsets_for_times({item: since_ms for item in at if item.topic not in NEWS})
        for item in at:
            begin = max(first[item], ends[item] - NEWEST)
            if item.topic not in NEWS:
                begin = ends[item] if found[item] is None else found[item].offset
            consumer.seek(item, begin)
        self._ends = {(item.topic, item.partition): end for item, end in ends.items()}
        self._newest_ends = dict(self._ends)
        self.vitals.stage = CATCHING_UP

    async def _messages(
        self, consumer: AIOKafkaConsumer, places: Sequence[Place], told: Callable[[], bool]
    ) -> AsyncIterator[Message]:
        merge, paused = Merge(places), set[Place]()
        at = {place: await consumer.position(TopicPartition(*place)) for place in places}
        while not told():
            fetched = await consumer.getmany(timeout_ms=POLL_MS)
            for item, records in fetched.items():
                place = (item.topic, item.partition)
                _require_onwards(place, at[place], records[0].offset)
                merge.add(place, (message_of(record, self._settings) for record in records))
            for place, before in at.items():
                at[place] = await consumer.position(TopicPartition(*place))
                _require_onwards(place, before, at[place])
            ends = {place: consumer.highwater(TopicPartition(*place)) for place in places}
            self._listen(consumer, paused)

            def at_end(place: Place) -> bool:
                end = ends[place]  # noqa: B023
                return self._is_passed_over(consumer, place) or (end is not None and at[place] >= end)

            for message in merge.ready(at_end):
                yield message
            self._note(merge, at, ends)
            self._hold(consumer, merge, paused)

    def _is_passed_over(self, consumer: AIOKafkaConsumer, place: Place) -> bool:
        """Whether a partition holds up no others: it has no leader. One that is but slow is waited for."""
        return self._silence.of(place) and not is_led(consumer._client, TopicPartition(*place))

    def _listen(self, consumer: AIOKafkaConsumer, paused: set[Place]) -> None:
        """Note which partitions answer."""
        now_s = time.monotonic()
        answers = {place: consumer.last_poll_timestamp(TopicPartition(*place)) for place in self._ends}
        self._silence.look(answers | dict.fromkeys(paused, now_s), now_s)

    def _note(self, merge: Merge, at: Mapping[Place, int], ends: Mapping[Place, int | None]) -> None:
        """How far it is; once it was where partitions ended when it began, what it has is live."""
        self.lag = {
            place: merge.waiting(place) + max(0, (ends[place] or self._ends[place]) - offset)
            for place, offset in at.items()
        }
        if self.vitals.stage in (STARTING, CATCHING_UP) and all(
            at[place] >= end and not merge.waiting(place) for place, end in self._ends.items()
        ):
            self.vitals.stage = ""

    def _hold(self, consumer: AIOKafkaConsumer, merge: Merge, paused: set[Place]) -> None:
        """Do not read far ahead of other partitions."""
        for place in self._ends:
            if place not in paused and merge.waiting(place) >= FULL:
                consumer.pause(TopicPartition(*place))
                paused.add(place)
            elif place in paused and merge.waiting(place) <= LOW:
                consumer.resume(TopicPartition(*place))
                paused.discard(place)

    def _take(self, message: Message) -> None:
        record = record_of(message)
        if isinstance(record, Undecodable):
            self.undecodable += 1
            record = record.letter
        self._fold(record)

    async def _ask(self) -> None:
        """Whether every partition has a broker that answers.  Raises ClusterError where one was made anew"""
        known = self._newest_ends
        ends = await asked_twice(
            self._ask_ends, lambda ends: any(end < known[place] for place, end in ends.items())
        )
        for place, end in ends.items():
            _require_onwards(place, self._newest_ends[place], end)
            self._newest_ends[place] = end

    async def _ask_ends(self) -> dict[Place, int]:
        assert self._consumer is not None
        async with asyncio.timeout(10):
            ends = await self._consumer.end_offsets([TopicPartition(*place) for place in self._ends])
        return {(item.topic, item.partition): end for item, end in ends.items()}


def _require_onwards(place: Place, before: int, now: int) -> None:
    """Raises ClusterError for an offset that went back: what comes would be taken for what was folded."""
    if now < before:
        raise ClusterError(
            f"{place[0]}-{place[1]}: is at offset {now} again after {before}: its topic was made anew, or "
            "messages are lost; start serve again, to follow what is there now"
        )
