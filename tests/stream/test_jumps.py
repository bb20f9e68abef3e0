"""What is a jump of localisation and what is motion: speed, rate, gaps and levers."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.config import Config, ConfigError, PoseConfig, load_config
from stream.frames import FrameRegistry
from stream.jumps import Jump, jumps
from stream.sources import open_source
from stream.transform import Transform
from tests.data import data_path

SECOND_NS = 1_000_000_000
BOUNDS = Config().pose
Place = tuple[float, float, float]
"""x, y in metres, yaw in radians."""


def at(stamp_ns: int, place: Place, parent: str = "map", child: str = "base") -> Transform:
    x, y, yaw = place
    return Transform(
        robot_id="robot", stamp_ns=stamp_ns, parent=parent, child=child,
        translation=(x, y, 0.0), rotation=(0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)),
    )  # fmt: skip


def driven(t: float, speed: float = 15.0, turn: float = 0.4) -> Place:
    """On a circle, from rest: 5 m/s^2 until the speed is reached."""
    ramp = speed / 5
    length = 2.5 * t * t if t < ramp else 2.5 * ramp * ramp + speed * (t - ramp)
    yaw = turn * length / speed
    radius = speed / turn
    return radius * math.sin(yaw), radius * (1 - math.cos(yaw)), yaw


def moved(place: Place, metres: float, degrees: float) -> Place:
    """The same place in a map that lies elsewhere, turned about it."""
    return place[0], place[1] + metres, place[2] + math.radians(degrees)


def found(
    transforms: Iterable[Transform],
    target: str = "map",
    source: str = "base",
    bounds: PoseConfig = BOUNDS,
    starts: tuple[int, ...] = (),
    declared: tuple[int, ...] = (),
) -> list[Jump]:
    registry, newest_ns = FrameRegistry(max_gap_ns=100 * SECOND_NS), 0
    for transform in transforms:
        registry.add(transform)
        newest_ns = max(newest_ns, transform.stamp_ns)
    return [
        jump
        for track in registry.tracks(target, source, newest_ns)
        for jump in jumps(track, bounds, after_ns=-1, until_ns=newest_ns, starts=starts, declared=declared)
    ]


def log(
    rate_hz: float, seconds: float, place: Callable[[float], Place], jitter_ms: float = 0.0
) -> list[Transform]:
    rng = np.random.default_rng(5)
    times = (
        np.arange(0, seconds, 1 / rate_hz)
        + 1
        + rng.uniform(-1, 1, round(seconds * rate_hz)) * jitter_ms / 1e3
    )
    return [at(round(t * 1e9), place(t - 1)) for t in times.tolist()]


# ---- what is motion ------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [2, 5, 10, 50, 100])
@pytest.mark.parametrize("speed", [2.0, 15.0, 40.0])
def test_driving_is_no_jump(rate_hz: float, speed: float) -> None:
    transforms = log(rate_hz, 12, lambda t: driven(max(t, 0), speed, min(0.6, 8 / speed)), jitter_ms=3)
    assert found(transforms) == []


@pytest.mark.parametrize("thin", [1, 2, 5])
@pytest.mark.parametrize(
    "location", ["kitti", "sim:city?sweeps=60", "sim:yard?sweeps=60", "sim:highway?sweeps=60",
                 "sim:city?sweeps=60&events=pose-gap@20,clock-jump@40"],
)  # fmt: skip
def test_no_log_jumps(location: str, thin: int) -> None:
    name = str(data_path("kitti_0005_000-053.mcap")) if location == "kitti" else location
    source = open_source(name if location == "kitti" else f"{location}&azimuths=64")
    transforms = [item for item in source if isinstance(item, Transform)]
    moving = [item for item in transforms if not item.static]
    kept = [item for item in transforms if item.static] + moving[::thin]
    root, sensor = source.info().root_frame, source.info().sensor_frames[0]
    assert root is not None
    assert len(moving) > 50
    assert found(kept, root, sensor) == []


@pytest.mark.parametrize("rate_hz", [2, 10, 50])
def test_a_gap_is_no_jump(rate_hz: float) -> None:
    """Braking behind a gap: the forecast is off by 11 m after 1.5 s."""

    def place(t: float) -> Place:
        return (15 * t if t < 3 else 45 + 15 * (t - 3) - 5 * min(t - 3, 1.5) ** 2, 0.0, 0.0)

    transforms = [t for t in log(rate_hz, 6, place) if not 4.0e9 < t.stamp_ns < 5.5e9]
    assert found(transforms) == []


def test_noise_of_a_few_centimetres_is_no_jump() -> None:
    rng = np.random.default_rng(3)
    places = {t: moved(driven(t), rng.normal(0, 0.05), rng.normal(0, 0.3)) for t in np.arange(0, 6, 0.02)}
    assert found(at(round(t * 1e9) + 1, place) for t, place in places.items()) == []


# ---- what is a jump ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metres", "degrees"), [(1.0, 0.0), (-1.0, 0.0), (0.0, 5.0), (0.0, -5.0), (3.0, 20.0)]
)
@pytest.mark.parametrize("rate_hz", [10, 20, 50])
def test_a_jump_of_1_m_or_5_degrees_is_found(rate_hz: float, metres: float, degrees: float) -> None:
    def place(t: float) -> Place:
        return driven(t) if t < 4 else moved(driven(t), metres, degrees)

    transforms = log(rate_hz, 8, place)
    [jump] = found(transforms)
    first = next(t.stamp_ns for t in transforms if t.stamp_ns >= 5 * SECOND_NS)
    assert (jump.at_ns, jump.declared) == (first, False)
    assert jump.at_ns - jump.before_ns == pytest.approx(1e9 / rate_hz, abs=2)
    assert jump.metres == pytest.approx(abs(metres), abs=0.15)
    assert jump.degrees == pytest.approx(abs(degrees), abs=0.5)


@settings(max_examples=60, deadline=None)
@given(
    first=st.integers(10, 40),
    back=st.integers(1, 8),
    metres=st.floats(1.0, 50.0),
    rate_hz=st.sampled_from([10, 50]),
)
def test_a_jump_and_back_are_two(first: int, back: int, metres: float, rate_hz: int) -> None:
    """However soon: speed is told from within one map."""

    def place(number: int) -> Place:
        there = driven(number / rate_hz)
        return moved(there, metres, 0) if first <= number < first + back else there

    stamps = [SECOND_NS + round(number * 1e9 / rate_hz) for number in range(60)]
    jumped = found(at(stamp, place(number)) for number, stamp in enumerate(stamps))
    assert [jump.at_ns for jump in jumped] == [stamps[first], stamps[first + back]]


def test_a_robot_of_unknown_speed_may_be_fast() -> None:
    assert found([at(SECOND_NS, (0, 0, 0)), at(SECOND_NS + 100_000_000, (4.0, 0, 0))]) == []
    [jump] = found([at(SECOND_NS, (0, 0, 0)), at(SECOND_NS + 100_000_000, (6.0, 0, 0))])
    assert jump.bound_m == pytest.approx(5.5)


def test_over_a_gap_only_what_cannot_have_been_driven_is_a_jump() -> None:
    transforms = log(50, 4, driven)
    newest = transforms[-1].stamp_ns
    [jump] = found([*transforms, at(newest + 2 * SECOND_NS, moved(driven(4.98), 100, 0))])
    assert jump.at_ns == newest + 2 * SECOND_NS
    assert 20 < jump.bound_m < 25


def test_one_may_be_told_of_any_distance() -> None:
    transforms = log(10, 4, driven)
    told = transforms[20].stamp_ns
    [jump] = found(transforms, declared=(told,))
    assert (jump.before_ns, jump.at_ns, jump.declared) == (transforms[19].stamp_ns, told, True)
    assert found(transforms, declared=(told - 1,))[0].at_ns == told
    assert found(transforms, declared=(told,), starts=(told,)) == []


def test_without_bounds_only_what_is_told_is_a_jump() -> None:
    free = dataclasses.replace(BOUNDS, jump_m=None, jump_deg=None)
    transforms = log(10, 4, lambda t: driven(t) if t < 2 else moved(driven(t), 500, 90))
    assert found(transforms, bounds=free) == []
    assert len(found(transforms, bounds=free, declared=(transforms[9].stamp_ns,))) == 1


# ---- which edge, seen from where ----------------------------------------------------------------------


def test_a_small_turn_far_from_the_origin_is_a_jump_there() -> None:
    """0.6 degrees of map to odom move a robot at 200 m by 2 m, and one at 10 m by 0.1 m."""

    def tree(x: float) -> list[Transform]:
        stamps = [SECOND_NS + number * 100_000_000 for number in range(30)]
        odom = [at(s, (0, 0, 0 if s < 2 * SECOND_NS else math.radians(0.6)), "map", "odom") for s in stamps]
        return odom + [at(s, (x, 0, 0), "odom", "base") for s in stamps]

    [jump] = found(tree(200.0))
    assert jump.metres == pytest.approx(200 * math.radians(0.6), rel=1e-3)
    assert found(tree(10.0)) == []


def test_a_map_that_hangs_below_another_frame_jumps_too() -> None:
    stamps = [SECOND_NS + number * 100_000_000 for number in range(30)]
    up = [at(s, (0, 5.0 if s >= 2 * SECOND_NS else 0.0, 0), "world", "map") for s in stamps]
    base = [at(s, (0.1 * number, 0, 0), "world", "base") for number, s in enumerate(stamps)]
    [jump] = found(up + base)
    assert (jump.at_ns, jump.metres) == (2 * SECOND_NS, pytest.approx(5.0))


def test_bounds_are_checked() -> None:
    with pytest.raises(ConfigError, match=r"pose\.jump_m: 0\.0 must be > 0 and finite, or null for no bound"):
        load_config(None, ["pose.jump_m=0"])
    assert load_config(None, ["pose.jump_deg=null"]).pose.jump_deg is None
