"""Dead letters as they lie in the log."""

from __future__ import annotations

import heapq
import re
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass

from agents.journal import Receipt
from agents.kafka.messages import Message, record_of
from agents.kafka.partitions import Partitions
from agents.kafka.produce import SOURCE
from agents.kafka.settings import KafkaSettings
from agents.task import Undecodable
from stream.records import SweepRejected
from stream.topics import BY_NAME, REJECTED

_PLACE = re.compile(r"(?P<topic>[A-Za-z0-9._-]+)-(?P<partition>\d{1,9})@(?P<offset>\d{1,18})")


class LetterError(ValueError):
    """Not the name of a dead letter, or none lies there."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Letter:
    """A dead letter and the message in which it lies."""

    message: Message
    record: SweepRejected

    @property
    def name(self) -> str:
        """``topic-partition@offset``."""
        return name_of((self.message.place, self.message.offset))

    @property
    def sweep(self) -> tuple[str, int, int]:
        """Which sweep, or part of one, it is about."""
        return (self.record.stream_id, self.record.stamp_ns, self.record.part)

    @property
    def origin(self) -> Receipt | None:
        """Where the message lies that could not be decoded; None in letters of other kinds."""
        found = _PLACE.match(self.record.detail)
        if found is None or found["topic"] not in BY_NAME:
            return None
        return _receipt(found) if self.record.stream_id.endswith(f"/{found['topic']}") else None

    @property
    def never_sent(self) -> bool:
        """It is by the reader of a log that was played in; Kafka has never seen its sweep."""
        return ("ce_source", SOURCE.encode()) in self.message.headers


def name_of(receipt: Receipt) -> str:
    """``topic-partition@offset``."""
    (topic, partition), offset = receipt
    return f"{topic}-{partition}@{offset}"


async def letters_of(partitions: Partitions, settings: KafkaSettings) -> AsyncIterator[Letter]:
    """All that are there, each partition from its oldest on."""
    places = [(REJECTED, partition) for partition in range(settings.partitions)]
    for place, span in (await partitions.spans(places)).items():
        async for message in partitions.messages(place, span):
            yield _letter(message)


async def newest_letters(
    partitions: Partitions,
    settings: KafkaSettings,
    *,
    reason: str | None = None,
    robot: str | None = None,
    last: int | None = None,
) -> tuple[list[Letter], Counter[str]]:
    """The newest ``last`` letters, all by default, oldest first; and counts of all by reason.

    reason, robot : others are left out
    """
    counts: Counter[str] = Counter()
    newest: list[tuple[tuple[int, int, int], Letter]] = []
    async for letter in letters_of(partitions, settings):
        record, message = letter.record, letter.message
        if reason not in (None, record.reason) or robot not in (None, record.robot_id):
            continue
        counts[record.reason] += 1
        heapq.heappush(newest, ((message.appended_ms, message.place[1], message.offset), letter))
        if last is not None and len(newest) > last:
            heapq.heappop(newest)
    return [letter for _, letter in sorted(newest, key=lambda item: item[0])], counts


async def letter_at(partitions: Partitions, settings: KafkaSettings, name: str) -> Letter:
    """The letter of a name.  Raises LetterError"""
    found = _PLACE.fullmatch(name)
    if found is None or found["topic"] != REJECTED or int(found["partition"]) >= settings.partitions:
        raise LetterError(
            f"{name!r}: must be {REJECTED}-PARTITION@OFFSET, with a partition below {settings.partitions}, "
            "as octastream dead-letters list shows it"
        )
    message = await partitions.message(_receipt(found))
    if message is None:
        raise LetterError(f"{name}: no dead letter lies there (any more)")
    return _letter(message)


def _letter(message: Message) -> Letter:
    record = record_of(message)
    return Letter(message=message, record=record.letter if isinstance(record, Undecodable) else record)


def _receipt(found: re.Match[str]) -> Receipt:
    return (found["topic"], int(found["partition"])), int(found["offset"])
