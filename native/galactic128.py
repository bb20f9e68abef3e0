"""Galactic128: a site of 32-bit coordinates with frame, scale and LOD in 128 bits, as OctaIndex3D has it.

An id is a row of two uint64, the high word first, so that rows order as ids do; single ids are integers of
Python. The tree follows the lattice rule, as that of Index64.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native import texts as text_form
from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check
from native.fields import byte, word
from native.index64 import TIER_MAX
from native.lattice import CHILDREN
from native.shells import around
from native.texts import Texts

LOD_MAX = 63
ATTR_MAX = 15
COORDINATE_MIN = -(2**31)
COORDINATE_MAX = 2**31 - 1
WORDS = (2,)
_WORD = 64
_FIELDS = 5


class Decoded(NamedTuple):
    """The parts of N ids.

    sites : int32 (N, 3), half edges
    frame : uint8 (N,), 0..255
    scale_mant : uint8 (N,), 0..255
    tier : uint8 (N,), 0..3
    lod : uint8 (N,), 0..63
    attr_usr : uint8 (N,), 0..15, free for the user
    """

    sites: NDArray[np.int32]
    frame: NDArray[np.uint8]
    scale_mant: NDArray[np.uint8]
    tier: NDArray[np.uint8]
    lod: NDArray[np.uint8]
    attr_usr: NDArray[np.uint8]


def from_ints(values: Iterable[int]) -> NDArray[np.uint64]:
    """Rows of integers of 128 bits: uint64 (N, 2).  Raises IdError (more bits, or negative)"""
    whole = [word(value, 2 * _WORD, "values") for value in values]
    rows = [(value >> _WORD, value & (1 << _WORD) - 1) for value in whole]
    return np.array(rows, np.uint64).reshape(-1, 2)


def to_ints(ids: NDArray[np.uint64]) -> list[int]:
    """Integers of 128 bits of rows, uint64 (N, 2)."""
    readable(ids, np.uint64, (None, 2), "ids")
    return [high << _WORD | low for high, low in ids.tolist()]


def encode(
    sites: NDArray[np.int32], *, frame: int, scale_mant: int, tier: int, lod: int, attr_usr: int = 0
) -> NDArray[np.uint64]:
    """Ids of sites.

    sites : int32 (N, 3), half edges, any; each row all even or all odd
    frame, scale_mant, tier, lod, attr_usr : 0..255, 0..255, 0..3, 0..63, 0..15; for all the sites
    Returns uint64 (N, 2)
    Raises DomainError (a field), ParityError
    """
    pointer = readable(sites, np.int32, (None, 3), "sites")
    fields = ffi.new("octa_galactic128_fields *")
    fields.frame, fields.scale_mant = byte(frame, 255, "frame"), byte(scale_mant, 255, "scale_mant")
    fields.scale_tier, fields.lod = byte(tier, TIER_MAX, "tier"), byte(lod, LOD_MAX, "lod")
    fields.attr_usr = byte(attr_usr, ATTR_MAX, "attr_usr")
    out = np.empty((len(sites), 2), np.uint64)
    ids = output(out)
    check(lib.octa_galactic128_encode(pointer, len(sites), fields, ids), "sites")
    return out


def decode(ids: NDArray[np.uint64]) -> Decoded:
    """Parts of ids.

    ids : uint64 (N, 2)
    Raises IdError, ParityError
    """
    pointer, n = readable(ids, np.uint64, (None, 2), "ids"), len(ids)
    sites, fields = np.empty((n, 3), np.int32), np.empty((n, _FIELDS), np.uint8)
    to = ffi.cast("octa_galactic128_fields *", output(fields))
    check(lib.octa_galactic128_decode(pointer, n, output(sites), to), "ids")
    return Decoded(sites, *np.ascontiguousarray(fields.T))


def parent(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Lattice parent of each id, one LOD coarser, all else kept.

    ids : uint64 (N, 2), LOD >= 1
    Returns uint64 (N, 2)
    Raises IdError, ParityError, LodError (LOD 0)
    """
    pointer = readable(ids, np.uint64, (None, 2), "ids")
    out = np.empty((len(ids), 2), np.uint64)
    check(lib.octa_galactic128_parent(pointer, len(ids), output(out)), "ids")
    return out


def children(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 8 lattice children of each id, one LOD finer, all else kept.

    ids : uint64 (N, 2), LOD <= 62
    Returns uint64 (N, 8, 2)
    Raises IdError, ParityError, LodError (LOD 63), RangeError (a child is beyond 32 bits)
    """
    pointer = readable(ids, np.uint64, (None, 2), "ids")
    out = np.empty((len(ids), CHILDREN, 2), np.uint64)
    check(lib.octa_galactic128_children(pointer, len(ids), output(out)), "ids")
    return out


def from_index64(ids: NDArray[np.uint64], *, scale_mant: int = 0, attr_usr: int = 0) -> NDArray[np.uint64]:
    """Galactic128 of each Index64, which has no mantissa and no bits of the user's.

    ids : uint64 (N,), Index64
    Returns uint64 (N, 2)
    Raises DomainError (scale_mant, attr_usr), IdError, ParityError
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty((len(ids), 2), np.uint64)
    fields = byte(scale_mant, 255, "scale_mant"), byte(attr_usr, ATTR_MAX, "attr_usr")
    to = output(out)
    check(lib.octa_galactic128_from_index64(pointer, len(ids), *fields, to), "ids")
    return out


def to_index64(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Index64 of each id; mantissa and the user's bits are lost.

    ids : uint64 (N, 2)
    Returns uint64 (N,), Index64
    Raises IdError, ParityError, LodError (above 15), RangeError (beyond -32768..32767)
    """
    pointer = readable(ids, np.uint64, (None, 2), "ids")
    out = np.empty(len(ids), np.uint64)
    to = output(out)
    check(lib.octa_galactic128_to_index64(pointer, len(ids), to), "ids")
    return out


def shells(ids: NDArray[np.uint64], first: int, last: int) -> NDArray[np.uint64]:
    """The cells ``first`` to ``last`` steps from each id, in the order of ``native.shells.offsets``.

    ids : uint64 (N, 2)
    Returns uint64 (N, native.shells.count(first, last), 2), 0 where that is beyond 32 bits
    Raises IdError, ParityError, DomainError (first, last)
    """
    return around(lib.octa_galactic128_shells, ids, WORDS, first, last)


def neighbors(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 14 neighbours of each id: uint64 (N, 14, 2), 0 where that is beyond 32 bits."""
    return shells(ids, 1, 1)


def to_texts(ids: NDArray[np.uint64]) -> Texts:
    """Text form of each id, lower-case bech32m: S37 (N,).  Raises IdError, ParityError"""
    readable(ids, np.uint64, (None, 2), "ids")
    return text_form.write(lib.octa_galactic128_to_texts, ids, lib.OCTA_GALACTIC128_TEXT)


def from_texts(texts: Texts) -> NDArray[np.uint64]:
    """Id of each strict text form, S37 (N,): uint64 (N, 2).  Raises TextError, IdError, ParityError"""
    return text_form.read(lib.octa_galactic128_from_texts, texts, lib.OCTA_GALACTIC128_TEXT, WORDS)


def to_text(cell_id: int) -> str:
    """Text form of one id: lower-case bech32m, 37 characters.  Raises IdError, ParityError"""
    word(cell_id, 2 * _WORD, "cell_id")
    return text_form.write_one(lib.octa_galactic128_to_texts, from_ints([cell_id]), lib.OCTA_GALACTIC128_TEXT)


def from_text(text: str) -> int:
    """Id of a strict text form; upper case is accepted, mixed case is not.

    Raises TextError, IdError, ParityError
    """
    row = text_form.read_one(lib.octa_galactic128_from_texts, text, lib.OCTA_GALACTIC128_TEXT, WORDS)
    return to_ints(row)[0]
