"""Samples as batches of tensors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from models.datasets.cells import Sample
from native.lattice import NEIGHBORS

Batch = dict[str, Tensor]


def bcc_collate_fn(samples: Sample | Sequence[Sample]) -> Batch:
    """A batch of tensors, of samples that are stacked already (by ``__getitems__``) or of single ones.

    ``index`` becomes ``indices``, int64 with the bits of the uint64 ids (back: ``.numpy().view("u8")``).
    Of single samples, ``neighbors`` with fewer than 14 rows are filled up with zeros and False in
    ``neighbor_mask``; where only some have outcomes, the others get ``target`` 0 and ``observed`` False.
    Stacked arrays are not copied. Window graphs are stacked already, too: those of one batch are one graph.
    Raises ValueError for no sample, one with more than 14 neighbours, or arrays that do not fit together
    """
    stacked = samples if isinstance(samples, dict) else _stacked(samples)
    return {"indices" if name == "index" else name: tensor for name, tensor in tensors(stacked).items()}


def tensors(sample: Sample) -> Batch:
    """Arrays as tensors over the same memory, ids as int64 with the same bits."""
    signed = {name: a.view(np.int64) if a.dtype == np.uint64 else a for name, a in sample.items()}
    return {name: torch.from_numpy(array) for name, array in signed.items()}


def _stacked(samples: Sequence[Sample]) -> Sample:
    if not samples:
        raise ValueError("samples: expected at least one")
    padded = [_padded(sample, place) for place, sample in enumerate(samples)]
    _fill_outcomes(padded)
    for place, sample in enumerate(padded):
        if sample.keys() != padded[0].keys():
            raise ValueError(f"samples: number {place} has {sorted(sample)}, the first {sorted(padded[0])}")
        for name, array in sample.items():
            if array.shape != padded[0][name].shape:
                first = padded[0][name].shape
                raise ValueError(f"samples: {name} of number {place} is {array.shape}, of the first {first}")
    return {name: np.stack([sample[name] for sample in padded]) for name in padded[0]}


def _padded(sample: Sample, place: int) -> Sample:
    neighbors = sample["neighbors"]
    missing = NEIGHBORS - len(neighbors)
    if missing < 0:
        raise ValueError(
            f"samples: number {place} has {len(neighbors)} neighbors, at most {NEIGHBORS} are possible"
        )
    mask = sample.get("neighbor_mask", np.ones(len(neighbors), np.bool_))
    return sample | {
        "neighbors": np.pad(neighbors, ((0, missing), (0, 0))),
        "neighbor_mask": np.pad(mask, (0, missing)),
    }


def _fill_outcomes(samples: list[Sample]) -> None:
    known = next((sample for sample in samples if "target" in sample), None)
    if known is not None:
        for sample in samples:
            sample.setdefault("target", np.zeros_like(known["target"]))
            sample.setdefault("observed", np.zeros_like(known["observed"]))
