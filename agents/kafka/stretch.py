"""Which messages of a topic are meant: a location, cuts by time or offset, and the offsets that follow."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

from agents.journal import Place
from agents.kafka.admin import admin_client
from agents.kafka.messages import Message, sweep_of
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from stream.codecs.wire import WireError
from stream.config import ConfigError
from stream.sources.base import SourceError
from stream.topics import BY_NAME, RECORDS, STATIC, SWEEPS, TRANSFORMS

FORMS = "kafka://TOPIC or kafka://TOPIC/PARTITION, each with ?robot=NAME or ?robot=NAME&robot=NAME"
LEAD_MS = TRAIL_MS = 5_000
"""Transforms are read from so long before the first sweep, until so long after the last. A pose is
interpolated between transforms up to 0.5 s apart, and a sweep waits for it for 2 s; the rest is for
transforms and sweeps that were not appended at the same moment."""
LAST_OFFSETS = 4
"""Where the last message is looked for: behind it there may be markers of transactions."""
MAX_LISTED = 50
"""Topics that are looked into when the one that was named is not there."""

_LOCATION = re.compile(
    r"kafka://(?P<topic>[A-Za-z0-9._-]+)(?:/(?P<partition>[0-9]{1,9}))?(?:\?(?P<query>.+))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


# ---- what is asked for ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Location:
    """Which messages. partition : None takes all; robots : none takes all."""

    text: str
    topic: str
    partition: int | None
    robots: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Location:
        """The location of a text.  Raises SourceError for what is none, or for a topic of other records"""
        found = _LOCATION.fullmatch(text)
        if found is None:
            raise SourceError(f"{text}: must be {FORMS}")
        query, partition, topic = found["query"], found["partition"], found["topic"]
        try:
            asked = [] if query is None else parse_qsl(query, keep_blank_values=True, strict_parsing=True)
        except ValueError as error:
            raise SourceError(f"{text}: {error}; must be {FORMS}") from error
        for name, value in asked:
            if name != "robot" or not value or "/" in value:
                raise SourceError(f"{text}: {name}={value} names no robot; must be {FORMS}")
        if topic in BY_NAME and topic != SWEEPS:
            kind = RECORDS[topic].__name__ if topic in RECORDS else "no record"
            raise SourceError(
                f"{text}: holds {kind}, not Sweep; name {SWEEPS}, or a topic of yours with such messages"
            )
        return cls(
            text=text,
            topic=topic,
            partition=None if partition is None else int(partition),
            robots=tuple(dict.fromkeys(value for _, value in asked)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Where a stretch begins or ends, as the option says: an offset, or a time of appending (ms)."""

    option: str
    offset: int | None = None
    appended_ms: int = 0

    @classmethod
    def parse(cls, option: str, text: str, location: Location) -> Cut:
        """The cut of an option's value; a time without a zone is UTC.  Raises ConfigError"""
        if re.fullmatch("[0-9]{1,18}", text):
            if location.partition is None:
                raise ConfigError(
                    f"{option} {text}: an offset needs its partition, as kafka://{location.topic}/0; "
                    "without one give a time"
                )
            return cls(option=option, offset=int(text))
        try:
            time = datetime.fromisoformat(text)
        except ValueError as error:
            raise ConfigError(
                f"{option} {text!r}: must be a time, as 2026-05-01T10:30 (UTC) or 2026-05-01T10:30+02:00, "
                "or an offset"
            ) from error
        time = time if time.tzinfo is not None else time.replace(tzinfo=UTC)
        return cls(option=option, appended_ms=max(0, -((_EPOCH - time) // _MS)))  # rounded up


# ---- what there is -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Offsets by partition, fixed once, so that reading again gives the same.

    sweeps, transforms, static : what is merged; mounts : all static transforms that there are
    start_ms, end_ms : when the first and the last message of sweeps were appended
    """

    sweeps: dict[Place, range]
    transforms: dict[Place, range]
    static: dict[Place, range]
    mounts: dict[Place, range]
    start_ms: int
    end_ms: int

    def name(self, location: Location) -> str:
        """The location, with the options that give this stretch again."""
        if location.partition is not None:
            span = next(iter(self.sweeps.values()))
            return f"{location.text} --from {span.start} --to {span.stop}"
        return f"{location.text} --from {iso_of(self.start_ms)} --to {iso_of(self.end_ms + 1)}"


async def find_stretch(
    location: Location, settings: KafkaSettings, begin: Cut | None, end: Cut | None
) -> Stretch:
    """The stretch between two cuts as it is now; None cuts nothing off.

    Raises SourceError where nothing lies, ConfigError for an offset that is not there;
    ClusterError, KafkaError
    """
    counts = await _counts(location, settings)
    async with Partitions.open(settings) as partitions:
        places = {name: _places(name, counts, location) for name in counts}
        retained = await partitions.spans(places[location.topic])
        cut = {place: await _cut(partitions, place, span, begin, end) for place, span in retained.items()}
        firsts, lasts = await _ends(partitions, cut)
        if not firsts:
            raise SourceError(await _nothing(location, partitions, retained))
        start_ms, end_ms = min(firsts.values()), max([*firsts.values(), *lasts.values()])
        mounts = await partitions.spans(places[STATIC])
        transforms = await partitions.spans(places[TRANSFORMS])
        return Stretch(
            sweeps={place: cut[place] for place in firsts},
            transforms=await _between(partitions, transforms, start_ms - LEAD_MS, end_ms + TRAIL_MS),
            static=await _between(partitions, mounts, start_ms, end_ms + TRAIL_MS),
            mounts=mounts,
            start_ms=start_ms,
            end_ms=end_ms,
        )


async def _counts(location: Location, settings: KafkaSettings) -> dict[str, int]:
    """Numbers of partitions of the topics that are read.  Raises SourceError when one is not there"""
    async with admin_client(settings) as client:
        there = set(await client.list_topics())
        missing = [name for name in (location.topic, TRANSFORMS, STATIC) if name not in there]
        if not missing:
            return await _described(client, [location.topic, TRANSFORMS, STATIC])
        if missing[0] != location.topic:
            raise SourceError(
                f"{location.text}: no topic {missing[0]} beside it, in which transforms are; "
                "octastream topics create makes it"
            )
        others = sorted(name for name in there if name == SWEEPS or not (name in BY_NAME or name[:2] == "__"))
        counts = await _described(client, others[:MAX_LISTED])
    async with Partitions.open(settings) as partitions:
        holding = [name for name in counts if await _holds_sweeps(partitions, name, counts[name])]
    found = f"topics that hold sweeps: {', '.join(holding)}" if holding else "no topic holds sweeps"
    raise SourceError(f"{location.text}: no topic {location.topic} on {settings.bootstrap}; {found}")


async def _described(client: Any, names: Sequence[str]) -> dict[str, int]:
    described: list[Mapping[str, Any]] = await client.describe_topics(list(names)) if names else []
    return {item["topic"]: len(item["partitions"]) for item in described}


async def _holds_sweeps(partitions: Partitions, topic: str, count: int) -> bool:
    """Whether the newest message of the topic is a sweep."""
    spans = await partitions.spans([(topic, partition) for partition in range(count)])
    _, lasts = await _ends(partitions, spans)
    if not lasts:
        return False
    place = max(lasts, key=lambda place: lasts[place])
    message = await _last(partitions, place, spans[place])
    if message is None:
        return False
    try:
        sweep_of(message)
    except WireError:
        return False
    return True


def _places(name: str, counts: Mapping[str, int], location: Location) -> list[Place]:
    """The partitions of one of the topics that are read.  Raises SourceError for a partition that is none"""
    if location.partition is None:
        return [(name, partition) for partition in range(counts[name])]
    count = counts[location.topic]
    if location.partition >= count:
        raise SourceError(f"{location.text}: partitions of {location.topic} are 0 to {count - 1}")
    if counts[name] != count:
        raise SourceError(
            f"{location.text}: {location.topic} has {count} partitions, {name} has {counts[name]}, so the "
            f"robots of one lie elsewhere in the other; leave out /{location.partition}"
        )
    return [(name, location.partition)]


async def _cut(
    partitions: Partitions, place: Place, retained: range, begin: Cut | None, end: Cut | None
) -> range:
    """The part of a partition between two cuts.  Raises ConfigError for an offset that it does not hold"""

    async def offset_of(cut: Cut) -> int:
        if cut.offset is None:  # the partition may have grown meanwhile
            return min(await partitions.offset_at(place, cut.appended_ms), retained.stop)
        if not retained.start <= cut.offset <= retained.stop:
            raise ConfigError(
                f"{cut.option} {cut.offset}: {place[0]}-{place[1]} retains {_offsets(retained)}"
            )
        return cut.offset

    first = retained.start if begin is None else await offset_of(begin)
    return range(first, retained.stop if end is None else await offset_of(end))


async def _between(
    partitions: Partitions, retained: Mapping[Place, range], start_ms: int, end_ms: int
) -> dict[Place, range]:
    """The parts of partitions that were appended from one time to another, both included."""
    begin = Cut(option="", appended_ms=max(0, start_ms))
    end = Cut(option="", appended_ms=end_ms + 1)
    return {place: await _cut(partitions, place, span, begin, end) for place, span in retained.items()}


async def _ends(
    partitions: Partitions, spans: Mapping[Place, range]
) -> tuple[dict[Place, int], dict[Place, int]]:
    """When the first and the last message of each partition were appended (ms); none without messages."""
    firsts: dict[Place, int] = {}
    lasts: dict[Place, int] = {}
    for place, span in spans.items():
        async with aclosing(partitions.messages(place, span)) as messages:
            first = await anext(messages, None)
        if first is not None:
            last = await _last(partitions, place, span)
            firsts[place], lasts[place] = first.appended_ms, (last or first).appended_ms
    return firsts, lasts


async def _last(partitions: Partitions, place: Place, span: range) -> Message | None:
    found = None
    async for message in partitions.messages(place, span[-LAST_OFFSETS:]):
        found = message
    return found


async def _nothing(location: Location, partitions: Partitions, retained: Mapping[Place, range]) -> str:
    """Why a stretch is empty."""
    firsts, lasts = await _ends(partitions, retained)
    if not firsts:
        return f"{location.text}: no message is retained there"
    what = f"{sum(map(len, retained.values())):,} messages"
    if location.partition is not None:
        what = _offsets(next(iter(retained.values())))
    times = f"appended {iso_of(min(firsts.values()))} to {iso_of(max(lasts.values()))}"
    return f"{location.text}: no message between --from and --to; retained: {what}, {times}"


def _offsets(span: range) -> str:
    return f"offsets {span.start} to {span.stop - 1}" if span else f"nothing, up to offset {span.start}"


def iso_of(appended_ms: int) -> str:
    """A time of appending as ``--from`` takes it."""
    return f"{_EPOCH + appended_ms * _MS:%Y-%m-%dT%H:%M:%S}.{appended_ms % 1000:03d}Z"
