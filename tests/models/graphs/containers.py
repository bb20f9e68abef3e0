"""Containers for tests of graphs and datasets: a grid, columns of the user's, cells at several levels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native import index64
from native.cells import Rows
from native.container import Container, ContainerOptions, RecordKey
from native.grid import Grid
from native.schema import Column

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7)
COLUMNS = (
    Column(name="height", rule="greatest", unit=0.001),
    Column(name="flow", rule="latest", width=3, unit=0.01),
    Column(name="class", categories=("car", "road", "tree")),
)


def random_ids(seed: int = 0, share: float = 0.5, reach: int = 5) -> NDArray[np.uint64]:
    """Some of the cells around the origin, ascending."""
    axis = np.arange(-reach, reach + 1, dtype=np.int32)
    sites = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), -1).reshape(-1, 3)
    sites = sites[(sites % 2 == sites[:, :1] % 2).all(axis=1)]
    sites = sites[np.random.default_rng(seed).random(len(sites)) < share]
    return np.sort(
        index64.encode(np.ascontiguousarray(sites), frame=GRID.frame, tier=GRID.tier, lod=GRID.lod)
    )


def container(seed: int = 0, share: float = 0.5, *, levels: int = 3, nothing: bool = False) -> Container:
    """Random cells with hits, sums and columns of the user's; nothing : some cells have no value there."""
    rng = np.random.default_rng(seed)
    out = Container(GRID, ContainerOptions(levels=levels, columns=COLUMNS))
    ids = random_ids(seed, share)
    n = len(ids)
    height, flow = rng.normal(size=n), rng.normal(size=(n, 3))
    if nothing:
        height[::3] = np.nan
    values = {
        "height": COLUMNS[0].encode(height),
        "flow": COLUMNS[1].encode(flow, stamp_ns=7),
        "class": COLUMNS[2].encode(rng.integers(0, 3, n)),
    }
    hits = rng.integers(1, 9, n).astype(np.uint64)
    sums = (rng.integers(-2000, 2000, (n, 11)) * hits[:, None].astype(np.int64)).astype(np.int64)
    sums[:, 3:6], sums[:, 9:] = np.abs(sums[:, 3:6]), np.abs(sums[:, 9:])
    out.add(RecordKey(7, 0), Rows.of(ids, hits, sums, values=values))
    return out
