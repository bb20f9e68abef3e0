"""Training networks to tell what cells are, on whole windows of which some cells are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.nets.graph_net import Standardised
from models.nets.parents import parent_rows
from models.training.fit import fit
from models.training.standard import RunningStandard
from models.training.targets import Classes
from native.index64 import decode, parent
from native.neighbors import neighbor_table
from stream.progress import Progress

RATE = 3e-3
LEVELS = 2
"""How many coarser levels a network that tells levels apart is given."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledWindow:
    """The cells of one moment, some of them with a class.

    cell_id : uint64 (N,), ascending, of one LOD; half_edge_m : of it
    x : float32 (N, F); neighbor_index : int32 (N, 14), N where there is none
    row : int64 (M,), cells that are labelled, ascending; code : int64 (M,), their classes
    """

    cell_id: NDArray[np.uint64]
    half_edge_m: float
    x: NDArray[np.float32]
    neighbor_index: NDArray[np.int32]
    row: NDArray[np.int64]
    code: NDArray[np.int64]

    @cached_property
    def graph(self) -> dict[str, Tensor]:
        """What networks on a graph read of the window alone."""
        lod = int(decode(self.cell_id[:1]).lod[0])
        sites = decode(self.cell_id).sites * self.half_edge_m
        return {
            "features": torch.from_numpy(self.x),
            "neighbor_index": torch.from_numpy(self.neighbor_index.astype(np.int64)),
            "position": torch.from_numpy(sites.astype(np.float32)),
            "lod": torch.full((len(self.x),), lod),
        }

    @cached_property
    def levels(self) -> dict[str, Tensor]:
        """The window and LEVELS coarser ones after it; features of a coarse cell are its children's means."""
        ids, values, tables = [self.cell_id], [self.x], [self.neighbor_index.astype(np.int64)]
        for _ in range(LEVELS):
            coarse, place = np.unique(parent(ids[-1]), return_inverse=True)
            total = np.zeros((len(coarse), self.x.shape[1]))
            np.add.at(total, place, values[-1])
            values.append((total / np.bincount(place)[:, None]).astype(np.float32))
            tables.append(neighbor_table(coarse).astype(np.int64))
            ids.append(coarse)
        starts = np.cumsum([0, *map(len, ids)])
        end = int(starts[-1])
        index = [
            np.where(table < len(own), table + start, end)
            for table, own, start in zip(tables, ids, starts[:-1], strict=True)
        ]
        every = np.concatenate(ids)
        lod = decode(every).lod.astype(np.int64)
        half_edge = self.half_edge_m * 2.0 ** (lod[0] - lod)
        return {
            "features": torch.from_numpy(np.concatenate(values)),
            "neighbor_index": torch.from_numpy(np.concatenate(index)),
            "position": torch.from_numpy((decode(every).sites * half_edge[:, None]).astype(np.float32)),
            "lod": torch.from_numpy(lod),
            "parent_index": torch.from_numpy(parent_rows(every)),
        }

    @cached_property
    def gathered(self) -> dict[str, Tensor]:
        """The labelled cells with their neighbours beside them."""
        index = self.neighbor_index[self.row]
        padded = np.concatenate([self.x, np.zeros((1, self.x.shape[1]), np.float32)])
        return {
            "features": torch.from_numpy(self.x[self.row]),
            "neighbors": torch.from_numpy(padded[index]),
            "neighbor_mask": torch.from_numpy(index < len(self.x)),
        }


def logits_of(net: Standardised, window: LabelledWindow) -> Tensor:
    """What a network says of the labelled cells of a window, float32 (M, C)."""
    keys = set(net.inputs.values())
    whole = "neighbors" not in keys
    batch = window.levels if "parent_index" in keys else window.graph if whole else window.gathered
    answer: Tensor = net(**{name: batch[key] for name, key in net.inputs.items()})
    return answer[torch.from_numpy(window.row)] if whole else answer


def train_segmenter(
    net: Standardised, windows: Sequence[LabelledWindow], *, steps: int, seed: int, progress: Progress
) -> None:
    """Train a network, a window a step; each comes as often as any other, or once more.

    Deterministic on one machine type and one thread. Raises ValueError without windows, TrainingDiverged
    """
    standard = RunningStandard(net.mean.shape[0], settle=max(len(windows), 1))
    for window in windows:
        standard.update(window.x)
    net.set_scale(*standard.scale())
    target = Classes(net.model_config["output_count"])

    def loss(numbers: Sequence[int], generator: torch.Generator) -> Tensor:
        window = windows[numbers[0] % len(windows)]
        return target.loss(logits_of(net, window), torch.from_numpy(window.code)[:, None], None)

    count = steps if windows else 0
    fit(net, loss, count, epochs=1, batch=1, lr=RATE, seed=seed, progress=progress)
