"""PCD files of the Point Cloud Library, version 0.7: ascii, binary and binary_compressed."""

from __future__ import annotations

import struct
from io import BufferedReader, BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pypcd4.pypcd4 import Encoding, MetaData, PointCloud

from stream.codecs.cdr import CodecError
from stream.codecs.pointcloud2 import DATATYPES, TIME_NAMES, PointCloud2, PointField, decode
from stream.sources.base import SourceOptions
from stream.sources.sweep_files import SweepFiles, list_files

SUFFIX = ".pcd"
MAX_HEADER_BYTES = 64 << 10
MAX_POINTS = 100_000_000
"""Cap on POINTS, so that a damaged header cannot ask for all memory."""

MAX_POINT_BYTES = 64 << 10
"""Cap on the fields of one point: PCL's longest descriptor, GASD, takes half of it."""

_DAMAGE = (ValueError, TypeError, LookupError, RuntimeError, OverflowError, MemoryError, struct.error)
"""What the decoders of numpy, pypcd4 and LZF raise for damaged input."""

_CODES = {code: number for number, code in DATATYPES.items()}


def open_pcd(path: Path, options: SourceOptions) -> SweepFiles:
    """A folder of PCD files in name order, or one file; poses are ``poses.txt`` in the folder.

    Stamps come from ``options``; the fields for time within the sweep and VIEWPOINT are not used
    """
    folder = path if path.is_dir() else path.parent
    return SweepFiles(
        location=path,
        format="pcd",
        suffix=SUFFIX,
        paths=list_files(path, SUFFIX) if path.is_dir() else [path],
        decode=decode_pcd,
        pose_folders=[folder],
        options=options,
    )


def decode_pcd(content: bytes) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Points and intensity of one file; bytes after the last of ``POINTS`` are padding.

    Returns points float32 (N, 3) m, intensity float32 (N,), zeros when the file has none
    Raises CodecError
    """
    header, start = _header(content)
    table = _table(header, content, start)
    fields = [
        PointField(name=name, offset=place[1], datatype=_CODES.get(place[0].str[1:], 0))
        for name, place in (table.dtype.fields or MappingProxyType({})).items()
        if name not in TIME_NAMES
    ]
    cloud = PointCloud2(
        stamp_ns=0,
        frame_id="",
        height=1,
        width=len(table),
        fields=tuple(fields),
        is_bigendian=False,
        point_step=table.dtype.itemsize,
        row_step=table.nbytes,
        data=table.view(np.uint8).data,
    )
    points, intensity, _ = decode(cloud)
    return points, intensity


def _header(content: bytes) -> tuple[MetaData, int]:
    """The header and where the points begin."""
    if not content:
        raise CodecError("the file is empty")
    lines: list[str] = []
    start = 0
    while not (lines and lines[-1].startswith("DATA")):
        end = content.find(b"\n", start, MAX_HEADER_BYTES)
        if end < 0:
            raise CodecError("not a PCD file: no DATA line in its header")
        lines.append(content[start:end].decode("ascii", "replace").strip())
        start = end + 1
    try:
        header = MetaData.parse_header(lines)
    except _DAMAGE as error:
        raise CodecError(f"PCD header: {_one_line(error)}") from error
    if not len(header.fields) == len(header.size) == len(header.type) == len(header.count):
        raise CodecError("PCD header: FIELDS, SIZE, TYPE and COUNT differ in length")
    if header.points > MAX_POINTS:
        raise CodecError(f"PCD header: POINTS {header.points!s:.20} exceeds the cap of {MAX_POINTS}")
    _require_small_points(header)
    return header, start


def _require_small_points(header: MetaData) -> None:
    """Raises CodecError for a point beyond MAX_POINT_BYTES; pypcd4 makes a field of each of COUNT."""
    sizes = [size * count for size, count in zip(header.size, header.count, strict=True)]
    if sum(sizes) > MAX_POINT_BYTES:
        widest = int(np.argmax([min(size, MAX_POINT_BYTES + 1) for size in sizes]))
        raise CodecError(
            f"PCD header: COUNT {header.count[widest]!s:.20} of field {header.fields[widest]:.40}: "
            f"a point exceeds the cap of {MAX_POINT_BYTES} bytes; save it without that field"
        )


def _table(header: MetaData, content: bytes, start: int) -> NDArray[Any]:
    """Points as a structured array."""
    try:
        dtype = header.build_dtype()
        if header.points == 0:
            return np.empty(0, dtype)
        if header.data == Encoding.BINARY:
            return np.frombuffer(content, dtype, header.points, start)
        if header.data == Encoding.ASCII:
            rows = content[start:].decode("ascii").splitlines()[: header.points]
            table = np.atleast_1d(np.loadtxt(rows, dtype)) if rows else np.empty(0, dtype)
        else:
            table = _unpacked(header, dtype.itemsize, content, start)
    except _DAMAGE as error:
        raise CodecError(f"points cannot be read: {_one_line(error)}") from error
    if len(table) != header.points:
        raise CodecError(f"{len(table)} points where the header says POINTS {header.points}")
    return table


def _unpacked(header: MetaData, point_bytes: int, content: bytes, start: int) -> NDArray[Any]:
    """Points in binary_compressed, by the header that was checked: of the file's, pypcd4 reads ten lines."""
    _, announced = struct.unpack_from("<II", content, start)
    if announced < point_bytes * header.points:  # a single value would be spread over all points
        raise ValueError(f"{announced} bytes unpacked where POINTS {header.points} take {point_bytes} each")
    checked = header.compose_header().encode() + content[start:]
    return np.asarray(PointCloud.from_fileobj(BufferedReader(BytesIO(checked))).pc_data)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
