"""Logs that are a folder of files, one sweep a file, with a pose file: what their formats share."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from stream.codecs.cdr import CodecError
from stream.records import SweepRejected
from stream.sources.base import Item, SourceError, SourceInfo, SourceOptions
from stream.sources.pose_file import MAP_FRAME, SENSOR_FRAME, read_poses, to_transform
from stream.sweep import MAX_STAMP_NS, Sweep

POSES_NAME = "poses.txt"

Decode = Callable[[bytes], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""Bytes of a file to points float32 (N, 3) m and intensity float32 (N,); raises CodecError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepFiles:
    """Files as sweeps of one sensor, each preceded by its pose in ``odom``.

    location, format : for messages and ``info``
    suffix : what the files' names end in
    paths : one file a sweep, in order; without poses where ``options.odometry`` is to make them
    decode : how to read one; a file it refuses is a SweepRejected with the reason ``corrupt``
    pose_folders : where to look for ``poses.txt`` when ``options.poses`` is None
    stamps_ns : stamps of the files, or None: then they are ``first_stamp_ns + i / rate_hz``
    frame : name of the sensor's frame
    """

    location: Path
    format: str
    suffix: str
    paths: Sequence[Path]
    decode: Decode
    pose_folders: Sequence[Path]
    options: SourceOptions
    stamps_ns: Sequence[int] | None = None
    frame: str = SENSOR_FRAME

    def info(self) -> SourceInfo:
        """Describe the folder without opening its sweeps; stamps are None without a rate."""
        start_ns, end_ns = self._span()
        return SourceInfo(
            location=str(self.location),
            format=self.format,
            sweeps=len(self.paths),
            start_ns=start_ns,
            end_ns=end_ns,
            topics={f"*{self.suffix}": (self.format, len(self.paths))},
            sensor_frames=(self.frame,),
            root_frame=None if self._pose_file() is None else MAP_FRAME,
        )

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError at once when stamps or poses are missing or do not fit."""
        stamps = self._stamps()
        if self.options.odometry:
            return (self._sweep(path, stamp_ns) for path, stamp_ns in zip(self.paths, stamps, strict=True))
        pose_file = self._pose_file()
        if pose_file is None:
            raise SourceError(
                f"{self.location}: no {POSES_NAME} beside the sweeps; name the pose file with --poses "
                "(12 numbers a line, KITTI format), or have the poses made of the sweeps with --odometry"
            )
        return self._items(stamps, read_poses(pose_file, len(self.paths)))

    def _items(self, stamps: Sequence[int], poses: list[NDArray[np.float64]]) -> Iterator[Item]:
        robot_id = self.options.robot_id
        for path, stamp_ns, vector in zip(self.paths, stamps, poses, strict=True):
            yield to_transform(vector, robot_id=robot_id, stamp_ns=stamp_ns, child=self.frame)
            yield self._sweep(path, stamp_ns)

    def _sweep(self, path: Path, stamp_ns: int) -> Sweep | SweepRejected:
        stream_id = f"{self.options.robot_id}/{self.frame}"
        try:
            points, intensity = self.decode(path.read_bytes())
        except (CodecError, OSError) as error:
            return corrupt(path, stream_id, stamp_ns, error)
        return Sweep(
            stream_id=stream_id,
            stamp_ns=stamp_ns,
            frame=self.frame,
            points=points,
            intensity=intensity,
        )

    def _stamps(self) -> Sequence[int]:
        if self.stamps_ns is not None:
            return self.stamps_ns
        return stamps_at_rate(self.location, self.options, len(self.paths))

    def _span(self) -> tuple[int | None, int | None]:
        if self.stamps_ns is not None:
            return self.stamps_ns[0], self.stamps_ns[-1]
        return span_at_rate(self.location, self.options, len(self.paths))

    def _pose_file(self) -> Path | None:
        return find_poses(self.pose_folders, self.options)


def stamps_at_rate(location: Path, options: SourceOptions, sweeps: int) -> list[int]:
    """Stamps in nanoseconds of a log that has none, from ``options.rate_hz`` and ``options.first_stamp_ns``.

    Raises SourceError without a rate, or for stamps outside 1..2^63 - 1
    """
    rate, first = options.rate_hz, options.first_stamp_ns
    if rate is None:
        raise SourceError(f"{location}: the sweeps have no stamps; give --rate-hz, for example 10")
    if not (math.isfinite(rate) and rate > 0):
        raise SourceError(f"{location}: rate_hz: {rate} must be > 0, for example 10")
    last = first + (sweeps - 1) * 1e9 / rate
    if first <= 0 or last > MAX_STAMP_NS:
        raise SourceError(f"{location}: stamps {first}..{last:.0f} ns are outside 1..2^63 - 1")
    return [first + round(number * 1e9 / rate) for number in range(sweeps)]


def span_at_rate(location: Path, options: SourceOptions, sweeps: int) -> tuple[int | None, int | None]:
    """First and last of ``stamps_at_rate``; None without a rate."""
    if options.rate_hz is None:
        return None, None
    stamps = stamps_at_rate(location, options, sweeps)
    return stamps[0], stamps[-1]


def find_poses(folders: Sequence[Path], options: SourceOptions) -> Path | None:
    """``options.poses``, else the first ``poses.txt`` in these folders, else None; None with odometry."""
    if options.odometry:
        return None
    if options.poses is not None:
        return options.poses
    places = (folder / POSES_NAME for folder in folders)
    return next((path for path in places if path.is_file()), None)


def float_columns(content: bytes, names: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points float32 (N, 3) m and intensity float32 (N,) of a file of little-endian float32, nothing else.

    names : of the values of a point, which begin with x y z intensity
    Raises CodecError for a bad size
    """
    if not content:
        raise CodecError("the file is empty")
    size = 4 * len(names)
    if len(content) % size:
        raise CodecError(f"{len(content)} bytes are not a multiple of {size} (float32 {' '.join(names)})")
    table = np.frombuffer(content, "<f4").reshape(-1, len(names))
    return table[:, :3].astype(np.float32), table[:, 3].astype(np.float32)


def corrupt(path: Path, stream_id: str, stamp_ns: int, error: Exception) -> SweepRejected:
    """The dead letter of a file that cannot be read."""
    return SweepRejected(
        robot_id=stream_id.partition("/")[0],
        stream_id=stream_id,
        stamp_ns=stamp_ns,
        part=0,
        reason="corrupt",
        detail=f"{path.name}: {error}",
    )


def list_files(folder: Path, suffix: str) -> list[Path]:
    """Files of a folder whose names end so, in name order; hidden files are left out."""
    found = (path for path in folder.iterdir() if path.name.lower().endswith(suffix) and path.is_file())
    return sorted(path for path in found if not path.name.startswith("."))
