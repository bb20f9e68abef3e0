"""Windows of a stored container on any file system, shared out by explicit rank: for any launcher."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from models.datasets.stored import StoredContainer
from models.datasets.window import Window
from native.index64 import decode
from native.neighbors import neighbor_table


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """Every ``world_size``-th piece from ``rank`` on. Whoever launches processes knows both"""

    rank: int = 0
    world_size: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world_size:
            raise ValueError(f"rank: {self.rank} must be 0..{self.world_size - 1} (world_size - 1)")

    def split(self, part: int, parts: int) -> Shard:
        """One of so many parts of this shard, as for the workers of a loader."""
        return Shard(rank=self.rank + self.world_size * part, world_size=self.world_size * parts)


class ShardedWindows(IterableDataset[dict[str, Tensor]]):
    """Window graphs of one process, as of ``WindowGraphDataset``, read as they come: nothing is cached.

    uri : of a stored container, as pyarrow.fs takes it: a path, file://, s3://, gs://, hdfs://
    frame_id, lod : whose windows; feature_keys : names of columns
    shard : rank and world size of torchrun, Horovod, MPI, or whatever else starts processes
    seed : shuffles windows by epoch, alike in every process, before they are shared out; None does not

    Each window goes to one process, and within it to one worker of a loader, ``DataLoader(...,
    batch_size=None)``; shares differ by a window at most. ``set_epoch`` names the next epoch. Deterministic.
    Raises StoredError, MismatchError, FeatureError, OSError
    """

    def __init__(
        self,
        uri: str,
        frame_id: int,
        lod: int,
        feature_keys: Sequence[str],
        *,
        shard: Shard | None = None,
        seed: int | None = None,
    ) -> None:
        self._stored = StoredContainer(uri, frame_id, lod)
        self._pieces = self._stored.pieces()
        self.feature_keys, self.seed = tuple(feature_keys), seed
        self.shard, self.epoch = shard or Shard(), 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that comes next."""
        self.epoch = epoch

    def __len__(self) -> int:
        """Windows of this process."""
        return len(range(self.shard.rank, len(self._pieces), self.shard.world_size))

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        shard = self.shard if worker is None else self.shard.split(worker.id, worker.num_workers)
        order = np.arange(len(self._pieces))
        if self.seed is not None:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        for place in order[shard.rank :: shard.world_size].tolist():
            yield self._graph(self._stored.window(self._pieces[place]))

    def _graph(self, window: Window) -> dict[str, Tensor]:
        sites = decode(window.cell_id)
        arrays: dict[str, NDArray[Any]] = {
            "features": window.features(self.feature_keys),
            "neighbor_index": neighbor_table(np.ascontiguousarray(window.cell_id)).astype(np.int64),
            "position": (sites.sites * self._stored.half_edge_m).astype(np.float32),
            "lod": sites.lod.astype(np.int64),
            "indices": window.cell_id.view(np.int64).copy(),
        }
        outcomes = window.outcomes()
        if outcomes is not None:
            arrays |= {"target": outcomes[0], "observed": outcomes[1].copy()}
        return {name: torch.from_numpy(array) for name, array in arrays.items()}
