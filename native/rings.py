"""Rings around cells and distances between them, for ids of every kind.

Ids of 64 bits are uint64 (N,), all of one kind; those of Galactic128 uint64 (N, 2). A step leads to one of
the 14 neighbours.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native import lattice
from native.arrays import readable
from native.errors import DomainError
from native.fields import byte
from native.kinds import module_of
from native.shells import STEPS_MAX


def k_ring(ids: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    """The cells within ``k`` steps of each id, the cell itself first, then shell by shell.

    ids : uint64 (N,) or (N, 2)
    k : 0..255
    Returns uint64 (N, (k + 1)**4 - k**4) or (.., 2), in the order of ``native.shells.offsets``; 0, which is
        no id, where that is beyond the map
    Raises IdError, ParityError, DomainError (k)
    """
    found: NDArray[np.uint64] = module_of(ids).shells(ids, 0, byte(k, STEPS_MAX, "k"))
    return found


def k_shell(ids: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    """The cells exactly ``k`` steps from each id: uint64 (N, 12 k**2 + 2), as ``k_ring``."""
    steps = byte(k, STEPS_MAX, "k")
    found: NDArray[np.uint64] = module_of(ids).shells(ids, steps, steps)
    return found


def distance(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Fewest steps from one cell to the other, whatever lies between.

    a, b : uint64 (N,) or (N, 2), of one kind; each pair alike in every field but the site
    Returns uint32 (N,)
    Raises IdError, ParityError, DomainError (two frames, tiers or LODs)
    """
    readable(b, np.uint64, a.shape if isinstance(a, np.ndarray) else (None,), "b")
    kind = module_of(a)
    (sites, *fields), (to_sites, *to_fields) = kind.decode(a), kind.decode(b)
    for name, one, other in zip(kind.Decoded._fields[1:], fields, to_fields, strict=True):
        if not np.array_equal(one, other):
            row = int(np.flatnonzero(one != other)[0])
            raise DomainError(
                f"a, b: row {row} has {name} {one[row]} and {other[row]}; cells of one grid have a distance"
            )
    return lattice.distance(sites, to_sites)
