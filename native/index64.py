"""Index64: a lattice site with its frame, tier and LOD in 64 bits, bit-compatible with OctaIndex3D.

Coordinates are signed, -32768..32767 half edges. The tree follows the lattice rule (8:1, exact inverses).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native import texts as text_form
from native._octa import lib
from native.arrays import output, readable
from native.errors import DomainError, LodError, check
from native.fields import byte, word
from native.lattice import CHILDREN
from native.shells import around
from native.texts import Texts

LOD_MAX = 15
TIER_MAX = 3
COORDINATE_MIN = -32768
COORDINATE_MAX = 32767
BIAS = 32768
"""What is added to a signed coordinate to store it."""


class Decoded(NamedTuple):
    """The parts of N ids.

    sites : int32 (N, 3), half edges
    frame : uint8 (N,), 0..255
    tier : uint8 (N,), 0..3
    lod : uint8 (N,), 0..15
    """

    sites: NDArray[np.int32]
    frame: NDArray[np.uint8]
    tier: NDArray[np.uint8]
    lod: NDArray[np.uint8]


def encode(sites: NDArray[np.int32], *, frame: int, tier: int, lod: int) -> NDArray[np.uint64]:
    """Ids of sites.

    sites : int32 (N, 3), half edges, -32768..32767, each row all even or all odd
    frame : frame id, 0..255
    tier : scale tier, 0..3
    lod : level of detail, 0..15, finer upwards
    Returns uint64 (N,)
    Raises DomainError (frame, tier, lod), ParityError, RangeError
    """
    pointer = readable(sites, np.int32, (None, 3), "sites")
    fields = byte(frame, 255, "frame"), byte(tier, TIER_MAX, "tier"), byte(lod, LOD_MAX, "lod")
    ids = np.empty(len(sites), np.uint64)
    out = output(ids)
    check(lib.octa_index64_encode(pointer, len(sites), *fields, out), "sites")
    return ids


def decode(ids: NDArray[np.uint64]) -> Decoded:
    """Parts of ids.

    ids : uint64 (N,)
    Returns sites, frame, tier and lod
    Raises IdError, ParityError
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    n = len(ids)
    parts = Decoded(
        np.empty((n, 3), np.int32), np.empty(n, np.uint8), np.empty(n, np.uint8), np.empty(n, np.uint8)
    )
    sites = output(parts.sites)
    rest = [output(part) for part in parts[1:]]
    check(lib.octa_index64_decode(pointer, n, sites, *rest), "ids")
    return parts


def alike(ids: NDArray[np.uint64], cell: np.uint64) -> bool:
    """Whether all ids are cells with the frame, tier and LOD of another cell, whatever else they are.

    ids : uint64 (N,); cell : a valid id
    """
    readable(ids, np.uint64, (None,), "ids")
    prefix = (ids ^ cell) >> np.uint64(48)
    mixed = (ids ^ ids >> np.uint64(1)) & np.uint64(3)  # the lowest bits of the three coordinates
    return not (prefix | mixed).any()


def parent(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Lattice parent of each id, one LOD coarser, frame and tier kept.

    ids : uint64 (N,), LOD >= 1
    Returns uint64 (N,)
    Raises IdError, ParityError, LodError (LOD 0)
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty(len(ids), np.uint64)
    check(lib.octa_index64_parent(pointer, len(ids), output(out)), "ids")
    return out


def children(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 8 lattice children of each id, one LOD finer, frame and tier kept.

    ids : uint64 (N,), LOD <= 14
    Returns uint64 (N, 8)
    Raises IdError, ParityError, LodError (LOD 15), RangeError (a child is beyond the map)
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty((len(ids), CHILDREN), np.uint64)
    check(lib.octa_index64_children(pointer, len(ids), output(out)), "ids")
    return out


def ancestor(ids: NDArray[np.uint64], lod: int) -> NDArray[np.uint64]:
    """The cell at ``lod`` that contains each id: its parent, repeated.

    ids : uint64 (N,), each at ``lod`` or finer; LODs may differ
    lod : 0..15
    Returns uint64 (N,)
    Raises IdError, ParityError, DomainError (lod), LodError (an id is coarser than ``lod``)
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty(len(ids), np.uint64)
    to = output(out)
    code = lib.octa_index64_ancestor(pointer, len(ids), byte(lod, LOD_MAX, "lod"), to)
    if code == lib.OCTA_E_LOD:
        raise LodError(f"ids: expected LOD {lod} or finer, got LOD {decode(ids).lod.min()}")
    check(code, "ids")
    return out


def descendants(ids: NDArray[np.uint64], lod: int) -> NDArray[np.uint64]:
    """The cells at ``lod`` within each id: children of each child in turn.

    ids : uint64 (N,), all at one LOD
    lod : that of the ids or finer, 0..15
    Returns uint64 (N, 8**levels); each row is whole, and ``ancestor`` brings it back
    Raises IdError, ParityError, DomainError (lod, or ids at several LODs), LodError (the ids are finer than
    ``lod``), RangeError (a descendant is beyond the map), MemoryError
    """
    byte(lod, LOD_MAX, "lod")
    lods = decode(ids).lod
    if len(lods) == 0:
        return np.empty((0, 1), np.uint64)
    if lods.min() != lods.max():
        raise DomainError(f"ids: expected one LOD, got LODs {lods.min()}..{lods.max()}; call once for each")
    levels = lod - int(lods[0])
    if levels < 0:
        raise LodError(f"ids: expected LOD {lod} or coarser, got LOD {lods[0]}")
    out = np.empty((len(ids), CHILDREN**levels), np.uint64)
    pointer = readable(ids, np.uint64, (None,), "ids")
    to = output(out)
    check(lib.octa_index64_descendants(pointer, len(ids), levels, to), "ids")
    return out


def shells(ids: NDArray[np.uint64], first: int, last: int) -> NDArray[np.uint64]:
    """The cells ``first`` to ``last`` steps from each id, in the order of ``native.shells.offsets``.

    ids : uint64 (N,)
    first, last : steps, 0 <= first <= last <= 255
    Returns uint64 (N, native.shells.count(first, last)), 0 where that is beyond the map
    Raises IdError, ParityError, DomainError (first, last)
    """
    return around(lib.octa_index64_shells, ids, (), first, last)


def neighbors(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 14 neighbours of each id, in the order of ``native.lattice.neighbors``.

    ids : uint64 (N,)
    Returns uint64 (N, 14), 0 where that is beyond the map
    Raises IdError, ParityError
    """
    return shells(ids, 1, 1)


def to_texts(ids: NDArray[np.uint64]) -> Texts:
    """Text form of each id: lower-case bech32m.

    ids : uint64 (N,)
    Returns S24 (N,)
    Raises IdError, ParityError
    """
    readable(ids, np.uint64, (None,), "ids")
    return text_form.write(lib.octa_index64_to_texts, ids, lib.OCTA_INDEX64_TEXT)


def from_texts(texts: Texts) -> NDArray[np.uint64]:
    """Id of each text form; strict as ``from_text``.

    texts : S24 (N,)
    Returns uint64 (N,)
    Raises TextError, IdError, ParityError
    """
    return text_form.read(lib.octa_index64_from_texts, texts, lib.OCTA_INDEX64_TEXT, ())


def to_text(cell_id: int) -> str:
    """Text form of one id: lower-case bech32m, 24 characters.

    Raises IdError, ParityError

    >>> to_text(0x80050000044E8D40)
    'i3d11sqzsqqqyf6x5qvpj6d3'
    """
    words = np.array([word(cell_id, 64, "cell_id")], np.uint64)
    return text_form.write_one(lib.octa_index64_to_texts, words, lib.OCTA_INDEX64_TEXT)


def from_text(text: str) -> int:
    """Id of a text form; upper case is accepted, mixed case is not.

    Raises TextError (not strict bech32m), IdError, ParityError
    """
    return int(text_form.read_one(lib.octa_index64_from_texts, text, lib.OCTA_INDEX64_TEXT, ())[0])
