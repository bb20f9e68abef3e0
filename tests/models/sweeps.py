"""Made-up sweeps with the lattice's neighbour table and labels that a network can learn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

OFFSETS = np.array(
    [[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]
    + [[2, 0, 0], [-2, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 2], [0, 0, -2]]
)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class MadeSweep:
    """X float32 (N, F), neighbor_index int32 (N, 14), azimuth float32 (N,), occupied bool (N,)."""

    X: NDArray[np.float32]
    neighbor_index: NDArray[np.int32]
    azimuth: NDArray[np.float32]
    occupied: NDArray[np.bool_]


def random_inputs(
    rng: np.random.Generator, rows: int, features: int
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Features of many scales and any neighbours, half of them missing."""
    scale = 10.0 ** rng.uniform(-1, 1.5, features)
    X = (rng.normal(size=(rows, features)) * scale).astype(np.float32)
    neighbor_index = rng.integers(0, max(rows, 1), size=(rows, 14)).astype(np.int32)
    neighbor_index[rng.random((rows, 14)) < 0.5] = rows
    return X, neighbor_index


def made_sweep(seed: int, rows: int = 600, features: int = 6) -> MadeSweep:
    """Sites around the sensor; a cell is occupied by its features 0 and 1 and its share of neighbours."""
    rng = np.random.default_rng(seed)
    sites = rng.integers(-9, 10, size=(8 * rows, 3))
    sites[:, 2] = np.clip(sites[:, 2], -2, 2)
    sites = np.unique(sites[(sites % 2 == sites[:, :1] % 2).all(axis=1)], axis=0)
    sites = sites[np.sort(rng.permutation(len(sites))[:rows])]
    place = {tuple(site): row for row, site in enumerate(sites.tolist())}
    missing = len(sites)
    neighbor_index = np.array(
        [[place.get(tuple(site), missing) for site in near] for near in (sites[:, None] + OFFSETS).tolist()],
        dtype=np.int32,
    )
    X = rng.normal(size=(len(sites), features)).astype(np.float32)
    present = (neighbor_index < missing).mean(axis=1)
    logit = 2 * X[:, 0] - X[:, 1] + 6 * (present - present.mean())
    return MadeSweep(
        X=X * np.float32(3) + np.float32(10),
        neighbor_index=neighbor_index,
        azimuth=np.arctan2(sites[:, 1], sites[:, 0]).astype(np.float32),
        occupied=rng.random(len(sites)) < 1 / (1 + np.exp(-logit)),
    )
