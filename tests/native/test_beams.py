"""The sample of a sweep's beams: which returns it takes, in what order and units, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import beams
from native.errors import DomainError
from tests.native.recorded import sweep

MAX_POINTS = 524_287
AXES = np.array([[1, 0, 0], [0, -1, 0], [0, 0, 1], [-1, 0, 0]], np.float32)
UNUSABLE = [
    *((v, 1.0, 1.0) for v in (np.nan, np.inf, -np.inf, 10_000.5, -20_000.0)),
    *((1.0, v, 1.0) for v in (np.nan, np.inf, 1e30)),
    *((1.0, 1.0, v) for v in (np.nan, -np.inf, -1e30)),
    (0.0, 0.0, 0.0),
    (-0.0, 0.0, -0.0),
]


def expected(points: NDArray[np.float32], max_beams: int) -> NDArray[np.int16]:
    """Every k-th usable return as a unit vector, rounded half up; k is odd."""
    with np.errstate(invalid="ignore"):
        near = (np.abs(points) <= 10_000).all(axis=1) & (points != 0).any(axis=1)
    usable = points[near].astype(np.float64)
    least = max(1, -(-len(usable) // max_beams))
    stride = least if least == 1 else least | 1
    taken = usable[::stride]
    x, y, z = taken.T
    shares = taken / np.sqrt(x * x + y * y + z * z)[:, None]
    directions: NDArray[np.int16] = np.floor(shares * beams.BEAM_ONE + 0.5).astype(np.int16)
    return directions


def random_points(seed: int, n: int, spoiled: float = 0.2) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    points = (rng.normal(size=(n, 3)) * 10.0 ** rng.integers(-6, 4, (n, 1))).astype(np.float32)
    bad = rng.random(n) < spoiled
    points[bad] = np.array(UNUSABLE, np.float32)[rng.integers(0, len(UNUSABLE), int(bad.sum()))]
    return points


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 200), st.integers(1, 250))
def test_any_points_match_the_definition(seed: int, n: int, max_beams: int) -> None:
    points = random_points(seed, n)
    kept = points.copy()
    got = beams.sample(points, max_beams)
    assert got.dtype == np.int16 and got.shape[1:] == (3,) and len(got) <= max_beams
    assert np.array_equal(got, expected(points, max_beams))
    assert np.array_equal(points, kept, equal_nan=True)


@pytest.mark.parametrize("max_beams", [1, 7, 1000, 4096, 200_000])
def test_recorded_sweeps_match_the_definition(max_beams: int) -> None:
    points = sweep(3).points
    got = beams.sample(points, max_beams)
    assert np.array_equal(got, expected(points, max_beams))
    assert len(got) > min(max_beams, len(points)) / 2


def test_directions_are_unit_vectors_in_the_sensor_frame() -> None:
    one = beams.BEAM_ONE
    assert one == 32767
    want = [[one, 0, 0], [0, -one, 0], [0, 0, one], [-one, 0, 0]]
    for length in (np.float32(1e-40), np.float32(1e-6), np.float32(0.3), np.float32(9_999)):
        assert beams.sample(AXES * length, 4).tolist() == want
    got = beams.sample(random_points(1, 500, 0), 500).astype(np.float64)
    assert np.abs(np.linalg.norm(got, axis=1) - one).max() < 1


def test_the_stride_is_the_least_odd_one_that_the_capacity_allows() -> None:
    points = random_points(2, 100, 0)
    for max_beams, taken in ((100, slice(None)), (99, slice(0, 100, 3)), (33, slice(0, 100, 5))):
        assert np.array_equal(beams.sample(points, max_beams), expected(points[taken], 100))
    assert [len(beams.sample(points, most)) for most in (49, 34, 33, 2, 1)] == [34, 34, 20, 2, 1]


def test_a_cloud_stored_by_columns_shows_every_ring() -> None:
    """64 rings column by column: a stride of 4 or 8 would keep few of them."""
    ring, column = np.arange(64) / 64, np.linspace(0, 2 * np.pi, 1024, endpoint=False)
    points = np.stack(np.broadcast_arrays(np.cos(column)[:, None], np.sin(column)[:, None], ring), axis=-1)
    for max_beams in (60_000, 16_384, 8_192, 700):
        got = beams.sample(points.reshape(-1, 3).astype(np.float32), max_beams)
        height = got[:, 2] / np.hypot(got[:, 0], got[:, 1])
        assert len(np.unique(np.round(height * 64))) == 64


def test_unusable_returns_are_passed_over() -> None:
    """They count neither as beams nor in the stride."""
    good = random_points(3, 40, 0)
    spoiled = np.repeat(good, 2, axis=0)
    spoiled[::2] = np.resize(np.array(UNUSABLE, np.float32), (40, 3))
    for max_beams in (1, 7, 20, 40, 80):
        assert np.array_equal(beams.sample(spoiled, max_beams), beams.sample(good, max_beams))
    assert beams.sample(np.array(UNUSABLE, np.float32), 9).shape == (0, 3)


def test_a_capacity_of_one_takes_the_first_usable_return() -> None:
    points = np.concatenate([np.full((3, 3), np.nan, np.float32), AXES[1:]])
    assert beams.sample(points, 1).tolist() == [[0, -beams.BEAM_ONE, 0]]


def test_no_points_have_no_beams() -> None:
    for max_beams in (1, 4096):
        got = beams.sample(np.empty((0, 3), np.float32), max_beams)
        assert got.shape == (0, 3) and got.dtype == np.int16


def test_beams_keep_the_order_of_the_points() -> None:
    points = random_points(4, 60, 0)
    order = np.random.default_rng(0).permutation(60)
    assert np.array_equal(beams.sample(points[order], 60), beams.sample(points, 60)[order])


@pytest.mark.parametrize("max_beams", [0, -1])
def test_no_capacity_is_refused(max_beams: int) -> None:
    for points in (AXES, AXES[:0]):
        with pytest.raises(DomainError, match="max_beams"):
            beams.sample(points, max_beams)


def test_too_many_points_are_refused() -> None:
    points = np.ones((MAX_POINTS + 1, 3), np.float32)
    assert len(beams.sample(points[:-1], 10)) == 10
    with pytest.raises(DomainError, match="points"):
        beams.sample(points, 10)


@pytest.mark.parametrize(
    ("points", "error"),
    [
        (AXES.astype(np.float64), TypeError),
        (AXES.astype(np.int16), TypeError),
        (AXES.tolist(), TypeError),
        (AXES.reshape(3, 4), ValueError),
        (AXES.reshape(-1), ValueError),
        (np.asfortranarray(AXES), ValueError),
        (np.ones((4, 6), np.float32)[:, ::2], ValueError),
    ],
)
def test_other_arrays_are_refused(points: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="points"):
        beams.sample(points, 4)
