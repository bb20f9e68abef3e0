"""KITTI Velodyne files: float32 x y z intensity, little endian, nothing else."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.sources import nuscenes
from stream.sources.base import SourceError, SourceOptions
from stream.sources.sweep_files import SweepFiles, float_columns, list_files

SUFFIX = ".bin"
STAMPS_NAME = "timestamps.txt"
VALUES = ("x", "y", "z", "intensity")
"""Of a point, float32 each."""
SUBFOLDERS = ("velodyne_points/data", "data", "velodyne")
"""Where a drive (raw), its sensor folder or a sequence (odometry) keeps the files."""


def sweep_folder(path: Path) -> Path | None:
    """The folder that holds the ``.bin`` files: this one or one of SUBFOLDERS; None when there are none."""
    places = [path, *(path / name for name in SUBFOLDERS)]
    return next((place for place in places if place.is_dir() and _list(place)), None)


def open_kitti(path: Path, options: SourceOptions) -> SweepFiles:
    """A folder of ``.bin`` files in name order (or a drive that holds one), or one file.

    ``poses.txt`` (sensor poses, KITTI format) and ``timestamps.txt`` (KITTI raw, UTC) are looked for in the
    folder and beside it, up to ``path``; without stamps ``options.rate_hz`` makes them
    Raises SourceError for stamps that cannot be read or do not fit the sweeps
    """
    folder = (sweep_folder(path) or path) if path.is_dir() else path.parent
    paths = _list(folder) if path.is_dir() else [path]
    around = [folder, folder.parent]
    if path.is_dir() and path not in around:
        around.append(path)
    stamps = next((place / STAMPS_NAME for place in around if (place / STAMPS_NAME).is_file()), None)
    return SweepFiles(
        location=path,
        format="kitti",
        suffix=SUFFIX,
        paths=paths,
        decode=decode_bin,
        pose_folders=around,
        options=options,
        stamps_ns=None if stamps is None else read_stamps(stamps, len(paths)),
    )


def _list(folder: Path) -> list[Path]:
    """The ``.bin`` files of a folder; those of nuScenes have five values a point."""
    return [path for path in list_files(folder, SUFFIX) if not path.name.lower().endswith(nuscenes.SUFFIX)]


def decode_bin(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points float32 (N, 3) m and intensity float32 (N,), 0..1.  Raises CodecError for a bad size."""
    return float_columns(content, VALUES)


def read_stamps(path: Path, sweeps: int) -> list[int]:
    """Stamps (ns since the epoch) of a KITTI raw ``timestamps.txt``: ``2011-09-26 13:02:25.594360375``, UTC.

    Raises SourceError: another format, not ascending, not one a sweep
    """
    try:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(f"{path}: cannot read the stamps: {error}") from error
    stamps = [_stamp(path, number, line.strip()) for number, line in enumerate(lines, 1)]
    if len(stamps) != sweeps:
        raise SourceError(f"{path}: {len(stamps)} stamps for {sweeps} sweeps; one stamp a sweep is needed")
    for number, (before, after) in enumerate(pairwise(stamps), 2):
        if after <= before:
            raise SourceError(f"{path}: line {number}: the stamp is not after the one before it")
    return stamps


def _stamp(path: Path, number: int, line: str) -> int:
    whole, _, fraction = line.partition(".")
    try:
        time = datetime.strptime(whole, "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        if not (fraction + "0").isdecimal() or len(fraction) > 9:
            raise ValueError(f"{fraction!r} is not a fraction of a second")
    except ValueError as error:
        raise SourceError(
            f"{path}: line {number}: expected 2011-09-26 13:02:25.594360375, got {line[:40]!r}"
        ) from error
    return int(time.timestamp()) * 1_000_000_000 + int(fraction.ljust(9, "0"))
