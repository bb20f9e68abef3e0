"""Training a detector on cells with what they lie on."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from models.nets.convolution import BCCConvolution
from models.objects.cells import CellExample
from models.objects.kinds import KINDS
from models.training.fit import fit
from stream.progress import Progress

FOCUS = 2.0
"""Cells that are told rightly weigh less, by this power of how far they are from sure."""


def train_detector(
    examples: Sequence[CellExample],
    *,
    seed: int,
    progress: Progress,
    epochs: int = 6,
    hidden_dim: int = 32,
    lr: float = 3e-3,
) -> BCCConvolution:
    """A detector that has learnt what cells lie on, one sweep a step.

    Deterministic on one machine type and one thread. Raises ValueError without examples, TrainingDiverged
    """
    if not examples:
        raise ValueError("examples: there are none to learn from")
    net = BCCConvolution(
        feature_count=examples[0].x.shape[1], output_count=len(KINDS) + 8, hidden_dim=hidden_dim,
        num_layers=3, seed=seed,
    )  # fmt: skip
    every = np.concatenate([example.x for example in examples]).astype(np.float32)
    net.set_scale(every.mean(0), (1 / np.maximum(every.std(0), 1e-3)).astype(np.float32))

    def loss(numbers: Sequence[int], generator: torch.Generator) -> Tensor:
        losses = [detection_loss(net, examples[number]) for number in numbers]
        return torch.stack(losses).mean()

    fit(net, loss, len(examples), epochs=epochs, batch=1, lr=lr, seed=seed, progress=progress)
    return net


def detection_loss(net: BCCConvolution, example: CellExample) -> Tensor:
    """Focal cross-entropy of the classes by cell on an object, plus the error of these cells' boxes."""
    output = net(torch.from_numpy(example.x.astype(np.float32)), torch.from_numpy(example.neighbor_index))
    logits, box = output[:, : len(KINDS)], output[:, len(KINDS) :]
    kind = torch.from_numpy(example.kind.astype(np.int64))
    on = kind >= 0
    wanted = functional.one_hot(kind.clamp(min=0), len(KINDS)).float() * on[:, None]
    each = functional.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    wrong = (torch.sigmoid(logits) - wanted).abs() ** FOCUS
    objects = on.sum().clamp(min=1)
    told = (each * wrong).sum() / objects
    placed = functional.smooth_l1_loss(box, torch.from_numpy(example.box), reduction="none").sum(1)
    return told + (placed * on).sum() / objects
