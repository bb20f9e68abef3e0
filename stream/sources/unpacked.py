"""Compressed parts of recorded logs, unpacked up to a cap: a few kilobytes may hold gigabytes of zeros.

What a log says of sizes is not believed: zstandard makes room for what a frame announces, however little it
is asked for, and lz4 has no bound of its own.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import lz4.frame  # type: ignore[import-untyped]
import zstandard

MAX_FILE_BYTES = 64 << 30
"""Cap on one unpacked file of a bag: a recorder holds the whole file in memory to compress it."""

MIN_FREE_BYTES = 1 << 30
"""Left free on the disk that files are unpacked to, or a tenth of one that is smaller than ten of these."""

_READ_BYTES = 4 << 10
"""Read of a packed file at once: zstd makes at most 32,768 times as much of it, 128 MiB."""

_HEAD_BYTES = 18
"""Longest head of a zstd frame."""


def unpack_zstd(data: bytes | memoryview, most: int) -> bytes:
    """First frame of the data.  Raises ValueError beyond ``most`` bytes, zstandard.ZstdError for damage"""
    announced = zstandard.frame_content_size(data)  # -1 where the frame does not say
    if announced > most:
        raise ValueError(f"zstd: {announced} bytes unpacked exceed the {most} that are allowed here")
    return zstandard.decompress(data, max_output_size=most)


def unpack_lz4(data: bytes, most: int) -> bytes:
    """First frame of the data.  Raises ValueError beyond ``most`` bytes, RuntimeError for damage"""
    unpacker = lz4.frame.LZ4FrameDecompressor()
    content: bytes = unpacker.decompress(data, max_length=most + 1)  # one more tells whether there is more
    if len(content) > most:
        raise ValueError(f"lz4: the bytes unpacked exceed the {most} that are allowed here")
    if not unpacker.eof:
        raise ValueError("lz4: the compressed data are cut off")
    return content


def unpack_file(packed: Path, target: Path) -> None:
    """Write what a zstd file of one or more frames holds.

    Raises ValueError beyond MAX_FILE_BYTES, for a disk too full and for a file that is cut off, OSError,
    zstandard.ZstdError
    """
    written = 0
    with packed.open("rb") as source, target.open("wb") as plain:
        announced = zstandard.frame_content_size(source.read(_HEAD_BYTES))
        _require_room(packed, target.parent, 0, announced)
        source.seek(0)
        for piece in _pieces(packed, source):
            _require_room(packed, target.parent, written, len(piece))
            plain.write(piece)
            written += len(piece)


def _pieces(packed: Path, source: BinaryIO) -> Iterator[bytes]:
    frame = zstandard.ZstdDecompressor().decompressobj()
    while data := source.read(_READ_BYTES):
        while data:
            if frame.eof:
                frame = zstandard.ZstdDecompressor().decompressobj()
            yield frame.decompress(data)
            data = frame.unused_data
    if not frame.eof:
        raise ValueError(f"{packed.name}: the compressed file is cut off")


def _require_room(packed: Path, folder: Path, written: int, more: int) -> None:
    """Raises ValueError where so many bytes more are too many for the file or for its disk."""
    if written + more > MAX_FILE_BYTES:
        raise ValueError(f"{packed.name}: unpacked it exceeds the cap of {MAX_FILE_BYTES} bytes on one file")
    disk = shutil.disk_usage(folder)
    if more > disk.free - min(MIN_FREE_BYTES, disk.total // 10):
        raise ValueError(
            f"{packed.name}: no room to unpack it in {folder.parent}, where {disk.free} bytes are free; "
            "set TMPDIR to a folder on a larger disk"
        )
