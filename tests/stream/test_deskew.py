"""Motion within a sweep: looked up, undone, and rays from where they began."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.deskew import MAX_BUNDLES, MAX_KNOTS, Motion, motion_of
from stream.frames import FrameRegistry, NotYet
from stream.sweep import Sweep
from tests.spinning_room import PERIOD_NS, off_walls_m, transforms, turn

Array = NDArray[np.float64]


def registry(sweep: Sweep) -> FrameRegistry:
    frames = FrameRegistry(max_gap_ns=10**9)
    for transform in transforms(sweep.stamp_ns - PERIOD_NS, sweep.stamp_ns + PERIOD_NS):
        frames.add(transform)
    return frames


def motion(sweep: Sweep) -> tuple[Motion, Array]:
    """The motion of a sweep that has one, and its pose."""
    frames = registry(sweep)
    place = frames.look_up("map", sweep.frame, sweep.stamp_ns)
    found = motion_of(sweep, place, lambda stamp_ns: frames.look_up("map", sweep.frame, stamp_ns))
    assert found is not None
    return found, place


def in_map(points: NDArray[np.float32], place: Array) -> Array:
    matrix = place.reshape(3, 4)
    return points.astype(np.float64) @ matrix[:, :3].T + matrix[:, 3]


def straight(sweep: Sweep) -> NDArray[np.float32]:
    found, _ = motion(sweep)
    assert sweep.time_offset_ns is not None
    return found.undo(sweep.points, sweep.time_offset_ns)


@pytest.mark.parametrize("begin_ns", [0, -PERIOD_NS, -PERIOD_NS // 2, 3_000_000])
def test_walls_are_sharp_with_the_motion_undone_and_smear_without(begin_ns: int) -> None:
    sweep, places = turn(3, begin_ns=begin_ns)
    _, place = motion(sweep)
    assert off_walls_m(in_map(sweep.points, place)).mean() > 0.25
    assert off_walls_m(in_map(straight(sweep), place)).max() < 0.01
    np.testing.assert_allclose(in_map(straight(sweep), place), places, atol=0.01)


def test_points_without_a_time_have_no_motion() -> None:
    sweep, _ = turn(0, azimuths=8)
    fails = pytest.fail
    for still in (
        replace(sweep, time_offset_ns=None),
        replace(sweep, time_offset_ns=np.zeros(len(sweep.points), np.int32)),
        replace(sweep, hits_only=True),
    ):
        assert motion_of(still, np.eye(3, 4).reshape(12), lambda stamp: fails("looked up")) is None


def test_the_end_is_looked_up_first() -> None:
    sweep, _ = turn(0, azimuths=8)
    frames = FrameRegistry(max_gap_ns=10**9)
    for transform in transforms(sweep.stamp_ns - PERIOD_NS, sweep.stamp_ns + 20_000_000):
        frames.add(transform)
    asked: list[int] = []

    def look_up(stamp_ns: int) -> Array:
        asked.append(stamp_ns)
        return frames.look_up("map", "lidar", stamp_ns)

    with pytest.raises(NotYet):
        motion_of(sweep, frames.look_up("map", "lidar", sweep.stamp_ns), look_up)
    assert sweep.time_offset_ns is not None
    assert asked == [sweep.stamp_ns + int(sweep.time_offset_ns.max())]


@pytest.mark.parametrize("last_ns", [1, 2, 3, 20_000_000, 20_000_001, 2**31 - 1])
def test_knots_reach_from_the_first_time_to_the_last(last_ns: int) -> None:
    sweep, _ = turn(0, azimuths=8)
    times = np.zeros(len(sweep.points), np.int32)
    times[5] = last_ns
    still = np.eye(3, 4).reshape(12)
    found = motion_of(replace(sweep, time_offset_ns=times), still, lambda stamp_ns: still)
    assert found is not None
    assert (found.knot_ns[0], found.knot_ns[-1]) == (0, last_ns)
    assert (np.diff(found.knot_ns) > 0).all() and 2 <= len(found.knot_ns) <= MAX_KNOTS


def bundled(sweep: Sweep, apart_m: float) -> tuple[list[NDArray[np.float32]], list[Array], list[Array]]:
    """Ends and poses of the bundles, and where in the map these ends are."""
    found, place = motion(sweep)
    assert sweep.time_offset_ns is not None
    bundles = list(found.bundles(straight(sweep), sweep.time_offset_ns, place, apart_m))
    ends, poses = [each.ends for each in bundles], [each.pose for each in bundles]
    return ends, poses, [in_map(*each) for each in zip(ends, poses, strict=True)]


def test_rays_end_in_their_points_and_begin_where_the_sensor_was() -> None:
    sweep, places = turn(2)
    ends, poses, ending = bundled(sweep, apart_m=0.4)
    assert len(ends) == 5  # a little less than 2 m in all
    np.testing.assert_allclose(np.concatenate(ending), places, atol=0.01)
    frames = registry(sweep)
    for number, pose in enumerate(poses):
        middle = sweep.stamp_ns + (2 * number + 1) * PERIOD_NS // 10
        true = frames.look_up("map", "lidar", middle)
        np.testing.assert_allclose(pose[[3, 7, 11]], true[[3, 7, 11]], atol=0.01)


def test_bundles_are_few_and_one_at_rest() -> None:
    sweep, _ = turn(2, azimuths=64)
    assert len(bundled(sweep, apart_m=1e-3)[0]) == MAX_BUNDLES
    assert len(bundled(sweep, apart_m=5.0)[0]) == 1


def test_points_without_a_place_begin_no_ray() -> None:
    sweep, _ = turn(1, azimuths=64)
    points = sweep.points.copy()
    points[::7] = 0
    points[3] = np.nan
    ends = np.concatenate(bundled(replace(sweep, points=points), apart_m=0.4)[0])
    assert len(ends) == len(points) - len(points[::7])
    assert np.isnan(ends).any(axis=1).sum() == 1
