"""Transformer blocks on local patches of the lattice. Source: Vaswani et al. 2017; Zhao et al. 2021."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.attention import OffsetEmbedding, attend, require_heads, split_heads
from models.nets.graph_net import GraphNet, lod_rows
from models.nets.neighborhood import MOST_RINGS, gather, patch_index

LEVELS = 16
"""LODs that a cell id can name."""


class PatchBlock(nn.Module):
    """A cell attends to the cells of its patch, then a small network of its own."""

    def __init__(self, width: int, heads: int, rings: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.offset = OffsetEmbedding(rings, 2 * width)
        self.mix = nn.Linear(width, width)
        self.own_norm = nn.LayerNorm(width)
        self.widen = nn.Linear(width, 2 * width)
        self.narrow = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Tensor, index: Tensor) -> Tensor:
        """y : float32 (N, C); index : int (N, T), N where a token is missing. Returns float32 (N, C)"""
        normed = self.norm(y)
        to_key, to_value = self.offset().chunk(2, 1)  # (T, C) each
        query = split_heads(self.query(normed), self.heads)[:, None]  # (N, 1, heads, C / heads)
        keys = split_heads(gather(self.key(normed), index) + to_key, self.heads)
        values = split_heads(gather(self.value(normed), index) + to_value, self.heads)
        scores = (query * keys).sum(-1) * keys.shape[-1] ** -0.5  # (N, T, heads)
        y = y + self.dropout(self.mix(attend(scores, values, index < y.shape[0])))
        step: Tensor = self.dropout(self.narrow(functional.gelu(self.widen(self.own_norm(y)))))
        return y + step


class BCCTransformer(GraphNet):
    """Each layer sees a patch of ``rings`` rings at once: 15, 65 or 175 tokens, their places encoded.

    The level of a cell is encoded too, so cells of several levels may share one network.
    """

    name: ClassVar[str] = "transformer"
    inputs: ClassVar[Mapping[str, str]] = {**GraphNet.inputs, "lod": "lod"}

    def __init__(
        self,
        *,
        feature_count: int,
        output_count: int = 1,
        hidden_dim: int = 32,
        num_layers: int = 2,
        dropout: float = 0.0,
        heads: int = 4,
        rings: int = 2,
        seed: int = 0,
    ) -> None:
        require_heads(heads, hidden_dim)
        if not 1 <= rings <= MOST_RINGS:
            raise ValueError(f"rings: {rings} must be 1..{MOST_RINGS}")
        super().__init__(
            lambda: PatchBlock(hidden_dim, heads, rings, dropout),
            feature_count=feature_count, output_count=output_count, hidden_dim=hidden_dim,
            num_layers=num_layers, dropout=dropout, seed=seed,
        )  # fmt: skip
        self.model_config |= {"heads": heads, "rings": rings}
        self.rings = rings
        self.level = nn.Parameter(torch.zeros(LEVELS, hidden_dim))

    def forward(
        self,
        features: Tensor,
        neighbor_index: Tensor,
        positions: Tensor | None = None,
        lod: Tensor | int | None = None,
    ) -> Tensor:
        """Logits of every cell.

        features : float32 (N, F), raw; neighbor_index : int (N, 14), rows, N where there is no neighbour
        positions : not needed; lod : one level 0..15, or int (N,)
        Returns float32 (N, H)
        """
        index = patch_index(neighbor_index, self.rings)
        y = self.start(features) + self.level[lod_rows(lod, features)]
        for block in self.blocks:
            y = self.run_block(block, y, index)
        return self.finish(y)
