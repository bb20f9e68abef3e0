"""What a network is trained to say of cells, by one interface: columns of labels, columns of output, a loss.

Labels of every target are -1 (UNLABELLED) where nothing is known; no loss is ever taken there, so an outcome
that is late or missing is no negative.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.training.replay import UNLABELLED


class Target(Protocol):
    """One thing to predict of cells.

    outputs : columns of the network; columns : of the labels
    primary : the label column that makes an example trainable
    dtype : of labels; activation : ONNX operator from outputs to what is served
    """

    @property
    def outputs(self) -> int: ...

    @property
    def columns(self) -> int: ...

    @property
    def primary(self) -> int: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def activation(self) -> str: ...

    def served(self, logits: Tensor) -> Tensor:
        """Outputs after the activation."""
        ...

    def loss(self, logits: Tensor, label: Tensor, weight: Tensor | None) -> Tensor:
        """Mean loss over what is labelled, a scalar; logits (S, outputs), label (S, columns), weight (S,)."""
        ...


@dataclass(frozen=True, slots=True)
class Binary:
    """Events that come true or not, one a column: occupied at each horizon, or changed.

    auxiliary_weight : of the mean loss of the columns that are not primary
    """

    columns: int
    primary: int
    auxiliary_weight: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.primary < self.columns:
            raise ValueError(f"primary: {self.primary} must be 0..{self.columns - 1}")

    @property
    def outputs(self) -> int:
        """A logit a column."""
        return self.columns

    @property
    def dtype(self) -> np.dtype[Any]:
        """1 true, 0 false."""
        return np.dtype(np.int8)

    @property
    def activation(self) -> str:
        """To probabilities."""
        return "Sigmoid"

    def served(self, logits: Tensor) -> Tensor:
        """Probabilities."""
        return torch.sigmoid(logits)

    def loss(self, logits: Tensor, label: Tensor, weight: Tensor | None) -> Tensor:
        """Cross-entropy at the primary column plus the weighted mean of that at the others."""
        observed = label != UNLABELLED
        each = functional.binary_cross_entropy_with_logits(logits, label.float(), reduction="none") * observed
        count = observed.sum(0)
        if weight is not None:
            each, count = each * weight[:, None], (observed * weight[:, None]).sum(0)
        least = 1 if weight is None else 1e-9
        mean = each.sum(0) / count.clamp(min=least)  # (H,), 0 where nothing is observed
        others = [column for column in range(len(mean)) if column != self.primary and count[column]]
        if not others:
            return mean[self.primary]
        return mean[self.primary] + self.auxiliary_weight * mean[others].mean()


@dataclass(frozen=True, slots=True)
class Share:
    """One number in 0..1, as intensity: cross-entropy against it is least at its mean."""

    @property
    def outputs(self) -> int:
        """One."""
        return 1

    @property
    def columns(self) -> int:
        """One."""
        return 1

    @property
    def primary(self) -> int:
        """The only one."""
        return 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """0..1."""
        return np.dtype(np.float32)

    @property
    def activation(self) -> str:
        """To 0..1."""
        return "Sigmoid"

    def served(self, logits: Tensor) -> Tensor:
        """The share."""
        return torch.sigmoid(logits)

    def loss(self, logits: Tensor, label: Tensor, weight: Tensor | None) -> Tensor:
        """Mean cross-entropy against the share."""
        known = label[:, 0] != UNLABELLED
        each = functional.binary_cross_entropy_with_logits(
            logits[known, 0], label[known, 0], reduction="none"
        )
        return _mean(each, None if weight is None else weight[known])


@dataclass(frozen=True, slots=True)
class Classes:
    """One of several classes, by code.

    outputs : number of classes, 2..127
    """

    outputs: int

    def __post_init__(self) -> None:
        if not 2 <= self.outputs <= 127:
            raise ValueError(f"outputs: {self.outputs} classes, must be 2..127")

    @property
    def columns(self) -> int:
        """The code."""
        return 1

    @property
    def primary(self) -> int:
        """The only one."""
        return 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Codes."""
        return np.dtype(np.int8)

    @property
    def activation(self) -> str:
        """To probabilities that add up to 1."""
        return "Softmax"

    def served(self, logits: Tensor) -> Tensor:
        """Probabilities of the classes."""
        return torch.softmax(logits, 1)

    def loss(self, logits: Tensor, label: Tensor, weight: Tensor | None) -> Tensor:
        """Mean cross-entropy of the class."""
        known = label[:, 0] != UNLABELLED
        each = functional.cross_entropy(logits[known], label[known, 0].long(), reduction="none")
        return _mean(each, None if weight is None else weight[known])


def _mean(each: Tensor, weight: Tensor | None) -> Tensor:
    """Weighted mean; 0, with a gradient, of nothing."""
    if weight is None:
        return each.sum() / max(len(each), 1)
    return (each * weight).sum() / torch.clamp(weight.sum(), min=1e-9)
