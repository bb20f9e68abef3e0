"""``sensor_msgs/PointCloud2``: points on the wire, decoded field by field without a loop over points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.codecs.cdr import CdrReader, CdrWriter, CodecError

__all__ = [
    "CodecError",
    "Columns",
    "PointCloud2",
    "PointField",
    "decode",
    "decode_cdr",
    "encode_cdr",
    "header_cdr",
    "pack",
    "read_cdr",
    "write_cdr",
]

DATATYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 8: "f8"}
"""``PointField.datatype`` to numpy's code."""

INTENSITY_NAMES = ("intensity", "i", "reflectivity")
TIME_NAMES = ("t", "time", "timestamp", "time_stamp", "time_offset")

EPOCH_S = 1e6
EPOCH_NS = 1e15
"""Floating point times beyond these count from the epoch, in seconds or nanoseconds, as some drivers send."""

_INT32 = np.iinfo(np.int32)

Columns = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int32] | None]
"""Points float32 (N, 3) m, intensity float32 (N,), time offsets int32 (N,) ns or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PointField:
    """Where one value of a point lies: ``offset`` bytes into the point, ``datatype`` 1..8 as in ROS."""

    name: str
    offset: int
    datatype: int
    count: int = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PointCloud2:
    """The message as ROS defines it.

    stamp_ns, frame_id : the header
    height, width : points in a column and in a row; 1 and N when unordered
    point_step, row_step : bytes from one point, one row, to the next
    data : at least ``row_step * height`` bytes
    is_dense : all points are finite (a promise of the sender that nothing here relies on)
    """

    stamp_ns: int
    frame_id: str
    height: int
    width: int
    fields: tuple[PointField, ...]
    is_bigendian: bool
    point_step: int
    row_step: int
    data: bytes | memoryview
    is_dense: bool = True


def decode(cloud: PointCloud2) -> Columns:
    """Points, intensity and time offsets of a cloud, row by row.

    Points keep values that are not finite. Intensity is the field ``intensity``, ``i`` or ``reflectivity`` in
    the sensor's own unit, else zeros. Time offsets come from ``t``, ``time``, ``timestamp``, ``time_stamp``
    or ``time_offset``: integers are nanoseconds and floats seconds from the stamp, large floats seconds or
    nanoseconds from the epoch; not finite becomes 0; None without a field.
    Raises CodecError: no x, y or z, a field outside the point, an unknown datatype, data too short, a time
    more than 2.1 s away from the stamp
    """
    fields = {field.name: field for field in reversed(cloud.fields)}
    missing = [name for name in ("x", "y", "z") if name not in fields]
    if missing:
        found = " ".join(field.name for field in cloud.fields) or "none"
        raise CodecError(f"fields: no {' '.join(missing)} among the fields of the cloud ({found})")
    _check_size(cloud)
    count = cloud.height * cloud.width
    points = np.empty((count, 3), np.float32)
    grid = points.reshape(cloud.height, cloud.width, 3)
    intensity = np.zeros(count, np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for axis, name in enumerate(("x", "y", "z")):
            grid[:, :, axis] = _view(cloud, fields[name])
        if shade := _first(fields, INTENSITY_NAMES):
            intensity.reshape(cloud.height, cloud.width)[:] = _view(cloud, shade)
    clock = _first(fields, TIME_NAMES)
    return points, intensity, _offsets(cloud, clock) if clock else None


def _first(fields: dict[str, PointField], names: Sequence[str]) -> PointField | None:
    return next((fields[name] for name in names if name in fields), None)


def _check_size(cloud: PointCloud2) -> None:
    if cloud.height * cloud.width == 0:
        return
    if cloud.point_step == 0:
        raise CodecError(f"point_step: expected > 0 for {cloud.height} x {cloud.width} points, got 0")
    if cloud.row_step < cloud.width * cloud.point_step:
        raise CodecError(
            f"row_step: {cloud.row_step} is less than width {cloud.width} x point_step {cloud.point_step}"
        )
    if len(cloud.data) < cloud.row_step * cloud.height:
        raise CodecError(
            f"data: {len(cloud.data)} bytes, expected row_step {cloud.row_step} x height {cloud.height}"
        )


def _view(cloud: PointCloud2, field: PointField) -> NDArray[np.generic]:
    """The field of every point in place, shape (height, width)."""
    code = DATATYPES.get(field.datatype)
    if code is None:
        raise CodecError(f"field {field.name}: datatype {field.datatype} is not one of 1..8")
    if field.count > 1:  # PCL used to write 0 for 1
        raise CodecError(f"field {field.name}: count {field.count}, expected 1")
    dtype = np.dtype((">" if cloud.is_bigendian else "<") + code)
    if cloud.height * cloud.width == 0:
        return np.empty((cloud.height, cloud.width), dtype)
    if field.offset + dtype.itemsize > cloud.point_step:
        raise CodecError(
            f"field {field.name}: offset {field.offset} + {dtype.itemsize} bytes exceeds "
            f"point_step {cloud.point_step}"
        )
    return np.ndarray(
        (cloud.height, cloud.width), dtype, cloud.data, field.offset, (cloud.row_step, cloud.point_step)
    )


def _offsets(cloud: PointCloud2, field: PointField) -> NDArray[np.int32]:
    values = _view(cloud, field).ravel()
    nanoseconds = values.astype(np.float64)  # integers have 32 bits at most, so this is exact
    if values.dtype.kind == "f":
        nanoseconds = _from_stamp(nanoseconds, cloud.stamp_ns)
    if nanoseconds.size and not (nanoseconds.min() >= _INT32.min and nanoseconds.max() <= _INT32.max):
        raise CodecError(
            f"field {field.name}: point times {nanoseconds.min():.6g}..{nanoseconds.max():.6g} ns "
            "are more than 2.1 s from the stamp"
        )
    return nanoseconds.astype(np.int32)


def _from_stamp(times: NDArray[np.float64], stamp_ns: int) -> NDArray[np.float64]:
    """Floating point times as nanoseconds from the stamp."""
    times = np.where(np.isfinite(times), times, 0.0).clip(-1e30, 1e30)
    seconds, rest_ns = divmod(stamp_ns, 1_000_000_000)
    size = np.abs(times)
    # Whole seconds go first: the difference is exact, stamp and time alone are not.
    from_epoch = (times - seconds) * 1e9 - rest_ns
    return np.rint(
        np.where(size > EPOCH_NS, times - stamp_ns, np.where(size > EPOCH_S, from_epoch, times * 1e9))
    )


def read_cdr(data: bytes | memoryview) -> PointCloud2:
    """Parse the message; its ``data`` refers to the input without a copy.

    data : CDR with its encapsulation header, either byte order
    Raises CodecError, never reads past the end
    """
    reader = CdrReader(data)
    stamp_ns, frame_id = reader.header()
    height, width = reader.uint32("height"), reader.uint32("width")
    fields = tuple(_read_field(reader) for _ in range(reader.count(14, "fields")))
    is_bigendian = reader.boolean("is_bigendian")
    point_step, row_step = reader.uint32("point_step"), reader.uint32("row_step")
    payload = reader.take(reader.uint32("data"), "data")
    return PointCloud2(
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        height=height,
        width=width,
        fields=fields,
        is_bigendian=is_bigendian,
        point_step=point_step,
        row_step=row_step,
        data=payload,
        is_dense=reader.boolean("is_dense"),
    )


def _read_field(reader: CdrReader) -> PointField:
    return PointField(
        name=reader.string("field name"),
        offset=reader.uint32("field offset"),
        datatype=reader.uint8("field datatype"),
        count=reader.uint32("field count"),
    )


def header_cdr(data: bytes | memoryview) -> tuple[int, str]:
    """Stamp in nanoseconds and frame of a message, without looking further.  Raises CodecError."""
    return CdrReader(data).header()


def decode_cdr(
    data: bytes | memoryview,
) -> tuple[int, str, NDArray[np.float32], NDArray[np.float32], NDArray[np.int32] | None]:
    """Stamp in nanoseconds, frame, points, intensity and time offsets of a message; see ``decode``."""
    cloud = read_cdr(data)
    return cloud.stamp_ns, cloud.frame_id, *decode(cloud)


def write_cdr(cloud: PointCloud2, *, big_endian: bool = False) -> bytes:
    """The message on the wire; ``big_endian`` is the order of CDR, not of the points."""
    writer = CdrWriter(big_endian=big_endian)
    writer.header(cloud.stamp_ns, cloud.frame_id)
    writer.uint32(cloud.height)
    writer.uint32(cloud.width)
    writer.uint32(len(cloud.fields))
    for field in cloud.fields:
        writer.string(field.name)
        writer.uint32(field.offset)
        writer.uint8(field.datatype)
        writer.uint32(field.count)
    writer.uint8(cloud.is_bigendian)
    writer.uint32(cloud.point_step)
    writer.uint32(cloud.row_step)
    writer.uint32(len(cloud.data))
    writer.data += cloud.data
    writer.uint8(cloud.is_dense)
    return bytes(writer.data)


def pack(
    stamp_ns: int,
    frame_id: str,
    points: NDArray[np.float32],
    intensity: NDArray[np.float32],
    time_offset_ns: NDArray[np.int32] | None = None,
) -> PointCloud2:
    """An unordered little-endian cloud with the fields x y z intensity, and t (int32, ns) when given.

    Raises ValueError when the columns differ in length
    """
    columns: list[tuple[str, NDArray[np.generic], int]] = [
        ("x", points[:, 0], 7),
        ("y", points[:, 1], 7),
        ("z", points[:, 2], 7),
        ("intensity", intensity, 7),
    ]
    if time_offset_ns is not None:
        columns.append(("t", time_offset_ns, 5))
    table = np.empty(len(points), [(name, f"<{DATATYPES[datatype]}") for name, _, datatype in columns])
    for name, column, _ in columns:
        if column.shape != (len(points),):
            raise ValueError(f"{name}: expected shape ({len(points)},), got {column.shape}")
        table[name] = column
    step = table.dtype.itemsize
    return PointCloud2(
        stamp_ns=stamp_ns,
        frame_id=frame_id,
        height=1,
        width=len(points),
        fields=tuple(
            PointField(name=name, offset=4 * place, datatype=datatype)
            for place, (name, _, datatype) in enumerate(columns)
        ),
        is_bigendian=False,
        point_step=step,
        row_step=step * len(points),
        data=table.tobytes(),
        is_dense=bool(np.isfinite(points).all()),
    )


def encode_cdr(
    stamp_ns: int,
    frame_id: str,
    points: NDArray[np.float32],
    intensity: NDArray[np.float32],
    time_offset_ns: NDArray[np.int32] | None = None,
) -> bytes:
    """``write_cdr(pack(...))``: what a producer sends."""
    return write_cdr(pack(stamp_ns, frame_id, points, intensity, time_offset_ns))
