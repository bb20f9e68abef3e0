"""The body-centred-cubic lattice: nearest site, neighbours, parent and children.

Sites are int32 triples in half edges, all even or all odd.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native._octa import lib
from native.arrays import output, readable
from native.errors import check

NEIGHBORS: int = lib.OCTA_NEIGHBORS
CHILDREN: int = lib.OCTA_CHILDREN


def snap(points: NDArray[np.float64]) -> NDArray[np.int32]:
    """Nearest BCC lattice site of each point.

    points : float64 (N, 3), lattice units (metres / half edge); finite, |v| <= 2**30
    Returns int32 (N, 3), in half edges, each row all even or all odd
    Raises DomainError for a value that is not finite or too large
    Ties go to the even sublattice; within one, half rounds up. Deterministic, equal on every machine.
    Source: Conway & Sloane 1982.

    >>> snap(np.array([[0.9, 1.2, 0.8], [0.5, 0.5, 0.5]])).tolist()
    [[1, 1, 1], [0, 0, 0]]
    """
    pointer = readable(points, np.float64, (None, 3), "points")
    sites = np.empty((len(points), 3), np.int32)
    check(lib.octa_lattice_snap(pointer, len(points), output(sites)), "points")
    return sites


def neighbors(sites: NDArray[np.int32]) -> NDArray[np.int32]:
    """The 14 neighbours of each site: 8 diagonals, then +-2 on x, y and z, in the order of OctaIndex3D.

    sites : int32 (N, 3), half edges, |v| <= 2**30
    Returns int32 (N, 14, 3)
    Raises DomainError (too large), ParityError
    """
    pointer = readable(sites, np.int32, (None, 3), "sites")
    out = np.empty((len(sites), NEIGHBORS, 3), np.int32)
    check(lib.octa_lattice_neighbors(pointer, len(sites), output(out)), "sites")
    return out


def parent(sites: NDArray[np.int32]) -> NDArray[np.int32]:
    """The site one LOD coarser that has each site among its children.

    sites : int32 (N, 3), half edges, > -2**31
    Returns int32 (N, 3), in half edges of the coarser LOD
    Raises DomainError (-2**31), ParityError
    """
    pointer = readable(sites, np.int32, (None, 3), "sites")
    out = np.empty((len(sites), 3), np.int32)
    check(lib.octa_lattice_parent(pointer, len(sites), output(out)), "sites")
    return out


def children(sites: NDArray[np.int32]) -> NDArray[np.int32]:
    """The 8 sites one LOD finer of each site; off-centre of it, the exact inverse of ``parent``.

    sites : int32 (N, 3), half edges, |v| <= 2**29
    Returns int32 (N, 8, 3), in half edges of the finer LOD
    Raises DomainError (too large), ParityError
    """
    pointer = readable(sites, np.int32, (None, 3), "sites")
    out = np.empty((len(sites), CHILDREN, 3), np.int32)
    check(lib.octa_lattice_children(pointer, len(sites), output(out)), "sites")
    return out


def distance(a: NDArray[np.int32], b: NDArray[np.int32]) -> NDArray[np.uint32]:
    """Fewest steps from one site to the other; a step goes to one of the 14 neighbours.

    a, b : int32 (N, 3), half edges; any
    Returns uint32 (N,)
    Raises ParityError
    With absolute differences p >= q >= r it is (p + q) / 2: q diagonal steps and (p - q) / 2 axial ones.

    >>> distance(np.array([[0, 0, 0]], np.int32), np.array([[4, 2, 0]], np.int32)).tolist()
    [3]
    """
    from_sites = readable(a, np.int32, (None, 3), "a")
    to_sites = readable(b, np.int32, (len(a), 3), "b")
    out = np.empty(len(a), np.uint32)
    to = output(out)
    check(lib.octa_lattice_distance(from_sites, to_sites, len(a), to), "a, b")
    return out
