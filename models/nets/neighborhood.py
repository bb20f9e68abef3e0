"""Gathering over the lattice: the 14 neighbours, or rings of them, from the table of neighbours alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from native.lattice import NEIGHBORS, neighbors

TAPS = NEIGHBORS + 1
"""A cell itself, then its 14 neighbours in lattice order."""

MOST_RINGS = 3
"""Of one patch: 1 ring has 15 cells, 2 have 65, 3 have 175."""


@lru_cache(maxsize=MOST_RINGS)
def patch_offsets(rings: int) -> NDArray[np.int32]:
    """Offsets of a cell and all within so many steps, int32 (T, 3), half edges, the nearest ring first.

    The first 15 are those of ``taps``. rings : 0..3

    >>> [len(patch_offsets(rings)) for rings in range(4)]
    [1, 15, 65, 175]
    """
    if not 0 <= rings <= MOST_RINGS:
        raise ValueError(f"rings: {rings} must be 0..{MOST_RINGS}")
    if rings == 0:
        return np.zeros((1, 3), np.int32)
    inner = patch_offsets(rings - 1)
    seen = dict.fromkeys(map(tuple, inner.tolist()))
    seen.update(dict.fromkeys(map(tuple, neighbors(inner).reshape(-1, 3).tolist())))
    return np.array(list(seen), np.int32)


@lru_cache(maxsize=MOST_RINGS)
def _ways(rings: int) -> NDArray[np.int64]:
    """Of each cell of a patch, the columns of ``inner patch, then 14 steps from each of it`` that lead there.

    int64 (T, P); the number of ways differs, so a row repeats its first one
    """
    inner = patch_offsets(rings - 1)
    reached = np.concatenate([inner, neighbors(inner).reshape(-1, 3)])
    ways = [np.flatnonzero((reached == offset).all(1)) for offset in patch_offsets(rings)]
    most = max(map(len, ways))
    return np.array([np.pad(way, (0, most - len(way)), mode="edge") for way in ways])


def taps(neighbor_index: Tensor) -> Tensor:
    """A cell itself, then its neighbours: (N, 14) rows to (N, 15)."""
    own = torch.arange(neighbor_index.shape[0], dtype=neighbor_index.dtype, device=neighbor_index.device)
    return torch.cat((own[:, None], neighbor_index), 1)


def patch_index(neighbor_index: Tensor, rings: int) -> Tensor:
    """Rows of the cells within so many steps of each cell, in the order of ``patch_offsets``.

    neighbor_index : int (N, 14), N where there is no neighbour
    Returns int (N, T), N where a cell is missing or no chain of present cells leads to it within the rings
    """
    index = taps(neighbor_index)
    for ring in range(2, rings + 1):
        missing = neighbor_index.new_zeros(1, NEIGHBORS) + neighbor_index.shape[0]
        table = torch.cat((neighbor_index, missing))  # (N + 1, 14)
        stepped = functional.embedding(index, table)  # (N, T, 14)
        reached = torch.cat((index, stepped.flatten(1)), 1)
        index = reached[:, torch.from_numpy(_ways(ring)).to(index.device)].amin(-1)  # a missing row is N
    return index


def gather(states: Tensor, index: Tensor) -> Tensor:
    """States at rows: (N, C) and int (M,) or (M, T) to (M, C) or (M, T, C); row N counts as 0."""
    padded = functional.pad(states, (0, 0, 0, 1))
    return padded.index_select(0, index.flatten()).reshape(*index.shape, states.shape[1])
