"""Cells as a graph: features, edges with their attributes, and which cell every row is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.graphs import edges
from models.graphs.columns import feature_matrix
from native.cells import Cells
from native.index64 import decode
from native.schema import MismatchError
from stream.cell_rows import locate

if TYPE_CHECKING:
    import torch
    from torch_geometric.data import Data

EDGE_ATTRIBUTES = ("offset.x", "offset.y", "offset.z", "direction", "lod_difference")


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Graph:
    """Nodes are cells, ascending by id, so coarser LODs come first.

    cell_id : uint64 (N,); lod : uint8 (N,); position : float32 (N, 3), sites, metres
    x : float32 (N, F)
    edge_index : int64 (2, E), rows of the cell that a message comes from, and of the one that it goes to;
        sorted by the latter
    offset : float32 (E, 3), metres, from the cell that it goes to to where it comes from
    direction : int64 (E,), which neighbour of the cell that it goes to the other one is, in the order of
        ``native.lattice.neighbors``; 14 for none of them
    lod_difference : int64 (E,), LOD of where it comes from minus that of where it goes to
    half_edge_lod0_m : at LOD l it is this / 2^l
    """

    cell_id: NDArray[np.uint64]
    lod: NDArray[np.uint8]
    position: NDArray[np.float32]
    x: NDArray[np.float32]
    edge_index: NDArray[np.int64]
    offset: NDArray[np.float32]
    direction: NDArray[np.int64]
    lod_difference: NDArray[np.int64]
    half_edge_lod0_m: float

    def __len__(self) -> int:
        return len(self.cell_id)

    def rows_of(self, cell_id: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Row of each cell, int64 (M,), -1 for cells that are no nodes; ``cell_id[rows]`` is the way back."""
        row, known = locate(self.cell_id, cell_id)
        return np.where(known, row, -1).astype(np.int64)

    @property
    def edge_attr(self) -> NDArray[np.float32]:
        """The attributes of every edge, float32 (E, 5), columns as in EDGE_ATTRIBUTES."""
        whole = (self.direction[:, None], self.lod_difference[:, None])
        return np.concatenate([self.offset, *whole], axis=1, dtype=np.float32)

    def nodes(self) -> pa.RecordBatch:
        """The nodes as Arrow data over the same memory: ``cell_id``, ``lod``, ``position`` and ``x``."""
        return pa.record_batch(
            {
                "cell_id": pa.array(self.cell_id),
                "lod": pa.array(self.lod),
                "position": _lists(self.position),
                "x": _lists(self.x),
            }
        )

    def edges(self) -> pa.RecordBatch:
        """The edges as Arrow data over the same memory: rows ``source`` and ``target``, and attributes."""
        return pa.record_batch(
            {
                "source": pa.array(self.edge_index[0]),
                "target": pa.array(self.edge_index[1]),
                "offset": _lists(self.offset),
                "direction": pa.array(self.direction),
                "lod_difference": pa.array(self.lod_difference),
            }
        )

    def to_pyg(self) -> Data:
        """PyTorch Geometric's ``Data``: ``x edge_index edge_attr pos lod``, ``cell_id`` (bits as int64).

        Shares the memory of ``x``, ``position`` and ``edge_index`` where it may be written to, which tensors
        take for granted; read-only arrays are copied. Needs the extra ``graphs``
        """
        from torch_geometric.data import Data

        return Data(
            x=tensor_of(self.x),
            edge_index=tensor_of(self.edge_index),
            edge_attr=tensor_of(self.edge_attr),
            pos=tensor_of(self.position),
            cell_id=tensor_of(self.cell_id.view(np.int64)),
            lod=tensor_of(self.lod),
        )

    def to_sparse(self) -> torch.Tensor:
        """The adjacency as a sparse float32 tensor (N, N), coalesced: ``A @ x`` sums over incoming edges."""
        import torch

        indices = tensor_of(np.ascontiguousarray(self.edge_index[::-1]))
        ones = torch.ones(indices.shape[1])
        n = len(self)
        return torch.sparse_coo_tensor(indices, ones, (n, n), is_coalesced=True, check_invariants=False)


def graph_of(
    levels: Cells | Sequence[Cells],
    features: Sequence[str] | NDArray[np.float32],
    *,
    rings: int = 1,
    radius_m: float | None = None,
    band: int = 0,
    directed: bool = False,
    fill: float | None = None,
) -> Graph:
    """The graph of the cells of a container, at one level or several.

    levels : cells of different levels of one schema
    features : names of columns (``models.graphs.columns``); or of one level float32 (N, F), whose memory the
        graph then shares
    rings : cells of one LOD at most so many steps apart are joined; radius_m : or so many metres
    band : a cell is joined with its ancestors up to so many LODs coarser; 0 joins no two LODs
    directed : every pair once, from the finer to the coarser cell, in one LOD from the smaller id to the
        larger one; otherwise both ways round
    fill : what stands in features where a cell has no value
    Raises MismatchError (levels of two schemas, or one twice), FeatureError, DomainError (rings, radius),
    ValueError (band)
    """
    if band < 0:
        raise ValueError(f"band: {band} must be >= 0")
    ordered = _coarse_first([levels] if isinstance(levels, Cells) else list(levels))
    starts = np.cumsum([0, *(len(cells) for cells in ordered)])
    parts = [_within(cells, rings, radius_m) + start for cells, start in zip(ordered, starts, strict=False)]
    for i, coarse in enumerate(ordered):
        for j, fine in enumerate(ordered[i + 1 :], i + 1):
            if fine.lod - coarse.lod <= band:
                up = edges.across(fine.cell_id, coarse.cell_id) + starts[[j, i]][:, None]
                parts += [up, up[::-1]]
    pairs = np.concatenate(parts, axis=1)
    cell_id = np.concatenate([cells.cell_id for cells in ordered])
    lod = np.repeat(np.array([cells.lod for cells in ordered], np.uint8), np.diff(starts))
    if directed:
        finer, same = lod[pairs[0]] > lod[pairs[1]], lod[pairs[0]] == lod[pairs[1]]
        pairs = pairs[:, finer | (same & (pairs[0] < pairs[1]))]
    return _assembled(ordered, cell_id, lod, _matrix(ordered, features, fill), pairs)


def _coarse_first(levels: list[Cells]) -> list[Cells]:
    if not levels:
        raise MismatchError("levels: expected cells of at least one level, got none")
    for cells in levels[1:]:
        levels[0].schema.require_equal(cells.schema)
    lods = [cells.lod for cells in levels]
    if len(set(lods)) != len(lods):
        raise MismatchError(f"levels: expected each LOD once, got {lods}")
    return sorted(levels, key=lambda cells: cells.lod)


def _within(cells: Cells, rings: int, radius_m: float | None) -> edges.Pairs:
    half_edge_m = cells.schema.half_edge_m * 2.0**cells.level
    return edges.within(cells.cell_id, rings, None if radius_m is None else radius_m / half_edge_m)


def _matrix(
    ordered: list[Cells], features: Sequence[str] | NDArray[np.float32], fill: float | None
) -> NDArray[np.float32]:
    if not isinstance(features, np.ndarray):
        parts = [feature_matrix(cells, features, fill) for cells in ordered]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)
    n = sum(len(cells) for cells in ordered)
    if features.dtype != np.float32 or features.ndim != 2 or len(features) != n:
        raise MismatchError(
            f"features: expected float32 ({n}, F), a row a cell, got {features.dtype} {features.shape}"
        )
    if len(ordered) > 1:
        raise MismatchError("features: an array goes with the cells of one level; name columns for several")
    return features


def _assembled(
    ordered: list[Cells],
    cell_id: NDArray[np.uint64],
    lod: NDArray[np.uint8],
    x: NDArray[np.float32],
    pairs: NDArray[np.int64],
) -> Graph:
    """The graph with edges in order and their attributes."""
    pairs = np.ascontiguousarray(pairs[:, np.lexsort((pairs[0], pairs[1]))])
    source, target = pairs
    position = np.concatenate([cells.positions() for cells in ordered])
    difference = lod[source].astype(np.int64) - lod[target].astype(np.int64)
    sites = decode(cell_id).sites
    steps = sites[source] - sites[target]
    return Graph(
        cell_id=cell_id,
        lod=lod,
        position=position.astype(np.float32),
        x=x,
        edge_index=pairs,
        offset=(position[source] - position[target]).astype(np.float32),
        direction=np.where(difference == 0, edges.directions(steps), edges.NO_DIRECTION),
        lod_difference=difference,
        half_edge_lod0_m=ordered[0].schema.half_edge_m * 2.0 ** ordered[0].schema.lod,
    )


def tensor_of(array: NDArray[Any]) -> torch.Tensor:
    """A tensor over the memory of an array; a copy where that is read-only, as no tensor is."""
    import torch

    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _lists(array: NDArray[Any]) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(array.reshape(-1)), array.shape[1])
