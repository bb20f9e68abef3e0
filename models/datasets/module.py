"""The data of a training: loaders, and batches on a device; a LightningDataModule where that is there."""

from __future__ import annotations

from typing import Any

import torch

from models.datasets.collate import Batch
from models.datasets.device import DeviceBuffers
from models.datasets.loader import BCCDataLoader, Dataset, create_bcc_dataloader


def _base() -> Any:
    try:
        from lightning.pytorch import LightningDataModule
    except ModuleNotFoundError:
        return object
    return LightningDataModule


_Base: Any = _base()


class BCCDataModule(_Base):  # type: ignore[misc]
    """Datasets of a training, and how they are read.

    train, validation, test : datasets; only the first is shuffled
    device : that ``transfer_to_device`` moves to, cuda where there is one unless named
    loading : further arguments of ``create_bcc_dataloader``, as batch_size, num_workers, seed
    """

    def __init__(
        self,
        train: Dataset,
        validation: Dataset | None = None,
        test: Dataset | None = None,
        *,
        device: torch.device | str | None = None,
        **loading: Any,
    ) -> None:
        super().__init__()
        self.train, self.validation, self.test = train, validation, test
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.loading = loading
        self._buffers: dict[torch.device, DeviceBuffers] = {}

    def train_dataloader(self) -> BCCDataLoader:
        """Batches to learn from, shuffled."""
        return create_bcc_dataloader(self.train, **self.loading)

    def val_dataloader(self) -> BCCDataLoader | list[Any]:
        """Batches to validate with, in order; an empty list without a dataset."""
        return self._in_order(self.validation)

    def test_dataloader(self) -> BCCDataLoader | list[Any]:
        """Batches to test with, in order; an empty list without a dataset."""
        return self._in_order(self.test)

    def transfer_to_device(self, batch: Batch, non_blocking: bool = True) -> Batch:
        """The batch on the device, in buffers that are used again: it holds until the next call.

        A batch that is there already is returned as it is.
        """
        return self._move(batch, self.device, non_blocking)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """The same, as Lightning asks for it."""
        return self._move(batch, device, non_blocking=True)

    def _move(self, batch: Batch, device: torch.device, non_blocking: bool) -> Batch:
        buffers = self._buffers.setdefault(device, DeviceBuffers(device))
        if all(tensor.device == buffers.device for tensor in batch.values()):
            return batch
        return buffers.move(batch, non_blocking)

    def _in_order(self, dataset: Dataset | None) -> BCCDataLoader | list[Any]:
        if dataset is None:
            return []
        return create_bcc_dataloader(dataset, **(self.loading | {"shuffle": False}))
