"""Memory that workers and the process they work for share: arrays cross without a file or a pipe for each."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.datasets.cells import Sample

ALIGNMENT = 64

Layout = list[tuple[str, str, tuple[int, ...], int]]
"""Name, dtype, shape and place of every array in a slot."""


class Slots:
    """Slots of shared memory, each for the arrays of one sample.

    Whoever puts must know that nobody needs what the slot held. Pages are touched when they are first used.
    """

    def __init__(self, count: int, nbytes: int) -> None:
        # As torch's collate function has it: ``share_memory_`` would copy, and so touch every page.
        storage = torch.UntypedStorage._new_shared(count * nbytes)  # type: ignore[no-untyped-call]
        self._memory = torch.empty(0, dtype=torch.uint8).set_(storage).reshape(count, nbytes)

    @classmethod
    def for_samples(cls, count: int, sample: Sample, times: int) -> Slots:
        """Slots for samples that are at most so many times as large as one."""
        return cls(count, sum(array.nbytes * times + ALIGNMENT for array in sample.values()))

    def put(self, slot: int, sample: Sample) -> tuple[int, Layout] | Sample:
        """Where the arrays are now, to be sent to who takes them; a sample that is too large itself."""
        memory = self._memory[slot].numpy()
        layout, at = [], 0
        for name, array in sample.items():
            if at + array.nbytes > len(memory):
                return sample
            _view(memory, array.dtype.str, array.shape, at)[...] = array
            layout.append((name, array.dtype.str, array.shape, at))
            at += -(-array.nbytes // ALIGNMENT) * ALIGNMENT
        return slot, layout

    def take(self, sent: tuple[int, Layout] | Sample) -> Sample:
        """Copies of the arrays; the slot may be used again."""
        if isinstance(sent, dict):
            return sent
        slot, layout = sent
        memory = self._memory[slot].numpy()
        return {name: _view(memory, dtype, shape, at).copy() for name, dtype, shape, at in layout}


def _view(memory: NDArray[np.uint8], dtype: str, shape: tuple[int, ...], at: int) -> NDArray[Any]:
    return np.ndarray(shape, dtype, memory, at)
