"""Container v1 of OctaIndex3D: a file of compressed frames, read only."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from models.datasets.stored import StoredError

MAGIC = b"OCTA3D\0\0"
MAX_FRAMES = 100_000
MAX_COMPRESSED = 64 * 2**20
MAX_FRAME = 256 * 2**20

_HEADER = struct.Struct(">8sBBI2x")
_FRAME = struct.Struct(">BBBBIII")
_LZ4, _ZSTD, _NONE = 0, 1, 3
_NAMES = {_LZ4: "lz4_raw", _ZSTD: "zstd"}


def is_container_v1(path: Path) -> bool:
    """Whether a file begins as a container v1 does."""
    with path.open("rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def read_frames(path: Path) -> Iterator[bytes]:
    """The frames of a container v1 in order, each checked against its checksum; one is held at a time.

    Raises StoredError for a file that is none, is cut off or damaged, or says to be larger than the format
    allows: 100,000 frames, 64 MiB compressed and 256 MiB uncompressed each
    """
    with path.open("rb") as file:
        magic, version, _, count = _HEADER.unpack(_exactly(file, _HEADER.size, path, "its header"))
        if magic != MAGIC or version != 1:
            raise StoredError(f"{path}: no container v1 of OctaIndex3D (version {version})")
        if count > MAX_FRAMES:
            raise StoredError(f"{path}: says to have {count:,} frames, at most {MAX_FRAMES:,} are allowed")
        table = _exactly(file, count * _FRAME.size, path, "the list of its frames")
        for number, (codec, _, _, _, size, compressed, crc) in enumerate(_FRAME.iter_unpack(table)):
            what = f"frame {number}"
            if size > MAX_FRAME or compressed > MAX_COMPRESSED:
                raise StoredError(
                    f"{path}: {what} says to have {size:,} bytes, {compressed:,} compressed: too many"
                )
            data = _exactly(file, compressed, path, what)
            if zlib.crc32(data) != crc:
                raise StoredError(f"{path}: {what} is damaged: its checksum differs")
            yield _decoded(data, codec, size, f"{path}: {what}")


def _decoded(data: bytes, codec: int, size: int, what: str) -> bytes:
    if codec == _NONE:
        found = data
    elif codec in _NAMES:
        if codec == _LZ4:  # a length of its own comes first, little-endian
            if len(data) < 4 or struct.unpack("<I", data[:4])[0] != size:
                raise StoredError(f"{what} is damaged: its two lengths differ")
            data = data[4:]
        try:
            found = pa.decompress(data, size, codec=_NAMES[codec], asbytes=True) if size else b""
        except (pa.ArrowException, OSError) as error:
            raise StoredError(f"{what} is damaged: {' '.join(str(error).split())}") from error
    else:
        raise StoredError(f"{what} has codec {codec}, expected 0 (LZ4), 1 (Zstd) or 3 (none)")
    if len(found) != size:
        raise StoredError(f"{what} is damaged: has {len(found):,} bytes, expected {size:,}")
    return found


def _exactly(file: BinaryIO, size: int, path: Path, what: str) -> bytes:
    data = file.read(size)
    if len(data) < size:
        raise StoredError(f"{path}: cut off in {what}")
    return data
