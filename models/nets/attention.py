"""Graph attention with embedded relative offsets. Source: Velickovic et al. 2018; Brody et al. 2022."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.nets.graph_net import RingNet
from models.nets.neighborhood import gather, patch_offsets

SLOPE = 0.2
"""Of the leaky ReLU, as in both papers."""


class OffsetEmbedding(nn.Module):
    """A vector for each cell of a patch, of where it lies: a small network of its offset in steps."""

    offsets: Tensor

    def __init__(self, rings: int, width: int) -> None:
        super().__init__()
        offset = torch.from_numpy(patch_offsets(rings)).float() / 2  # (T, 3), in cubic edges
        self.register_buffer("offsets", torch.cat((offset, offset.norm(dim=1, keepdim=True)), 1))
        self.first = nn.Linear(4, 2 * width)
        self.last = nn.Linear(2 * width, width)

    def forward(self) -> Tensor:
        """Returns float32 (T, C)"""
        embedded: Tensor = self.last(torch.tanh(self.first(self.offsets)))
        return embedded


def attend(scores: Tensor, values: Tensor, present: Tensor) -> Tensor:
    """Weighted means of values; what is absent has no weight.

    scores : float (N, T, heads); values : float (N, T, heads, C / heads); present : bool (N, T)
    Returns float (N, C)
    """
    weight = torch.softmax(scores.masked_fill(~present[:, :, None], float("-inf")), 1)
    return (weight[..., None] * values).sum(1).flatten(1)


def split_heads(states: Tensor, heads: int) -> Tensor:
    """float (..., C) to float (..., heads, C / heads)"""
    return torch.unflatten(states, -1, (heads, states.shape[-1] // heads))


class AttentionBlock(nn.Module):
    """A cell attends to itself and its neighbours; how much, depends on both states and on where they lie."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.offset = OffsetEmbedding(1, 2 * width)
        self.score = nn.Parameter(torch.empty(heads, width // heads))
        self.mix = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        nn.init.xavier_uniform_(self.score)

    def forward(self, y: Tensor, index: Tensor) -> Tensor:
        """y : float32 (N, C); index : int (N, 15), N where there is no neighbour. Returns float32 (N, C)"""
        normed = self.norm(y)
        to_score, to_value = self.offset().chunk(2, 1)  # (15, C) each
        pair = self.receiver(normed)[:, None] + gather(self.sender(normed), index) + to_score  # (N, 15, C)
        scores = (split_heads(functional.leaky_relu(pair, SLOPE), self.heads) * self.score).sum(-1)
        values = split_heads(gather(self.value(normed), index) + to_value, self.heads)
        found = attend(scores, values, index < y.shape[0])
        step: Tensor = self.dropout(functional.relu(self.mix(found)))
        return y + step


class BCCAttention(RingNet):
    """Attention reaches one ring a layer, and weighs neighbours by what they hold and where they lie."""

    name: ClassVar[str] = "attention"

    def __init__(
        self,
        *,
        feature_count: int,
        output_count: int = 1,
        hidden_dim: int = 32,
        num_layers: int = 2,
        dropout: float = 0.0,
        heads: int = 4,
        seed: int = 0,
    ) -> None:
        require_heads(heads, hidden_dim)
        super().__init__(
            lambda: AttentionBlock(hidden_dim, heads, dropout),
            feature_count=feature_count, output_count=output_count, hidden_dim=hidden_dim,
            num_layers=num_layers, dropout=dropout, seed=seed,
        )  # fmt: skip
        self.model_config["heads"] = heads


def require_heads(heads: int, hidden_dim: int) -> None:
    """Raises ValueError where the width cannot be shared out evenly."""
    if heads < 1 or hidden_dim % heads:
        raise ValueError(f"heads: {heads} must divide hidden_dim {hidden_dim}")
