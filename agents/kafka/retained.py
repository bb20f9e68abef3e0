"""What a cluster retains, as a log: sweeps of a topic and the transforms beside it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

from aiokafka.errors import OffsetOutOfRangeError

from agents.journal import Receipt
from agents.kafka.admin import run
from agents.kafka.messages import Message, letter_of, record_of, sweep_of
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from agents.kafka.stretch import Cut, Location, Stretch, find_stretch
from agents.task import Undecodable
from stream.codecs.wire import WireError
from stream.frame_tree import FrameTree
from stream.records import SweepRejected
from stream.sources.base import Item, SourceError, SourceInfo
from stream.sweep import Sweep
from stream.topics import STATIC, TRANSFORMS
from stream.transform import Transform

SURVEYED_TRANSFORMS = 10_000
"""Messages among which the root of the tree is looked for: more than a minute of a robot that sends a hundred
a second, since the upper edges of a tree may come seldom."""
SURVEYED_SWEEPS = 8
"""Messages of each partition whose sensor frames are looked at."""
NAMED_ROBOTS = 20
"""That are listed where those that were chosen are not there."""


def open_retained(
    location: str, settings: KafkaSettings, *, begin: str | None = None, end: str | None = None
) -> Retained:
    """A topic as a source.

    location : one of FORMS; TOPIC holds messages as they are sent to ``octa.sweep.received.v1``
    begin, end : first offset and the one behind the last, or times of appending; None takes all that there is
    What is read is fixed now: what is appended later is not in it.
    Raises SourceError for a location that is none, or where nothing lies; ConfigError for other cuts;
    ClusterError, KafkaError
    """
    where = Location.parse(location)
    first = None if begin is None else Cut.parse("--from", begin, where)
    last = None if end is None else Cut.parse("--to", end, where)
    return Retained(where, settings, run(find_stretch(where, settings, first, last)))


class Retained:
    """Retained messages as a source, by the time at which they were appended.

    At equal times static transforms come first, then others, then sweeps, each by partition; a partition
    keeps its order. Before everything else come the static transforms that were appended before the first
    sweep. A robot that has none, as their topic keeps only the newest of each, is given its first later ones.
    A message that cannot be decoded is a SweepRejected.
    """

    def __init__(self, location: Location, settings: KafkaSettings, stretch: Stretch) -> None:
        self._location, self._settings, self._stretch = location, settings, stretch
        self._name = stretch.name(location)
        self._keys = {robot.encode() for robot in location.robots}
        self._info: SourceInfo | None = None

    def info(self) -> SourceInfo:
        """Describe the stretch; reads transforms until the tree is known, and a few sweeps.

        ``sweeps`` counts messages, parts one by one; None where robots are chosen. ``start_ns`` and
        ``end_ns`` are times of appending. ``root_frame`` is that of the first robot there.
        Raises SourceError, KafkaError
        """
        if self._info is None:
            self._info = self._describe(run(self._survey()))
        return self._info

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError when some are no more, or no sweep is of the robots."""
        return _stepwise(self._items())

    async def _items(self) -> AsyncGenerator[Item]:
        async with Partitions.open(self._settings, reset="none") as partitions:
            others: set[bytes | None] = set()
            found = False
            try:
                async for message in self._messages(partitions):
                    wanted = self._wants(message)
                    if message.place[0] == self._location.topic and not found:
                        found = wanted
                        if len(others) < NAMED_ROBOTS:
                            others.add(message.key)
                    if wanted:
                        for item in items_of(message):
                            yield item
            except OffsetOutOfRangeError as error:
                raise SourceError(
                    f"{self._name}: retention has passed the stretch while it was read ({error}); "
                    "begin later with --from"
                ) from error
            if not found:
                names = ", ".join(sorted((key or b"").decode(errors="replace") for key in others))
                raise SourceError(f"{self._name}: no sweep of the robots named; robots there: {names}")

    async def _messages(self, partitions: Partitions) -> AsyncGenerator[Message]:
        stretch = self._stretch
        robots: set[bytes | None] = set()
        early: set[Receipt] = set()
        async for message in partitions.merged(stretch.mounts):
            later = message.appended_ms >= stretch.start_ms
            if later and message.key in robots:
                continue
            if later:
                early.add((message.place, message.offset))
            robots.add(message.key)
            yield message
        async for message in partitions.merged(stretch.static | stretch.transforms | stretch.sweeps):
            if (message.place, message.offset) not in early:
                yield message

    def _wants(self, message: Message) -> bool:
        return not self._keys or message.key in self._keys

    async def _survey(self) -> _Tree:
        tree, stretch = _Tree(), self._stretch
        async with Partitions.open(self._settings) as partitions:
            sweeps = {place: span[:SURVEYED_SWEEPS] for place, span in stretch.sweeps.items()}
            for spans in (stretch.mounts, stretch.transforms, sweeps):
                left = SURVEYED_TRANSFORMS
                async with aclosing(partitions.merged(spans)) as messages:
                    async for message in messages:
                        if self._wants(message):
                            tree.note(message)
                            left -= 1
                        if not left:
                            break
        return tree

    def _describe(self, tree: _Tree) -> SourceInfo:
        stretch, topic = self._stretch, self._location.topic
        note = " of all robots" if self._keys else ""
        kinds = ((topic, "Sweep", stretch.sweeps), (TRANSFORMS, "Transform", stretch.transforms),
                 (STATIC, "Transform", stretch.mounts))  # fmt: skip
        counts = {name: (kind + note, sum(map(len, spans.values()))) for name, kind, spans in kinds}
        return SourceInfo(
            location=self._name,
            format="kafka",
            sweeps=None if self._keys else counts[topic][1],
            start_ns=stretch.start_ms * 1_000_000,
            end_ns=stretch.end_ms * 1_000_000,
            topics=counts,
            sensor_frames=tuple(sorted({frame for _, frame in tree.sensors})),
            root_frame=tree.root(),
        )


def items_of(message: Message) -> Sequence[Item]:
    """What a message holds; one of a topic that is not for transforms is a sweep."""
    if message.place[0] not in (TRANSFORMS, STATIC):
        return (_sweep_of(message),)
    record = record_of(message)
    return (record.letter,) if isinstance(record, Undecodable) else tuple(record)


def _sweep_of(message: Message) -> Sweep | SweepRejected:
    try:
        return sweep_of(message)
    except WireError as error:
        return letter_of(message, error)


def _stepwise(items: AsyncGenerator[Item]) -> Iterator[Item]:
    """Run an async generator in a loop of its own, item by item; it is closed when nobody asks any more."""

    async def step() -> Item | None:
        return await anext(items, None)

    with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
        try:
            while (item := runner.run(step())) is not None:
                yield item
        finally:
            runner.run(items.aclose())


class _Tree:
    """Which frames there are: the transform tree of each robot, and those of the sensors."""

    def __init__(self) -> None:
        self.sensors: list[tuple[str, str]] = []
        self._robots: dict[str, FrameTree] = defaultdict(FrameTree)

    def note(self, message: Message) -> None:
        """Look at one message; what is wrong with it is said when it is read."""
        for item in items_of(message):
            if isinstance(item, Sweep):
                self.sensors.append((item.robot_id, item.frame))
            elif isinstance(item, Transform):
                self._robots[item.robot_id].link(item)

    def root(self) -> str | None:
        """Root above the first sensor that hangs from its robot's tree, else of the first tree there is."""
        frames = [(robot, frame) for robot, tree in self._robots.items() for frame in tree.frames()]
        known = set(frames)
        hanging = [sensor for sensor in self.sensors if sensor in known] or frames
        return self._robots[hanging[0][0]].root(hanging[0][1:]) if hanging else None
