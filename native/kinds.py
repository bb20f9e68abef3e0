"""Kinds of ids, told by their bits or by the prefix of their text."""

from __future__ import annotations

import re
from types import ModuleType

import numpy as np
from numpy.typing import NDArray

from native import galactic128, hilbert64, index64, route64
from native.errors import IdError, TextError

MODULES: dict[str, ModuleType] = {
    "index64": index64,
    "route64": route64,
    "hilbert64": hilbert64,
    "galactic128": galactic128,
}
"""By name; all have ``encode``, ``decode``, ``shells`` and ``neighbors``."""

_HEADERS = {1: "route64", 2: "index64", 3: "hilbert64"}
_PREFIXES = {"i3d1": "index64", "r3d1": "route64", "g3d1": "galactic128"}
_VERSION_SHIFT, _VERSION = 100, 1
_HEX, _WHOLE_HEX = re.compile(r"0[xX][0-9a-fA-F]{1,99}"), re.compile(r"[0-9a-fA-F]{16}([0-9a-fA-F]{16})?")
_DECIMAL = re.compile(r"[0-9]{1,99}")


def of_value(value: int) -> str:
    """Kind of an id's value: of 64 bits by its two top bits, of more by its version.

    Returns a key of ``MODULES``
    Raises IdError where no kind has such values

    >>> of_value(0x8007E00000000000)
    'index64'
    """
    if 0 <= value < 1 << 64 and value >> 62 in _HEADERS:
        return _HEADERS[value >> 62]
    if 1 << 64 <= value < 1 << 128 and value >> _VERSION_SHIFT & 15 == _VERSION:
        return "galactic128"
    raise IdError(
        f"{value:#x}: no id of any kind; of 64 bits the top two are 01, 10 or 11, of 128 the version is 1"
    )


def of_text(text: str) -> str:
    """Kind of a bech32m text, by its prefix: a key of ``MODULES``.  Raises TextError"""
    kind = _PREFIXES.get(text[:4].lower())
    if kind is None:
        raise TextError(f"{text!r}: no text of an id; they begin with i3d11, r3d11 or g3d11")
    return kind


def parse(text: str) -> tuple[str, int]:
    """Kind and value of an id in any form: hexadecimal, decimal, or bech32m.

    Hexadecimal digits begin with ``0x``, or are the 16 or 32 of a whole id; then digits that are an id as a
    decimal number are one.
    Raises TextError (no such form), IdError (no such kind), ParityError (bech32m of no site)

    >>> parse("0x8007e00000000000") == parse("9225697574961348608")
    True
    """
    plain = text.strip()
    if plain[:4].lower() in _PREFIXES:
        kind = of_text(plain)
        return kind, MODULES[kind].from_text(plain)
    value = _number(plain)
    if value is None:
        raise TextError(f"{text!r}: expected 0x and hexadecimal digits, decimal digits, or bech32m")
    return of_value(value), value


def _number(digits: str) -> int | None:
    """Value of digits, None for none."""
    if _HEX.fullmatch(digits):
        return int(digits, 16)
    value = int(digits) if _DECIMAL.fullmatch(digits) else None
    if _WHOLE_HEX.fullmatch(digits) and (value is None or not _is_id(value)):
        return int(digits, 16)
    return value


def _is_id(value: int) -> bool:
    try:
        of_value(value)
    except IdError:
        return False
    return True


def module_of(ids: NDArray[np.uint64]) -> ModuleType:
    """The module for an array of ids of one kind, told by its shape and its first id; of none, Index64's.

    ids : uint64 (N,), or (N, 2) of Galactic128
    Raises TypeError (no array of uint64), IdError (no kind)
    """
    if not isinstance(ids, np.ndarray) or ids.dtype != np.uint64:
        found = ids.dtype if isinstance(ids, np.ndarray) else type(ids).__name__
        raise TypeError(f"ids: expected a numpy array of uint64, got {found}")
    if ids.ndim == 2:
        return galactic128
    if ids.size == 0 or ids.ndim != 1:
        return index64
    return MODULES[of_value(int(ids.flat[0]))]
