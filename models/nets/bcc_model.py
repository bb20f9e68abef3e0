"""A network on gathered neighbours: it needs no table, so any batch of cells will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.graph_net import Standardised
from models.nets.neighborhood import TAPS


class CellBlock(nn.Module):
    """``y + Dropout(ReLU(Linear(LayerNorm(y))))`` of one cell."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Tensor) -> Tensor:
        """float32 (B, C) to float32 (B, C)"""
        step: Tensor = self.dropout(functional.relu(self.linear(self.norm(y))))
        return y + step


class BCCModel(Standardised):
    """One BCC convolution over a cell and its neighbours, then layers on that cell alone.

    seed : decides the weights alone; torch's global generator is untouched
    """

    name: ClassVar[str] = "bcc_model"
    inputs: ClassVar[Mapping[str, str]] = {
        "features": "features", "neighbors": "neighbors", "neighbor_mask": "neighbor_mask",
    }  # fmt: skip

    def __init__(
        self,
        hidden_dim: int = 64,
        num_layers: int = 2,
        dropout: float = 0.0,
        *,
        feature_count: int,
        output_count: int = 1,
        seed: int = 0,
    ) -> None:
        super().__init__(feature_count, output_count, hidden_dim, num_layers, dropout)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.input = nn.Linear(TAPS * feature_count, hidden_dim)
            self.blocks = nn.ModuleList(CellBlock(hidden_dim, dropout) for _ in range(num_layers))
            self.output = nn.Linear(hidden_dim, output_count)

    def forward(self, features: Tensor, neighbors: Tensor, neighbor_mask: Tensor | None = None) -> Tensor:
        """Logits of every cell of a batch.

        features : float32 (B, F), raw; neighbors : float32 (B, 14, F), raw, zeros where there is none
        neighbor_mask : bool (B, 14), which are there; None takes neighbours that are all zeros for absent
        Returns float32 (B, H)
        """
        present = (neighbors != 0).any(2) if neighbor_mask is None else neighbor_mask
        around = self.standard(neighbors) * present[:, :, None]
        gathered = torch.cat((self.standard(features)[:, None], around), 1)  # (B, 15, F)
        y = functional.relu(self.input(gathered.flatten(1)))
        for block in self.blocks:
            y = self.run_block(block, y)
        logits: Tensor = self.output(y)
        return logits
