"""Varints, the number of values, and the framing of Confluent's schema registry."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stream.codecs.cdr import CodecError
from stream.codecs.protobuf import require_few_values, strip_confluent, varint


def encoded(value: int) -> bytes:
    data = bytearray()
    while value > 0x7F:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def refused(call: Any, *arguments: Any) -> str:
    with pytest.raises(CodecError) as caught:
        call(*arguments)
    return str(caught.value)


@given(st.integers(0, 2**64 - 1), st.binary(max_size=3), st.binary(max_size=3))
def test_varints(value: int, before: bytes, behind: bytes) -> None:
    data = before + encoded(value) + behind
    assert varint(data, len(before)) == (value, len(data) - len(behind))


def test_varints_that_do_not_end() -> None:
    assert refused(varint, b"\x01\xff\xff", 1) == "the message ends within a varint at byte 1"
    assert refused(varint, b"\xff" * 11, 0) == "a varint at byte 0 is longer than 10 bytes"


VALUES = b"\x08\x96\x01\x11" + bytes(8) + b"\x1a\x03abc\x25" + bytes(4)
"""One of each wire type: varint, 8 bytes, length, 4 bytes."""


def test_values_are_counted_up_to_the_limit() -> None:
    require_few_values(VALUES, 4)
    require_few_values(b"", 0)
    assert refused(require_few_values, VALUES, 3) == "the message holds more than 3 values"
    for end in range(1, len(VALUES)):
        if end not in (3, 12, 17):
            assert refused(require_few_values, VALUES[:end], 4)


@pytest.mark.parametrize("kind", [3, 4, 6, 7])
def test_wire_types_that_are_none(kind: int) -> None:
    words = f"wire type {kind} before byte 1: expected 0, 1, 2 or 5"
    assert refused(require_few_values, bytes([8 + kind]), 4) == words


@pytest.mark.parametrize(
    "index",
    [b"\x00", b"\x02\x00", b"\x02\x06", b"\x04\x02\x80\x02"],
    ids=["first, in short", "first", "fourth", "nested"],
)
def test_the_framing_is_stripped(index: bytes) -> None:
    assert bytes(strip_confluent(b"\x00\x00\x01\x02\x03" + index + b"message")) == b"message"
    assert bytes(strip_confluent(b"\x00\x00\x01\x02\x03" + index)) == b""


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "message of 0 bytes, the framing alone has 5"),
        (b"\x0a\x04\x08\x05\x10", "the message begins with 0a, framing=confluent expects 00"),
        (b"\x00\x00\x00\x00\x01", "the message ends within a varint at byte 5"),
        (b"\x00\x00\x00\x00\x01\x04\x00", "the message ends within a varint at byte 7"),
        (b"\x00\x00\x00\x00\x01\x01", "framing: -1 message indexes, expected 0 to 16"),
        (b"\x00\x00\x00\x00\x01\xfe\xff\x03", "framing: 32767 message indexes, expected 0 to 16"),
    ],
)
def test_framings_that_are_none(data: bytes, words: str) -> None:
    assert refused(strip_confluent, data) == words
