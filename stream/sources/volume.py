"""Dense volumes in numpy's files: an occupancy grid, of which the occupied voxels are hits.

Numpy's files are what mapping code in Python writes. The trees of OctoMap and OpenVDB are sparse, and their
own libraries turn them into arrays.

* ``.npz`` with ``occupancy`` (I, J, K), ``origin`` and ``resolution``
* ``.npy`` with the occupancy alone, and ``volume.yaml`` beside it with ``origin`` and ``resolution``

Axes of the array are x, y, z. ``origin`` is the lower corner of voxel (0, 0, 0), m, as in
nav_msgs/OccupancyGrid; ``resolution`` the edge of a voxel, m, one number or one for each axis. A point is the
middle of a voxel: voxels larger than a cell leave cells between them empty.
"""

from __future__ import annotations

import reprlib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stream.codecs.cdr import CodecError
from stream.plain_yaml import read_yaml
from stream.sources.base import SourceOptions, one_line
from stream.sources.hit_files import HitFiles, open_hit_files
from stream.sources.pcd import MAX_POINTS

SUFFIXES = (".npy", ".npz")
GEOMETRY_NAME = "volume.yaml"
OCCUPIED = 0.65
"""A voxel is occupied from this probability on, as in ROS map_server (occupied_thresh)."""

_STARTS = {".npy": b"\x93NUMPY", ".npz": b"PK\x03\x04"}
MAX_OCCUPIED = 1 << 25
"""Cap on occupied voxels, of which a small file may have many: 2 GiB until a sweep is made of them."""

_MAX_BYTES = 8 * MAX_POINTS
_PACKINGS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""How numpy packs; zipfile bounds what it unpacks at once for these alone."""


def open_volume(path: Path, options: SourceOptions) -> HitFiles:
    """A folder of ``.npy`` and ``.npz`` volumes in name order, or one file.  Raises as ``open_hit_files``"""
    return open_hit_files(path, options, format="volume", suffixes=SUFFIXES, read=read_volume)


def read_volume(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float32]]:
    """Middles of the occupied voxels, float64 (N, 3) m in the array's order, and zeros, float32 (N,).

    Raises CodecError, OSError
    """
    suffix = path.suffix.lower()
    with path.open("rb") as file:
        start = file.read(6)
    if not start:
        raise CodecError("the file is empty")
    if not start.startswith(_STARTS[suffix]):
        raise CodecError(f"not a {suffix} file of numpy: it begins with {start.hex()}")
    try:
        arrays = _read_npz(path) if suffix == ".npz" else _read_npy(path)
    except (CodecError, OSError):
        raise
    except Exception as error:  # damaged headers make numpy, zipfile and zlib raise nearly anything
        raise CodecError(f"cannot be read: {one_line(error)}") from error
    origin = _numbers(arrays, "origin", (3,))
    resolution = _numbers(arrays, "resolution", (1, 3))
    if not (resolution > 0).all():
        raise CodecError(f"resolution: {resolution.tolist()} must be above 0, in metres")
    occupied = _occupied(arrays["occupancy"])
    count = np.count_nonzero(occupied)
    if count > MAX_OCCUPIED:
        raise CodecError(
            f"occupancy: {count} occupied voxels exceed the cap of {MAX_OCCUPIED}; save it in parts"
        )
    middles = np.argwhere(occupied).astype(np.float64)
    middles += 0.5
    middles *= resolution
    middles += origin
    return middles, np.zeros(count, np.float32)


def _read_npz(path: Path) -> Mapping[str, Any]:
    with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
        entries = file.zip.infolist()
        if other := [entry.filename for entry in entries if entry.compress_type not in _PACKINGS]:
            raise CodecError(f"{other[0]!r:.40} is not packed as numpy does it; use np.savez_compressed")
        size = sum(entry.file_size for entry in entries)
        if size > _MAX_BYTES:  # a small file can unpack to all memory
            raise CodecError(f"{size} bytes unpacked exceed the cap of {_MAX_BYTES}")
        missing = [name for name in ("occupancy", "origin", "resolution") if name not in file]
        if missing:
            raise CodecError(f"no array {', '.join(missing)}; the file has {', '.join(file) or 'none'}")
        return {name: file[name] for name in ("occupancy", "origin", "resolution")}


def _read_npy(path: Path) -> Mapping[str, Any]:
    geometry = path.parent / GEOMETRY_NAME
    if not geometry.is_file():
        raise CodecError(
            f"no {GEOMETRY_NAME} beside it; write origin: [x, y, z] and resolution: 0.2 there, in m"
        )
    try:
        values = read_yaml(geometry.read_text())
    except ValueError as error:
        raise CodecError(f"{GEOMETRY_NAME}: {one_line(error)}") from error
    if not isinstance(values, dict):
        raise CodecError(f"{GEOMETRY_NAME}: expected origin: [x, y, z] and resolution: 0.2")
    return values | {"occupancy": np.load(path, mmap_mode="r", allow_pickle=False)}


def _numbers(arrays: Mapping[str, Any], name: str, sizes: tuple[int, ...]) -> NDArray[np.float64]:
    """Finite numbers, so many of them; a missing one or another kind of value is said by name."""
    value = arrays.get(name)
    shown = " ".join(reprlib.repr(value).split())
    if isinstance(value, list) and not all(isinstance(item, int | float | str) for item in value):
        raise CodecError(f"{name}: expected numbers in metres, got {shown}")  # YAML may nest without end
    count = " or ".join(str(size) for size in sizes)
    wrong = CodecError(f"{name}: expected {count} finite numbers in metres, got {shown}")
    if isinstance(value, np.ndarray | list) and np.size(value) not in sizes:
        raise wrong
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (ValueError, TypeError, OverflowError) as error:
        raise CodecError(f"{name}: expected numbers in metres, got {shown}") from error
    if len(numbers) not in sizes or not np.isfinite(numbers).all():
        raise wrong
    return numbers


def _occupied(grid: NDArray[Any]) -> NDArray[np.bool_]:
    """Which voxels are occupied.

    grid : bool, or 0 and 1; float probabilities, NaN unknown; int8 percent, -1 unknown
    """
    if grid.ndim != 3:
        raise CodecError(f"occupancy: expected an array of 3 axes, got shape {grid.shape}")
    if grid.size > MAX_POINTS:
        raise CodecError(f"occupancy: {grid.size} voxels exceed the cap of {MAX_POINTS}")
    if grid.dtype == np.bool_:
        return np.asarray(grid)
    if grid.dtype.kind not in "iuf":
        raise CodecError(f"occupancy: {grid.dtype} must be bool, a float probability, or int8 in percent")
    probable, percent = grid.dtype.kind == "f", grid.dtype == np.int8
    low, high = (-1, 100) if percent else (0, 1)
    least, most = _range(grid)
    if least < low or most > high:
        raise CodecError(
            f"occupancy: {grid.dtype} values {least:g}..{most:g} are not within {low}..{high}; "
            "save a bool array that is true where a voxel is occupied"
        )
    if percent and most == 1:
        raise CodecError("occupancy: int8 is in percent, and none is above 1 %; save 0 and 1 as bool")
    return np.asarray(grid >= (100 * OCCUPIED if percent else OCCUPIED if probable else 1))


def _range(grid: NDArray[Any]) -> tuple[float, float]:
    """Least and largest value that is not NaN; 0 and 0 where there is none."""
    known = grid[~np.isnan(grid)] if grid.dtype.kind == "f" else grid
    return (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
