"""Protobuf's wire format, as far as it matters before a library parses a message."""

from __future__ import annotations

from stream.codecs.cdr import CodecError

MAX_VARINT_BYTES = 10
CONFLUENT_HEAD_BYTES = 5
"""Confluent's magic byte 0 and the id of a schema, big endian."""
MAX_NESTING = 16
"""Of a message type in a schema file; the registry's framing names it by so many numbers."""

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED = {_FIXED64: 8, _FIXED32: 4}


def varint(data: bytes | memoryview, offset: int) -> tuple[int, int]:
    """The unsigned number at an offset, and where it ends.  Raises CodecError, never reads past the end."""
    value = 0
    for place in range(MAX_VARINT_BYTES):
        if offset + place >= len(data):
            raise CodecError(f"the message ends within a varint at byte {offset}")
        byte = data[offset + place]
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, offset + place + 1
    raise CodecError(f"a varint at byte {offset} is longer than {MAX_VARINT_BYTES} bytes")


def require_few_values(data: bytes | memoryview, most: int) -> None:
    """Raises CodecError for a message of more than ``most`` values, those in nested messages not counted.

    An empty nested message takes two bytes on the wire and forty times as much once it is parsed: 8 MiB of
    them would take more than 300. Nothing but tags and lengths is looked at.
    """
    offset = 0
    for _ in range(most):
        if offset == len(data):
            return
        tag, offset = varint(data, offset)
        offset = _behind(data, offset, tag & 7)
    if offset != len(data):
        raise CodecError(f"the message holds more than {most} values")


def _behind(data: bytes | memoryview, offset: int, kind: int) -> int:
    """Where a value ends."""
    if kind == _VARINT:
        return varint(data, offset)[1]
    if kind not in (_BYTES, *_FIXED):
        raise CodecError(f"wire type {kind} before byte {offset}: expected 0, 1, 2 or 5")
    size, begin = varint(data, offset) if kind == _BYTES else (_FIXED[kind], offset)
    if size > len(data) - begin:
        raise CodecError(f"{size} bytes expected at byte {begin}, {len(data) - begin} left in the message")
    return begin + size


def strip_confluent(data: bytes | memoryview) -> memoryview:
    """The message behind the framing of Confluent's schema registry.

    data : 0, a schema id (4 bytes), which message of the schema's file it is (varints), the message
    Raises CodecError
    """
    view = memoryview(data)
    if len(view) < CONFLUENT_HEAD_BYTES:
        raise CodecError(f"message of {len(view)} bytes, the framing alone has {CONFLUENT_HEAD_BYTES}")
    if view[0] != 0:
        raise CodecError(f"the message begins with {view[0]:02x}, framing=confluent expects 00")
    count, offset = _signed(view, CONFLUENT_HEAD_BYTES)
    if not 0 <= count <= MAX_NESTING:
        raise CodecError(f"framing: {count} message indexes, expected 0 to {MAX_NESTING}")
    for _ in range(count):
        _, offset = _signed(view, offset)
    return view[offset:]


def _signed(data: memoryview, offset: int) -> tuple[int, int]:
    """A number in zigzag order, as the framing has them."""
    value, end = varint(data, offset)
    return (value >> 1) ^ -(value & 1), end
