"""Route64: a lattice site and its tier in 64 bits, as OctaIndex3D has it; no frame, no LOD, no tree.

Coordinates are signed, -524288..524287 half edges.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native import texts as text_form
from native._octa import lib
from native.arrays import output, readable
from native.errors import check
from native.fields import byte, word
from native.index64 import LOD_MAX, TIER_MAX
from native.shells import around
from native.texts import Texts

COORDINATE_MIN = -524288
COORDINATE_MAX = 524287


class Decoded(NamedTuple):
    """The parts of N ids.

    sites : int32 (N, 3), half edges
    tier : uint8 (N,), 0..3
    """

    sites: NDArray[np.int32]
    tier: NDArray[np.uint8]


def encode(sites: NDArray[np.int32], *, tier: int) -> NDArray[np.uint64]:
    """Ids of sites.

    sites : int32 (N, 3), half edges, -524288..524287, each row all even or all odd
    tier : scale tier, 0..3
    Returns uint64 (N,)
    Raises DomainError (tier), ParityError, RangeError
    """
    pointer = readable(sites, np.int32, (None, 3), "sites")
    out = np.empty(len(sites), np.uint64)
    ids = output(out)
    check(lib.octa_route64_encode(pointer, len(sites), byte(tier, TIER_MAX, "tier"), ids), "sites")
    return out


def decode(ids: NDArray[np.uint64]) -> Decoded:
    """Parts of ids.

    ids : uint64 (N,)
    Raises IdError, ParityError
    """
    pointer, n = readable(ids, np.uint64, (None,), "ids"), len(ids)
    parts = Decoded(np.empty((n, 3), np.int32), np.empty(n, np.uint8))
    sites = output(parts.sites)
    check(lib.octa_route64_decode(pointer, n, sites, output(parts.tier)), "ids")
    return parts


def from_index64(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Site and tier of each Index64; frame and LOD are lost.

    ids : uint64 (N,), Index64
    Returns uint64 (N,), Route64
    Raises IdError, ParityError
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty(len(ids), np.uint64)
    check(lib.octa_route64_from_index64(pointer, len(ids), output(out)), "ids")
    return out


def to_index64(ids: NDArray[np.uint64], *, frame: int, lod: int) -> NDArray[np.uint64]:
    """Index64 of each id, which has no frame and LOD of its own.

    ids : uint64 (N,), Route64
    frame, lod : 0..255, 0..15
    Returns uint64 (N,), Index64
    Raises DomainError (frame, lod), IdError, ParityError, RangeError (beyond -32768..32767)
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty(len(ids), np.uint64)
    fields = byte(frame, 255, "frame"), byte(lod, LOD_MAX, "lod")
    to = output(out)
    check(lib.octa_route64_to_index64(pointer, len(ids), *fields, to), "ids")
    return out


def shells(ids: NDArray[np.uint64], first: int, last: int) -> NDArray[np.uint64]:
    """The cells ``first`` to ``last`` steps from each id, in the order of ``native.shells.offsets``.

    ids : uint64 (N,)
    Returns uint64 (N, native.shells.count(first, last)), 0 where that is beyond the map
    Raises IdError, ParityError, DomainError (first, last)
    """
    return around(lib.octa_route64_shells, ids, (), first, last)


def neighbors(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 14 neighbours of each id: uint64 (N, 14), 0 where that is beyond the map."""
    return shells(ids, 1, 1)


def to_texts(ids: NDArray[np.uint64]) -> Texts:
    """Text form of each id, lower-case bech32m: S24 (N,).  Raises IdError, ParityError"""
    readable(ids, np.uint64, (None,), "ids")
    return text_form.write(lib.octa_route64_to_texts, ids, lib.OCTA_ROUTE64_TEXT)


def from_texts(texts: Texts) -> NDArray[np.uint64]:
    """Id of each strict text form, S24 (N,): uint64 (N,).  Raises TextError, IdError, ParityError"""
    return text_form.read(lib.octa_route64_from_texts, texts, lib.OCTA_ROUTE64_TEXT, ())


def to_text(cell_id: int) -> str:
    """Text form of one id: lower-case bech32m, 24 characters.  Raises IdError, ParityError

    >>> to_text(0x4000010000100001)
    'r3d11gqqszqqpqqqqp7hfpt8'
    """
    words = np.array([word(cell_id, 64, "cell_id")], np.uint64)
    return text_form.write_one(lib.octa_route64_to_texts, words, lib.OCTA_ROUTE64_TEXT)


def from_text(text: str) -> int:
    """Id of a strict text form; upper case is accepted, mixed case is not.

    Raises TextError, IdError, ParityError
    """
    return int(text_form.read_one(lib.octa_route64_from_texts, text, lib.OCTA_ROUTE64_TEXT, ())[0])
