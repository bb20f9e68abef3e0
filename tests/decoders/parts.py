"""An input that consists of several: each behind its length."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

_LENGTH = struct.Struct("<H")
_NONE = 0xFFFF
"""Instead of a length: there is nothing, which is not the same as nothing in it."""


def join(parts: Iterable[bytes | None]) -> bytes:
    """Parts as one input; each has fewer than 65,535 bytes."""
    return b"".join(_LENGTH.pack(_NONE if part is None else len(part)) + (part or b"") for part in parts)


def split(data: bytes) -> Sequence[bytes | None]:
    """The parts of any input; the last one is as long as there are bytes."""
    parts: list[bytes | None] = []
    while len(data) >= _LENGTH.size:
        (length,) = _LENGTH.unpack_from(data)
        data = data[_LENGTH.size :]
        parts.append(None if length == _NONE else data[:length])
        data = data[0 if length == _NONE else length :]
    return parts
