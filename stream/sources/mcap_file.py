"""The MCAP container: which messages a file holds, chunk by chunk, up to where it is damaged.

The file is read by its records, not by its index, so that an unfinished or truncated recording reads like any
other. Content is verified by the CRC of each chunk, where the writer stored one.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema, Statistics
from mcap.stream_reader import CRCValidationError, get_chunk_data_stream

from stream.sources.base import SourceError

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK_BYTES = 2 << 30
"""Cap on one chunk, so that a damaged length cannot ask for all memory."""

_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_COMPRESSIONS = ("", "zstd", "lz4")
_PARSE_ERRORS = (
    McapError,
    CRCValidationError,
    zstandard.ZstdError,
    struct.error,
    ValueError,
    RuntimeError,  # what lz4 raises
    MemoryError,
)


class DamageError(ValueError):
    """From here on the file cannot be read; says where and why."""


class Message(NamedTuple):
    """One message; sorts by log time, then by place in the file."""

    log_time_ns: int
    offset: int
    place: int
    channel_id: int
    data: memoryview


class Unit(NamedTuple):
    """A record that holds messages, a chunk or a single message; sorts by its first log time."""

    start_ns: int
    offset: int
    opcode: int
    length: int


@dataclass(slots=True)
class Contents:
    """What the records of a file say, without looking into chunks.

    channels, schemas : those outside chunks, so all of them when the file has a full summary
    units : chunks and unchunked messages by log time
    damage : why nothing more can be read, None for a complete file
    """

    channels: dict[int, Channel] = field(default_factory=dict)
    schemas: dict[int, Schema] = field(default_factory=dict)
    statistics: Statistics | None = None
    units: list[Unit] = field(default_factory=list)
    damage: str | None = None

    @property
    def knows_channels(self) -> bool:
        """Whether every channel is known, so that no chunk needs to be searched for more."""
        known = self.statistics is not None and self.statistics.channel_count == len(self.channels)
        return known and all(c.schema_id in (0, *self.schemas) for c in self.channels.values())


class McapFile:
    """Random access to the messages of one file.

    Raises SourceError when the file cannot be opened or does not start as MCAP does
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                if file.read(len(MAGIC)) != MAGIC:
                    raise SourceError(f"{path}: not an MCAP file: it does not begin with the MCAP magic")
                self.contents = _scan(file, path.stat().st_size)
        except OSError as error:
            raise SourceError(f"{path}: {error.strerror}") from error

    def channels(self) -> dict[int, tuple[str, str]]:
        """Channel id to topic and type, as far as known; a type not in CDR carries its encoding."""
        found = {}
        for number, channel in self.contents.channels.items():
            schema = self.contents.schemas.get(channel.schema_id)
            name = schema.name if schema else "no schema"
            plain = channel.message_encoding == "cdr"
            found[number] = (channel.topic, name if plain else f"{name} in {channel.message_encoding}")
        return found

    def messages(self, unit: Unit) -> list[Message]:
        """Messages of one unit in file order; channels and schemas in it are added to ``contents``.

        Raises DamageError
        """
        try:
            with self.path.open("rb") as file:
                file.seek(unit.offset + _RECORD.size)
                record = file.read(unit.length)
            if unit.opcode == Opcode.MESSAGE:
                return [_message(memoryview(record), unit.offset, 0)]
            return list(self._chunk(record, unit.offset))
        except OSError as error:
            raise DamageError(f"at byte {unit.offset}: {error.strerror}") from error
        except _PARSE_ERRORS as error:
            raise DamageError(
                f"corrupt chunk at byte {unit.offset}: {error or type(error).__name__}"
            ) from error

    def _chunk(self, record: bytes, offset: int) -> Iterator[Message]:
        content = memoryview(_uncompressed(Chunk.read(ReadDataStream(BytesIO(record)))))
        start, place = 0, 0
        while start < len(content):
            opcode, length = _RECORD.unpack_from(content, start)
            body = content[start + _RECORD.size : start + _RECORD.size + length]
            if len(body) != length:
                raise ValueError(f"a record of {length} bytes runs past the end of the chunk")
            if opcode == Opcode.MESSAGE:
                yield _message(body, offset, place)
            else:
                _describe(self.contents, opcode, body)
            start += _RECORD.size + length
            place += 1


def _message(body: memoryview, offset: int, place: int) -> Message:
    channel_id, _, log_time_ns, _ = _MESSAGE.unpack_from(body)
    return Message(log_time_ns, offset, place, channel_id, body[_MESSAGE.size :])


def _describe(contents: Contents, opcode: int, body: bytes | memoryview) -> None:
    """Note a record that describes messages; others are of no interest."""
    stream = ReadDataStream(BytesIO(body))
    if opcode == Opcode.CHANNEL:
        channel = Channel.read(stream)
        contents.channels[channel.id] = channel
    elif opcode == Opcode.SCHEMA:
        schema = Schema.read(stream)
        contents.schemas[schema.id] = schema
    elif opcode == Opcode.STATISTICS:
        contents.statistics = Statistics.read(stream)


def _uncompressed(chunk: Chunk) -> bytes:
    if chunk.compression not in _COMPRESSIONS:
        raise ValueError(f"compression {chunk.compression!r} is not one of zstd, lz4 and none")
    if chunk.uncompressed_size > MAX_CHUNK_BYTES:
        raise ValueError(f"{chunk.uncompressed_size} bytes exceed the cap of {MAX_CHUNK_BYTES} on one chunk")
    if chunk.uncompressed_size == 0:
        return b""
    stream, size = get_chunk_data_stream(chunk, validate_crc=True)
    if size != chunk.uncompressed_size:
        raise ValueError(f"{size} bytes where {chunk.uncompressed_size} were announced")
    return stream.read(size)


def _scan(file: BinaryIO, size: int) -> Contents:
    """Step from record to record; the file is positioned after the opening magic."""
    contents = Contents()
    offset, opcode = len(MAGIC), 0
    try:
        while opcode != Opcode.FOOTER:
            opcode, length = _step(file, offset, size)
            if opcode in (Opcode.CHUNK, Opcode.MESSAGE):
                head = file.read(_MESSAGE.size)
                start_ns = _MESSAGE.unpack(head)[2] if opcode == Opcode.MESSAGE else _chunk_start(head)
                contents.units.append(Unit(start_ns, offset, opcode, length))
            elif opcode in (Opcode.CHANNEL, Opcode.SCHEMA, Opcode.STATISTICS):
                _describe(contents, opcode, file.read(length))
            offset += _RECORD.size + length
            file.seek(offset)
        if file.read(len(MAGIC)) != MAGIC:
            raise DamageError(f"at byte {offset}: the file ends without the closing magic")
    except DamageError as error:
        contents.damage = str(error)
    except _PARSE_ERRORS as error:
        contents.damage = f"at byte {offset}: unreadable record: {error or type(error).__name__}"
    contents.units.sort()
    return contents


def _step(file: BinaryIO, offset: int, size: int) -> tuple[int, int]:
    """Opcode and length of the record at the offset; raises DamageError unless it lies within the file."""
    head = file.read(_RECORD.size)
    if not head:
        raise DamageError(
            f"at byte {offset}: the file ends without a footer (cut off, or the recording was not finished)"
        )
    if len(head) < _RECORD.size:
        raise DamageError(f"at byte {offset}: the file is cut off within the head of a record")
    opcode, length = _RECORD.unpack(head)
    if opcode == 0:
        raise DamageError(f"at byte {offset}: no record begins here (opcode 0)")
    if offset + _RECORD.size + length > size:
        raise DamageError(
            f"at byte {offset}: the file is cut off: a record of {length} bytes begins here, "
            f"{size - offset - _RECORD.size} are left"
        )
    return int(opcode), int(length)


def _chunk_start(head: bytes) -> int:
    (start_ns,) = struct.unpack_from("<Q", head)
    return int(start_ns)
