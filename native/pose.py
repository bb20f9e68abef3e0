"""Rigid transforms in the C core: only + - * / and sqrt in a fixed order, so equal on every machine.

A pose vector is float64 (7,): translation x, y, z in metres, unit quaternion x, y, z, w.
A pose matrix is float64 (12,): 3 x 4 row-major [R | t], child frame to parent frame.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import check

Pose = NDArray[np.float64]


def interpolate(a: Pose, b: Pose, u: float) -> Pose:
    """Pose between two pose vectors: linear translation, normalised linear rotation on the shorter arc.

    a, b : float64 (7,)
    u : 0 at a, 1 at b
    Returns float64 (7,)
    Raises DomainError (u outside 0..1), PoseError (not finite, quaternion not of unit length within 1e-3)
    """
    start, end = _vector(a, "a"), _vector(b, "b")
    out = np.empty(7)
    check(lib.octa_pose_interpolate(start, end, u, output(out)), f"a, b, u = {u}")
    return out


def matrix(pose: Pose) -> Pose:
    """Pose matrix of a pose vector.

    pose : float64 (7,)
    Returns float64 (12,)
    Raises PoseError
    """
    pointer = _vector(pose, "pose")
    out = np.empty(12)
    check(lib.octa_pose_matrix(pointer, output(out)), "pose")
    return out


def vector(pose: Pose) -> Pose:
    """Pose vector of a pose matrix, with w >= 0.

    pose : float64 (12,)
    Returns float64 (7,)
    Raises PoseError (not finite, or R not a rotation within 1e-3)
    """
    pointer = _matrix(pose, "pose")
    out = np.empty(7)
    check(lib.octa_pose_vector(pointer, output(out)), "pose")
    return out


def compose(a: Pose, b: Pose) -> Pose:
    """Pose matrix ``a * b``: first b, then a.

    a, b : float64 (12,)
    Returns float64 (12,)
    Raises PoseError, also when the errors of both add up to more than 1e-3
    """
    left, right = _matrix(a, "a"), _matrix(b, "b")
    out = np.empty(12)
    check(lib.octa_pose_compose(left, right, output(out)), "a, b")
    return out


def invert(pose: Pose) -> Pose:
    """Inverse of a pose matrix.

    pose : float64 (12,)
    Returns float64 (12,)
    Raises PoseError
    """
    pointer = _matrix(pose, "pose")
    out = np.empty(12)
    check(lib.octa_pose_invert(pointer, output(out)), "pose")
    return out


def _vector(pose: Pose, name: str) -> object:
    return readable(pose, np.float64, (7,), name)


def _matrix(pose: Pose, name: str) -> object:
    return readable(pose, np.float64, (12,), name)
