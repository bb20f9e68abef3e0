"""In which order a dataset is read: shuffled by a seed, shared between readers, and begun in the middle."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


class BatchOrder:
    """Rows of every batch of an epoch, a batch sampler for torch's ``DataLoader``.

    length : rows in all, >= 0; batch_size : >= 1
    shuffle : another order every epoch, decided by seed and epoch alone; otherwise ascending
    rank, world_size : this reader's number of so many. Each has as many rows as the others, so some rows come
        twice where they do not divide; between them no row is left out
    drop_last : leave out the last batch where it is not full
    """

    def __init__(
        self,
        length: int,
        batch_size: int,
        *,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size: {batch_size} must be >= 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank: {rank} must be 0..{world_size - 1} (world_size {world_size})")
        self.length, self.batch_size, self.shuffle, self.seed = length, batch_size, shuffle, seed
        self.rank, self.world_size, self.drop_last = rank, world_size, drop_last
        self.epoch = self.begin = 0

    def set_epoch(self, epoch: int) -> None:
        """The epoch that comes next, from its first batch on unless it is the present one."""
        if epoch != self.epoch:
            self.epoch, self.begin = epoch, 0

    def __len__(self) -> int:
        """Batches of an epoch."""
        rows = -(-self.length // self.world_size)
        return rows // self.batch_size if self.drop_last else -(-rows // self.batch_size)

    def rows(self) -> NDArray[np.int64]:
        """This reader's rows of the present epoch, in order."""
        order = np.arange(self.length)
        if self.shuffle:
            np.random.default_rng((self.seed, self.epoch)).shuffle(order)
        if self.world_size == 1 or not self.length:
            return order
        even = -(-self.length // self.world_size) * self.world_size
        return np.resize(order, even)[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[NDArray[np.int64]]:
        yield from self.groups(1)

    def groups(self, batches: int) -> Iterator[NDArray[np.int64]]:
        """The rows of so many batches at a time."""
        rows, begin = self.rows(), self.begin * self.batch_size
        end = len(self) * self.batch_size  # beyond the rows unless the last batch is full or left out
        self.begin = 0
        for first in range(begin, end, batches * self.batch_size):
            yield rows[first : min(first + batches * self.batch_size, end)]
