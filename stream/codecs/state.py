"""Plain values and arrays as bytes, for snapshots: no pickle, so reading foreign bytes runs no code."""

from __future__ import annotations

import dataclasses
import json
import re
import struct
from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

MAGIC = b"OCTASTATE4"
"""Ends in the version of everything that is packed: an older snapshot is refused, not guessed at."""
PLAIN = re.compile(r"[<>|][biufc]\d{1,2}")
"""Types of arrays, as numpy writes them: numbers and truth values."""
T = TypeVar("T")


class StateError(ValueError):
    """Bytes that are not a state written by ``pack``."""


class Frozen:
    """A tree as it is now; what becomes of it later does not show. Its bytes are made when asked for.

    Read-only arrays are kept and not copied, so freezing what is made of records takes little time. A frozen
    tree within another stands for its bytes, and is not copied either.
    """

    def __init__(self, value: Any) -> None:
        self._buffers = _Buffers()
        self._tree = _encode(value, self._buffers)

    def chunks(self) -> tuple[bytes | memoryview, ...]:
        """The bytes in pieces, which nobody has to put together in order to write them."""
        header = json.dumps(self._tree, separators=(",", ":")).encode()
        return (MAGIC, struct.pack("<Q", len(header)), header, *self._buffers.parts)

    def __len__(self) -> int:
        return sum(map(len, self.chunks()))

    def pack(self) -> bytes:
        """As ``pack``."""
        return b"".join(self.chunks())


class Pieces(tuple[bytes | memoryview, ...]):
    """Bytes in pieces, which a tree holds as if they were put together; nothing may write to them."""

    __slots__ = ()


def chunks_of(data: bytes | Frozen | Pieces) -> tuple[bytes | memoryview, ...]:
    """Bytes in pieces, of what is packed or will be."""
    if isinstance(data, bytes):
        return (data,)
    return data.chunks() if isinstance(data, Frozen) else data


def pack(value: Any) -> bytes:
    """Encode a tree of dict (string keys), list, tuple, str, int, float, bool, None, bytes and arrays.

    Deterministic: equal trees give equal bytes. Tuples come back as lists, pieces as bytes.
    Raises TypeError for anything else.
    """
    return Frozen(value).pack()


def unpack(data: bytes) -> Any:
    """Decode what ``pack`` wrote; arrays are read-only, views into ``data`` where aligned.

    Raises StateError
    """
    start = len(MAGIC) + 8
    if data[: len(MAGIC)] != MAGIC or len(data) < start:
        raise StateError("state: not a snapshot of this version")
    (length,) = struct.unpack_from("<Q", data, len(MAGIC))
    try:
        tree = json.loads(data[start : start + length])
        return _decode(tree, memoryview(data)[start + length :])
    except (ValueError, KeyError, TypeError, IndexError, OverflowError, RecursionError) as error:
        raise StateError(f"state: damaged: {error}") from error


def unpack_fields(data: bytes, names: frozenset[str], later: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Decode a mapping with just these keys; raises StateError for anything else.

    later : those of them that older snapshots lack
    """
    tree = unpack(data)
    if not isinstance(tree, dict) or not names - later <= set(tree) <= names:
        raise StateError("state: of another agent or another version")
    return tree


def to_dict(record: Any) -> dict[str, Any]:
    """Fields of a dataclass, one level deep."""
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def from_dict(kind: type[T], values: Mapping[str, Any]) -> T:
    """A dataclass from its fields; lists become tuples, since records are immutable."""
    return kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})


class _Buffers:
    """What lies behind the header, one after the other."""

    def __init__(self) -> None:
        self.parts: list[bytes | memoryview] = []
        self._size = 0

    def append(self, *parts: bytes | memoryview) -> list[int]:
        """Add one, in pieces; returns its offset and length."""
        offset = self._size
        self.parts += parts
        self._size += sum(map(len, parts))
        return [offset, self._size - offset]


def _is_constant(array: Any) -> bool:
    """Neither it nor an array that it is a view of can be written to."""
    while isinstance(array, np.ndarray):
        if array.flags.writeable:
            return False
        array = array.base
    return True


def _bytes_of(array: np.ndarray[Any, Any]) -> bytes | memoryview:
    if array.size and array.flags.c_contiguous and _is_constant(array):
        return array.reshape(-1).view(np.uint8).data
    return array.tobytes()


def _encode(value: Any, buffers: _Buffers) -> Any:
    if value is None or isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes | Frozen | Pieces):
        return {"$bytes": buffers.append(*chunks_of(value))}
    if isinstance(value, np.ndarray):
        return {"$array": buffers.append(_bytes_of(value)), "dtype": value.dtype.str, "shape": value.shape}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list | tuple):
        return [_encode(item, buffers) for item in value]
    if isinstance(value, Mapping):
        if any(not isinstance(key, str) or key.startswith("$") for key in value):
            raise TypeError("state: keys must be strings that do not start with $")
        return {key: _encode(item, buffers) for key, item in value.items()}
    raise TypeError(f"state: cannot encode {type(value).__name__}")


def _decode(value: Any, buffer: memoryview) -> Any:
    if isinstance(value, list):
        return [_decode(item, buffer) for item in value]
    if not isinstance(value, dict):
        return value
    if "$bytes" in value:
        return bytes(_slice(value["$bytes"], buffer))
    if "$array" in value:
        if not PLAIN.fullmatch(value["dtype"]):  # numpy would read many another text, and warn of some
            raise ValueError(f"dtype {value['dtype']!r} is not one that is written")
        dtype = np.dtype(value["dtype"])
        array = np.frombuffer(_slice(value["$array"], buffer), dtype).reshape(value["shape"])
        if not array.flags.aligned:  # the C core takes no others
            array = array.copy()
            array.flags.writeable = False
        return array
    return {key: _decode(item, buffer) for key, item in value.items()}


def _slice(span: list[int], buffer: memoryview) -> memoryview:
    offset, length = span
    if offset < 0 or length < 0 or offset + length > len(buffer):
        raise ValueError("a buffer reaches past the end")
    return buffer[offset : offset + length]
