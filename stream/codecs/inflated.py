"""How large an Arrow message becomes once its buffers are decompressed, read before any of them is.

A few kilobytes of zstd may hold gigabytes of zeros. Each compressed buffer begins with its size after
decompression (Arrow's columnar format, "Compression"), and pyarrow offers no bound, so the sizes are added up
here, from the flatbuffer that says where the buffers lie.
"""

from __future__ import annotations

import struct

import pyarrow as pa

MAX_INFLATED_BYTES = 256 * 2**20
"""Of one message: 32 times the largest that a topic takes, and far above any record."""

_HEADER, _DATA, _BUFFERS, _COMPRESSION = 2, 1, 2, 3
"""Fields by number: of a Message its header, of a DictionaryBatch its data, of a RecordBatch its buffers and
its compression (Message.fbs of Arrow's format)."""


def require_bounded(stream: pa.Buffer, limit: int | None = None) -> None:
    """Raises ValueError for a stream that would take more than ``limit`` bytes, or MAX_INFLATED_BYTES."""
    most = MAX_INFLATED_BYTES if limit is None else limit
    total = sum(inflated_bytes(message) for message in pa.ipc.MessageReader.open_stream(stream))
    if total > most:
        raise ValueError(f"{total} bytes once decompressed, at most {most} are taken")


def inflated_bytes(message: pa.ipc.Message) -> int:
    """Bytes of a message's buffers after decompression, as they say themselves.

    Raises ValueError for a message that is not what it seems
    """
    if message.type not in ("record batch", "dictionary"):
        return 0
    data, body = message.metadata.to_pybytes(), memoryview(message.body or b"")
    try:
        batch = _batch(data, message.type)
        if not _field(data, batch, _COMPRESSION):
            return len(body)
        vector = _child(data, batch, _BUFFERS)
        spans = [struct.unpack_from("<qq", data, vector + 4 + 16 * i) for i in range(_u32(data, vector))]
        sizes: list[int] = [struct.unpack_from("<q", body, offset)[0] for offset, length in spans if length]
    except struct.error as error:
        raise ValueError(f"a message's description points outside of it: {error}") from error
    return sum(max(size, 0) for size in sizes) + len(body)  # -1: that buffer lies there as it is


def is_compressed(metadata: bytes) -> bool:
    """Whether the metadata of a record batch says that it is compressed.  Raises ValueError for nonsense"""
    try:
        return _field(metadata, _batch(metadata, "record batch"), _COMPRESSION) != 0
    except struct.error as error:
        raise ValueError(f"a message's description points outside of it: {error}") from error


def _batch(data: bytes, kind: str) -> int:
    """Where the RecordBatch of a message begins."""
    header = _child(data, _u32(data, 0), _HEADER)
    return _child(data, header, _DATA) if kind == "dictionary" else header


def _u32(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a flatbuffer's table lies, 0 where it is absent."""
    vtable: int = table - struct.unpack_from("<i", data, table)[0]
    if vtable < 0 or 4 + 2 * number >= struct.unpack_from("<H", data, vtable)[0]:
        return 0
    offset: int = struct.unpack_from("<H", data, vtable + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _child(data: bytes, table: int, number: int) -> int:
    """Where the table or vector that a field names begins."""
    at = _field(data, table, number)
    if not at:
        raise ValueError(f"a message's description lacks field {number}")
    return at + _u32(data, at)
