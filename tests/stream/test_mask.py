"""The mask: what it drops, what it turns into rays without return, and that nothing else changes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.config import MaskConfig
from stream.mask import Mask, Unmasked
from stream.sweep import Sweep

BOX = (-2.0, -1.0, -1.5, 3.0, 1.0, 0.5)
BELOW = (-2.0, -1.0, -1.5, 3.0, 1.0, -0.5)
"""The same body under a sensor that stands clear of it."""

NONE = np.empty((0, 3), np.float32)


def sweep(points: Any, misses: Any = NONE) -> Sweep:
    points = np.asarray(points, np.float32).reshape(-1, 3)
    misses = np.asarray(misses, np.float32).reshape(-1, 3)
    return Sweep(
        stream_id="robot/lidar", stamp_ns=1, frame="lidar", points=points, misses=misses,
        intensity=np.arange(len(points), dtype=np.float32),
    )  # fmt: skip


def apply(points: Any, misses: Any = NONE, pose: Any = None, **mask: Any) -> Unmasked:
    return Mask(MaskConfig(**mask)).apply(sweep(points, misses), pose)


def level(*azimuths_deg: float, up: float = 0.0) -> NDArray[np.float32]:
    """Unit directions at these azimuths."""
    angle = np.radians(azimuths_deg)
    flat = np.sqrt(1 - up * up)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), np.full(len(angle), up)], axis=1)


def kept(result: Unmasked) -> list[int]:
    """Which points are left, by number."""
    return [int(value) for value in result.intensity]


def test_without_a_mask_the_arrays_are_the_sweeps_own() -> None:
    given_ = sweep([[0, 0, 0], [1, 0, 0], [np.nan, 1, 1]], [[0, 0, 1]])
    result = Mask(MaskConfig()).apply(given_)
    assert result.points is given_.points
    assert result.intensity is given_.intensity
    assert result.misses is given_.misses
    assert result.masked == 0


def test_points_in_the_ego_box_are_dropped_and_counted() -> None:
    points = [
        [0, 0, 0],
        [2.9, 0.9, 0.4],
        [3.1, 0, 0],
        [0, -1.1, 0],
        [0, 0, 0.6],
        [np.nan, 0, 0],
        [-2, -1, -1.5],
    ]
    result = apply(points, ego_box_m=BOX)
    assert kept(result) == [2, 3, 4, 5]
    np.testing.assert_array_equal(result.points, np.float32(points)[[2, 3, 4, 5]])
    assert result.masked == 3


def test_the_ego_box_may_be_in_another_frame() -> None:
    # The sensor looks backwards, a metre ahead of and two above the base.
    pose = np.array([-1.0, 0, 0, 1.0, 0, -1.0, 0, 0, 0, 0, 1.0, 2.0])
    box = (-2.0, -1.0, 0.0, 3.0, 1.0, 1.5)
    mask = Mask(MaskConfig(ego_box_m=box, ego_frame="base_link"))
    assert mask.frame == "base_link"
    result = mask.apply(sweep([[-1.9, 0, -1], [2.9, 0, -1], [-2.1, 0, -1], [3.1, 0, -1], [0, 0, 0]]), pose)
    assert kept(result) == [2, 3, 4]


@pytest.mark.parametrize("mask", [MaskConfig(), MaskConfig(ego_box_m=BOX), MaskConfig(ego_frame="base_link")])
def test_a_frame_is_asked_for_only_where_the_box_needs_one(mask: MaskConfig) -> None:
    assert Mask(mask).frame is None


@pytest.mark.parametrize(
    ("sector", "inside"),
    [
        ((30, 60), {45}),
        ((60, 30), {-179, -90, -1, 1, 29, 61, 90, 135, 179}),
        ((170, -170), {-179, 179}),
        ((170, 190), {-179, 179}),
        ((-10, 10), {-1, 1}),
        ((0, 180), {1, 29, 45, 61, 90, 135, 179}),
        ((359.5, 331), {1, 29, 45, 61, 90, 135, 179, -179, -90}),
    ],
)
def test_sectors_turn_counter_clockwise_and_may_wrap(sector: tuple[float, float], inside: set[int]) -> None:
    azimuths = [-179, -90, -1, 1, 29, 45, 61, 90, 135, 179]
    result = apply(5 * level(*azimuths), level(*azimuths, up=0.3), drop_sectors_deg=(sector,))
    assert [azimuths[number] for number in kept(result)] == [a for a in azimuths if a not in inside]
    np.testing.assert_allclose(
        result.misses, level(*[a for a in azimuths if a not in inside], up=0.3), atol=1e-6
    )
    assert result.masked == 2 * len(inside)


@pytest.mark.parametrize("sector", [(0, 180), (0, 90), (90, 0), (-90, 0), (-0.5, 0.5)])
def test_straight_up_is_in_no_sector(sector: tuple[float, float]) -> None:
    result = apply([[0, 0, 5]], [[0, 0, -1]], drop_sectors_deg=(sector,))
    assert (len(result.points), len(result.misses), result.masked) == (1, 1, 0)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32),
    sectors=st.lists(st.tuples(st.integers(-180, 180), st.integers(1, 359)), max_size=3),
    boxed=st.booleans(),
)
def test_against_angles(seed: int, sectors: list[tuple[int, int]], boxed: bool) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(scale=3, size=(200, 3)).astype(np.float32)
    points[rng.random(200) < 0.05] = np.nan
    azimuth = np.degrees(np.arctan2(points[:, 1], points[:, 0]))
    dropped, clear = np.zeros(200, bool), np.ones(200, bool)
    for start, width in sectors:
        turn = (azimuth - start) % 360
        dropped |= turn < width
        clear &= ~((np.minimum(turn, 360 - turn) < 1e-3) | (np.abs(turn - width) < 1e-3))
    if boxed:
        dropped |= ((points >= BOX[:3]) & (points <= BOX[3:])).all(axis=1)
    result = apply(
        points,
        drop_sectors_deg=tuple((start, (start + width + 180) % 360 - 180) for start, width in sectors),
        ego_box_m=BOX if boxed else (),
    )
    left = np.zeros(200, bool)
    left[kept(result)] = True
    np.testing.assert_array_equal(left[clear], ~dropped[clear])
    np.testing.assert_array_equal(result.points, points[left])
    assert result.masked == 200 - len(result.points)


def test_a_miss_that_the_body_may_have_swallowed_is_dropped() -> None:
    down, ahead, up = [0.0, 0.0, -1.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]
    over_the_nose = np.array([4.0, 0.0, -0.49]) / np.linalg.norm([4.0, 0.0, -0.49])
    into_the_nose = np.array([2.9, 0.0, -0.51]) / np.linalg.norm([2.9, 0.0, -0.51])
    result = apply([], [down, ahead, up, over_the_nose, into_the_nose], ego_box_m=BELOW)
    np.testing.assert_allclose(result.misses, np.float32([ahead, up, over_the_nose]))
    assert result.masked == 2


def test_a_sensor_inside_its_ego_box_keeps_its_misses() -> None:
    """Every ray starts in the body then, so the box says nothing about them."""
    result = apply([[1, 0, 0]], level(0, 90, 180), ego_box_m=BOX)
    assert (len(result.points), len(result.misses), result.masked) == (0, 3, 1)


def test_a_box_in_another_frame_drops_misses_there() -> None:
    pose = np.array([-1.0, 0, 0, 1.0, 0, -1.0, 0, 0, 0, 0, 1.0, 2.0])
    mask = Mask(MaskConfig(ego_box_m=(2.0, -1.0, 0.0, 5.0, 1.0, 3.0), ego_frame="base_link"))
    result = mask.apply(sweep([], [[-1, 0, 0], [1, 0, 0], [0, 1, 0]]), pose)  # the box is ahead of the base
    np.testing.assert_array_equal(result.misses, np.float32([[1, 0, 0], [0, 1, 0]]))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_a_box_in_any_frame_against_points_along_rays(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.linalg.det(rotation)
    origin = rng.uniform(-4, 4, 3)
    pose = np.column_stack([rotation, origin]).reshape(-1)
    points = rng.normal(scale=4, size=(100, 3)).astype(np.float32)
    misses = rng.normal(size=(60, 3))
    misses = (misses / np.linalg.norm(misses, axis=1, keepdims=True)).astype(np.float32)
    low, high = np.array(BOX[:3]), np.array(BOX[3:])

    def inside(at: NDArray[np.float64], grown: float) -> NDArray[np.bool_]:
        return ((at >= low - grown) & (at <= high + grown)).all(axis=-1)

    result = Mask(MaskConfig(ego_box_m=BOX, ego_frame="body")).apply(sweep(points, misses), pose)
    left = np.zeros(100, bool)
    left[kept(result)] = True
    at = points @ rotation.T + origin
    assert not left[inside(at, -1e-3)].any()
    assert left[~inside(at, 1e-3)].all()
    along = np.arange(0, 20, 0.01)[:, None, None] * (misses @ rotation.T) + origin  # (2000, 60, 3)
    swallowed = inside(along, -0.02).any(axis=0) & ~inside(origin, 0.02)
    clear = ~inside(along, 0.02).any(axis=0) | inside(origin, -0.02)
    left = (misses[:, None] == result.misses).all(axis=2).any(axis=1)
    assert not left[swallowed].any()
    assert left[clear].all()
    assert result.masked == 160 - len(result.points) - len(result.misses)


def test_points_at_the_far_end_become_misses() -> None:
    far = np.array([120.0, 0, 0])
    points = [[5, 0, 0], far, [119, 0, 0], [0, 300, 400], [np.nan, 0, 0], [np.inf, 0, 0], [0, -119.98, 0]]
    result = apply(points, [[0, 0, 1]], miss_beyond_m=119.5)
    assert kept(result) == [0, 2, 4, 5]
    np.testing.assert_allclose(result.misses, [[0, 0, 1], [1, 0, 0], [0, 0.6, 0.8], [0, -1, 0]], atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(result.misses, axis=1), 1, atol=1e-6)
    assert result.masked == 0


def test_a_far_point_that_is_masked_is_dropped_once() -> None:
    result = apply([[120, 0, 0], [0, 120, 0]], miss_beyond_m=119.5, drop_sectors_deg=((-5, 5),))
    np.testing.assert_allclose(result.misses, [[0, 1, 0]], atol=1e-6)
    assert (len(result.points), result.masked) == (0, 1)


def test_ray_ends_are_returns_then_misses_at_their_range() -> None:
    result = apply([[5, 0, 0]], [[0, 0, 1], [0, -1, 0]])
    np.testing.assert_array_equal(result.ray_ends(20.0), np.float32([[5, 0, 0], [0, 0, 20], [0, -20, 0]]))
    assert result.ray_ends(20.0).dtype == np.float32
    without = apply([[5, 0, 0]])
    assert without.ray_ends(20.0) is without.points
