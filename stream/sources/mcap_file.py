"""The MCAP container: which messages a file holds, chunk by chunk, up to where it is damaged.

The file is read by its records, not by its index, so that an unfinished or truncated recording reads like any
other. Content is verified by the CRC of each chunk, where the writer stored one.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Schema, Statistics

from stream.sources.base import SourceError
from stream.sources.unpacked import unpack_lz4, unpack_zstd

MAGIC = b"\x89MCAP0\r\n"
MAX_CHUNK_BYTES = 2 << 30
"""Cap on one chunk, so that a damaged length cannot ask for all memory."""

MAX_CHUNK_RECORDS = 1 << 22
"""Cap on the records of one chunk: each costs some hundred bytes, however small it is."""

MAX_DESCRIPTION_BYTES = 16 << 20
"""Cap on a record that describes messages; the schemas of protobuf, the longest, have some kilobytes."""

MAX_NAME_LENGTH = 1024
"""Cap on the name of a topic, a type or an encoding; there may be 65,536 of each, and all are kept."""

_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_UNPACK: dict[str, Callable[[bytes, int], bytes]] = {
    "": lambda data, most: data,
    "zstd": unpack_zstd,
    "lz4": unpack_lz4,
}
_PARSE_ERRORS = (
    McapError,
    zstandard.ZstdError,
    struct.error,
    ValueError,
    OverflowError,  # a length of 2^63 and more
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


class Topic(NamedTuple):
    """What is kept of a channel."""

    name: str
    encoding: str
    schema_id: int


class Unit(NamedTuple):
    """A record that holds messages, a chunk or a single message; sorts by its first log time."""

    start_ns: int
    offset: int
    opcode: int
    length: int


@dataclass(slots=True)
class Contents:
    """What the records of a file say, without looking into chunks.

    channels, types : those outside chunks, by their numbers; all when the file has a full summary
    units : chunks and unchunked messages by log time
    damage : why nothing more can be read, None for a complete file
    """

    channels: dict[int, Topic] = field(default_factory=dict)
    types: dict[int, str] = field(default_factory=dict)
    channel_count: int | None = None
    units: list[Unit] = field(default_factory=list)
    damage: str | None = None

    @property
    def knows_channels(self) -> bool:
        """Whether every channel is known, so that no chunk needs to be searched for more."""
        known = self.channel_count == len(self.channels)
        return known and all(c.schema_id == 0 or c.schema_id in self.types for c in self.channels.values())


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
            kind = self.contents.types.get(channel.schema_id, "no schema")
            plain = channel.encoding == "cdr"
            found[number] = (channel.name, kind if plain else f"{kind} in {channel.encoding}")
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
            if place > MAX_CHUNK_RECORDS:
                raise ValueError(f"more records than the cap of {MAX_CHUNK_RECORDS} on one chunk")


def _message(body: memoryview, offset: int, place: int) -> Message:
    channel_id, _, log_time_ns, _ = _MESSAGE.unpack_from(body)
    return Message(log_time_ns, offset, place, channel_id, body[_MESSAGE.size :])


def _describe(contents: Contents, opcode: int, body: bytes | memoryview) -> None:
    """Note a record that describes messages; others are of no interest."""
    if opcode not in (Opcode.CHANNEL, Opcode.SCHEMA, Opcode.STATISTICS):
        return
    if len(body) > MAX_DESCRIPTION_BYTES:
        raise ValueError(f"a description of {len(body)} bytes exceeds the cap of {MAX_DESCRIPTION_BYTES}")
    stream = ReadDataStream(BytesIO(body))
    if opcode == Opcode.CHANNEL:
        channel = Channel.read(stream)
        _require_short(channel.topic, channel.message_encoding)
        contents.channels[channel.id] = Topic(channel.topic, channel.message_encoding, channel.schema_id)
    elif opcode == Opcode.SCHEMA:
        schema = Schema.read(stream)
        _require_short(schema.name)
        contents.types[schema.id] = schema.name
    else:
        contents.channel_count = Statistics.read(stream).channel_count


def _require_short(*names: str) -> None:
    for name in names:
        if len(name) > MAX_NAME_LENGTH:
            raise ValueError(f"{name:.20}... of {len(name)} characters is no name: {MAX_NAME_LENGTH} at most")


def _uncompressed(chunk: Chunk) -> bytes:
    """Content of a chunk; never more of it is unpacked than the chunk announces and the cap allows."""
    announced = chunk.uncompressed_size
    if chunk.compression not in _UNPACK:
        raise ValueError(f"compression {chunk.compression!r:.20} is not one of zstd, lz4 and none")
    if announced > MAX_CHUNK_BYTES:
        raise ValueError(f"{announced} bytes exceed the cap of {MAX_CHUNK_BYTES} on one chunk")
    if announced == 0:
        return b""
    content = _UNPACK[chunk.compression](chunk.data, announced)
    if len(content) != announced:
        raise ValueError(f"{len(content)} bytes where {announced} were announced")
    if chunk.uncompressed_crc not in (0, crc := zlib.crc32(content)):
        raise ValueError(f"crc validation failed: {chunk.uncompressed_crc} announced, {crc} calculated")
    return content


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
