"""Residual BCC convolutions, one weight matrix a direction."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from models.nets.graph_net import RingNet
from models.nets.neighborhood import TAPS, gather


class ConvolutionBlock(nn.Module):
    """``y + Dropout(ReLU(Linear(gather(LayerNorm(y)))))`` over a cell and its 14 neighbours."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.linear = nn.Linear(TAPS * width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, y: Tensor, index: Tensor) -> Tensor:
        """y : float32 (N, C); index : int (N, 15), N where there is no neighbour. Returns float32 (N, C)"""
        step: Tensor = self.dropout(functional.relu(self.linear(gather(self.norm(y), index).flatten(1))))
        return y + step


class BCCConvolution(RingNet):
    """A convolution reaches one ring a layer; directions are told apart, levels are not."""

    name: ClassVar[str] = "convolution"

    def __init__(
        self,
        *,
        feature_count: int,
        output_count: int = 1,
        hidden_dim: int = 32,
        num_layers: int = 2,
        dropout: float = 0.0,
        seed: int = 0,
    ) -> None:
        super().__init__(
            lambda: ConvolutionBlock(hidden_dim, dropout),
            feature_count=feature_count, output_count=output_count, hidden_dim=hidden_dim,
            num_layers=num_layers, dropout=dropout, seed=seed,
        )  # fmt: skip
