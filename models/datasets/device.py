"""Batches on a device, in memory that is used again."""

from __future__ import annotations

import torch
from torch import Tensor

from models.datasets.collate import Batch


class DeviceBuffers:
    """Memory on one device that batch after batch is copied into; it grows with the largest one.

    A batch that was moved holds until the next one is: on CUDA the copy waits for what reads the last one, as
    both are on the same stream.
    """

    def __init__(self, device: torch.device | str) -> None:
        self.device = torch.empty(0, device=device).device  # with its number, as tensors have it
        self._held: dict[str, Tensor] = {}

    def move(self, batch: Batch, non_blocking: bool = True) -> Batch:
        """The batch on the device; non_blocking : do not wait for copies from pinned memory."""
        return {name: self._copy(name, tensor, non_blocking) for name, tensor in batch.items()}

    def _copy(self, name: str, tensor: Tensor, non_blocking: bool) -> Tensor:
        held = self._held.get(name)
        shape, dtype = tensor.shape, tensor.dtype
        if held is None or held.shape[1:] != shape[1:] or held.dtype != dtype or len(held) < len(tensor):
            held = self._held[name] = torch.empty(shape, dtype=dtype, device=self.device)
        return held[: len(tensor)].copy_(tensor, non_blocking=non_blocking)
