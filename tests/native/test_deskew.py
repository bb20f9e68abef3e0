"""Deskewing against the same formulas in Python (bit for bit), against exact motion, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from native import pose
from native.deskew import deskew
from native.errors import DomainError, OrderError, PoseError
from tests.native.test_pose import interpolated, turned

Floats = NDArray[np.float32]

KNOTS = np.array([-40_000_000, 0, 10_000_000, 60_000_000], np.int32)
POSES = np.stack([
    turned(2, -0.2, (-1.0, 0.5, 0.1)), turned(2, 0.0), turned(2, 0.1, (0.3, 0.0, 0.0)),
    -turned(0, 0.4, (-2.0, 0.1, -0.3)),
])  # fmt: skip


def scattered(count: int, seed: int = 3) -> tuple[Floats, NDArray[np.int32]]:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 20, (count, 3)).astype(np.float32)
    return points, rng.integers(KNOTS[0], KNOTS[-1], count, np.int32, endpoint=True)


def moved(point: list[float], offset_ns: int) -> list[float]:
    """The oracle: the same operations in the same order, in Python floats, without a square root."""
    knot = min(int(np.searchsorted(KNOTS, offset_ns, side="right")), len(KNOTS) - 1) - 1
    a, b = POSES[knot].tolist(), POSES[knot + 1].tolist()
    u = (float(offset_ns) - float(KNOTS[knot])) / (float(KNOTS[knot + 1]) - float(KNOTS[knot]))
    v = 1.0 - u
    sign = -1.0 if ((a[3] * b[3] + a[4] * b[4]) + a[5] * b[5]) + a[6] * b[6] < 0 else 1.0
    t = [p * v + q * u for p, q in zip(a[:3], b[:3], strict=True)]
    x, y, z, w = (p * v + (sign * q) * u for p, q in zip(a[3:], b[3:], strict=True))
    s = 2.0 / (((x * x + y * y) + z * z) + w * w)
    rows = [
        [1.0 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w)],
        [s * (x * y + z * w), 1.0 - s * (x * x + z * z), s * (y * z - x * w)],
        [s * (x * z - y * w), s * (y * z + x * w), 1.0 - s * (x * x + y * y)],
    ]
    px, py, pz = point
    return [((row[0] * px + row[1] * py) + row[2] * pz) + shift for row, shift in zip(rows, t, strict=True)]


@pytest.mark.parametrize("ordered", [False, True])
def test_points_have_the_bits_of_the_written_formula(ordered: bool) -> None:
    points, offsets = scattered(500)
    if ordered:
        offsets.sort()
    offsets[:4] = KNOTS
    oracle = [moved(point, offset) for point, offset in zip(points.tolist(), offsets.tolist(), strict=True)]
    assert np.array_equal(deskew(points, offsets, KNOTS, POSES), np.array(oracle, np.float32))


def test_a_point_moves_by_the_interpolated_pose() -> None:
    points, offsets = scattered(200, 4)
    between = (offsets >= KNOTS[1]) & (offsets < KNOTS[2])
    shares = offsets[between] / KNOTS[2]
    for point, share, got in zip(
        points[between], shares, deskew(points, offsets, KNOTS, POSES)[between], strict=True
    ):
        at = np.array(interpolated(POSES[1].tolist(), POSES[2].tolist(), float(share)))
        turn = pose.matrix(at).reshape(3, 4)
        np.testing.assert_allclose(got, turn[:, :3] @ point + turn[:, 3], atol=1e-5)


def test_a_sensor_at_rest_leaves_points_as_they_are() -> None:
    points, offsets = scattered(300)
    still = np.tile(turned(2, 0.0), (len(KNOTS), 1))
    assert np.array_equal(deskew(points, offsets, KNOTS, still), points)


def test_points_without_a_place_stay_so() -> None:
    points, offsets = scattered(5)
    points[:4] = [[0, 0, 0], [np.nan, 1, 2], [np.inf, 1, 2], [0, 20_000, 0]]
    out = deskew(points, offsets, KNOTS, POSES)
    assert out[:4].tobytes() == points[:4].tobytes()
    assert not np.array_equal(out[4], points[4])


@pytest.mark.parametrize("offset", [KNOTS[0] - 1, KNOTS[-1] + 1])
def test_a_time_outside_the_knots_is_refused(offset: int) -> None:
    with pytest.raises(DomainError, match="offset_ns"):
        deskew(np.ones((1, 3), np.float32), np.array([offset], np.int32), KNOTS, POSES)


def test_knots_must_ascend_and_poses_be_poses() -> None:
    points, offsets = np.ones((1, 3), np.float32), np.zeros(1, np.int32)
    with pytest.raises(OrderError):
        deskew(points, offsets, KNOTS[::-1].copy(), POSES)
    with pytest.raises(PoseError, match="poses"):
        deskew(points, offsets, KNOTS, np.zeros((4, 7)))
    with pytest.raises(DomainError):
        deskew(points, offsets, KNOTS[1:2].copy(), POSES[:1].copy())
    with pytest.raises(ValueError, match="poses"):
        deskew(points, offsets, KNOTS, POSES[:3].copy())
