"""BCCDataModule with lightning, which takes long to import."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from models.datasets.cells import BCCDataset
from tests.models.datasets.stores import NAMES, WHERE, store, window

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.learn, pytest.mark.long, pytest.mark.slow]


def test_lightning_trains_with_it(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lightning's own
        lightning = pytest.importorskip("lightning.pytorch", reason="not run: needs the extra lightning")
        from models.datasets.module import BCCDataModule

        class Linear(lightning.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.layer, self.losses, self.validated = torch.nn.Linear(3, 2), [], 0

            def training_step(self, batch: dict, number: int) -> torch.Tensor:
                loss = (((self.layer(batch["features"]) - batch["target"]) * batch["observed"]) ** 2).mean()
                self.losses.append(float(loss.detach()))
                return loss

            def validation_step(self, batch: dict, number: int) -> None:
                self.validated += len(batch["features"])

            def configure_optimizers(self) -> torch.optim.Optimizer:
                return torch.optim.SGD(self.parameters(), 0.3)

        folder = store(tmp_path / "city", [window(number, 0.6) for number in range(6)])
        dataset = BCCDataset(folder, **WHERE, feature_keys=NAMES)
        module = BCCDataModule(dataset.between(0, 5), dataset.between(5, 6), num_workers=0)
        assert isinstance(module, lightning.LightningDataModule)
        torch.manual_seed(0)
        network = Linear()
        trainer = lightning.Trainer(
            max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        )  # fmt: skip
        trainer.fit(network, datamodule=module)
    epoch = len(module.train_dataloader())
    assert len(network.losses) == 3 * epoch
    assert sum(network.losses[-epoch:]) < 0.7 * epoch * network.losses[0]
    assert network.validated == 3 * len(dataset.between(5, 6))
