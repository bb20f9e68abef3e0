"""Index64: a lattice site with its frame, tier and LOD in 64 bits, bit-compatible with OctaIndex3D.

Coordinates are signed, -32768..32767 half edges. The tree follows the lattice rule (8:1, exact inverses).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import readable, writable
from native.errors import LodError, check
from native.lattice import CHILDREN

LOD_MAX = 15
TIER_MAX = 3
COORDINATE_MIN = -32768
COORDINATE_MAX = 32767
_LOD_SHIFT = np.uint64(48)
_LOD_MASK = np.uint64(15)


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
    _check_byte(frame, 255, "frame")
    _check_byte(tier, TIER_MAX, "tier")
    _check_byte(lod, LOD_MAX, "lod")
    ids = np.empty(len(sites), np.uint64)
    out = writable(ids, np.uint64, (None,), "ids")
    check(lib.octa_index64_encode(pointer, len(sites), frame, tier, lod, out), "sites")
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
    sites = writable(parts.sites, np.int32, (n, 3), "sites")
    rest = [writable(part, np.uint8, (n,), "part") for part in parts[1:]]
    check(lib.octa_index64_decode(pointer, n, sites, *rest), "ids")
    return parts


def parent(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Lattice parent of each id, one LOD coarser, frame and tier kept.

    ids : uint64 (N,), LOD >= 1
    Returns uint64 (N,)
    Raises IdError, ParityError, LodError (LOD 0)
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty(len(ids), np.uint64)
    check(lib.octa_index64_parent(pointer, len(ids), writable(out, np.uint64, (None,), "out")), "ids")
    return out


def children(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The 8 lattice children of each id, one LOD finer, frame and tier kept.

    ids : uint64 (N,), LOD <= 14
    Returns uint64 (N, 8)
    Raises IdError, ParityError, LodError (LOD 15), RangeError (a child is beyond the map)
    """
    pointer = readable(ids, np.uint64, (None,), "ids")
    out = np.empty((len(ids), CHILDREN), np.uint64)
    check(lib.octa_index64_children(pointer, len(ids), writable(out, np.uint64, out.shape, "out")), "ids")
    return out


def ancestor(ids: NDArray[np.uint64], lod: int) -> NDArray[np.uint64]:
    """The cell at ``lod`` that contains each id: its parent, repeated.

    ids : uint64 (N,), each at ``lod`` or finer; LODs may differ
    lod : 0..15
    Returns uint64 (N,)
    Raises IdError, ParityError, DomainError (lod), LodError (an id is coarser than ``lod``)
    """
    _check_byte(lod, LOD_MAX, "lod")
    lods = decode(ids).lod
    if np.any(lods < lod):
        raise LodError(f"ids: expected LOD {lod} or finer, got LOD {lods.min()}")
    out = ids.copy()
    for level in range(LOD_MAX, lod, -1):
        finer = (out >> _LOD_SHIFT & _LOD_MASK) == level
        if finer.any():
            out[finer] = parent(out[finer])
    return out


def to_text(cell_id: int) -> str:
    """Text form of one id: lower-case bech32m, 24 characters.

    Raises IdError, ParityError

    >>> to_text(0x80050000044E8D40)
    'i3d11sqzsqqqyf6x5qvpj6d3'
    """
    text = ffi.new("char[]", lib.OCTA_INDEX64_TEXT)
    check(lib.octa_index64_to_text(cell_id, text), "cell_id")
    return str(ffi.unpack(text, lib.OCTA_INDEX64_TEXT).decode("ascii"))


def from_text(text: str) -> int:
    """Id of a text form; upper case is accepted, mixed case is not.

    Raises TextError (not strict bech32m), IdError, ParityError
    """
    data = text.encode("utf-8", "surrogatepass")
    cell_id = ffi.new("uint64_t *")
    check(lib.octa_index64_from_text(data, len(data), cell_id), "text")
    return int(cell_id[0])


def _check_byte(value: int, highest: int, name: str) -> None:
    check(lib.OCTA_OK if 0 <= value <= highest else lib.OCTA_E_DOMAIN, f"{name} = {value} (0..{highest})")
