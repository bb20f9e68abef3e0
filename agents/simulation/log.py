"""A log as Kafka keeps it: topics cut into partitions, offsets, and what consumer groups have committed."""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from agents.journal import Place

PARTITIONS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One record in the log, and when it was appended: virtual milliseconds, and the how-manieth of all."""

    place: Place
    offset: int
    record: Any
    at_ms: float
    number: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A group has acknowledged everything before ``offset``; the log held ``number`` records by then."""

    group: str
    place: Place
    offset: int
    number: int


def partition_of(robot_id: str) -> int:
    """The partition of everything that belongs to a robot, in every topic."""
    return zlib.crc32(robot_id.encode()) % PARTITIONS


class Log:
    """Partitions that only grow. What is appended is durable: it survives every crash."""

    def __init__(self) -> None:
        self._partitions: dict[Place, list[Entry]] = defaultdict(list)
        self._committed: dict[tuple[str, Place], int] = {}
        self._count = 0
        self.commits: list[Commit] = []

    def append(self, place: Place, record: Any, now: float) -> int:
        """Add a record; returns its offset."""
        entries = self._partitions[place]
        entries.append(Entry(place, len(entries), record, now, self._count))
        self._count += 1
        return len(entries) - 1

    def end(self, place: Place) -> int:
        """The offset that the next record will have."""
        return len(self._partitions[place])

    def at(self, place: Place, offset: int) -> Entry | None:
        """The record at an offset; None where the partition ends."""
        entries = self._partitions[place]
        return entries[offset] if offset < len(entries) else None

    def get(self, place: Place, offset: int) -> Entry:
        """The record at an offset.  Raises IndexError where there is none"""
        return self._partitions[place][offset]

    def read(self, place: Place, offset: int = 0) -> Iterator[Entry]:
        """Records from an offset on."""
        return iter(self._partitions[place][offset:])

    def all(self) -> Iterator[Entry]:
        """Every record, partition by partition."""
        for place in self.places():
            yield from self._partitions[place]

    def topic(self, name: str) -> Iterator[Entry]:
        """All records of a topic, partition by partition."""
        for place in sorted(self._partitions):
            if place[0] == name:
                yield from self._partitions[place]

    def places(self) -> list[Place]:
        """Every partition that holds something."""
        return sorted(place for place, entries in self._partitions.items() if entries)

    def commit(self, group: str, place: Place, offset: int) -> None:
        """Note that a group has acknowledged everything before an offset."""
        self._committed[group, place] = offset
        self.commits.append(Commit(group, place, offset, self._count))

    def committed(self, group: str, place: Place) -> int:
        """What a group has acknowledged of a partition."""
        return self._committed.get((group, place), 0)
