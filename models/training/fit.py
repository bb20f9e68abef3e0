"""Fitting a network whose loss is its own, on examples that fit in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from models.training.online import TrainingDiverged
from stream.progress import Progress


def fit(
    net: nn.Module,
    loss: Callable[[Sequence[int], torch.Generator], Tensor],
    count: int,
    *,
    epochs: int,
    batch: int,
    lr: float,
    seed: int,
    progress: Progress,
) -> list[float]:
    """Train with AdamW and a cosine to zero; returns the mean loss of every epoch.

    loss : of the examples with these numbers, 0..count - 1; may draw from the generator
    Deterministic on one machine type and one thread: the seed decides the order and what ``loss`` draws.
    Raises ValueError without examples, TrainingDiverged for a loss that is not finite
    """
    if count < 1:
        raise ValueError("examples: there are none to learn from")
    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=1e-2)
    steps = -(-count // batch) * epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    means, done = [], 0
    net.train()
    for epoch in range(epochs):
        total = 0.0
        order = torch.randperm(count, generator=generator).tolist()
        for begin in range(0, count, batch):
            rows = order[begin : begin + batch]
            value = loss(rows, generator)
            if not torch.isfinite(value):
                raise TrainingDiverged(
                    f"epoch {epoch + 1}: the loss is {float(value)}; lower the rate, {lr:g}"
                )
            optimizer.zero_grad(set_to_none=True)
            torch.autograd.backward(value)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            total += float(value.detach()) * len(rows)
            done += 1
            progress(done, steps, f"epoch {epoch + 1} of {epochs}")
        means.append(total / count)
    net.eval()
    return means
