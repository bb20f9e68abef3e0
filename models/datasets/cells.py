"""Cells of a stored container as samples: features, place, the 14 neighbours, and what came of them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from models.datasets.cache import Table, cached_table
from models.datasets.place import Place
from models.datasets.stored import StoredContainer, StoredError
from models.graphs.columns import require_keys
from native.gather import gather
from native.index64 import decode
from stream.progress import Progress

Sample = dict[str, NDArray[Any]]
Transform = Callable[[Sample], Sample]
CACHE = "cache"


class StoredTable:
    """What datasets of cells and of windows share: a stored container and its table.

    Arguments as ``BCCDataset``. Survives pickling, without its arrays: a worker maps the same files.
    """

    def __init__(
        self,
        container_path: str | Path,
        frame_id: int,
        lod: int,
        feature_keys: Sequence[str],
        transform: Transform | None = None,
        *,
        fill: float | None = None,
        cache: str | Path | None = None,
        progress: Progress | None = None,
    ) -> None:
        require_keys(feature_keys)
        stored = StoredContainer(container_path, frame_id, lod)
        self.container_path, self.frame_id, self.lod = container_path, frame_id, lod
        self.feature_keys, self.transform, self.fill = tuple(feature_keys), transform, fill
        self.cache = cache_of(stored.place) if cache is None else Path(cache)
        self.feature_names = stored.feature_names(feature_keys)
        self.targets, self.half_edge_m = stored.targets, stored.half_edge_m
        self._table: Table | None = cached_table(stored, self.feature_keys, fill, self.cache, progress)
        self.windows = range(len(self._table.stamp_ns))

    @property
    def table(self) -> Table:
        """The rows, memory-mapped."""
        if self._table is None:
            stored = StoredContainer(self.container_path, self.frame_id, self.lod)
            self._table = cached_table(stored, self.feature_keys, self.fill, self.cache)
        return self._table

    @property
    def stamp_ns(self) -> NDArray[np.int64]:
        """The moment of every window, int64 (W,), 0 where it is not known."""
        return self.table.stamp_ns[self.windows.start : self.windows.stop]

    def between(self, first: int, last: int) -> Self:
        """The same dataset of windows ``first`` to ``last - 1``: train on some, validate on later ones.

        Raises IndexError where there are no such windows
        """
        if not 0 <= first <= last <= len(self.windows):
            raise IndexError(f"windows: {first}..{last} are not among 0..{len(self.windows)}")
        part = copy.copy(self)
        part.windows = self.windows[first:last]
        return part

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_table": None}

    def positions(self, cell_id: NDArray[np.uint64]) -> NDArray[np.float32]:
        """Sites of cells in the container's frame, metres, float32 (N, 3)."""
        return (decode(cell_id).sites * self.half_edge_m).astype(np.float32)


class BCCDataset(StoredTable):
    """A sample a cell and window, map-style; a batch is gathered at once, without a loop over its items.

    container_path : an Arrow file of windows or a folder of such (``models.datasets.stored``), path or URI
    frame_id, lod : whose cells; positions are in this frame
    feature_keys : names of columns, in this order
    transform : from a batch of arrays (first axis B, also for one item) to another, after everything else
    fill : what stands where a cell has no value (NaN); None refuses such containers
    cache : folder of the feature cache; None takes ``cache`` in the container's folder, or beside its file;
        it has to be named for a container behind a URI
    progress : told (done, total, "") for every window while the cache is made

    Samples: ``features`` float32 (F,), ``position`` float32 (3,) metres, ``neighbors`` float32 (14, F) in the
    order of ``native.lattice.neighbors``, zeros where there is none, ``neighbor_mask`` bool (14,), ``index``
    uint64, the cell's id; with outcomes ``target`` float32 (H,) and ``observed`` bool (H,).
    Raises StoredError, MismatchError, FeatureError, OSError. Deterministic.
    """

    def __len__(self) -> int:
        return int(self.table.starts[self.windows.stop]) - self._first

    @property
    def _first(self) -> int:
        return int(self.table.starts[self.windows.start])

    def __getitem__(self, index: int) -> Sample:
        return {name: values[0] for name, values in self.__getitems__([index]).items()}

    def __getitems__(self, indices: Sequence[int] | NDArray[np.integer]) -> Sample:
        """Samples stacked: every array has a first axis of their number. Raises IndexError"""
        table, rows = self.table, rows_of(indices, len(self)) + self._first
        neighbor = np.take(table.neighbor, rows, axis=0)  # (B, 14)
        around = gather(table.features, neighbor.reshape(-1))
        index = np.take(table.cell_id, rows)
        batch: Sample = {
            "features": gather(table.features, rows),
            "position": self.positions(index),
            "neighbors": around.reshape(*neighbor.shape, around.shape[1]),
            "index": index,
            "neighbor_mask": neighbor < len(table.cell_id),
        }
        if self.targets:
            batch |= {name: np.take(getattr(table, name), rows, axis=0) for name in ("target", "observed")}
        return batch if self.transform is None else self.transform(batch)


def rows_of(indices: Sequence[int] | NDArray[np.integer], n: int) -> NDArray[np.int64]:
    """Indices as rows, negative ones from the end; raises IndexError beyond either."""
    rows = np.asarray(indices, np.int64)
    low, high = rows.min(initial=0), rows.max(initial=-1)
    if low < -n or high >= n:
        raise IndexError(f"index: {low if low < -n else high} is not among {n} items")
    return np.where(rows < 0, rows + n, rows) if low < 0 else rows


def cache_of(place: Place) -> Path:
    """Where the cache of a stored container lies unless one says; raises StoredError for one behind a URI."""
    path = place.local
    if path is None:
        raise StoredError(
            f"{place}: is not on this machine; name a folder for the feature cache, as cache='...'"
        )
    return path / CACHE if path.is_dir() else path.with_name(f"{path.name}.{CACHE}")
