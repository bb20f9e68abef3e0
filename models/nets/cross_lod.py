"""Messages between levels: a cell hears its neighbours, its parent, and the mean of its children."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.graph_net import GraphNet, lod_rows
from models.nets.neighborhood import TAPS, gather, taps


def sum_by_parent(values: Tensor, parent: Tensor) -> Tensor:
    """Sums of float (N, C) over the children of each row, (N, C). parent : int64 (N,), N for none"""
    table = values.new_zeros(values.shape[0] + 1, values.shape[1])  # the last row takes what has no parent
    return table.scatter_add(0, parent[:, None].expand_as(values), values)[:-1]


class CrossLODBlock(nn.Module):
    """``y + Dropout(ReLU(...))`` of a cell, its neighbours, its parent and its children."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.level = nn.Linear(TAPS * width, width)
        self.down = nn.Linear(width + 3, width, bias=False)
        self.up = nn.Linear(width + 3, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Tensor, index: Tensor, parent: Tensor, octant: Tensor, count: Tensor) -> Tensor:
        """One residual step.

        y : float32 (N, C); index : int (N, 15); parent : int (N,), N where there is none
        octant : float32 (N, 3), from the parent's site to the cell's, in its half edges; 0 without one
        count : float32 (N, 1), children of a cell that are there, at least 1
        Returns float32 (N, C)
        """
        normed = self.norm(y)
        from_parent = self.down(torch.cat((gather(normed, parent), octant), 1))  # 0 where there is none
        told = self.up(torch.cat((normed, octant), 1))
        from_children = sum_by_parent(told, parent) / count
        heard = self.level(gather(normed, index).flatten(1)) + from_parent + from_children
        step: Tensor = self.dropout(functional.relu(heard))
        return y + step


class BCCCrossLOD(GraphNet):
    """Cells of several levels in one graph; a layer reaches one ring, one level up and one down.

    half_edge_lod0_m : of the lattice, metres, so that offsets between levels have no unit
    """

    name: ClassVar[str] = "cross_lod"
    inputs: ClassVar[Mapping[str, str]] = {
        **GraphNet.inputs, "positions": "position", "lod": "lod", "parent_index": "parent_index",
    }  # fmt: skip

    def __init__(
        self,
        *,
        feature_count: int,
        output_count: int = 1,
        hidden_dim: int = 32,
        num_layers: int = 2,
        dropout: float = 0.0,
        half_edge_lod0_m: float = 51.2,
        seed: int = 0,
    ) -> None:
        if not half_edge_lod0_m > 0:
            raise ValueError(f"half_edge_lod0_m: {half_edge_lod0_m} must be above 0")
        super().__init__(
            lambda: CrossLODBlock(hidden_dim, dropout),
            feature_count=feature_count, output_count=output_count, hidden_dim=hidden_dim,
            num_layers=num_layers, dropout=dropout, seed=seed,
        )  # fmt: skip
        self.model_config["half_edge_lod0_m"] = half_edge_lod0_m
        self.half_edge_lod0_m = half_edge_lod0_m

    def forward(
        self,
        features: Tensor,
        neighbor_index: Tensor,
        positions: Tensor | None = None,
        lod: Tensor | int | None = None,
        parent_index: Tensor | None = None,
    ) -> Tensor:
        """Logits of every cell.

        features : float32 (N, F), raw
        neighbor_index : int (N, 14), rows of neighbours at the same level, N where there is none
        positions : float32 (N, 3), metres, of sites; lod : int (N,)
        parent_index : int (N,), of ``models.nets.parents.parent_rows``; None where all cells are of one level
        Returns float32 (N, H)
        """
        if positions is None:
            raise ValueError("positions: needed to tell where a cell lies in its parent")
        rows = features.shape[0]
        level = lod_rows(lod, features)
        if parent_index is None:
            parent_index = torch.zeros_like(level) + rows
        parent = parent_index.long()
        half_edge = self.half_edge_lod0_m * 2.0 ** (1 - level.to(positions.dtype))  # of the parent
        has_parent = (parent < rows)[:, None]
        octant = (positions - gather(positions, parent)) / half_edge[:, None] * has_parent
        count = sum_by_parent(positions.new_ones(rows, 1), parent).clamp(min=1)
        index, y = taps(neighbor_index), self.start(features)
        for block in self.blocks:
            y = self.run_block(block, y, index, parent, octant, count)
        return self.finish(y)
