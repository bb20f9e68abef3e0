"""A small world: robots that drive past a wall, what their sensors send, and what goes wrong on the way."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from agents.holds import freeze, pin, release
from agents.simulation.dice import Dice
from agents.simulation.models import PRIORS, publication
from models.manifest import Manifest
from stream.config import Config, load_config
from stream.records import FREEZE, PIN, RELEASE, ModelPublished
from stream.sweep import Sweep
from stream.transform import Transform

FIRST_NS = 10_000_000_000_000
PERIOD_NS = 100_000_000
HOUR_NS = 3_600_000_000_000
SPEED_M = 0.7
"""Metres a period."""

FAR_M, NEAR_M = 300.0, 0.3
"""A loop closure that no gap in the transforms hides; and one that a transform has to tell."""

QUIET_PERIODS = 40
"""Between the last sweep of the story and the closing ones: longer than any wait."""
CLOSING_SWEEPS = 4

Message = Sweep | Transform | ModelPublished

SETTINGS = (
    "grid.lod=5",
    "grid.map_frame=map",
    "window.bins=4",
    "window.max_beams=64",
    "task.horizons_ns=[100000000, 200000000]",
    "task.primary_horizon_ns=200000000",
    "task.warmup_sweeps=3",
    "pose.history=2",
    "pose.max_wait_ns=2000000000",
    "pose.max_held_sweeps=200",
    "pose.max_gap_ns=350000000",
    "learn.prior=none",
    "learn.gate_sweeps=2",
    "learn.guard_sweeps=3",
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Input:
    """One message of a producer.

    number : names it, whatever else is cut from the world
    due_ms : when the producer sends it
    fault : what is wrong with it, or empty: then it must become evidence
    """

    number: int
    due_ms: float
    record: Message
    fault: str = ""

    @property
    def robot(self) -> str:
        """Whose it is; empty for a model."""
        return "" if isinstance(self.record, ModelPublished) else self.record.robot_id


@dataclass(frozen=True, slots=True, kw_only=True)
class MapJump:
    """A robot's poses up to one stamp are of one map, those from another on of another; between lies none.

    metres : how far apart; declared : its first transform says so
    """

    before_ns: int
    at_ns: int
    metres: float

    @property
    def declared(self) -> bool:
        """Whether it is too small to be told otherwise."""
        return self.metres == NEAR_M


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class World:
    """What producers send: the story, then closing sweeps once everything has come to rest.

    repeats : keys of sweeps that are sent more than once
    disordered : robots with sweeps or transforms that are not sent in the order of their stamps
    jumps : robots whose map frame jumps
    models : what is published by hand, in the store from the start; damaged : of these, unreadable ones
    """

    config: Config
    story: tuple[Input, ...]
    closing: tuple[Input, ...]
    repeats: frozenset[tuple[str, int, int]]
    disordered: frozenset[str]
    jumps: dict[str, MapJump]
    models: dict[str, tuple[bytes, Manifest]]
    damaged: frozenset[str]


@dataclass(slots=True)
class _Builder:
    dice: Dice
    random: random.Random
    inputs: list[Input] = field(default_factory=list)
    closing: list[Input] = field(default_factory=list)
    repeats: set[tuple[str, int, int]] = field(default_factory=set)
    disordered: set[str] = field(default_factory=set)
    models: dict[str, tuple[bytes, Manifest]] = field(default_factory=dict)
    damaged: set[str] = field(default_factory=set)
    wrong_clocks: set[str] = field(default_factory=set)
    jumps: dict[str, MapJump] = field(default_factory=dict)
    count: int = 0

    def send(self, due_ms: float, record: Message, fault: str = "", closing: bool = False) -> None:
        self.count += 1
        item = Input(number=self.count, due_ms=due_ms, record=record, fault=fault)
        (self.closing if closing else self.inputs).append(item)


def make_world(
    dice: Dice, skipped: frozenset[int] = frozenset(), without_robots: frozenset[str] = frozenset()
) -> World:
    """The world of a seed; ``skipped`` inputs are not sent, nor anything of robots left out."""
    build = _Builder(dice, dice.stream("world"))
    prior = dice.stream("prior").choice(("none", *PRIORS))
    config = _config(prior)
    for number in range(build.random.choice((1, 1, 2, 2, 3))):
        _robot(build, f"robot{number}")
    _models(build, config)
    _holds(build, config)

    def sent(inputs: list[Input]) -> list[Input]:
        return [i for i in inputs if i.number not in skipped and i.robot not in without_robots]

    return World(
        config=config,
        story=tuple(sorted(sent(build.inputs), key=lambda item: item.due_ms)),
        closing=tuple(sent(build.closing)),
        repeats=frozenset(build.repeats),
        disordered=frozenset(build.disordered),
        jumps=build.jumps,
        models=build.models,
        damaged=frozenset(build.damaged),
    )


@cache
def _config(prior: str) -> Config:
    return load_config(None, [*SETTINGS, f"learn.prior={prior}"])


def _models(build: _Builder, config: Config) -> None:
    """What a person publishes on the way; now and then an earlier model again."""
    sent: list[ModelPublished] = []
    for number in range(4):
        if not build.dice.fires("model published by hand"):
            continue
        data, record, manifest = publication(config, build.random.uniform(0.5, 2), f"by hand {number}")
        build.models[record.model_id] = (data, manifest)
        if build.dice.fires("model file damaged"):
            build.damaged.add(record.model_id)
        if sent and build.random.random() < 0.2:
            record = build.random.choice(sent)
        sent.append(record)
        build.send(build.random.uniform(100, 2000), record)


def _holds(build: _Builder, config: Config) -> None:
    """What a person says on which model may serve; a model that is pinned may be damaged, or never stored."""
    draw, due = build.dice.stream("holds"), 100.0
    for number in range(3):
        if not build.dice.fires("model held"):
            continue
        due += draw.uniform(50, 900)
        kind = draw.choice((PIN, PIN, FREEZE, RELEASE))
        if kind != PIN:
            build.send(due, freeze(number) if kind == FREEZE else release(number))
            continue
        data, record, manifest = publication(config, draw.uniform(0.5, 2), f"pinned {number}")
        if draw.random() < 0.8:
            build.models[record.model_id] = (data, manifest)
            if build.dice.fires("model file damaged"):
                build.damaged.add(record.model_id)
        else:
            build.damaged.add(record.model_id)
        build.send(due, pin(manifest if draw.random() < 0.9 else None, number))


def _robot(build: _Builder, robot: str) -> None:
    length = build.random.randint(4, 9)
    sensors = ["lidar"] + (["rear"] if build.random.random() < 0.3 else [])
    if build.dice.fires("world frame jumps"):
        _jump(build, robot, length)
    _transforms(build, robot, sensors, length)
    for place, sensor in enumerate(sensors):
        lost = build.dice.fires("sensor without a frame")
        offset = build.random.choice((0, PERIOD_NS // 2)) if place else 0
        _stream(build, f"{robot}/{sensor}", length, offset, lost)


# ---- poses ---------------------------------------------------------------------------------------------


def pose_at(robot: str, stamp_ns: int) -> Transform:
    """Where a robot is at a stamp."""
    periods = (stamp_ns - FIRST_NS) / PERIOD_NS
    return Transform(
        robot_id=robot,
        stamp_ns=stamp_ns,
        parent="map",
        child="base",
        translation=(SPEED_M * periods, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0),
    )


def _jump(build: _Builder, robot: str, length: int) -> None:
    draw = build.dice.stream(f"jump of {robot}")
    at_ns = _transform_ns(draw.randint(1, length - 2))
    build.jumps[robot] = MapJump(
        before_ns=at_ns - PERIOD_NS, at_ns=at_ns, metres=draw.choice((FAR_M, NEAR_M))
    )


def _transform_ns(number: int) -> int:
    return FIRST_NS + number * PERIOD_NS + 30_000_000


def _localised(build: _Builder, robot: str, stamp_ns: int) -> Transform:
    """Where a robot believes to be: it drives on smoothly when its map jumps, sideways and by a turn."""
    transform, jump = pose_at(robot, stamp_ns), build.jumps.get(robot)
    if jump is None or stamp_ns < jump.at_ns:
        return transform
    x, _, z = transform.translation
    if jump.declared:
        return replace(transform, translation=(x, jump.metres, z))
    return replace(
        transform, translation=(0.28 * x, 0.96 * x + jump.metres, z), rotation=(0.0, 0.0, 0.6, 0.8)
    )


def _transforms(build: _Builder, robot: str, sensors: list[str], length: int) -> None:
    for sensor in sensors:
        mount = Transform(
            robot_id=robot,
            stamp_ns=0,
            parent="base",
            child=sensor,
            translation=(0.0, 0.0, 0.5),
            rotation=(0.0, 0.0, 0.0, 1.0),
            static=True,
        )
        due = build.random.uniform(200, 2200) if build.dice.fires("static transform delayed") else 0.0
        if due > 900:  # another sensor may go on for so long that what waits is too late
            build.disordered.add(robot)
        build.send(due, mount)
    skip, jump = 0, build.jumps.get(robot)
    untold = jump is not None and jump.declared
    for number in range(-6, length + 2):
        transform = _localised(build, robot, _transform_ns(number))
        skip = build.random.randint(4, 6) if build.dice.fires("transforms missing") else max(skip - 1, 0)
        if skip:
            build.disordered.add(robot)  # no pose there: which sweeps are rejected is not foretold
            continue
        due = _due(transform.stamp_ns)
        if build.dice.fires("transform delayed"):
            build.disordered.add(robot)
            due += build.random.uniform(100, 600)
        if build.dice.fires("transform refused"):
            build.send(due, replace(transform, rotation=(0.0, 0.0, 0.0, 0.5)), "transform refused")
        sound = number <= -5 or f"{robot} transforms" in build.wrong_clocks
        if not sound and build.dice.fires("transform an hour ahead"):
            build.wrong_clocks.add(f"{robot} transforms")
            build.send(due, replace(transform, stamp_ns=transform.stamp_ns + HOUR_NS), "clock")
        if jump is not None and untold and transform.stamp_ns >= jump.at_ns:
            transform, untold = replace(transform, resets_map=True), False
        build.send(due, transform)
    for number in range(CLOSING_SWEEPS + 2):
        stamp = FIRST_NS + (length + QUIET_PERIODS + number) * PERIOD_NS - 70_000_000
        build.send(0.0, _localised(build, robot, stamp), closing=True)


# ---- sweeps --------------------------------------------------------------------------------------------


def _due(stamp_ns: int) -> float:
    return max(0.0, (stamp_ns - FIRST_NS) / 1e6 + 600)


def _points(build: _Builder, stamp_ns: int) -> NDArray[np.float32]:
    """A wall and a post that moves against the robot, sensor frame, float32 (N, 3)."""
    periods = (stamp_ns - FIRST_NS) / PERIOD_NS
    x = np.arange(-12.0, 30.0, 1.5)
    wall = np.stack([x, np.full(x.size, 9.0), np.zeros(x.size)], axis=1)
    post = np.array([[14 - 1.5 * periods, 4.5, z] for z in (-0.5, 0.0, 0.5)])
    points = np.concatenate([wall, post]) - [SPEED_M * periods, 0.0, 0.0]
    jitter = np.random.default_rng(build.random.getrandbits(32)).normal(0, 0.1, points.shape)
    return (points + jitter).astype(np.float32)


def _sweep(
    build: _Builder, stream_id: str, stamp_ns: int, frame: str, part: int = 0, parts: int = 1
) -> Sweep:
    points = np.array_split(_points(build, stamp_ns), parts)[part]
    if build.dice.fires("sweep empty"):
        points = points[:0]
    return Sweep(
        stream_id=stream_id,
        stamp_ns=stamp_ns,
        frame=frame,
        points=np.ascontiguousarray(points),
        intensity=np.full(len(points), 0.5, np.float32),
        part=part,
        parts=parts,
    )


def _stream(build: _Builder, stream_id: str, length: int, offset_ns: int, lost: bool) -> None:
    sensor = stream_id.split("/")[1]
    frame, bad = ("unknown", "no frame") if lost else (sensor, "")
    jump = build.jumps.get(stream_id.split("/")[0])
    for number in range(length):
        stamp = FIRST_NS + number * PERIOD_NS + offset_ns
        if build.dice.fires("stamps jitter"):
            stamp += build.random.randint(-30, 30) * 1_000_000
        fault = "between maps" if jump and jump.before_ns < stamp < jump.at_ns and not bad else bad
        if not build.dice.fires("sweep missing"):
            _send_sweep(build, stream_id, stamp, frame, fault)
    for number in range(CLOSING_SWEEPS):
        stamp = FIRST_NS + (length + QUIET_PERIODS + number) * PERIOD_NS + offset_ns // 2
        build.send(0.0, _sweep(build, stream_id, stamp, sensor), "closing", closing=True)


def _send_sweep(build: _Builder, stream_id: str, stamp_ns: int, frame: str, fault: str) -> None:
    dice, draw, robot = build.dice, build.random, stream_id.split("/")[0]
    parts = draw.randint(2, 3) if dice.fires("sweep in parts") else 1
    due = _due(stamp_ns) + draw.uniform(0, 20)
    if dice.fires("sweeps out of order"):
        due += PERIOD_NS / 1e6 * draw.uniform(1, 2)
        build.disordered.add(robot)
    if dice.fires("sweep late beyond the window"):
        due, fault = due + 2000, fault or "late"
    for part in range(parts):
        if parts > 1 and dice.fires("part missing"):
            continue
        _send_part(build, _sweep(build, stream_id, stamp_ns, frame, part, parts), due + part, fault)


def _send_part(build: _Builder, sweep: Sweep, due: float, fault: str) -> None:
    dice, draw, robot = build.dice, build.random, sweep.robot_id
    if dice.fires("points not finite") and len(sweep.points):
        sweep = replace(sweep, points=np.full_like(sweep.points, np.nan))
        fault = fault or "points"
    for name, wrong in (
        ("stamp zero", 0),
        ("stamp an hour ahead", sweep.stamp_ns + HOUR_NS),
        ("stamp an hour behind", max(sweep.stamp_ns - HOUR_NS, 1)),
    ):
        believed = sweep.stamp_ns >= FIRST_NS + 2 * PERIOD_NS and robot not in build.wrong_clocks
        if believed and dice.fires(name):
            build.wrong_clocks.add(robot)  # twice the same would be a clock that was set anew
            build.send(due, replace(sweep, stamp_ns=wrong), "clock")
            return
    build.send(due, sweep, fault)
    for name, delay in (("sweep sent twice", draw.uniform(0, 300)), ("sweep sent twice, much later", 2500)):
        if dice.fires(name):
            build.repeats.add((sweep.stream_id, sweep.stamp_ns, sweep.part))
            build.send(due + delay, sweep, fault or "repeat")
