"""Losses as sums and counts over what was observed, so that batches and processes add up exactly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

Loss = Literal["bce", "mse"]


def observed_count(batch: Mapping[str, Tensor]) -> int:
    """How many outcomes of a batch were observed."""
    return int(batch["observed"].sum())


def loss_sum(kind: Loss, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Sum of the loss over observed outcomes, a float32 scalar; what was not observed has no gradient.

    outputs : float (B, H); batch : ``target`` float32 (B, H), ``observed`` bool (B, H)
    """
    observed = batch["observed"]
    target = torch.where(observed, batch["target"], 0.0)
    if kind == "bce":
        each = functional.binary_cross_entropy_with_logits(outputs.float(), target, reduction="none")
    else:
        each = (outputs.float() - target) ** 2
    return torch.where(observed, each, 0.0).sum()


def error_sums(kind: Loss, outputs: Tensor, batch: Mapping[str, Tensor]) -> Tensor:
    """Sums over observed outcomes, float64 (3,): of the loss, of the squared error, and their number."""
    observed = batch["observed"]
    said = torch.sigmoid(outputs.float()) if kind == "bce" else outputs.float()
    square = torch.where(observed, (said - batch["target"]) ** 2, 0.0).double().sum()
    return torch.stack((loss_sum(kind, outputs, batch).double(), square, observed.sum().double()))
