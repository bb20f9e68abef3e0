"""Hilbert64: an Index64 whose Morton digits are Gray-coded, bit-compatible with OctaIndex3D.

The key is no Hilbert curve: consecutive keys are not always adjacent. Sites, tree and neighbours are those of
the Index64; it has no text form.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from native import index64
from native._octa import lib
from native.arrays import output, readable
from native.errors import check
from native.index64 import COORDINATE_MAX, COORDINATE_MIN, LOD_MAX, TIER_MAX, Decoded

__all__ = ["COORDINATE_MAX", "COORDINATE_MIN", "LOD_MAX", "TIER_MAX", "Decoded"]

Words = NDArray[np.uint64]


def encode(sites: NDArray[np.int32], *, frame: int, tier: int, lod: int) -> Words:
    """Ids of sites; arguments and errors as ``native.index64.encode``.

    Returns uint64 (N,)
    """
    return from_index64(index64.encode(sites, frame=frame, tier=tier, lod=lod))


def decode(ids: Words) -> Decoded:
    """Parts of ids.

    ids : uint64 (N,)
    Returns sites, frame, tier and lod
    Raises IdError, ParityError
    """
    return index64.decode(to_index64(ids))


def from_index64(ids: Words) -> Words:
    """Hilbert64 of each Index64, uint64 (N,); every field is kept.  Raises IdError, ParityError"""
    return _converted(lib.octa_hilbert64_from_index64, ids, "ids")


def to_index64(ids: Words) -> Words:
    """Index64 of each Hilbert64, uint64 (N,); every field is kept.  Raises IdError, ParityError"""
    return _converted(lib.octa_hilbert64_to_index64, ids, "ids")


def keys_of(morton: Words) -> Words:
    """The 48-bit keys of Morton codes of any three 16-bit coordinates, sites or not.

    morton : uint64 (N,), below 2**48; x at bit 0
    Returns uint64 (N,)
    Raises DomainError
    """
    return _converted(lib.octa_hilbert64_keys, morton, "morton")


def morton_of(keys: Words) -> Words:
    """The Morton codes of keys, uint64 (N,) below 2**48: the inverse of ``keys_of``.  Raises DomainError"""
    return _converted(lib.octa_hilbert64_morton, keys, "keys")


def parent(ids: Words) -> Words:
    """Lattice parent of each id, uint64 (N,).  Raises IdError, ParityError, LodError (LOD 0)"""
    return from_index64(index64.parent(to_index64(ids)))


def children(ids: Words) -> Words:
    """The 8 lattice children of each id, uint64 (N, 8).

    Raises IdError, ParityError, LodError (LOD 15), RangeError (a child is beyond the map)
    """
    found = index64.children(to_index64(ids))
    return from_index64(found.reshape(-1)).reshape(found.shape)


def ancestor(ids: Words, lod: int) -> Words:
    """The cell at ``lod`` that contains each id, uint64 (N,); errors as ``native.index64.ancestor``."""
    return from_index64(index64.ancestor(to_index64(ids), lod))


def descendants(ids: Words, lod: int) -> Words:
    """The cells at ``lod`` within each id, uint64 (N, 8**levels); as ``native.index64.descendants``."""
    found = index64.descendants(to_index64(ids), lod)
    return from_index64(found.reshape(-1)).reshape(found.shape)


def shells(ids: Words, first: int, last: int) -> Words:
    """The cells ``first`` to ``last`` steps from each id, in the order of ``native.shells.offsets``.

    ids : uint64 (N,)
    Returns uint64 (N, native.shells.count(first, last)), 0 where that is beyond the map
    Raises IdError, ParityError, DomainError (first, last)
    """
    out = index64.shells(to_index64(ids), first, last)
    there = out != 0
    out[there] = from_index64(out[there])
    return out


def neighbors(ids: Words) -> Words:
    """The 14 neighbours of each id: uint64 (N, 14), 0 where that is beyond the map."""
    return shells(ids, 1, 1)


def _converted(function: Callable[..., int], words: Words, name: str) -> Words:
    pointer = readable(words, np.uint64, (None,), name)
    out = np.empty(len(words), np.uint64)
    check(function(pointer, len(words), output(out)), name)
    return out
