"""nuScenes LiDAR files, ``.pcd.bin``: float32 x y z intensity ring, little endian, nothing else."""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.sources.base import SourceError, SourceOptions
from stream.sources.sweep_files import SweepFiles, float_columns, list_files
from stream.sweep import MAX_STAMP_NS

SUFFIX = ".pcd.bin"
SENSOR_FRAME = "LIDAR_TOP"
VALUES = ("x", "y", "z", "intensity", "ring")
"""Of a point, float32 each."""

_STAMP = re.compile(r"__([0-9]{1,19})\.pcd\.bin", re.IGNORECASE)
"""``LOG__LIDAR_TOP__1532402927647951.pcd.bin``: microseconds since the epoch."""


def open_nuscenes(path: Path, options: SourceOptions) -> SweepFiles:
    """A folder of ``.pcd.bin`` files (``samples/LIDAR_TOP``, ``sweeps/LIDAR_TOP``) by stamp, or one file.

    Points stay in the sensor's axes, x to the right and y forward; the poses, ``poses.txt`` in the folder or
    ``options.poses``, one a sweep in the order of stamps, place them. Stamps are those of the file names
    Raises SourceError for a name without a stamp, or two files with one
    """
    folder = path if path.is_dir() else path.parent
    paths = list_files(path, SUFFIX) if path.is_dir() else [path]
    stamped = sorted((_stamp(file), file) for file in paths)
    for (before, first), (after, second) in pairwise(stamped):
        if before == after:
            raise SourceError(
                f"{path}: {first.name} and {second.name} have one stamp; a folder holds one sensor's sweeps"
            )
    return SweepFiles(
        location=path,
        format="nuscenes",
        suffix=SUFFIX,
        paths=[file for _, file in stamped],
        decode=decode_pcd_bin,
        pose_folders=[folder],
        options=options,
        stamps_ns=[stamp for stamp, _ in stamped],
        frame=SENSOR_FRAME,
    )


def decode_pcd_bin(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points float32 (N, 3) m and intensity float32 (N,), 0..255.  Raises CodecError for a bad size."""
    return float_columns(content, VALUES)


def _stamp(path: Path) -> int:
    found = _STAMP.search(path.name)
    stamp_ns = int(found[1]) * 1000 if found else 0
    if not 0 < stamp_ns <= MAX_STAMP_NS:
        raise SourceError(
            f"{path}: no stamp in the file name; expected microseconds as in "
            "LOG__LIDAR_TOP__1532402927647951.pcd.bin"
        )
    return stamp_ns
