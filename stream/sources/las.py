"""LAS and LAZ files, point clouds of a mapping sensor: one file a sweep, coordinates of a map.

A map's coordinates have too many digits for float32, so the map is moved: its zero becomes the origin, the
minimum of the first file's header rounded down to whole metres. Points that lie in a map say nothing of where
the sensor stood, and without that no ray can be cast and no place be called free. So rays are cast only where
a pose file says where the sensor stood; without one the points are hits only.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.codecs.cdr import CodecError
from stream.records import SweepRejected
from stream.sources.base import Item, SourceError, SourceInfo, SourceOptions, one_line
from stream.sources.hit_files import MAX_COORDINATE_M, PART_POINTS
from stream.sources.laz_chunks import check_chunks
from stream.sources.pcd import MAX_POINTS
from stream.sources.pose_file import MAP_FRAME, read_poses, to_transform
from stream.sources.sweep_files import corrupt, find_poses, list_files, span_at_rate, stamps_at_rate
from stream.sweep import MAX_STAMP_NS, Sweep, cut

if TYPE_CHECKING:
    from laspy import LasHeader, LasReader

SUFFIXES = (".las", ".laz")
SENSOR_FRAME = "las"
"""Frame of the points: the sensor's, or without poses one in the middle of the first file."""

GPS_EPOCH_S = 315_964_800
"""1980-01-06 in seconds since 1970."""

ADJUSTED_S = 1_000_000_000
"""What adjusted standard GPS time leaves out."""

START_BYTES = 105
"""Of every header, up to the point format."""

RECORD_BYTES = 54
"""A record of variable length takes so many at least."""

_COMPRESSED = 0x80
_MAX_OFFSET_NS = np.iinfo(np.int32).max
_WKT_ID = 2112
"""Record that holds the WKT of a coordinate system."""

_CRS_KEYS = (3072, 2048)
"""GeoTIFF's keys of a projected and of a geographic system; values up to 32766 are EPSG codes."""

Vector = NDArray[np.float64]

logging.getLogger("laspy").addHandler(logging.NullHandler())  # else errors that it raises are printed as well


def open_las(path: Path, options: SourceOptions) -> LasFiles:
    """A folder of LAS and LAZ files in name order, or one file.

    Raises SourceError when the first file's header cannot be read, ModuleNotFoundError without laspy, or
    without lazrs where the first file is compressed
    """
    paths = list_las(path) if path.is_dir() else [path]
    pose_file = find_poses([path if path.is_dir() else path.parent], options)
    try:
        with _opened(paths[0]) as reader:
            header = reader.header
            origin, crs = _origin(header), _crs(header)
            middle = _middle(header) if pose_file is None else origin
            timed, epoch_s = "gps_time" in header.point_format.dimension_names, _epoch_s(header)
    except CodecError as error:
        raise SourceError(f"{paths[0]}: {error}") from error
    return LasFiles(
        location=path,
        paths=paths,
        pose_file=pose_file,
        options=options,
        origin=origin,
        middle=middle,
        crs=crs,
        epoch_s=epoch_s if timed and options.rate_hz is None else None,
    )


def list_las(folder: Path) -> list[Path]:
    """LAS and LAZ files of a folder in name order."""
    return sorted(path for suffix in SUFFIXES for path in list_files(folder, suffix))


@dataclass(frozen=True, slots=True, kw_only=True)
class LasFiles:
    """LAS and LAZ files as sweeps of the frame ``las``.

    pose_file : where the sensor stood, one pose a file, in the coordinates of the files. Points become those
        of the sensor, each sweep is preceded by its pose in ``odom``, and ``odom`` is the files' map with its
        zero at ``origin``. None for none: the frame has the map's axes and lies at ``middle``, and what is in
        it are hits only; with ``options.odometry`` coordinates are the sensor's own
    origin, middle : m, in the files' coordinates; crs : what the first header says of them
    epoch_s : what GPS times count from, in seconds since 1970. A sweep's stamp is its least GPS time; points
        carry theirs where they come in order within 2.1 s. None: stamps follow from ``options.rate_hz``

    A file that cannot be read is a SweepRejected with the reason ``corrupt``.
    """

    location: Path
    paths: Sequence[Path]
    pose_file: Path | None
    options: SourceOptions
    origin: tuple[float, float, float]
    middle: tuple[float, float, float]
    crs: str | None
    epoch_s: int | None

    def info(self) -> SourceInfo:
        """Describe the files without reading points; stamps are None without a rate."""
        start_ns, end_ns = span_at_rate(self.location, self.options, len(self.paths))
        return SourceInfo(
            location=str(self.location),
            format="las",
            sweeps=len(self.paths),
            start_ns=start_ns,
            end_ns=end_ns,
            topics={f"*{suffix}": ("las", count) for suffix in SUFFIXES if (count := self._count(suffix))},
            sensor_frames=(SENSOR_FRAME,),
            root_frame=MAP_FRAME,
            origin=self.origin,
            crs=self.crs,
        )

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError at once when there are no stamps or poses do not fit."""
        stamps: Sequence[int | None] = [None] * len(self.paths)
        if self.epoch_s is None:
            stamps = self._stamps()
        middle = (0, 0, 0) if self.options.odometry else self.middle
        poses: Sequence[Vector] = [np.array([*middle, 0, 0, 0, 1], np.float64)] * len(self.paths)
        if self.pose_file is not None:
            poses = read_poses(self.pose_file, len(self.paths))
        return self._items(stamps, poses)

    def _count(self, suffix: str) -> int:
        return sum(path.suffix.lower() == suffix for path in self.paths)

    def _stamps(self) -> list[int]:
        return stamps_at_rate(self.location, self.options, len(self.paths))

    def _items(self, stamps: Sequence[int | None], poses: Sequence[Vector]) -> Iterator[Item]:
        for path, stamp_ns, vector in zip(self.paths, stamps, poses, strict=True):
            item = self._sweep(path, stamp_ns, vector)
            if not isinstance(item, Sweep):
                yield item
                continue
            moved = vector - np.array([*self.origin, 0, 0, 0, 0])
            yield to_transform(
                moved, robot_id=self.options.robot_id, stamp_ns=item.stamp_ns, child=SENSOR_FRAME
            )
            yield from cut(item, PART_POINTS) if item.hits_only else [item]

    def _sweep(self, path: Path, stamp_ns: int | None, vector: Vector) -> Sweep | SweepRejected:
        stream_id = f"{self.options.robot_id}/{SENSOR_FRAME}"
        try:
            record = _read_points(path)
            time_offset_ns = None
            if self.epoch_s is not None:
                stamp_ns, time_offset_ns = _times(record, self.epoch_s)
        except (CodecError, OSError) as error:
            return corrupt(path, stream_id, stamp_ns or 0, error)
        with np.errstate(over="ignore", invalid="ignore"):  # scales are the file's, as are infinite ones
            coordinates = np.array([record.x, record.y, record.z], np.float64)
        return Sweep(
            stream_id=stream_id,
            stamp_ns=stamp_ns or 0,
            frame=SENSOR_FRAME,
            points=_placed(coordinates, vector),
            intensity=np.array(record.intensity, np.float32),
            time_offset_ns=time_offset_ns if self.pose_file is None else None,  # a map has no motion in it
            hits_only=self.pose_file is None and not self.options.odometry,
        )


def _placed(coordinates: Vector, vector: Vector) -> NDArray[np.float32]:
    """Points float32 (N, 3) as the sensor saw them.

    coordinates : float64 (3, N), of the file; vector : pose of the sensor in them
    Values beyond float32 become infinite, or NaN, and are counted where they are binned
    """
    turn = pose.matrix(vector).reshape(3, 4)
    with np.errstate(over="ignore", invalid="ignore"):
        x, y, z = coordinates - vector[:3, None]
        # Sums are written out: a product of matrices rounds differently from machine to machine.
        columns = [turn[0, axis] * x + turn[1, axis] * y + turn[2, axis] * z for axis in range(3)]
        return np.stack(columns, axis=1).astype(np.float32)


def _times(record: Any, epoch_s: int) -> tuple[int, NDArray[np.int32] | None]:
    """Stamp of the sweep, and offsets of its points where they come in order within int32 nanoseconds."""
    if "gps_time" not in record.point_format.dimension_names:
        raise CodecError(f"point format {record.point_format.id} has no GPS time; give --rate-hz")
    times = np.array(record.gps_time, np.float64)
    if not len(times):
        raise CodecError("no points, so no GPS time; give --rate-hz")
    if not (np.isfinite(times).all() and 0 < times.min() + epoch_s < MAX_STAMP_NS / 1e9):
        raise CodecError(f"GPS time {times.min():g}..{times.max():g} s is not a time; give --rate-hz")
    first = float(times.min())
    seconds = int(np.floor(first))
    stamp_ns = (seconds + epoch_s) * 1_000_000_000 + round((first - seconds) * 1e9)
    offsets = np.rint((times - first) * 1e9)
    if offsets.max() > _MAX_OFFSET_NS or (np.diff(times) < 0).any():
        return stamp_ns, None
    return stamp_ns, offsets.astype(np.int32)


# ---- files ---------------------------------------------------------------------------------------------


@contextmanager
def _opened(path: Path) -> Iterator[LasReader]:
    """The file with its header read and checked; whatever laspy and lazrs raise becomes a CodecError."""
    import laspy

    with path.open("rb") as file:
        start = file.read(START_BYTES)
        if start[:4] != b"LASF":
            raise CodecError("not a LAS file: it does not begin with LASF" if start else "the file is empty")
        if len(start) == START_BYTES and start[104] & _COMPRESSED and find_spec("lazrs") is None:
            raise ModuleNotFoundError("No module named 'lazrs'", name="lazrs")
        size = path.stat().st_size
        _check_records(start, size)
        file.seek(0)
        try:
            reader = laspy.open(file, closefd=False, read_evlrs=False, laz_backend=_backends())
            _check_size(reader.header, size)
            yield reader
        except CodecError:
            raise
        except Exception as error:  # parsers of laspy and lazrs raise nearly anything for damaged input
            raise CodecError(f"cannot be read: {one_line(error)}") from error


def _check_records(start: bytes, size: int) -> None:
    """laspy makes an object of every record that the header announces, also behind the end of the file."""
    if len(start) < START_BYTES:
        raise CodecError(f"cut off: {len(start)} bytes of a header of {START_BYTES} at least")
    header_bytes, _, records = struct.unpack_from("<HII", start, 94)
    needed = header_bytes + records * RECORD_BYTES
    if size < needed:
        raise CodecError(f"cut off: {size} bytes where {records} records of variable length take {needed}")


def _backends() -> Any:
    """One thread decompresses, so that the cores stay with the agents."""
    import laspy

    return laspy.LazBackend.Lazrs


def _read_points(path: Path) -> Any:
    with _opened(path) as reader:
        wanted = reader.header.point_count
        if wanted and reader.header.are_points_compressed:
            check_chunks(path, reader.header)
        record = reader.read_points(-1)
    if len(record) != wanted:
        raise CodecError(f"cut off: {len(record)} points where the header says {wanted}")
    return record


def _check_size(header: LasHeader, size: int) -> None:
    if header.point_count > MAX_POINTS:
        raise CodecError(f"header: {header.point_count} points exceed the cap of {MAX_POINTS}")
    needed = header.offset_to_point_data
    if not header.are_points_compressed:
        needed += header.point_count * header.point_format.size
    if size < needed:
        raise CodecError(f"cut off: {size} bytes where the header announces {needed}")


def _origin(header: LasHeader) -> tuple[float, float, float]:
    """The map's new zero; a file without points may have any minimum, so its offset is taken."""
    corner = np.floor(np.array(header.mins if header.point_count else header.offsets, np.float64))
    if not (np.abs(corner) <= MAX_COORDINATE_M).all():
        raise CodecError(f"header: the minimum {corner.tolist()} is not within {MAX_COORDINATE_M:g} m")
    x, y, z = (corner + 0.0).tolist()
    return x, y, z


def _middle(header: LasHeader) -> tuple[float, float, float]:
    """Middle of the box that the header gives, in whole metres; the origin where there are no points."""
    if not header.point_count:
        return _origin(header)
    middle = np.floor((np.array(header.mins, np.float64) + np.array(header.maxs, np.float64)) / 2) + 0.0
    if not (np.abs(middle) <= MAX_COORDINATE_M).all():
        raise CodecError(f"header: the middle {middle.tolist()} is not within {MAX_COORDINATE_M:g} m")
    x, y, z = middle.tolist()
    return x, y, z


def _epoch_s(header: LasHeader) -> int:
    """What the file's GPS times count from; times of a week do not say which, so they count from 1970.

    GPS time has no leap seconds: since 2017 it is 18 s ahead of UTC, and so are the stamps
    """
    from laspy.header import GpsTimeType

    standard = header.global_encoding.gps_time_type == GpsTimeType.STANDARD
    return GPS_EPOCH_S + ADJUSTED_S if standard else 0


def _crs(header: LasHeader) -> str | None:
    """WKT of the header, else the EPSG code of its GeoTIFF keys, else None."""
    records = header.vlrs.get_by_id("LASF_Projection")
    for record in records:
        if record.record_id == _WKT_ID and (text := str(record.string).strip()):
            return text
    keys = {key.id: key for record in records for key in getattr(record, "geo_keys", ())}
    for number in _CRS_KEYS:
        key = keys.get(number)
        if key is not None and key.tiff_tag_location == 0 and 0 < key.value_offset < 32767:
            return f"EPSG:{key.value_offset}"
    return None
