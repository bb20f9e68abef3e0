"""The served network: residual convolutions over the body-centred-cubic neighbourhood."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from stream.config import NetworkConfig

NEIGHBORS = 14
TAPS = NEIGHBORS + 1
"""A cell itself, then its 14 neighbours in lattice order."""

CLIP = 5.0
"""Standardised features are clipped to +-CLIP."""


class BccBlock(nn.Module):
    """``y + ReLU(Linear(gather(LayerNorm(y))))``: one convolution over a cell and its 14 neighbours."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(TAPS * width, width)

    def forward(self, y: Tensor, taps: Tensor) -> Tensor:
        """One residual step, of the first M cells.

        y : float32 (N, C); taps : int (M, 15), rows of y, N where there is no neighbour (counts as 0)
        Returns float32 (M, C)
        """
        padded = functional.pad(self.norm(y), (0, 0, 0, 1))  # (N + 1, C), last row 0
        gathered = functional.embedding(taps, padded, padding_idx=len(y))  # (M, 15, C)
        step: Tensor = self.linear(gathered.flatten(1))
        return y[: len(taps)] + functional.relu(step)


class BccNet(nn.Module):
    """Features of cells to one logit a horizon.

    ``mean`` and ``inv_std`` (buffers, float32 (F,)) standardise the raw features inside the network, so a
    model file is complete. Parameters are drawn from ``seed`` alone; torch's global generator is untouched.
    """

    mean: Tensor
    inv_std: Tensor

    def __init__(self, network: NetworkConfig, feature_count: int, horizons: int, seed: int = 0) -> None:
        super().__init__()
        if feature_count < 1 or horizons < 1:
            raise ValueError(f"feature_count, horizons: {feature_count}, {horizons}: both must be >= 1")
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.input = nn.Linear(feature_count, network.width)
            self.blocks = nn.ModuleList(BccBlock(network.width) for _ in range(network.layers))
            self.output = nn.Linear((network.layers + 1) * network.width, horizons)
        self.register_buffer("mean", torch.zeros(feature_count))
        self.register_buffer("inv_std", torch.ones(feature_count))

    def forward(self, X: Tensor, neighbor_index: Tensor, first: int | None = None) -> Tensor:
        """Logits of every cell, or of the first ones.

        X : float32 (N, F), raw features
        neighbor_index : int32 or int64 (N, 14), rows of X, N where there is no neighbour
        first : M, of how many cells logits are wanted; the others only lend them their features
        Returns float32 (N, H) or (M, H)
        """
        own = torch.arange(len(X), dtype=neighbor_index.dtype)[:, None]
        taps = torch.cat((own, neighbor_index), 1)  # (N, 15)
        standard = ((X - self.mean) * self.inv_std).clamp(-CLIP, CLIP)
        states = [functional.relu(self.input(standard))]  # (N, C)
        for block in self.blocks[:-1]:
            states.append(block(states[-1], taps))
        states.append(self.blocks[-1](states[-1], taps[:first]))
        logits: Tensor = self.output(torch.cat([state[:first] for state in states], 1))  # (M, H)
        return logits


def architecture(network: NetworkConfig, feature_count: int, horizons: int) -> str:
    """Name of the graph: two networks share it exactly when their weights are interchangeable."""
    return f"bcc-conv-f{feature_count}-c{network.width}-l{network.layers}-h{horizons}"
