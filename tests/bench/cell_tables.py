"""What is computed of cells rather than of points: the neighbour table and coarser levels, beside others."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native import lattice
from native.binning import Binner
from native.coarse import Level, coarser, finest
from native.grid import Grid
from native.index64 import ancestor, decode, encode
from native.neighbors import neighbor_table
from native.visibility import Rays
from tests.bench import crate
from tests.native.recorded import Sweep

Visit = Callable[[Callable[[], object]], float]
"""Milliseconds of a task."""

CORE = "octastream"
LEVELS = 3


def window_cells(sweeps: list[Sweep], grid: Grid) -> Level:
    """Everything that the sweeps hit, as a window of them holds it."""
    binner = Binner(grid)
    bins = [binner.run(s.points, s.intensity, s.pose) for s in sweeps]
    ids, row = np.unique(np.concatenate([b.cell_id for b in bins]), return_inverse=True)
    hits, sums = np.zeros(len(ids), np.uint64), np.zeros((len(ids), 11), np.int64)
    np.add.at(hits, row, np.concatenate([b.hits for b in bins]).astype(np.uint64))
    np.add.at(sums, row, np.concatenate([b.sums for b in bins]).astype(np.int64))
    return finest(ids, hits, sums)


def searched_table(cell_id: NDArray[np.uint64]) -> NDArray[np.int32]:
    """The neighbour table by numpy: neighbours' ids, then a binary search."""
    parts, n = decode(cell_id[:1]), len(cell_id)
    around = lattice.neighbors(decode(cell_id).sites).reshape(-1, 3)
    ids = encode(around, frame=int(parts.frame[0]), tier=int(parts.tier[0]), lod=int(parts.lod[0]))
    place = np.minimum(np.searchsorted(cell_id, ids), n - 1)
    return np.where(cell_id[place] == ids, place, n).astype(np.int32).reshape(n, -1)


def measure_neighbors(sweeps: list[Sweep], half_edge_m: float, visit: Visit, rounds: int) -> dict[str, Any]:
    """Milliseconds and million neighbours a second; all must find the same ones."""
    cell_id = window_cells(sweeps, Grid(half_edge_m=half_edge_m)).cell_id
    table = neighbor_table(cell_id)
    found, missing = int((table < len(cell_id)).sum()), {}
    tasks: dict[str, Callable[[], object]] = {CORE: partial(neighbor_table, cell_id)}
    tasks["numpy searchsorted"] = partial(searched_table, cell_id)
    if not np.array_equal(table, searched_table(cell_id)):
        raise AssertionError("numpy finds other neighbours")
    try:
        task = crate.neighbors(cell_id)
    except RuntimeError as error:
        missing["OctaIndex3D, hash map"] = str(error)
    else:
        if task() != found:
            raise AssertionError("OctaIndex3D finds other neighbours")
        tasks["OctaIndex3D, hash map"] = task
    ms = {name: min(visit(task) for _ in range(rounds)) for name, task in tasks.items()}
    rates = {name: round(14 * len(cell_id) / taken / 1e3, 1) for name, taken in ms.items()}
    best = max((name for name in rates if name != CORE), key=lambda name: rates[name])
    return {
        "half_edge_m": half_edge_m, "cells": len(cell_id), "found": found,
        "ms": {name: round(taken, 4) for name, taken in ms.items()}, "mneighbors_per_s": rates,
        "best_peer": best, "times_best_peer": round(rates[CORE] / rates[best], 1), "missing": missing,
    }  # fmt: skip


def added_level(level: Level) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Hits and sums of parents by numpy, not even rebased."""
    ids, row = np.unique(
        ancestor(level.cell_id, int(decode(level.cell_id[:1]).lod[0]) - 1), return_inverse=True
    )
    sums = np.zeros((len(ids), 12), np.int64)
    np.add.at(sums, row, np.column_stack([level.hits.astype(np.int64), level.sums]))
    return ids, sums


def measure_levels(sweeps: list[Sweep], grid: Grid, visit: Visit) -> list[dict[str, Any]]:
    """Each level from the one below it, and its passes in one sweep."""
    rays, level, rows = Rays(grid), window_cells(sweeps, grid), []
    rays.load(sweeps[0].points, sweeps[0].pose)
    for levels in range(1, LEVELS + 1):
        above, _ = coarser(level)
        rows.append(
            {
                "levels": levels,
                "from_cells": len(level.cell_id),
                "cells": len(above.cell_id),
                "ms": round(visit(partial(coarser, level)), 4),
                "numpy_ms": round(visit(partial(added_level, level)), 4),
                "passes_ms": round(visit(partial(rays.coarse_passes, above.cell_id)), 4),
            }
        )
        level = above
    return rows
