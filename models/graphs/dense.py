"""Cells as two cubic arrays, the even sublattice and the odd one, for networks that convolve over cubes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native.container_options import Extent
from native.index64 import decode
from native.schema import MismatchError

MAX_SITES = 2**28
"""Sites of a dense array unless more are allowed: 1 GB a feature."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Dense:
    """Features of cells on both sublattices.

    x : float32 (2, F, D, H, W): even sites ``origin + 2 (w, h, d)``, then the odd ones, one half edge farther
        on each axis; D is along z, H along y, W along x. 0 where there is no cell
    mask : bool (2, D, H, W), where there is one
    origin : of the even sites, half edges (x, y, z)
    place : int64 (N,), of every cell in the flattened mask, -1 for cells outside
    """

    x: NDArray[np.float32]
    mask: NDArray[np.bool_]
    origin: tuple[int, int, int]
    place: NDArray[np.int64]

    def at_cells(self, values: NDArray[Any]) -> NDArray[Any]:
        """What an array (2, C, D, H, W) holds at every cell, (N, C), 0 for cells outside."""
        sites = np.moveaxis(values, 1, -1).reshape(self.mask.size, values.shape[1])
        return np.where((self.place >= 0)[:, None], sites[self.place], 0)


def dense_of(
    cell_id: NDArray[np.uint64],
    x: NDArray[np.float32],
    extent: Extent | None = None,
    max_sites: int = MAX_SITES,
) -> Dense:
    """Cells of one LOD as a dense array.

    cell_id : uint64 (N,); x : float32 (N, F)
    extent : of the array, in half edges of the cells' LOD; None takes the smallest that holds every cell
    Raises MismatchError (rows of x), ValueError (two LODs, no cell and no extent, more than max_sites)
    """
    if x.ndim != 2 or len(x) != len(cell_id):
        raise MismatchError(f"x: expected ({len(cell_id)}, F), a row a cell, got {x.shape}")
    parts = decode(cell_id)
    if len(cell_id) and parts.lod.min() != parts.lod.max():
        raise ValueError(f"cell_id: expected one LOD, got {parts.lod.min()}..{parts.lod.max()}")
    if extent is None:
        extent = _around(parts.sites)
    width, height, depth = extent.shape
    sites = 2 * width * height * depth
    if sites > max_sites:
        raise ValueError(f"extent: {extent.shape} unit cells are {sites:,} sites, more than {max_sites:,}")
    odd = (parts.sites[:, 0] & 1).astype(np.int64)
    unit = (parts.sites - odd[:, None] - np.array(extent.origin)) >> 1  # (N, 3), exact: both are even
    inside = ((unit >= 0) & (unit < np.array(extent.shape))).all(axis=1)
    place = ((odd * depth + unit[:, 2]) * height + unit[:, 1]) * width + unit[:, 0]
    out = np.zeros((2, x.shape[1], depth, height, width), np.float32)
    mask = np.zeros((2, depth, height, width), np.bool_)
    mask.reshape(-1)[place[inside]] = True
    by_site = out.reshape(2, x.shape[1], depth * height * width)
    by_site[odd[inside], :, place[inside] % (depth * height * width)] = x[inside]
    return Dense(x=out, mask=mask, origin=extent.origin, place=np.where(inside, place, -1))


def _around(sites: NDArray[np.int32]) -> Extent:
    if not len(sites):
        raise ValueError("cell_id: no cell, so the array has no size; say one by extent")
    even = sites - (sites & 1)
    low, high = even.min(axis=0), even.max(axis=0)
    x, y, z = low.tolist()
    width, height, depth = ((high - low) // 2 + 1).tolist()
    return Extent(origin=(x, y, z), shape=(width, height, depth))
