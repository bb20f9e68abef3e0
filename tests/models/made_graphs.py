"""Made-up graphs of cells with the lattice's own neighbours, and batches of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.nets.parents import parent_rows
from native.index64 import decode, encode, parent
from native.neighbors import neighbor_table

HALF_EDGE_LOD0_M = 51.2

FEATURES = 4
"""Of learnable batches."""


def ball(radius: int, lod: int = 7) -> NDArray[np.uint64]:
    """Ids of all sites within a radius in half edges, ascending."""
    axis = np.arange(-radius, radius + 1)
    sites = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    on_lattice = (sites % 2 == sites[:, :1] % 2).all(1) & ((sites**2).sum(1) <= radius**2)
    return np.sort(encode(np.ascontiguousarray(sites[on_lattice], np.int32), frame=1, tier=0, lod=lod))


def graph_of(cells: NDArray[np.uint64]) -> dict[str, Tensor]:
    """``neighbor_index``, ``position``, ``lod`` and ``parent_index`` of cells of one level or several."""
    parts = decode(cells)
    index = np.full((len(cells), 14), len(cells), np.int64)
    for lod in np.unique(parts.lod):
        rows = np.flatnonzero(parts.lod == lod)
        table = neighbor_table(np.ascontiguousarray(cells[rows]))
        index[rows] = np.append(rows, len(cells))[table]
    position = parts.sites * (HALF_EDGE_LOD0_M / 2.0**parts.lod)[:, None]
    return {
        "neighbor_index": torch.from_numpy(index),
        "position": torch.from_numpy(position.astype(np.float32)),
        "lod": torch.from_numpy(parts.lod.astype(np.int64)),
        "parent_index": torch.from_numpy(parent_rows(cells)),
    }


def two_levels(radius: int) -> NDArray[np.uint64]:
    """A ball of cells and the parents of all of them, ascending."""
    fine = ball(radius)
    return np.unique(np.concatenate([fine, parent(fine)]))


def arguments(net: Any, batch: dict[str, Any]) -> dict[str, Any]:
    """What a network reads of a batch."""
    return {name: batch[key] for name, key in net.inputs.items() if key in batch}


def random_batch(seed: int, rows: int, features: int, outputs: int = 1) -> dict[str, Tensor]:
    """A batch in every form at once, neighbours at random, half of them missing, a fifth not observed."""
    rng = np.random.default_rng(seed)
    mask = rng.random((rows, 14)) < 0.5
    index = np.where(mask, rng.integers(0, max(rows, 1), (rows, 14)), rows)
    neighbors = rng.normal(size=(rows, 14, features)) * mask[:, :, None]
    arrays = {
        "features": rng.normal(size=(rows, features)).astype(np.float32),
        "neighbors": neighbors.astype(np.float32),
        "neighbor_mask": mask,
        "neighbor_index": index.astype(np.int64),
        "position": (0.1 * rng.normal(size=(rows, 3))).astype(np.float32),
        "lod": rng.integers(6, 8, rows),
        "parent_index": np.where(rng.random(rows) < 0.5, rows, rng.integers(0, max(rows, 1), rows)),
        "indices": rng.integers(0, 2**62, rows),
        "target": (rng.random((rows, outputs)) < 0.5).astype(np.float32),
        "observed": rng.random((rows, outputs)) < 0.8,
    }
    return {name: torch.from_numpy(value) for name, value in arrays.items()}


def learnable(seed: int, rows: int = 96) -> dict[str, Tensor]:
    """Cells that are occupied where a feature and its neighbours' mean say so."""
    batch = random_batch(seed, rows, FEATURES)
    score = 2 * batch["features"][:, :1] + 3 * batch["neighbors"][:, :, 1].mean(1, keepdim=True)
    return batch | {"target": (score > 0).float()}


def rows_of(batch: dict[str, Tensor]) -> list[dict[str, Tensor]]:
    return [dict(zip(batch, row, strict=True)) for row in zip(*batch.values(), strict=True)]
