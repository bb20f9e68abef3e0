"""What all networks on cells share: their inputs, their scale, their blocks, their configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from models.nets.bcc_conv import CLIP
from models.nets.neighborhood import taps


class Standardised(nn.Module):
    """A network that scales raw features itself, so a file of its weights is complete.

    ``mean`` and ``inv_std`` are buffers, float32 (F,); set them by ``set_scale`` before training.
    """

    mean: Tensor
    inv_std: Tensor

    inputs: ClassVar[Mapping[str, str]]
    """Arguments of ``forward`` to keys of a batch."""

    name: ClassVar[str]
    """In ``model_config``."""

    gradient_checkpointing = False
    """Compute the states within a block again for gradients, instead of keeping them."""

    def __init__(
        self, feature_count: int, output_count: int, hidden_dim: int, num_layers: int, dropout: float
    ) -> None:
        super().__init__()
        for name, value in (
            ("feature_count", feature_count), ("output_count", output_count), ("hidden_dim", hidden_dim),
            ("num_layers", num_layers),
        ):  # fmt: skip
            if value < 1:
                raise ValueError(f"{name}: {value} must be >= 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout: {dropout} must be 0..1, 1 excluded")
        self.model_config: dict[str, Any] = {
            "name": self.name, "feature_count": feature_count, "output_count": output_count,
            "hidden_dim": hidden_dim, "num_layers": num_layers, "dropout": dropout,
        }  # fmt: skip
        self.register_buffer("mean", torch.zeros(feature_count))
        self.register_buffer("inv_std", torch.ones(feature_count))

    def set_scale(self, mean: NDArray[np.float32], inv_std: NDArray[np.float32]) -> None:
        """Take the scale of ``RunningStandard.scale()``, float32 (F,) each."""
        for name, value in (("mean", mean), ("inv_std", inv_std)):
            if value.shape != self.mean.shape or not np.isfinite(value).all():
                raise ValueError(
                    f"{name}: expected {tuple(self.mean.shape)} finite values, got {value.shape}"
                )
        self.mean.copy_(torch.from_numpy(mean))
        self.inv_std.copy_(torch.from_numpy(inv_std))

    def standard(self, features: Tensor) -> Tensor:
        """Standardised features, clipped; of any leading shape."""
        return ((features - self.mean) * self.inv_std).clamp(-CLIP, CLIP)

    def run_block(self, block: nn.Module, *inputs: Tensor) -> Tensor:
        """One block, with its inner states kept or computed again."""
        if self.gradient_checkpointing and self.training:
            found: Tensor = checkpoint(block, *inputs, use_reentrant=False)
            return found
        result: Tensor = block(*inputs)
        return result


class GraphNet(Standardised):
    """Features of N cells to one logit an output: a linear layer, residual blocks, a linear layer.

    make_block : of the hidden width, one a layer
    seed : decides the weights alone; torch's global generator is untouched
    """

    inputs: ClassVar[Mapping[str, str]] = {"features": "features", "neighbor_index": "neighbor_index"}

    def __init__(
        self,
        make_block: Callable[[], nn.Module],
        *,
        feature_count: int,
        output_count: int,
        hidden_dim: int,
        num_layers: int,
        dropout: float,
        seed: int,
    ) -> None:
        super().__init__(feature_count, output_count, hidden_dim, num_layers, dropout)
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(seed)
            self.input = nn.Linear(feature_count, hidden_dim)
            self.blocks = nn.ModuleList(make_block() for _ in range(num_layers))
            self.norm = nn.LayerNorm(hidden_dim)
            self.output = nn.Linear(hidden_dim, output_count)

    def start(self, features: Tensor) -> Tensor:
        """First states, (N, C)."""
        return functional.relu(self.input(self.standard(features)))

    def finish(self, states: Tensor) -> Tensor:
        """Logits, (N, H)."""
        logits: Tensor = self.output(self.norm(states))
        return logits


class RingNet(GraphNet):
    """One of which each block takes a cell's state and those of its 14 neighbours."""

    def forward(
        self,
        features: Tensor,
        neighbor_index: Tensor,
        positions: Tensor | None = None,
        lod: Tensor | int | None = None,
    ) -> Tensor:
        """Logits of every cell.

        features : float32 (N, F), raw; neighbor_index : int (N, 14), rows, N where there is no neighbour
        positions, lod : not needed; the column of a neighbour says where it lies
        Returns float32 (N, H)
        """
        index, y = taps(neighbor_index), self.start(features)
        for block in self.blocks:
            y = self.run_block(block, y, index)
        return self.finish(y)


def lod_rows(lod: Tensor | int | None, like: Tensor) -> Tensor:
    """Level of every cell, int64 (N,). lod : one level of all of them, or int (N,)

    Raises ValueError where there is none, or the shape is another
    """
    if lod is None:
        raise ValueError("lod: this network tells levels apart; give one level, or one a cell")
    if isinstance(lod, int):
        return torch.full((like.shape[0],), lod, dtype=torch.int64, device=like.device)
    return lod.long().expand(like.shape[0])
