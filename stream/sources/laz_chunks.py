"""Sizes that a LAZ file announces, compared with the file before lazrs takes memory for them.

lazrs allocates what a file announces: 4 GiB for each layer, 16 bytes for each of 4 billion chunks. What is
relied on here, of LASzip (https://laszip.org) as laz-rs reads it:

* The record 22204 of ``laszip encoded`` holds u16 compressor (1: one chunk, 2: chunks, 3: chunks of layers),
  10 bytes, u32 points a chunk (2**32 - 1: chunks vary, and their table says), 16 bytes, u16 number of items,
  then u16 type, u16 size and u16 version of each. The items make up a point; those of version 1 and 2 come
  in compressors 1 and 2, those of 3 and 4 in compressor 3.
* Compressors 2 and 3 begin with the i64 place of the chunk table, counted from the file's beginning. A writer
  that could not go back leaves -1 there, and the place is the file's last 8 bytes. The chunks lie between.
  The table begins with u32 version and u32 number of chunks; the rest is coded arithmetically.
* A chunk of layers is its first point as it is, u32 points, u32 bytes of each layer, then the layers. Other
  chunks begin with their first point as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from stream.codecs.cdr import CodecError

if TYPE_CHECKING:
    from laspy import LasHeader

POINTS_A_BYTE = 2048
"""More do not fit. A symbol of LASzip's coder costs at least what the other symbols of its model are kept
for: 63 of 2**15 for the one that begins a point of version 1 or 2, 0.003 bits, 127 of 2**15 for version 3,
0.006 bits, and each of a point's coordinates costs 0.0015 bits more. 4,000,000 equal points in one chunk are
640 a byte."""

ITEM_BYTES = {6: 20, 7: 8, 8: 6, 9: 29, 10: 30, 11: 6, 12: 8, 13: 29}
"""POINT10, GPSTIME11, RGB12, WAVEPACKET13; POINT14, RGB14, RGBNIR14, WAVEPACKET14."""

ITEM_LAYERS = {10: 9, 11: 1, 12: 2, 13: 1}
_BYTES, _BYTES_14 = 0, 14
"""Extra bytes, as many as the item's size; in version 3 each is a layer."""

_ONE_CHUNK, _CHUNKS, _LAYERS = 1, 2, 3
_VARIABLE = (1 << 32) - 1
_RECORD = struct.Struct("<H10xI16xH")
_ITEM = struct.Struct("<HHH")


def check_chunks(path: Path, header: LasHeader) -> None:
    """Whether the points of a compressed file may be read: chunks and layers lie within it.

    Raises CodecError where they do not, or where the record of LASzip does not fit the points; OSError
    """
    layout = _layout(header.vlrs[header.vlrs.index("LasZipVlr")].record_data, header.point_format.size)
    start, size = header.offset_to_point_data, path.stat().st_size
    if header.point_count > (size - start) * POINTS_A_BYTE:
        raise CodecError(
            f"cut off: {size - start} bytes cannot hold the header's {header.point_count} points"
        )
    if layout.compressor == _ONE_CHUNK:
        return
    with path.open("rb") as file:
        end = _end(file, start, size)
        _check_count(file, end, (end - start) // layout.point_bytes)
        chunks = _chunks(file, start, header.point_count, layout)
        if layout.compressor == _LAYERS:
            _check_layers(file, start + 8, end, chunks, layout)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """What the record of LASzip says; ``layers`` are those of a chunk, ``record`` its bytes."""

    compressor: int
    chunk_points: int
    point_bytes: int
    layers: int
    record: bytes


def _layout(record: bytes, point_bytes: int) -> _Layout:
    """Read the record; its items must be those of a compressor and make up a point of so many bytes."""
    if len(record) < _RECORD.size:
        raise CodecError(f"record of LASzip: {len(record)} bytes, {_RECORD.size} at least")
    compressor, chunk_points, count = _RECORD.unpack_from(record)
    if len(record) < _RECORD.size + count * _ITEM.size:
        raise CodecError(f"record of LASzip: {len(record)} bytes for {count} items")
    items = [_ITEM.unpack_from(record, _RECORD.size + number * _ITEM.size) for number in range(count)]
    for kind, size, version in items:
        layered = kind in ITEM_LAYERS or kind == _BYTES_14
        if ITEM_BYTES.get(kind, size) != size or not (layered or kind in ITEM_BYTES or kind == _BYTES):
            raise CodecError(f"record of LASzip: an item of type {kind} and {size} bytes is not known")
        if compressor not in ((_LAYERS,) if layered else (_ONE_CHUNK, _CHUNKS)) or layered != (version > 2):
            raise CodecError(
                f"record of LASzip: compressor {compressor} has no items of type {kind}, version {version}"
            )
    if (total := sum(size for _, size, _ in items)) != point_bytes:
        raise CodecError(f"record of LASzip: items of {total} bytes where a point has {point_bytes}")
    if compressor != _ONE_CHUNK and not chunk_points:
        raise CodecError("record of LASzip: chunks of 0 points")
    layers = sum(ITEM_LAYERS.get(kind, size) for kind, size, _ in items)
    return _Layout(
        compressor=compressor,
        chunk_points=chunk_points,
        point_bytes=point_bytes,
        layers=layers,
        record=record,
    )


def _end(file: BinaryIO, start: int, size: int) -> int:
    """Where the chunks end: at their table, or with the file where it has been cut off."""
    for place in (start, size - 8):
        file.seek(place)
        table = int.from_bytes(file.read(8), "little", signed=True)
        if table > start:
            return min(table, size)
    return size


def _check_count(file: BinaryIO, table: int, most: int) -> None:
    """The table's number of chunks, for all of which lazrs takes memory at once; each begins with a point."""
    file.seek(table + 4)
    count = int.from_bytes(file.read(4), "little")
    if count > most:
        raise CodecError(f"chunk table: {count} chunks exceed the {most} that the file has room for")


def _chunks(file: BinaryIO, start: int, points: int, layout: _Layout) -> int:
    """How many chunks hold the points."""
    if layout.chunk_points != _VARIABLE:
        return -(-points // layout.chunk_points)
    held = 0
    for number, count in enumerate(_counts(file, start, layout.record)):
        if not count:
            raise CodecError(f"chunk table: chunk {number} of 0 points")
        held += count
        if held >= points:
            return number + 1
    raise CodecError(f"chunk table: chunks of {held} points where the header says {points}")


def _counts(file: BinaryIO, start: int, record: bytes) -> Iterator[int]:
    """Points of each chunk, of a table whose length has been checked."""
    lazrs = import_module("lazrs")  # it has no types
    file.seek(start)
    try:
        table = lazrs.read_chunk_table(file, lazrs.LazVlr(record))
    except lazrs.LazrsError as error:
        raise CodecError(f"chunk table: cannot be read: {error}") from error
    return (count for count, _ in table)


def _check_layers(file: BinaryIO, at: int, end: int, chunks: int, layout: _Layout) -> None:
    """Go from chunk to chunk as lazrs does, by the sizes of their layers."""
    for number in range(chunks):
        sizes_at = at + layout.point_bytes + 4
        at = sizes_at + 4 * layout.layers
        if at <= end:
            file.seek(sizes_at)
            at += sum(struct.unpack(f"<{layout.layers}I", file.read(4 * layout.layers)))
        if at > end:
            raise CodecError(f"chunk {number}: its layers end at byte {at}, the chunks at byte {end}")
