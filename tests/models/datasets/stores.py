"""Stored containers for tests, and what their samples must be, found one by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.datasets.window import cells_of_grid, with_column, with_features, with_outcomes, with_stamp
from models.datasets.writer import ContainerWriter
from native import lattice
from native.index64 import decode
from tests.models.graphs.containers import GRID, random_ids

NAMES = ("hits", "range", "age")
TARGETS = ("occupied_0.5s", "occupied_1s")
WHERE = {"frame_id": GRID.frame, "lod": GRID.lod}


def window(number: int, share: float = 0.3, *, outcomes: bool = True) -> pa.RecordBatch:
    """Random cells with features and outcomes."""
    rng = np.random.default_rng(number)
    ids = random_ids(number, share)
    batch = with_stamp(cells_of_grid(GRID, ids), 100 * number)
    batch = with_features(batch, NAMES, rng.normal(size=(len(ids), 3)).astype(np.float32), "abc")
    batch = with_column(batch, "before", rng.integers(0, 3, len(ids)).astype(np.uint8))
    if not outcomes:
        return batch
    observed = rng.random((len(ids), 2)) < 0.6
    return with_outcomes(
        batch, TARGETS, (observed & (rng.random((len(ids), 2)) < 0.4)).astype(np.float32), observed
    )


def store(folder: Path, windows: list[pa.RecordBatch], part_rows: int = 2**18) -> Path:
    """A stored container of windows."""
    with ContainerWriter(folder, part_rows) as writer:
        for batch in windows:
            writer.write(batch)
    return folder


def expected(windows: list[pa.RecordBatch], keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """Every sample, by a look-up of each neighbour."""
    samples = []
    for batch in windows:
        ids = batch["cell_id"].to_numpy()
        stored = np.array(batch["features"].to_pylist(), np.float32).reshape(len(ids), len(NAMES))
        x = stored[:, [NAMES.index(key) for key in keys]]
        sites = decode(ids).sites
        row_of = {tuple(site): row for row, site in enumerate(sites.tolist())}
        for row, around in enumerate(lattice.neighbors(sites).tolist()):
            rows = [row_of.get(tuple(site)) for site in around]
            samples.append(
                {
                    "features": x[row],
                    "position": (sites[row] * GRID.half_edge_m).astype(np.float32),
                    "neighbors": np.array(
                        [np.zeros(len(keys)) if at is None else x[at] for at in rows], np.float32
                    ),
                    "neighbor_mask": np.array([at is not None for at in rows]),
                    "index": ids[row],
                    "target": np.array(batch["target"][row].as_py(), np.float32),
                    "observed": np.array(batch["observed"][row].as_py()),
                }
            )
    return samples


def same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> None:
    """Equal arrays of equal types under equal names."""
    assert one.keys() == other.keys()
    for name, array in other.items():
        assert one[name].dtype == np.asarray(array).dtype, name
        assert np.array_equal(one[name], array), name
