"""Windows of a stored container as whole graphs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from models.datasets.cells import Sample, StoredTable, rows_of


class WindowGraphDataset(StoredTable):
    """A graph a window, map-style; arguments and errors as ``BCCDataset``, but a transform gets one graph.

    Samples: ``features`` float32 (N, F), ``neighbor_index`` int64 (N, 14), rows of the graph, N where there
    is no neighbour, ``position`` float32 (N, 3) metres, ``index`` uint64 (N,), ids, ``lod`` int64 (N,); with
    outcomes ``target`` float32 (N, H) and ``observed`` bool (N, H). A window may have no cell: then N = 0.
    ``features``, ``target``, ``observed`` and ``index`` are views of the mapped files.
    """

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Number of cells of every window, int64 (W,)."""
        return np.diff(self.table.starts)[self.windows.start : self.windows.stop]

    def __getitem__(self, index: int) -> Sample:
        window = self.windows[int(rows_of([index], len(self))[0])]
        table, own = self.table, slice(*self.table.starts[window : window + 2].tolist())
        neighbor, n = table.neighbor[own], own.stop - own.start
        there = neighbor < len(table.cell_id)
        graph: Sample = {
            "features": table.features[own],
            "neighbor_index": np.where(there, neighbor - own.start, n),
            "position": self.positions(table.cell_id[own]),
            "index": table.cell_id[own],
            "lod": np.full(n, self.lod, np.int64),
        }
        if self.targets:
            graph |= {"target": table.target[own], "observed": table.observed[own]}
        return graph if self.transform is None else self.transform(graph)

    def __getitems__(self, indices: Sequence[int] | NDArray[np.integer]) -> Sample:
        """Several graphs as one, with ``graph`` int64 (N,): which each node is of; as ``joined``."""
        return joined([self[int(index)] for index in indices])


def joined(graphs: Sequence[Sample]) -> Sample:
    """Graphs as one, without an edge between them, and ``graph`` int64 (N,): which each node is of.

    Raises ValueError for none, or graphs that do not have the same arrays
    """
    if not graphs:
        raise ValueError("graphs: expected at least one")
    for graph in graphs[1:]:
        if graph.keys() != graphs[0].keys():
            raise ValueError(f"graphs: expected arrays {sorted(graphs[0])}, got {sorted(graph)}")
    sizes = np.array([len(graph["features"]) for graph in graphs])
    starts, total = np.cumsum(sizes) - sizes, int(sizes.sum())
    out = {name: np.concatenate([graph[name] for graph in graphs]) for name in graphs[0]}
    out["graph"] = np.repeat(np.arange(len(graphs)), sizes)
    start, size = starts[out["graph"]][:, None], sizes[out["graph"]][:, None]
    there = out["neighbor_index"] < size
    out["neighbor_index"] = np.where(there, out["neighbor_index"] + start, total)
    return out
