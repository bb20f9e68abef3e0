"""A simulated drive as a source: ray-cast sweeps of a city, a motorway or a yard.

A location is ``sim:WORLD?key=value&...``, for example
``sim:city?seed=1&sweeps=120&beams=32&rate=10&azimuths=1024&robots=1&events=rain@60,tilt@90``.
Every sweep is taken in one instant, at its stamp: there is no distortion by the robot's motion, and points
carry no time offsets. With ``spin=1`` the sensor turns once a period while the robot drives on, in
``FIRINGS`` steps, and points say when they were measured. Everything follows from the location and the
options, bit for bit on one machine type; the randomness of a sweep comes from the seed and its number alone,
so an event changes nothing else.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from operator import itemgetter
from typing import Any
from urllib.parse import parse_qsl

import numpy as np
from numpy.typing import NDArray

from stream.codecs.names import require_robot_id
from stream.sources.base import Item, Source, SourceError, SourceInfo, SourceOptions
from stream.sources.simulation import events as ev
from stream.sources.simulation.events import Echoes
from stream.sources.simulation.lidar import Rays, elevations
from stream.sources.simulation.scene import SENSOR_HEIGHT_M, WORLDS, Fleet, Scene, make_world, rotation_zyx
from stream.sources.simulation.sensor import measure, sectors
from stream.sources.simulation.shapes import Box
from stream.sweep import Sweep
from stream.transform import Transform

ROOT, BASE, SENSOR = "odom", "base_link", "lidar"
TRANSFORM_PERIOD_NS = 20_000_000
TRANSFORM_LEAD_NS = 93_000_000
"""Transforms start this long before the first sweep; at 10 Hz none falls on a sweep's stamp."""

FIRINGS = 16
"""A sensor that spins measures so many sectors of a turn, one after the other; each takes an instant."""

_KEYS = {"rate": "rate_hz"}
_LIMITS: dict[str, tuple[float, float]] = {
    "seed": (0, 2**32 - 1),
    "sweeps": (1, 1_000_000),
    "rate_hz": (1, 20),
    "azimuths": (64, 8192),
    "robots": (1, 64),
    "misses": (0, 1),
    "spin": (0, 1),
    "first_stamp_ns": (TRANSFORM_LEAD_NS + 1, 2**62),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulatorConfig:
    """A simulated drive.

    world : ``city``, ``highway`` or ``yard``
    sweeps : sweeps a robot takes; rate_hz : sweeps a second
    beams : 32 or 64; azimuths : directions a turn
    robots : how many drive in this world; with more than one their ids are ``robot_id`` and a number
    events : what goes wrong and when
    misses : 1 for a sensor that reports rays without return, into the open or lost; not those of beams that
        an event silences
    spin : 1 for a sensor that takes a period for its turn; 0 takes the whole turn at the stamp
    first_stamp_ns : stamp of the first sweep, nanoseconds
    Raises SourceError for a value that is not allowed.
    """

    world: str = "city"
    seed: int = 0
    sweeps: int = 120
    beams: int = 32
    rate_hz: float = 10.0
    azimuths: int = 1024
    robots: int = 1
    events: tuple[ev.Event, ...] = ()
    misses: int = 0
    spin: int = 0
    robot_id: str = "robot"
    first_stamp_ns: int = 1_000_000_000

    def __post_init__(self) -> None:
        if self.world not in WORLDS:
            raise SourceError(f"world: {self.world!r} is not known; use one of {', '.join(WORLDS)}")
        if self.beams not in (32, 64):
            raise SourceError(f"beams: {self.beams} is not simulated; use 32 or 64")
        for name, (low, high) in _LIMITS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise SourceError(f"{_public(name)}: {value} must be {low}..{high}")
        for robot_id in (self.robot_id, *self.robot_ids):
            try:
                require_robot_id(robot_id)
            except ValueError as error:
                raise SourceError(f"robot_id: {error}") from error
        late = next((event for event in self.events if event.start >= self.sweeps), None)
        if late is not None:
            raise SourceError(f"events: {late} would come after the last sweep, {self.sweeps - 1}")
        once = [event.name for event in self.events if event.name in ("district", "clock-jump")]
        if len(once) != len(set(once)):
            raise SourceError(f"events: {', '.join(once)}: district and clock-jump may come once each")

    @property
    def location(self) -> str:
        """The location that makes this drive; robot id and first stamp are options, not part of it."""
        values = {name: getattr(self, name) for name in _QUERY}
        values["rate_hz"] = f"{self.rate_hz:g}"
        values["misses"] = self.misses or ""
        values["spin"] = self.spin or ""
        values["events"] = ",".join(str(event) for event in self.events)
        query = "&".join(f"{_public(name)}={value}" for name, value in values.items() if value != "")
        return f"sim:{self.world}?{query}"

    @property
    def robot_ids(self) -> tuple[str, ...]:
        """``robot_id`` alone, or ``robot_id-0``, ``robot_id-1``, ..."""
        if self.robots == 1:
            return (self.robot_id,)
        return tuple(f"{self.robot_id}-{number}" for number in range(self.robots))

    @property
    def period_ns(self) -> int:
        """Time between two sweeps of a robot."""
        return round(1e9 / self.rate_hz)


_QUERY = tuple(
    field.name
    for field in fields(SimulatorConfig)
    if field.name not in ("world", "robot_id", "first_stamp_ns")
)


def _public(name: str) -> str:
    return next((key for key, field in _KEYS.items() if field == name), name)


def parse_location(location: str, options: SourceOptions) -> SimulatorConfig:
    """The drive that a location names; raises SourceError with the key, the value and what is allowed.

    Without ``rate`` in the location, ``options.rate_hz`` counts.
    """
    scheme, _, rest = location.partition(":")
    world, _, query = rest.partition("?")
    if scheme != "sim":
        raise SourceError(f"{location}: not a simulator location; expected sim:WORLD?key=value&...")
    values: dict[str, Any] = {} if options.rate_hz is None else {"rate_hz": options.rate_hz}
    allowed = [_public(name) for name in _QUERY]
    seen = set()
    for key, text in parse_qsl(query, keep_blank_values=True):
        if key not in allowed:
            raise SourceError(f"{location}: {key}={text}: unknown key; use {', '.join(allowed)}")
        if key in seen:
            raise SourceError(f"{location}: {key}={text}: given twice")
        seen.add(key)
        values[_KEYS.get(key, key)] = _value(location, key, text)
    try:
        given = SimulatorConfig(robot_id=options.robot_id, first_stamp_ns=options.first_stamp_ns)
        return replace(given, world=world, **values)
    except SourceError as error:
        raise SourceError(f"{location}: {error}") from error


def _value(location: str, key: str, text: str) -> int | float | tuple[ev.Event, ...]:
    try:
        if key == "events":
            return ev.parse_events(text)
    except SourceError as error:
        raise SourceError(f"{location}: {error}") from error
    pattern = r"[0-9]{1,12}(\.[0-9]{1,9})?" if key == "rate" else r"[0-9]{1,12}"
    if not re.fullmatch(pattern, text, re.ASCII):
        kind = "number" if key == "rate" else "whole number"
        raise SourceError(f"{location}: {key}={text}: expected a {kind}, 0 or more")
    return float(text) if key == "rate" else int(text)


def open_simulator(location: str, options: SourceOptions) -> Source:
    """The simulated drive that a location names; raises SourceError when it cannot be made."""
    return Simulator(parse_location(location, options))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shot:
    """One turn of the sensor: the sweep, and what the sensor could not know.

    rays : fired in all
    material : int64 (N,), of the surface that each point lies on, or DROP, or GROUND, of ``shapes``
    """

    sweep: Sweep
    rays: int
    material: NDArray[np.int64]

    @property
    def without_return(self) -> int:
        """Rays that yield no point."""
        return self.rays - len(self.sweep.points)


class Simulator:
    """A source of transforms and sweeps in the order a recorder on the robot would have seen them.

    A transform arrives at its stamp, a sweep one period after its stamp, when its turn would be complete.
    """

    def __init__(self, config: SimulatorConfig) -> None:
        self.config = config
        seconds_each = config.period_ns * 1e-9
        seconds = config.sweeps * seconds_each + 1.0
        world = make_world(config.world, config.seed, seconds + 5.0 * config.robots)
        self._fleet = Fleet(world, config.robot_ids, seconds)
        district = self._start_ns("district")
        popups = tuple(
            (event.start * seconds_each, event.end * seconds_each if event.end else np.inf)
            for event in config.events if event.name == "popup"
        )  # fmt: skip
        border = None if district is None else district * 1e-9
        self._scene = Scene(world, self._fleet, border, popups)
        self._jump_ns = self._start_ns("clock-jump")
        self._pose_jumps: list[list[tuple[int, NDArray[np.float64]]]] = [[] for _ in config.robot_ids]
        for start in sorted({event.start for event in config.events if event.name == "jump"}):
            for robot, known in enumerate(self._pose_jumps):
                jump_ns = self._moment(robot, "sweep", start) - config.period_ns // 2
                known.append((jump_ns, self._localised(robot, jump_ns)[0]))
        self._elevation = elevations(config.beams)

    def info(self) -> SourceInfo:
        """Counts and stamps, without casting a ray."""
        config = self.config
        again = len({event.start for event in config.events if event.name == "duplicate"})
        topics = {f"{name}/{SENSOR}": ("simulated sweep", config.sweeps + again) for name in config.robot_ids}
        poses = sum(self._pose_count(robot) - len(self._missing(robot)) for robot in range(config.robots))
        last = config.robots - 1
        missing = self._missing(last)
        pose = next(n for n in reversed(range(self._pose_count(last))) if n not in missing)
        end = max(self._moment(last, "sweep", config.sweeps - 1), self._moment(last, "pose", pose))
        return SourceInfo(
            location=config.location, format="simulator", sweeps=config.robots * (config.sweeps + again),
            start_ns=self._stamp(self._moment(0, "pose", 0)), end_ns=self._stamp(end),
            topics=topics | {"/tf": ("simulated transform", poses + config.robots)},
            sensor_frames=(SENSOR,), root_frame=ROOT,
        )  # fmt: skip

    def __iter__(self) -> Iterator[Item]:
        for _, robot, kind, number in self._schedule():
            if kind == "sweep":
                yield self.shot(robot, number).sweep
            else:
                yield self._transform(robot, kind, number)

    def boxes(self, stamp_ns: int) -> list[Box]:
        """Ground truth in the map frame (``odom``) at a stamp, sorted by id.

        Cars (parked ones too), trucks, cyclists, pedestrians, popups and the robots themselves, within 80 m
        of any robot; also those that no beam reaches. A robot of the same id is not in its own sweeps. A
        ``jump`` of the poses moves nothing here.
        """
        t = stamp_ns - self.config.first_stamp_ns
        if self._jump_ns is not None and t >= self._jump_ns + ev.JUMP_NS:
            t -= ev.JUMP_NS
        return self._scene.boxes(t * 1e-9)

    def shot(self, robot: int, index: int) -> Shot:
        """Take sweep ``index`` of robot number ``robot``; the same whenever it is taken."""
        config = self.config
        moment = self._moment(robot, "sweep", index)
        active = [event.name for event in config.events if event.covers(index)]
        key = [config.seed, 51, robot, index]
        steps = [config.period_ns * (2 * step + 1) // (2 * FIRINGS) for step in range(FIRINGS)]
        offsets = steps if config.spin else [0]
        turns = [self._turn(robot, moment + offset, key, tilted="tilt" in active) for offset in offsets]
        turn, (echoes, firing) = turns[0][0], sectors([echoes for _, echoes in turns])
        for name in active:
            ev.disturb(name, echoes, np.random.default_rng([*key, ev.NAMES.index(name)]))
        points = turn.direction[echoes.kept] * echoes.distance[echoes.kept, None]
        if "nan" in active:
            ev.spoil(points, np.random.default_rng([*key, ev.NAMES.index("nan")]))
        missed = echoes.fired & ~echoes.kept if config.misses else np.zeros_like(echoes.kept)
        sweep = Sweep(
            stream_id=f"{config.robot_ids[robot]}/{SENSOR}", stamp_ns=self._stamp(moment), frame=SENSOR,
            points=points, intensity=echoes.intensity[echoes.kept], misses=turn.direction[missed],
            time_offset_ns=np.array(steps, np.int32)[firing[echoes.kept]] if config.spin else None,
        )  # fmt: skip
        return Shot(sweep=sweep, rays=len(turn.direction), material=echoes.material[echoes.kept])

    def pose(
        self, robot: int, index: int, *, believed: bool
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Origin (3,) and rotation (3, 3) of the sensor in the map at a sweep.

        believed : where the robot believes it to be; after a ``jump`` of the poses that is not where it is
        """
        moment = self._moment(robot, "sweep", index)
        origin, rotation = (
            self._localised(robot, moment) if believed else self._fleet.pose(robot, moment * 1e-9)
        )
        return origin + rotation @ np.array([0.0, 0.0, SENSOR_HEIGHT_M]), rotation

    def _turn(self, robot: int, moment: int, key: list[int], *, tilted: bool) -> tuple[Rays, Echoes]:
        """The sensor's whole turn in one instant."""
        origin, rotation = self._fleet.pose(robot, moment * 1e-9)
        origin = origin + rotation @ np.array([0.0, 0.0, SENSOR_HEIGHT_M])
        if tilted:
            rotation = rotation @ rotation_zyx(0.0, *ev.TILT)
        shapes = self._scene.shapes(moment * 1e-9, robot)
        return measure(
            self._elevation, self.config.azimuths, (origin, rotation), shapes, self._scene.world.ground,
            np.random.default_rng(key),
        )  # fmt: skip

    def _start_ns(self, name: str) -> int | None:
        starts = [event.start for event in self.config.events if event.name == name]
        return starts[0] * self.config.period_ns if starts else None

    def _stamp(self, moment_ns: int) -> int:
        """The robot's clock at a moment since the first sweep."""
        jumped = self._jump_ns is not None and moment_ns >= self._jump_ns
        return self.config.first_stamp_ns + moment_ns + (ev.JUMP_NS if jumped else 0)

    def _moment(self, robot: int, kind: str, number: int) -> int:
        """Nanoseconds since the first sweep at which a transform or sweep is taken."""
        if kind == "sweep":
            return number * self.config.period_ns + robot * self.config.period_ns // self.config.robots
        return number * TRANSFORM_PERIOD_NS - TRANSFORM_LEAD_NS

    def _transform(self, robot: int, kind: str, number: int) -> Transform:
        name = self.config.robot_ids[robot]
        moment = self._moment(robot, kind, number)
        if kind == "mount":
            return Transform(
                robot_id=name, stamp_ns=self._stamp(moment), parent=BASE, child=SENSOR,
                translation=(0.0, 0.0, SENSOR_HEIGHT_M), rotation=(0.0, 0.0, 0.0, 1.0), static=True,
            )  # fmt: skip
        origin, rotation = self._localised(robot, moment)
        x, y, z = (float(value) for value in origin)
        return Transform(
            robot_id=name, stamp_ns=self._stamp(moment), parent=ROOT, child=BASE,
            translation=(x, y, z), rotation=_quaternion(rotation),
        )  # fmt: skip

    def _localised(self, robot: int, moment: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where the robot believes to be. It drives on smoothly when its poses jump, half a period before a
        sweep, each time about where it believed to be."""
        origin, rotation = self._fleet.pose(robot, moment * 1e-9)
        for jump_ns, pivot in self._pose_jumps[robot]:
            if moment >= jump_ns:
                turn = rotation_zyx(ev.POSE_JUMP_RAD, 0.0, 0.0)
                origin, rotation = pivot + ev.POSE_JUMP_M + turn @ (origin - pivot), turn @ rotation
        return origin, rotation

    def _schedule(self) -> Iterator[tuple[int, int, str, int]]:
        """Delivery time, robot, kind (mount, pose or sweep) and number of every item, in order."""
        streams: list[Iterator[tuple[int, int, str, int]]] = []
        for robot in range(self.config.robots):
            streams += [iter([(-(10**9), robot, "mount", 0)]), self._poses(robot), self._sweeps(robot)]
        return heapq.merge(*streams, key=itemgetter(0))

    def _pose_count(self, robot: int) -> int:
        """Poses up to the first one at or after the last sweep, as if none were missing."""
        last = self._moment(robot, "sweep", self.config.sweeps - 1)
        return -(-(last + TRANSFORM_LEAD_NS) // TRANSFORM_PERIOD_NS) + 1

    def _missing(self, robot: int) -> set[int]:
        """Numbers of the poses that gaps swallow."""
        missing: set[int] = set()
        for event in self.config.events:
            if event.name == "pose-gap":
                start = self._moment(robot, "sweep", event.start) + TRANSFORM_LEAD_NS
                first, end = (-(-at // TRANSFORM_PERIOD_NS) for at in (start, start + ev.GAP_NS))
                missing |= set(range(first, min(end, self._pose_count(robot))))
        return missing

    def _poses(self, robot: int) -> Iterator[tuple[int, int, str, int]]:
        missing = self._missing(robot)
        for number in range(self._pose_count(robot)):
            if number not in missing:
                yield self._moment(robot, "pose", number), robot, "pose", number

    def _sweeps(self, robot: int) -> Iterator[tuple[int, int, str, int]]:
        """In order of delivery; late ones wait in a heap until their turn."""
        period = self.config.period_ns
        waiting: list[tuple[int, int, str, int]] = []
        for index in range(self.config.sweeps):
            delivery = self._moment(robot, "sweep", index) + period
            active = {event.name for event in self.config.events if event.covers(index)}
            entry = (delivery + (ev.LATE_NS if "late" in active else 0), robot, "sweep", index)
            heapq.heappush(waiting, entry)
            if "duplicate" in active:
                heapq.heappush(waiting, (entry[0] + period // 2, *entry[1:]))
            while waiting and waiting[0][0] <= delivery:
                yield heapq.heappop(waiting)
        while waiting:
            yield heapq.heappop(waiting)


def _quaternion(rotation: NDArray[np.float64]) -> tuple[float, float, float, float]:
    """Unit quaternion x, y, z, w of a rotation by less than half a turn about x and y."""
    r = rotation
    w = np.sqrt(max(1 + r[0, 0] + r[1, 1] + r[2, 2], 0)) / 2
    z = np.sqrt(max(1 - r[0, 0] - r[1, 1] + r[2, 2], 0)) / 2
    if w >= z:
        return _unit((r[2, 1] - r[1, 2]) / 4 / w, (r[0, 2] - r[2, 0]) / 4 / w, (r[1, 0] - r[0, 1]) / 4 / w, w)
    return _unit((r[0, 2] + r[2, 0]) / 4 / z, (r[1, 2] + r[2, 1]) / 4 / z, z, (r[1, 0] - r[0, 1]) / 4 / z)


def _unit(x: float, y: float, z: float, w: float) -> tuple[float, float, float, float]:
    norm = float(np.sqrt(x * x + y * y + z * z + w * w))
    return float(x) / norm, float(y) / norm, float(z) / norm, float(w) / norm
