"""The rows of a stored container as a batch takes them: row-major, one file an array, memory-mapped.

Made once for a schema and a choice of columns, and found again by the hash of both.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.format import open_memmap
from numpy.typing import NDArray

from models.datasets.stored import StoredContainer
from native.lattice import NEIGHBORS
from native.neighbors import neighbor_table
from stream.progress import Progress

VERSION = 1


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Table:
    """Every row of every window, R in all, the windows one after the other.

    features : float32 (R + 1, F), the last row zeros
    neighbor : int64 (R, 14), row of each neighbour in the same window, R where there is none
    cell_id : uint64 (R,); starts : int64 (W + 1,), first row of each window; stamp_ns : int64 (W,)
    target : float32 (R, H), observed : bool (R, H), H = 0 without outcomes
    """

    features: NDArray[np.float32]
    neighbor: NDArray[np.int64]
    cell_id: NDArray[np.uint64]
    starts: NDArray[np.int64]
    stamp_ns: NDArray[np.int64]
    target: NDArray[np.float32]
    observed: NDArray[np.bool_]


def cached_table(
    stored: StoredContainer,
    keys: Sequence[str],
    fill: float | None,
    folder: Path,
    progress: Progress | None = None,
) -> Table:
    """The table of some columns, from the cache or into it.

    folder : of the cache, made when missing; it may be removed at any time
    Several processes may make the same table at once. Pages are shared between them, and what one writes into
    its arrays (as tensors may) is its own and never stored.
    Raises FeatureError, StoredError, MismatchError, OSError (a folder that cannot be written)
    """
    place = folder / stored.digest(VERSION, tuple(keys), fill)[:32]
    if not place.is_dir():
        _make(stored, keys, fill, place, progress)
    return Table(**{item.name: _mapped(place / f"{item.name}.npy") for item in fields(Table)})


def _mapped(path: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(path, mmap_mode="c").view(np.ndarray)
    return mapped


def _make(
    stored: StoredContainer, keys: Sequence[str], fill: float | None, place: Path, progress: Progress | None
) -> None:
    """Write the files beside, then rename the folder: a reader never sees half a table."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        _write(stored, keys, fill, temporary, progress)
        try:
            temporary.rename(place)
        except OSError:
            if not place.is_dir():  # otherwise another process was faster, with the same bytes
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(
    stored: StoredContainer, keys: Sequence[str], fill: float | None, folder: Path, progress: Progress | None
) -> None:
    names = stored.feature_names(keys)
    starts = np.cumsum([0, *stored.sizes()], dtype=np.int64)
    rows, windows, targets = int(starts[-1]), len(starts) - 1, len(stored.targets)

    def new(name: str, dtype: Any, *shape: int) -> NDArray[Any]:
        if 0 in shape:  # nothing can be mapped there
            np.save(folder / f"{name}.npy", np.empty(shape, dtype))
            return np.empty(shape, dtype)
        return open_memmap(folder / f"{name}.npy", "w+", dtype, shape)

    x = new("features", np.float32, rows + 1, len(names))
    neighbor = new("neighbor", np.int64, rows, NEIGHBORS)
    cell_id, stamp_ns = new("cell_id", np.uint64, rows), new("stamp_ns", np.int64, windows)
    target, observed = new("target", np.float32, rows, targets), new("observed", np.bool_, rows, targets)
    np.save(folder / "starts.npy", starts)
    for number, window in enumerate(stored):
        own = slice(int(starts[number]), int(starts[number + 1]))
        x[own] = window.features(keys, fill)
        cell_id[own], stamp_ns[number] = window.cell_id, window.stamp_ns
        table = neighbor_table(window.cell_id)
        neighbor[own] = np.where(table < len(table), table + starts[number], rows)
        outcomes = window.outcomes()
        if outcomes is not None:
            target[own], observed[own] = outcomes
        if progress is not None:
            progress(number + 1, windows, "")
    about = {"container": str(stored.place), "feature_keys": list(keys), "fill": fill, "rows": rows}
    (folder / "table.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
