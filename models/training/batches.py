"""What a trainer asks of a loader: a length, an epoch's batches, and whatever decides their order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

NEEDED = ("features", "target", "observed")


def count_batches(loader: Any) -> int:
    """Batches an epoch. Raises ValueError where there are none, or nobody knows"""
    try:
        batches = len(loader)
    except TypeError as error:
        raise ValueError("train_loader: has no length, so the cosine has no end; give it __len__") from error
    if batches == 0:
        raise ValueError("train_loader: is empty")
    return batches


def begin_epoch(loader: Any, epoch: int) -> Iterator[Mapping[str, Any]]:
    """The batches of an epoch, from 0 on; whatever of the loader has ``set_epoch`` is told."""
    parts = (getattr(loader, name, None) for name in ("sampler", "batch_sampler", "dataset"))
    for part in (loader, *parts):
        if hasattr(part, "set_epoch"):
            part.set_epoch(epoch)
    return iter(loader)


def generators_of(loader: Any) -> list[torch.Generator]:
    """Torch's generators that decide the loader's order, each once."""
    owners = (loader, getattr(loader, "sampler", None))
    found = [getattr(owner, "generator", None) for owner in owners]
    return list(dict.fromkeys(generator for generator in found if isinstance(generator, torch.Generator)))


def on_device(batch: Mapping[str, Any], device: torch.device) -> dict[str, Any]:
    """A batch whose tensors are on a device; copies from pinned memory do not wait.

    Raises ValueError naming the key that is missing
    """
    for key in NEEDED:
        if key not in batch:
            raise ValueError(f"batch: has no {key!r}, only {', '.join(batch)}; training needs outcomes")
    return {
        key: value.to(device, non_blocking=True) if isinstance(value, Tensor) else value
        for key, value in batch.items()
    }
