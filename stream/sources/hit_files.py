"""Files that say which places are occupied and nothing of rays: point clouds of a map, volumes, meshes.

A point in them is a hit. From where it was seen is not known, so nothing on any way to it is called free.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.codecs.cdr import CodecError
from stream.records import SweepRejected
from stream.sources.base import Item, SourceError, SourceInfo, SourceOptions
from stream.sources.pose_file import MAP_FRAME, read_poses, to_transform
from stream.sources.sweep_files import corrupt, find_poses, list_files, span_at_rate, stamps_at_rate
from stream.sweep import Sweep, cut

PART_POINTS = 1 << 18
"""More points than these come in parts, as maps have more than one message and one binning take."""

MAX_LOCAL_M = 5_000
"""Coordinates beyond are those of a country's grid, too large for cell ids: the map's zero is moved."""

MAX_COORDINATE_M = 1e9
"""Beyond this, float64 has no millimetres any more; no map reaches so far."""

Vector = NDArray[np.float64]

Read = Callable[[Path], tuple[Vector, NDArray[np.float32]]]
"""A file's coordinates, float64 (N, 3) m, and intensity, float32 (N,); raises CodecError, OSError."""


def open_hit_files(
    path: Path, options: SourceOptions, *, format: str, suffixes: Sequence[str], read: Read
) -> HitFiles:
    """A folder of such files in name order, or one file; ``poses.txt`` is looked for beside them.

    Raises SourceError when there are no poses and the first file, which says where the map lies, cannot be
    read
    """
    folder = path if path.is_dir() else path.parent
    paths = (
        sorted(file for suffix in suffixes for file in list_files(path, suffix)) if path.is_dir() else [path]
    )
    pose_file = find_poses([folder], options)
    middle = np.zeros(3)
    if pose_file is None:
        try:
            coordinates, _ = read(paths[0])
            middle = middle_of(coordinates)
        except CodecError as error:
            raise SourceError(f"{paths[0]}: {error}") from error
    return HitFiles(
        location=path,
        format=format,
        paths=paths,
        read=read,
        pose_file=pose_file,
        options=options,
        middle=middle,
        origin=middle if (np.abs(middle) > MAX_LOCAL_M).any() else np.zeros(3),
    )


def middle_of(coordinates: Vector) -> Vector:
    """Middle of the box about the finite points, float64 (3,), in whole metres; zero without any.

    Raises CodecError beyond MAX_COORDINATE_M
    """
    finite = coordinates[np.isfinite(coordinates).all(axis=1)]
    if not len(finite):
        return np.zeros(3)
    middle: Vector = np.floor((finite.min(axis=0) + finite.max(axis=0)) / 2) + 0.0
    if not (np.abs(middle) <= MAX_COORDINATE_M).all():
        raise CodecError(f"coordinates about {middle.tolist()} are not within {MAX_COORDINATE_M:g} m")
    return middle


@dataclass(frozen=True, slots=True, kw_only=True)
class HitFiles:
    """Files as sweeps of hits only, each preceded by the pose of its frame in ``odom``.

    The frame is called as the format. Ranges are counted from its origin, which lies

    * with a pose file where it says, one pose a file: points are those of a robot's or a sensor's frame
    * without one at ``middle``, with the axes of the files: points are those of a map

    read : how to read a file; one that it refuses is a SweepRejected with the reason ``corrupt``
    middle : float64 (3,) m, in the files' coordinates; zero with a pose file
    origin : float64 (3,) m, where the map's zero lies in these coordinates

    A file of more than ``PART_POINTS`` points is a sweep in parts.
    """

    location: Path
    format: str
    paths: Sequence[Path]
    read: Read
    pose_file: Path | None
    options: SourceOptions
    middle: Vector
    origin: Vector

    def info(self) -> SourceInfo:
        """Describe the files without reading points; stamps are None without a rate."""
        start_ns, end_ns = span_at_rate(self.location, self.options, len(self.paths))
        x, y, z = self.origin.tolist()
        suffixes = [path.suffix.lower() for path in self.paths]
        return SourceInfo(
            location=str(self.location),
            format=self.format,
            sweeps=len(self.paths),
            start_ns=start_ns,
            end_ns=end_ns,
            topics={f"*{name}": (self.format, suffixes.count(name)) for name in sorted(set(suffixes))},
            sensor_frames=(self.format,),
            root_frame=MAP_FRAME,
            origin=(x, y, z) if self.origin.any() else None,
        )

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError at once when stamps are missing or poses do not fit."""
        stamps = self._stamps()
        poses: Sequence[Vector] = [np.array([*(self.middle - self.origin), 0, 0, 0, 1])] * len(self.paths)
        if self.pose_file is not None:
            poses = read_poses(self.pose_file, len(self.paths))
        return self._items(stamps, poses)

    def _stamps(self) -> Sequence[int]:
        return stamps_at_rate(self.location, self.options, len(self.paths))

    def _items(self, stamps: Sequence[int], poses: Sequence[Vector]) -> Iterator[Item]:
        robot_id = self.options.robot_id
        for path, stamp_ns, vector in zip(self.paths, stamps, poses, strict=True):
            yield to_transform(vector, robot_id=robot_id, stamp_ns=stamp_ns, child=self.format)
            sweep = self._sweep(path, stamp_ns)
            yield from cut(sweep, PART_POINTS) if isinstance(sweep, Sweep) else [sweep]

    def _sweep(self, path: Path, stamp_ns: int) -> Sweep | SweepRejected:
        stream_id = f"{self.options.robot_id}/{self.format}"
        try:
            coordinates, intensity = self.read(path)
        except (CodecError, OSError) as error:
            return corrupt(path, stream_id, stamp_ns, error)
        with np.errstate(over="ignore"):  # values beyond float32 become infinite, and are counted
            points = np.ascontiguousarray(coordinates - self.middle, np.float32)
        return Sweep(
            stream_id=stream_id,
            stamp_ns=stamp_ns,
            frame=self.format,
            points=points,
            intensity=intensity,
            hits_only=True,
        )
