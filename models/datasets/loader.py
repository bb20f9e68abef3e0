"""Batches of a dataset, read by workers, in an order that can be repeated and resumed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from models.datasets.cells import BCCDataset, Sample
from models.datasets.collate import Batch, bcc_collate_fn
from models.datasets.order import BatchOrder
from models.datasets.slots import Layout, Slots
from models.datasets.windows import WindowGraphDataset

GROUP_ROWS = 1024
"""Rows read at once and dealt out in batches: a message to a worker costs as much as a small batch."""

DECISIVE = ("seed", "length", "batch_size", "world_size", "shuffle", "drop_last")
"""What of a ``BatchOrder`` decides which rows a batch has."""

Dataset = BCCDataset | WindowGraphDataset
Task = tuple[int, NDArray[np.int64]]
"""A slot, and the rows that are wanted in it."""


class _Reader:
    """What workers run."""

    def __init__(self, dataset: Dataset, slots: Slots | None) -> None:
        self._dataset, self._slots = dataset, slots

    def __getitems__(self, task: Task) -> Sample | tuple[int, Layout]:
        slot, rows = task
        sample = self._dataset.__getitems__(rows)
        return sample if self._slots is None else self._slots.put(slot, sample)


class _Tasks:
    """The order as tasks, each of some batches.

    A slot is used again ``slots`` tasks later. When that one is asked for, its own batches were copied.
    """

    def __init__(self, order: BatchOrder, batches: int, slots: int) -> None:
        self._order, self._batches, self._slots = order, batches, slots

    def __len__(self) -> int:
        return -(-(len(self._order) - self._order.begin) // self._batches)

    def __iter__(self) -> Iterator[Task]:
        for number, rows in enumerate(self._order.groups(self._batches)):
            yield number % self._slots, rows


class BCCDataLoader(DataLoader[Batch]):
    """torch's DataLoader, of which the order is a ``BatchOrder`` and the place is known.

    Every pass over it is an epoch; after a whole one the next begins. One that was left early begins anew.
    Workers read several batches at a time into shared memory.
    """

    def __init__(
        self,
        dataset: Dataset,
        order: BatchOrder,
        num_workers: int,
        pin_memory: bool,
        prefetch_factor: int,
        multiprocessing_context: str | None,
    ) -> None:
        self.order, self.cells, self.pins = order, dataset, pin_memory
        graphs = isinstance(dataset, WindowGraphDataset)
        batches = 1 if graphs else max(1, GROUP_ROWS // order.batch_size)
        count = num_workers * prefetch_factor + 2
        self._slots: Slots | None = None
        if num_workers and len(dataset):
            largest = int(np.argmax(dataset.sizes)) if isinstance(dataset, WindowGraphDataset) else 0
            times = min(batches * order.batch_size, len(dataset))
            self._slots = Slots.for_samples(count, dataset.__getitems__([largest]), times)
        self._done = 0
        super().__init__(
            _Reader(dataset, self._slots),  # type: ignore[arg-type]
            batch_sampler=_Tasks(order, batches, count),  # type: ignore[arg-type]
            collate_fn=_as_it_is,
            num_workers=num_workers,
            prefetch_factor=prefetch_factor if num_workers else None,
            persistent_workers=num_workers > 0,
            multiprocessing_context=multiprocessing_context if num_workers else None,
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return len(self.order)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that comes next; a resumed one goes on where it was."""
        self.order.set_epoch(epoch)

    def __iter__(self) -> Iterator[Batch]:  # type: ignore[override]
        self._done = self.order.begin
        for sent in super().__iter__():
            for batch in self._dealt(bcc_collate_fn(self._slots.take(sent) if self._slots else sent)):
                self._done += 1
                yield batch
        self.order.set_epoch(self.order.epoch + 1)
        self._done = 0

    def _dealt(self, group: Batch) -> Iterator[Batch]:
        if self.pins:
            group = {name: tensor.pin_memory() for name, tensor in group.items()}
        if isinstance(self.cells, WindowGraphDataset):
            yield group
            return
        size = self.order.batch_size
        parts = (torch.split(tensor, size) for tensor in group.values())
        for batch in zip(*parts, strict=True):
            yield dict(zip(group, batch, strict=True))

    def state_dict(self) -> dict[str, int]:
        """The place: epoch, batches of it that were taken, and what decides the order."""
        order = self.order
        return {
            "epoch": order.epoch,
            "batches": self._done,
            **{name: int(getattr(order, name)) for name in DECISIVE},
        }

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on at a place, with the next pass; raises ValueError where the order is another one."""
        for name in DECISIVE:
            if state.get(name) != (mine := int(getattr(self.order, name))):
                raise ValueError(f"{name}: the state has {state.get(name)}, this loader {mine}")
        self.order.epoch, self.order.begin = state["epoch"], state["batches"]
        self._done = state["batches"]


def create_bcc_dataloader(
    dataset: Dataset,
    batch_size: int = 32,
    num_workers: int = 4,
    shuffle: bool = True,
    *,
    seed: int = 0,
    rank: int = 0,
    world_size: int = 1,
    drop_last: bool = False,
    pin_memory: bool | None = None,
    prefetch_factor: int = 2,
    multiprocessing_context: str | None = None,
) -> BCCDataLoader:
    """A loader of a dataset's batches, as ``bcc_collate_fn`` makes them.

    batch_size : cells, or windows, which then are one graph
    num_workers : processes that read, at most as many as there are cores; 0 reads in this one. They persist
    shuffle, seed, rank, world_size, drop_last : as ``BatchOrder``
    pin_memory : None pins where there is CUDA
    prefetch_factor : groups of batches that each worker reads ahead
    multiprocessing_context : how workers begin, ``fork``, ``spawn`` or ``forkserver``; None as Python does
    Batches do not depend on the number of workers. Raises ValueError, with the name
    """
    order = BatchOrder(
        len(dataset),
        batch_size,
        shuffle=shuffle,
        seed=seed,
        rank=rank,
        world_size=world_size,
        drop_last=drop_last,
    )
    workers = min(num_workers, _cores())
    pins = torch.cuda.is_available() if pin_memory is None else pin_memory
    return BCCDataLoader(dataset, order, workers, pins, prefetch_factor, multiprocessing_context)


def _as_it_is(sent: Any) -> Any:
    return sent


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
