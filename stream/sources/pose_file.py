"""Pose files in KITTI format: one pose a line, 12 numbers, the 3 x 4 matrix by rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.sources.base import SourceError
from stream.transform import Transform

MAP_FRAME = "odom"
SENSOR_FRAME = "velodyne"
"""Names of the two frames of logs that name none."""


def read_poses(path: Path, sweeps: int) -> list[NDArray[np.float64]]:
    """Pose vectors of a pose file, one a sweep, in its order: sensor frame to the frame of the first sweep.

    Returns float64 (7,) each: x, y, z in metres, unit quaternion x, y, z, w
    Raises SourceError that names the line: not 12 finite numbers, or not a rotation within 1e-3; or for
    another number of poses than of sweeps
    """
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError as error:
        raise SourceError(f"{path}: no such pose file") from error
    except OSError as error:
        raise SourceError(f"{path}: cannot read the pose file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{path}: not a text file; expected 12 numbers a line (KITTI format)") from error
    poses = [_pose(path, number, line) for number, line in enumerate(lines, 1) if line.strip()]
    if not poses:
        raise SourceError(f"{path}: the pose file is empty")
    if len(poses) != sweeps:
        raise SourceError(f"{path}: {len(poses)} poses for {sweeps} sweeps; one pose a sweep is needed")
    return poses


def _pose(path: Path, number: int, line: str) -> NDArray[np.float64]:
    try:
        values = np.array(line.split(), np.float64)
    except ValueError as error:
        raise SourceError(f"{path}: line {number}: {error}") from error
    if len(values) != 12:
        raise SourceError(
            f"{path}: line {number}: {len(values)} numbers, expected 12 (KITTI format: 3 x 4 matrix by rows)"
        )
    try:
        return pose.vector(values)
    except ValueError as error:
        raise SourceError(f"{path}: line {number}: not a rigid pose: {error}") from error


def to_transform(
    vector: NDArray[np.float64], *, robot_id: str, stamp_ns: int, child: str = SENSOR_FRAME
) -> Transform:
    """A pose of the sensor as a transform from ``odom``."""
    x, y, z, qx, qy, qz, qw = vector.tolist()
    return Transform(
        robot_id=robot_id,
        stamp_ns=stamp_ns,
        parent=MAP_FRAME,
        child=child,
        translation=(x, y, z),
        rotation=(qx, qy, qz, qw),
    )
