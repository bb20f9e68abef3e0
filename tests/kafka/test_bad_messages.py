"""Messages as no good producer sends them: each has one fate, and good sweeps after them are forecast."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from aiokafka import AIOKafkaProducer

from agents.kafka.messages import Message, record_of
from agents.kafka.produce import messages_of
from agents.kafka.settings import KafkaSettings
from agents.task import Undecodable
from native.binning import MAX_POINTS
from stream.codecs import tf
from stream.codecs.inputs import encode_pointcloud2, headers_of
from stream.codecs.wire import CONTENT_TYPE, encode
from stream.records import Binned, Event, Prediction, SweepRejected
from stream.sweep import Sweep
from stream.topics import ALARMS, BINNED, MAX_MESSAGE_BYTES, PREDICTIONS, REJECTED, STATIC, SWEEPS, TRANSFORMS
from stream.transform import Transform
from tests.agents import worlds
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, wait_for_rest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

SETTINGS = (*worlds.SETTINGS, "learn.enabled=false", "pose.max_wait_ns=1500000000")
PARTITIONS = 2
HOUR_NS = 3_600_000_000_000
EPOCH_NS = 1_700_000_000_000_000_000
"""Added to stamps of the tiny world, which begins with the epoch."""
ARROW = (("content-type", CONTENT_TYPE.encode()),)
EVIDENCE, DUPLICATE, ANY = "evidence", "duplicate", "any"
BEFORE, AFTER = 20, 20
"""Good sweeps before and after what is bad; the container reaches over 16, a pose is waited for over 15."""
BAD = BEFORE - 0.5
"""Where in time a bad sweep lies that has a stamp of its own."""

Headers = tuple[tuple[str, bytes], ...]
Name = tuple[str, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A message, and what is expected to become of it.

    name : stream, stamp and part of a sweep that can be decoded
    fate : evidence, duplicate, the reason of its dead letter, or any of these; empty for good transforms
    """

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers = ()
    fate: str
    name: Name | None = None


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent between good sweeps of a robot of its own.

    bad : makes it, for a robot; left_out : good sweeps that are not sent; marks : the faults it shows
    """

    bad: Callable[[str], list[Sent]]
    left_out: tuple[int, ...] = ()
    marks: pytest.MarkDecorator | tuple[()] = ()


# ---- good and bad messages -----------------------------------------------------------------------------


def good(log: Iterable[Any]) -> list[Sent]:
    """A log as its robot sends it; every sweep becomes evidence."""
    items = list(log)
    return [
        Sent(
            topic=topic,
            key=key,
            value=value,
            headers=tuple(headers),
            fate=EVIDENCE if isinstance(item, Sweep) else "",
            name=_name(item) if isinstance(item, Sweep) else None,
        )
        for item, (_, (topic, key, value, headers)) in zip(items, messages_of(items), strict=True)
    ]


def stamp_of(index: float) -> int:
    """Stamp of a sweep by its number."""
    return EPOCH_NS + worlds.stamp_of(index)


def _name(sweep: Sweep) -> Name:
    return (sweep.stream_id, sweep.stamp_ns, sweep.part)


def sweep(robot: str, index: float = BAD, **changes: Any) -> Sweep:
    """A sweep of the world, with something about it changed."""
    whole = worlds.sweep_of(index, stream_id=f"{robot}/lidar", stamp_ns=stamp_of(index))
    if "points" in changes:
        changes["intensity"] = np.zeros(len(changes["points"]), np.float32)
    return dataclasses.replace(whole, **changes)


def sent(fate: str, record: Sweep) -> list[Sent]:
    """A sweep in the own format, which takes any."""
    headers = tuple(headers_of(record, "test"))
    return [
        Sent(
            topic=SWEEPS,
            key=record.robot_id.encode(),
            value=encode(record),
            headers=headers,
            fate=fate,
            name=_name(record),
        )
    ]


def raw(
    fate: str,
    value: bytes | None,
    key: bytes | None = b"raw",
    headers: Headers = (),
    topic: str = SWEEPS,
) -> Sent:
    """A message that cannot be decoded."""
    return Sent(topic=topic, key=key, value=value, headers=headers, fate=fate)


def cloud(robot: str) -> bytes:
    """A sweep as PointCloud2."""
    return encode_pointcloud2(sweep(robot))


def moved(robot: str, **changes: Any) -> Transform:
    """A transform of the world between two others, with something about it changed."""
    whole = worlds.transform_at(worlds.stamp_of(BAD) + 1, robot_id=robot)
    return dataclasses.replace(whole, **{"stamp_ns": stamp_of(BAD) + 1} | changes)


def with_points(robot: str, values: Sequence[float]) -> Sweep:
    """A good sweep with points beside it at such coordinates, in all three places."""
    odd = np.array([[value, 1, 1] for value in values] + [[1, 1, value] for value in values], np.float32)
    return sweep(robot, points=np.concatenate([worlds.points_at(BAD), odd]))


def with_intensities(robot: str, values: Sequence[float]) -> Sweep:
    """A good sweep whose returns are this strong, in turns."""
    count = len(worlds.points_at(BAD))
    return sweep(robot, intensity=np.resize(np.array(values, np.float32), count))


def flipped(data: bytes, seed: int, first: int = 0) -> bytes:
    """One bit turned over, at random from a byte on."""
    dice, changed = random.Random(seed), bytearray(data)
    changed[dice.randrange(first, len(data))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncated_and_flipped(robot: str) -> list[Sent]:
    """Every format that a producer may send, cut off and with one bit turned over."""
    key = robot.encode()
    whole, pose = sweep(robot), moved(robot)
    static = dataclasses.replace(pose, child="box", static=True)
    formats: list[tuple[str, bytes, Headers]] = [
        (SWEEPS, cloud(robot), ()),
        (SWEEPS, encode(whole), ARROW),
        (TRANSFORMS, tf.encode_cdr([pose]), ()),
        (TRANSFORMS, encode(pose), ARROW),
        (STATIC, tf.encode_cdr([static]), ()),
        (STATIC, encode(static), ARROW),
    ]
    found = [
        raw("corrupt", data[:length], key, headers, topic)
        for topic, data, headers in formats
        for length in (0, 3, 15, len(data) // 2, len(data) - 9)
    ]
    for topic, data, headers in formats:
        if headers == ARROW:  # its checksum sees every bit
            found += [raw("corrupt", flipped(data, seed, 8), key, headers, topic) for seed in range(5)]
        elif topic != SWEEPS:
            broken = data[:4] + b"\xff" + data[5:]  # so many transforms would not fit
            found.append(raw("corrupt", broken, key, headers, topic))
    # CDR has no checksum: a bit may make another good sweep of it. Its stamp is left alone.
    for seed in range(30):
        value = flipped(cloud(robot), seed, 12)
        message = Message(place=(SWEEPS, 0), offset=0, key=key, value=value, headers=(), appended_ms=0)
        record = record_of(message)
        if isinstance(record, Undecodable):
            found.append(raw(record.letter.reason, value, key))
        else:
            found.append(dataclasses.replace(raw(ANY, value, key), name=_name(record)))
    return found


def keys(robot: str) -> list[Sent]:
    """Keys that name no robot, or another one."""
    arrow = encode(sweep(robot))
    return [
        raw("bad_key", cloud(robot), None),
        raw("bad_key", cloud(robot), b""),
        raw("bad_key", cloud(robot), b"a/b"),
        raw("bad_key", cloud(robot), b"\xff\xfe"),
        raw("bad_key", arrow, b"another", ARROW),
    ]


def headers(robot: str) -> list[Sent]:
    """Headers that cannot be meant."""
    key = robot.encode()
    return [
        raw("schema", cloud(robot), key, (("content-type", b"application/json"),)),
        raw("schema", cloud(robot), key, ARROW),
        raw("corrupt", encode(sweep(robot)), key),
        raw("bad_header", cloud(robot), key, (("part", b"3"), ("parts", b"2"))),
        raw("bad_header", cloud(robot), key, (("part", b"-1"), ("parts", b"x"))),
        raw("bad_header", cloud(robot), key, (("octa_sensor", b"\xff"),)),
    ]


def wrong_topics(robot: str) -> list[Sent]:
    """What belongs to another topic."""
    key = robot.encode()
    return [
        raw("corrupt", cloud(robot), key, (), TRANSFORMS),
        raw("schema", encode(sweep(robot)), key, ARROW, TRANSFORMS),
        raw("corrupt", tf.encode_cdr([moved(robot)]), key),
        raw("schema", encode(moved(robot)), key, ARROW),
    ]


CASES: dict[str, Case] = {
    "duplicate": Case(lambda robot: sent(DUPLICATE, sweep(robot, BEFORE - 3)), marks=pytest.mark.fault(16)),
    "late-within": Case(
        lambda robot: sent(EVIDENCE, sweep(robot, BEFORE - 3)),
        left_out=(BEFORE - 3,),
        marks=pytest.mark.fault(17),
    ),
    "late-beyond": Case(
        lambda robot: sent("late", sweep(robot, 0)), left_out=(0,), marks=pytest.mark.fault(17)
    ),
    "stamp-0": Case(lambda robot: sent("bad_stamp", sweep(robot, stamp_ns=0)), marks=pytest.mark.fault(19)),
    "stamp-63": Case(
        lambda robot: sent("bad_stamp", sweep(robot, stamp_ns=2**63 - 1)), marks=pytest.mark.fault(19)
    ),
    "hour-ahead": Case(
        lambda robot: sent("bad_stamp", sweep(robot, stamp_ns=stamp_of(BAD) + HOUR_NS)),
        marks=pytest.mark.fault(19),
    ),
    "hour-behind": Case(
        lambda robot: sent("late", sweep(robot, stamp_ns=stamp_of(BAD) - HOUR_NS)),
        marks=pytest.mark.fault(19),
    ),
    "no-pose": Case(
        lambda robot: sent("no_pose", sweep(robot, stream_id=f"{robot}/other", frame="nowhere")),
        marks=pytest.mark.fault(20),
    ),
    "not-finite": Case(
        lambda robot: [
            *sent("bad_points", sweep(robot, BAD - 0.1, points=np.full((50, 3), np.nan, np.float32))),
            *sent(EVIDENCE, with_points(robot, (np.nan, np.inf, -np.inf))),
        ],
        marks=pytest.mark.fault(21),
    ),
    "far-and-tiny": Case(
        lambda robot: sent(EVIDENCE, with_points(robot, (1e30, -1e30, 1e-42, -0.0))),
        marks=pytest.mark.fault(21),
    ),
    "odd-intensities": Case(
        lambda robot: sent(EVIDENCE, with_intensities(robot, (np.nan, np.inf, -np.inf, 1e30, -1.0, 1e-42))),
        marks=pytest.mark.fault(21),
    ),
    "no-points": Case(
        lambda robot: sent(EVIDENCE, sweep(robot, points=np.empty((0, 3), np.float32))),
        marks=pytest.mark.fault(22),
    ),
    "too-many": Case(
        lambda robot: sent("too_many", sweep(robot, points=np.ones((MAX_POINTS + 1, 3), np.float32))),
        marks=pytest.mark.fault(22),
    ),
    "part-missing": Case(lambda robot: sent(EVIDENCE, sweep(robot, part=1, parts=3))),
    "null": Case(
        lambda robot: [
            raw("corrupt", None, robot.encode()),
            raw("corrupt", None, robot.encode(), ARROW),
            raw("corrupt", None, robot.encode(), (), TRANSFORMS),
        ],
        marks=pytest.mark.fault(25),
    ),
    "keys": Case(keys),
    "headers": Case(headers, marks=pytest.mark.fault(25)),
    "wrong-topics": Case(wrong_topics, marks=pytest.mark.fault(25)),
    "cut-and-flipped": Case(truncated_and_flipped, marks=pytest.mark.fault(23)),
    "not-rigid": Case(
        lambda robot: [
            Sent(topic=TRANSFORMS, key=robot.encode(), value=tf.encode_cdr([transform]), fate="")
            for transform in (
                moved(robot, rotation=(0.0, 0.0, 0.0, 2.0)),
                moved(robot, rotation=(0.0, 0.0, 0.0, 0.0)),
                moved(robot, translation=(np.nan, 0.0, 0.0)),
            )
        ],
        marks=pytest.mark.fault(20),
    ),
}


each_case = pytest.mark.parametrize(
    "robot", [pytest.param(robot, marks=case.marks, id=robot) for robot, case in CASES.items()]
)


def story(robot: str, case: Case) -> Iterator[Sent]:
    """Good messages, bad ones, good ones."""
    drive: list[Any] = worlds.drive(BEFORE + AFTER, robot_id=robot)
    items = [dataclasses.replace(item, stamp_ns=EPOCH_NS + item.stamp_ns) for item in drive]
    left_out = [stamp_of(index) for index in case.left_out]
    items = [item for item in items if not (isinstance(item, Sweep) and item.stamp_ns in left_out)]
    yield from good(item for item in items if item.stamp_ns < stamp_of(BAD))
    yield from case.bad(robot)
    yield from good(item for item in items if item.stamp_ns >= stamp_of(BAD))


# ---- what became of them -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What was sent, by robot, with partition and offset; what lies in the log afterwards."""

    sent: dict[str, list[tuple[Sent, int, int]]]
    binned: list[Binned]
    predictions: list[Prediction]
    letters: list[SweepRejected]
    events: list[Event]

    def fates(self, name: Name) -> Counter[str]:
        """What became of the messages of one sweep."""
        fates = Counter(record.reason for record in self.letters if letter_name(record) == name)
        fates[EVIDENCE] = sum((item.stream_id, item.stamp_ns, item.part) == name for item in self.binned)
        fates[DUPLICATE] = sum(
            (event.fields["stream_id"], event.stamp_ns, event.fields["part"]) == name
            for event in self.events
            if event.kind == "duplicate"
        )
        return +fates


def letter_name(letter: SweepRejected) -> Name:
    return (letter.stream_id, letter.stamp_ns, letter.part)


def send(settings: KafkaSettings, stories: dict[str, list[Sent]]) -> dict[str, list[tuple[Sent, int, int]]]:
    """Send all; each message with the partition and offset that it got."""

    async def run() -> dict[str, list[tuple[Sent, int, int]]]:
        producer = AIOKafkaProducer(**settings.clients(), max_request_size=MAX_MESSAGE_BYTES)
        await producer.start()
        try:
            found: dict[str, list[tuple[Sent, int, int]]] = {}
            for robot, messages in stories.items():
                found[robot] = []
                for (
                    item
                ) in messages:  # one by one: topics are read in the order in which they were appended to
                    place = await producer.send_and_wait(
                        item.topic, item.value, key=item.key, headers=list(item.headers)
                    )
                    found[robot].append((item, place.partition, place.offset))
            return found
        finally:
            await producer.stop()

    return asyncio.run(run())


@pytest.fixture(scope="module")
def found(kafka: LocalBroker, tmp_path_factory: pytest.TempPathFactory) -> Found:
    """All cases on one worker, which must survive them."""
    folder = tmp_path_factory.mktemp("bad")
    settings = KafkaSettings(bootstrap=kafka.bootstrap, partitions=PARTITIONS, folder=folder / "state")
    fresh_topics(settings)
    with Workers(settings, folder, SETTINGS) as workers:
        workers.start("perceive-0")
        workers.wait_until_running(["perceive-0"])
        messages = send(settings, {robot: list(story(robot, case)) for robot, case in CASES.items()})
        wait_for_rest(workers, settings, ["perceive"], 120)
        assert workers.ended() == {}
        return Found(
            sent=messages,
            binned=read(settings, BINNED),
            predictions=read(settings, PREDICTIONS),
            letters=read(settings, REJECTED),
            events=read(settings, ALARMS),
        )


@each_case
def test_each_message_has_the_one_fate_that_it_should_have(found: Found, robot: str) -> None:
    expected: dict[Name, Counter[str]] = {}
    for item, partition, offset in found.sent[robot]:
        if item.name is not None:
            expected.setdefault(item.name, Counter())[item.fate] += 1
        elif item.fate:
            place = f"{item.topic}-{partition}@{offset}"
            letters = [letter for letter in found.letters if letter.detail.split(maxsplit=1)[0] == place]
            if item.value is None:
                letters = [letter for letter in found.letters if letter.detail.startswith(f"{place}: ")]
            assert [letter.reason for letter in letters] == [item.fate], place
            if item.value is not None:
                digest = hashlib.sha256(item.value).hexdigest()[:16]
                assert f"{place} sha256:{digest}: " in letters[0].detail
    for name, fates in expected.items():
        if ANY in fates:
            assert found.fates(name).total() == fates.total(), name
        else:
            assert found.fates(name) == fates, name


@each_case
def test_good_sweeps_after_bad_ones_are_forecast_from(found: Found, robot: str) -> None:
    stream = f"{robot}/lidar"
    stamps = {item.stamp_ns for item in found.predictions if item.stream_id == stream}
    after = {stamp_of(index) for index in range(BEFORE, BEFORE + AFTER)}
    assert after <= stamps


def test_nothing_is_said_of_what_was_not_sent(found: Found) -> None:
    messages = [item for items in found.sent.values() for item, *_ in items]
    fated = sum(bool(item.fate) for item in messages)
    duplicates = [event for event in found.events if event.kind == "duplicate"]
    assert len(found.binned) + len(duplicates) + len(found.letters) == fated
    assert len({item.prediction_id for item in found.predictions}) == len(found.predictions)


@pytest.mark.fault(21)
def test_odd_coordinates_are_dropped_point_by_point(found: Found) -> None:
    odd = {item.robot_id: item for item in found.binned if item.stamp_ns == stamp_of(BAD)}
    assert odd["not-finite"].points - odd["not-finite"].rays == 6
    assert 0 < odd["far-and-tiny"].binned < odd["far-and-tiny"].points


@pytest.mark.fault(21)
def test_odd_intensities_cost_no_point_and_spoil_no_forecast(found: Found) -> None:
    robot = "odd-intensities"
    [odd] = [item for item in found.binned if (item.robot_id, item.stamp_ns) == (robot, stamp_of(BAD))]
    assert odd.points == odd.rays == int(odd.hits.sum()) == len(worlds.points_at(BAD))
    share = odd.sums[:, 9]
    assert share.min() >= 0 and np.all(share <= 4096 * odd.hits[odd.hits > 0])
    made = [item for item in found.predictions if item.stream_id == f"{robot}/lidar"]
    assert made and all(np.isfinite(item.probability).all() for item in made)


@pytest.mark.fault(20)
def test_transforms_that_are_not_rigid_are_refused_aloud(found: Found) -> None:
    refused = [event.robot_id for event in found.events if event.kind == "transform_refused"]
    assert refused == ["not-rigid"] * 3
