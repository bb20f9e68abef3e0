"""Plain CDR (XCDR version 1), the wire format of ROS 2 messages: a bounds-checked reader and a writer."""

from __future__ import annotations

import struct

from stream.codecs.names import require_name

HEADER_BYTES = 4
"""Encapsulation header; alignment counts from its end."""

_BIG_ENDIAN, _LITTLE_ENDIAN = b"\x00\x00", b"\x00\x01"
_NS = 1_000_000_000


class CodecError(ValueError):
    """A message that cannot be decoded; names what was expected and what was found, in one printable line.

    Names may come from the message itself: what a terminal would not show of them is escaped.
    """

    def __init__(self, text: str) -> None:
        super().__init__("".join(char if char.isprintable() else ascii(char)[1:-1] for char in text))


class CdrReader:
    """Reads primitive values in order; every read is checked against the end of the message.

    data : a whole message with its encapsulation header
    Raises CodecError, here and in every method, for anything that does not fit
    """

    __slots__ = ("_data", "_end", "_offset", "_order")

    def __init__(self, data: bytes | memoryview) -> None:
        self._data = memoryview(data).cast("B")
        self._end = len(self._data)
        if self._end < HEADER_BYTES:
            raise CodecError(f"message of {self._end} bytes has no CDR header")
        kind = bytes(self._data[:2])
        if kind not in (_BIG_ENDIAN, _LITTLE_ENDIAN):
            raise CodecError(f"CDR header {kind.hex()}: expected 0000 (big endian) or 0001 (little endian)")
        self._order = ">" if kind == _BIG_ENDIAN else "<"
        self._offset = HEADER_BYTES

    @property
    def remaining(self) -> int:
        """Bytes not read yet."""
        return self._end - self._offset

    def take(self, count: int, what: str) -> memoryview:
        """The next ``count`` bytes, without a copy."""
        if count > self.remaining:
            raise CodecError(f"{what}: {count} bytes expected, {self.remaining} left in the message")
        start = self._offset
        self._offset += count
        return self._data[start : self._offset]

    def _align(self, size: int) -> None:
        self._offset += -(self._offset - HEADER_BYTES) % size

    def uint8(self, what: str) -> int:
        """One octet."""
        return self.take(1, what)[0]

    def boolean(self, what: str) -> bool:
        """One octet, 0 or 1."""
        value = self.uint8(what)
        if value > 1:
            raise CodecError(f"{what}: expected 0 or 1, got {value}")
        return value == 1

    def int32(self, what: str) -> int:
        """A signed 32-bit integer."""
        self._align(4)
        (value,) = struct.unpack(f"{self._order}i", self.take(4, what))
        return int(value)

    def uint32(self, what: str) -> int:
        """An unsigned 32-bit integer."""
        self._align(4)
        (value,) = struct.unpack(f"{self._order}I", self.take(4, what))
        return int(value)

    def doubles(self, count: int, what: str) -> tuple[float, ...]:
        """``count`` 64-bit floats."""
        self._align(8)
        return struct.unpack(f"{self._order}{count}d", self.take(8 * count, what))

    def count(self, least_bytes: int, what: str) -> int:
        """Length of a sequence whose elements take at least ``least_bytes`` each."""
        value = self.uint32(what)
        if value * least_bytes > self.remaining:
            raise CodecError(f"{what}: {value} elements cannot fit in the {self.remaining} bytes left")
        return value

    def string(self, what: str) -> str:
        """A UTF-8 string with its terminator."""
        length = self.uint32(what)
        raw = bytes(self.take(length, what))
        if length and raw[-1] != 0:
            raise CodecError(f"{what}: string of {length} bytes has no terminator")
        try:
            return raw[:-1].decode()
        except UnicodeDecodeError as error:
            raise CodecError(f"{what}: not UTF-8: {raw[:40]!r}") from error

    def header(self) -> tuple[int, str]:
        """``std_msgs/Header``: stamp in nanoseconds, >= 0, and frame without tf1's leading slash."""
        seconds, nanoseconds = self.int32("header.stamp.sec"), self.uint32("header.stamp.nanosec")
        if seconds < 0 or nanoseconds >= _NS:
            raise CodecError(f"header.stamp: {seconds} s {nanoseconds} ns is not a time since the epoch")
        return seconds * _NS + nanoseconds, self.frame("header.frame_id")

    def frame(self, what: str) -> str:
        """A frame's name."""
        return frame_name(self.string(what), what)


def frame_name(text: str, what: str) -> str:
    """The frame that a message names, without tf1's leading slash.  Raises CodecError for what is no name"""
    name = text.removeprefix("/")
    if not name:
        raise CodecError(f"{what}: the frame name is empty")
    try:
        require_name(name)
    except ValueError as error:
        raise CodecError(f"{what}: {error}") from error
    return name


class CdrWriter:
    """Writes primitive values in order; ``bytes(writer.data)`` is the message."""

    __slots__ = ("_order", "data")

    def __init__(self, *, big_endian: bool = False) -> None:
        self._order = ">" if big_endian else "<"
        self.data = bytearray((_BIG_ENDIAN if big_endian else _LITTLE_ENDIAN) + b"\x00\x00")

    def _pack(self, code: str, size: int, *values: float) -> None:
        self.data += bytes(-(len(self.data) - HEADER_BYTES) % size)
        self.data += struct.pack(self._order + code, *values)

    def uint8(self, value: int) -> None:
        """One octet."""
        self._pack("B", 1, value)

    def uint32(self, value: int) -> None:
        """An unsigned 32-bit integer."""
        self._pack("I", 4, value)

    def doubles(self, values: tuple[float, ...]) -> None:
        """64-bit floats."""
        self._pack(f"{len(values)}d", 8, *values)

    def string(self, value: str) -> None:
        """A UTF-8 string with its terminator."""
        raw = value.encode() + b"\x00"
        self.uint32(len(raw))
        self.data += raw

    def header(self, stamp_ns: int, frame: str) -> None:
        """``std_msgs/Header``; stamp in nanoseconds, 0 <= stamp < 2^31 s."""
        if not 0 <= stamp_ns < 2**31 * _NS:
            raise ValueError(f"stamp_ns: expected 0 <= stamp < 2^31 s, got {stamp_ns}")
        self.uint32(stamp_ns // _NS)
        self.uint32(stamp_ns % _NS)
        self.string(frame)
