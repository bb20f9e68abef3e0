"""Poses against the same formulas in Python (bit for bit), exact inverses and rotations by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import pose
from native.errors import DomainError, PoseError

Vector = NDArray[np.float64]
components = st.floats(-1, 1).map(lambda v: round(v, 6))
translations = st.lists(st.floats(-1e5, 1e5), min_size=3, max_size=3)
shares = st.floats(0, 1)


@st.composite
def vectors(draw: st.DrawFn) -> Vector:
    q = np.array([draw(components) for _ in range(4)])
    norm = math.sqrt(float(q @ q))
    assume(norm > 0.1)
    return np.concatenate([np.array(draw(translations)), q / norm])


def turned(axis: int, angle: float, translation: tuple[float, float, float] = (0, 0, 0)) -> Vector:
    """Rotation by an angle about one axis."""
    q = np.zeros(4)
    q[axis], q[3] = math.sin(angle / 2), math.cos(angle / 2)
    return np.concatenate([np.array(translation, np.float64), q])


def homogeneous(matrix: Vector) -> Vector:
    return np.vstack([matrix.reshape(3, 4), [0, 0, 0, 1]])


def dot4(a: Any, b: Any) -> Any:
    return ((a[0] * b[0] + a[1] * b[1]) + a[2] * b[2]) + a[3] * b[3]


def interpolated(a: list[float], b: list[float], u: float) -> list[float]:
    """The oracle: the same operations in the same order, in Python floats."""
    v = 1.0 - u
    sign = -1.0 if dot4(a[3:], b[3:]) < 0 else 1.0
    t = [p if p == q else p * v + q * u for p, q in zip(a[:3], b[:3], strict=True)]
    q = [p * v + sign * r * u for p, r in zip(a[3:], b[3:], strict=True)]
    norm = math.sqrt(dot4(q, q))
    return t + [value / norm for value in q]


def rotation_of(p: list[float]) -> list[float]:
    x, y, z, w = p[3:]
    s = 2.0 / dot4(p[3:], p[3:])
    return [
        *(1.0 - s * (y * y + z * z), s * (x * y - z * w), s * (x * z + y * w), p[0]),
        *(s * (x * y + z * w), 1.0 - s * (x * x + z * z), s * (y * z - x * w), p[1]),
        *(s * (x * z - y * w), s * (y * z + x * w), 1.0 - s * (x * x + y * y), p[2]),
    ]


@settings(deadline=None)
@given(vectors(), vectors(), shares)
def test_interpolation_has_the_bits_of_the_written_formula(a: Vector, b: Vector, u: float) -> None:
    got = pose.interpolate(a, b, u)
    assert got.tolist() == interpolated(a.tolist(), b.tolist(), u)
    assert abs(float(got[3:] @ got[3:]) - 1) < 1e-14


@settings(deadline=None)
@given(vectors())
def test_matrix_has_the_bits_of_the_written_formula(a: Vector) -> None:
    assert pose.matrix(a).tolist() == rotation_of(a.tolist())


@settings(deadline=None)
@given(vectors(), vectors())
def test_ends_and_rest(a: Vector, b: Vector) -> None:
    assert np.array_equal(pose.interpolate(a, b, 0.0)[:3], a[:3])
    assert np.array_equal(pose.interpolate(a, b, 1.0)[:3], b[:3])
    assert np.allclose(pose.interpolate(a, b, 0.0)[3:], a[3:], rtol=0, atol=1e-15)
    sign = -1.0 if float(dot4(a[3:], b[3:])) < 0 else 1.0
    assert np.allclose(pose.interpolate(a, b, 1.0)[3:], sign * b[3:], rtol=0, atol=1e-15)
    still = [pose.interpolate(a, a, u)[:3].tolist() for u in (0.1, 0.3, 0.7)]
    assert still == [a[:3].tolist()] * 3


def test_interpolation_takes_the_shorter_arc() -> None:
    a, b = turned(2, 0.0, (1, 2, 3)), turned(2, 1.0, (3, 2, 1))
    for far in (b, np.concatenate([b[:3], -b[3:]])):
        middle = pose.interpolate(a, far, 0.5)
        assert np.allclose(middle, turned(2, 0.5, (2, 2, 2)), rtol=0, atol=1e-15)
        quarter = pose.interpolate(a, far, 0.25)
        assert abs(2 * math.asin(quarter[5]) - 0.25) < 0.01  # a normalised lerp, not a slerp


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_matrix_turns_the_right_way(axis: int) -> None:
    matrix = pose.matrix(turned(axis, math.pi / 2, (1, 2, 3)))
    unit = np.eye(4)[:, (axis + 1) % 3]
    expected = np.eye(4)[:, (axis + 2) % 3]
    assert np.allclose(homogeneous(matrix) @ unit, expected, rtol=0, atol=1e-15)
    assert matrix.reshape(3, 4)[:, 3].tolist() == [1, 2, 3]


@settings(deadline=None)
@given(vectors())
def test_vector_inverts_matrix(a: Vector) -> None:
    back = pose.vector(pose.matrix(a))
    assert back[6] >= 0
    assert back[:3].tolist() == a[:3].tolist()
    sign = 1.0 if float(back[3:] @ a[3:]) > 0 else -1.0
    assert np.allclose(back[3:] * sign, a[3:], rtol=0, atol=1e-14)


@pytest.mark.parametrize("q", [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 0), (0, 0, 0, 1), (0.6, 0, 0.8, 0)])
def test_half_turns_and_the_identity_come_back(q: tuple[float, ...]) -> None:
    back = pose.vector(pose.matrix(np.array([0, 0, 0, *q], np.float64)))
    assert np.allclose(np.abs(back[3:]), q, rtol=0, atol=1e-15)


@settings(deadline=None)
@given(vectors(), vectors())
def test_compose_and_invert_agree_with_numpy(a: Vector, b: Vector) -> None:
    left, right = pose.matrix(a), pose.matrix(b)
    product = homogeneous(left) @ homogeneous(right)
    assert np.allclose(homogeneous(pose.compose(left, right)), product, rtol=1e-13, atol=1e-9)
    identity = pose.compose(left, pose.invert(left))
    assert np.allclose(homogeneous(identity), np.eye(4), rtol=0, atol=1e-9)


@pytest.mark.parametrize("u", [-1e-9, 1.0000001, math.nan, math.inf])
def test_u_outside_its_interval_is_refused(u: float) -> None:
    with pytest.raises(DomainError, match="u = "):
        pose.interpolate(turned(0, 0.1), turned(0, 0.2), u)


def test_vectors_that_are_no_pose_are_refused() -> None:
    good = turned(1, 0.3)
    for place in range(7):
        for value in (math.nan, math.inf, 3.0 if place > 2 else -math.inf):
            bad = good.copy()
            bad[place] = value
            for call in (lambda b=bad: pose.matrix(b), lambda b=bad: pose.interpolate(good, b, 0.5)):
                with pytest.raises(PoseError):
                    call()
    for scale, accepted in ((1.0009, True), (0.9991, True), (1.0011, False), (0.9989, False), (0.0, False)):
        bent = np.concatenate([good[:3], good[3:] * scale])
        if accepted:
            assert np.allclose(pose.matrix(bent), pose.matrix(good), rtol=0, atol=1e-14)
        else:
            with pytest.raises(PoseError, match="pose"):
                pose.matrix(bent)


def test_matrices_that_are_no_pose_are_refused() -> None:
    good = pose.matrix(turned(1, 0.3, (4, 5, 6)))
    mirrored = good * np.tile([-1, 1, 1, 1], 3)
    stretched = good * np.tile([1.001, 1, 1, 1], 3)
    zero = good * np.tile([0, 0, 0, 1], 3)
    broken = [mirrored, stretched, zero]
    for place in range(12):
        for value in (math.nan, math.inf):
            bad = good.copy()
            bad[place] = value
            broken.append(bad)
    for bad in broken:
        for call in (
            pose.vector,
            pose.invert,
            lambda b: pose.compose(good, b),
            lambda b: pose.compose(b, good),
        ):
            with pytest.raises(PoseError):
                call(bad)
    assert np.allclose(pose.vector(good * np.tile([1.0002, 1, 1, 1], 3)), pose.vector(good), atol=1e-3)


def test_wrong_arrays_are_refused_by_name() -> None:
    good = turned(0, 0.0)
    with pytest.raises(TypeError, match="b: expected dtype float64"):
        pose.interpolate(good, good.astype(np.float32), 0.5)
    with pytest.raises(ValueError, match=r"pose: expected shape \(12,\), got \(3, 4\)"):
        pose.vector(pose.matrix(good).reshape(3, 4))
