"""Records as messages: one Arrow IPC stream each, in a frame that says what it is and whether it is whole.

A message is 16 bytes, little endian: ``OCTA``, the frame's version (u16), zero (u16), crc32 and length of the
rest (u32 each); then an Arrow IPC stream, zstd, whose schema names the record and its version. Arrow has no
checksum of its own and pyarrow cannot switch on zstd's, so a flipped bit would decode to other numbers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from stream.codecs.formats import FORMATS, Format
from stream.codecs.inflated import require_bounded
from stream.codecs.promises import check
from stream.codecs.rows import from_batch, require_short, to_batch
from stream.topics import RECORDS

MAGIC = b"OCTA"
FRAME_VERSION = 1
_FRAME = struct.Struct("<4sHHII")

CONTENT_TYPE = "application/vnd.octastream.v1+arrow"
"""Header ``content-type`` of these messages."""

_WRITE = pa.ipc.IpcWriteOptions(compression="zstd", use_threads=False)
_DAMAGE = (ValueError, TypeError, KeyError, OSError, MemoryError, RecursionError, pa.ArrowException)
"""What Arrow and numpy raise for bytes that are not what they seem."""
_READ = pa.ipc.IpcReadOptions(use_threads=False)


class WireError(ValueError):
    """A message that cannot become a record.

    reason : ``corrupt``, ``schema``, ``bad_key`` or ``bad_header``, as in a dead letter; detail : one line
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, " ".join(detail.split()))

    @property
    def reason(self) -> str:
        """What kind of error."""
        return str(self.args[0])

    @property
    def detail(self) -> str:
        """What was expected and what was found."""
        return str(self.args[1])

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


def encode(record: Any) -> bytes:
    """The message of one record; equal records give equal bytes.

    Raises ValueError naming the field that breaks the record's promise (dtype, shape, order, range),
    TypeError for what is no record of the wire
    """
    return encode_all([record])


def encode_all(records: Sequence[Any]) -> bytes:
    """One message of several records of one type, in their order: static transforms of a robot.

    Raises as ``encode``, and ValueError for no records or several types
    """
    kinds = {type(record) for record in records}
    if len(kinds) != 1:
        found = ", ".join(sorted(kind.__name__ for kind in kinds)) or "none"
        raise ValueError(f"records: expected one type, got {found}")
    form = FORMATS.get(kinds.pop())
    if form is None:
        raise TypeError(f"{type(records[0]).__name__} is no record of the wire")
    for record in records:
        check(form, record)
    # Arrays are checked, so nothing is converted from here on.
    batches = [to_batch(form, record) for record in records]
    table = pa.Table.from_batches(batches, form.schema).combine_chunks()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, form.schema, options=_WRITE) as writer:
        writer.write_table(table)
    stream = sink.getvalue()
    frame = _FRAME.pack(MAGIC, FRAME_VERSION, 0, zlib.crc32(stream), stream.size)
    return b"".join((frame, memoryview(stream)))


def decode(topic_or_kind: str | type, data: bytes | None) -> Any:
    """The record of a message; its arrays are read-only.

    topic_or_kind : the topic that the message came on, or the record type
    Raises WireError, and never reads past the end; ValueError for a topic that carries no records
    """
    records = decode_all(topic_or_kind, data)
    if len(records) != 1:
        raise WireError("corrupt", f"{len(records)} records in the message, expected one")
    return records[0]


def decode_all(topic_or_kind: str | type, data: bytes | None) -> list[Any]:
    """The records of a message, in their order; one at least.  Raises as ``decode``"""
    form = _format_of(topic_or_kind)
    stream = _open_frame(data)
    try:
        batch = _read(form, stream)
        records = [from_batch(form, batch, row) for row in range(batch.num_rows)]
        for record in records:
            check(form, record)
    except WireError:
        raise
    except _DAMAGE as error:
        raise WireError("corrupt", f"{form.kind.__name__}: {error}") from error
    return records


def _format_of(topic_or_kind: str | type) -> Format:
    kind = RECORDS.get(topic_or_kind) if isinstance(topic_or_kind, str) else topic_or_kind
    if kind not in FORMATS:
        raise ValueError(f"{topic_or_kind!r} is neither a topic that carries records nor a record type")
    return FORMATS[kind]


def _open_frame(data: bytes | None) -> pa.Buffer:
    """The Arrow stream of a message whose frame is sound."""
    if data is None:
        raise WireError("corrupt", "the message has no payload")
    if len(data) < _FRAME.size:
        raise WireError("corrupt", f"message of {len(data)} bytes, its frame alone has {_FRAME.size}")
    if not data.startswith(MAGIC):
        raise WireError("schema", f"the message begins with {data[:4].hex()}, expected {MAGIC.hex()}")
    _, version, reserved, checksum, length = _FRAME.unpack_from(data)
    if (version, reserved) != (FRAME_VERSION, 0):
        raise WireError("schema", f"frame version {version}.{reserved}, this release reads {FRAME_VERSION}.0")
    if len(data) != _FRAME.size + length:
        raise WireError("corrupt", f"message of {len(data)} bytes, expected {_FRAME.size} + {length}")
    stream = pa.py_buffer(data).slice(_FRAME.size)
    if (found := zlib.crc32(stream)) != checksum:
        raise WireError("corrupt", f"checksum {found:08x}, expected {checksum:08x}")
    return stream


def _read(form: Format, stream: pa.Buffer) -> pa.RecordBatch:
    """The only batch of a stream, sound in itself and of the right schema."""
    source = pa.BufferReader(stream)
    reader = pa.ipc.open_stream(source, options=_READ)
    found, expected = _version(reader.schema), _version(form.schema)
    if found != expected:
        raise WireError("schema", f"record {found}, expected {expected}")
    if not reader.schema.equals(form.schema):
        raise WireError("schema", f"columns are not those of record {expected}")
    require_bounded(stream)
    batches = [batch for batch, _ in zip(reader, range(2), strict=False)]
    if len(batches) != 1 or batches[0].num_rows == 0 or source.tell() != stream.size:
        raise ValueError("expected one batch of at least one row and nothing after it")
    batches[0].validate(full=True)
    require_short(form, batches[0])
    return batches[0]


def _version(schema: pa.Schema) -> str:
    metadata = schema.metadata or {}
    record, version = (metadata.get(name, b"none") for name in (b"octa.record", b"octa.version"))
    return f"{record.decode(errors='replace')} version {version.decode(errors='replace')}"
