"""Every number that decides what a training on stored containers comes to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Tracker = Literal["tensorboard", "wandb"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerConfig:
    """How to train.

    epochs : passes over the loader
    lr, weight_decay : of AdamW; the rate falls to 0 along a cosine, step by step
    clip_norm : largest norm of a gradient
    accumulation : batches a step, as if they were one
    loss : bce, cross-entropy of logits against 0..1; mse, squared error of outputs
    mixed_precision : bfloat16 on the CPU, float16 with a scaled loss on CUDA
    gradient_checkpointing : states within blocks are computed again instead of kept
    compile : torch.compile
    seed : of dropout and of the loader's order, by epoch
    track : where scores are written besides the checkpoints: tensorboard, wandb
    """

    epochs: int = 10
    lr: float = 1e-3
    weight_decay: float = 1e-2
    clip_norm: float = 1.0
    accumulation: int = 1
    loss: Literal["bce", "mse"] = "bce"
    mixed_precision: bool = False
    gradient_checkpointing: bool = False
    compile: bool = False
    seed: int = 0
    track: tuple[Tracker, ...] = ("tensorboard",)

    def __post_init__(self) -> None:
        for name, value in (("epochs", self.epochs), ("accumulation", self.accumulation)):
            if value < 1:
                raise ValueError(f"{name}: {value} must be >= 1")
        for name, rate in (("lr", self.lr), ("clip_norm", self.clip_norm)):
            if not rate > 0:
                raise ValueError(f"{name}: {rate} must be above 0")
        if not self.weight_decay >= 0:
            raise ValueError(f"weight_decay: {self.weight_decay} must be >= 0")
        if self.loss not in ("bce", "mse"):
            raise ValueError(f"loss: {self.loss!r} must be bce or mse")
        if unknown := set(self.track) - {"tensorboard", "wandb"}:
            raise ValueError(f"track: {min(unknown)!r} must be tensorboard or wandb")
