"""Store what a drive has shown and revealed, and train a small network on it, outside of the loop.

Run: python examples/train_on_stored_containers.py [LOG [EPOCHS]]     without a log, on a simulated drive
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch.nn import functional

from agents.cli import main as octastream
from models.datasets.cells import BCCDataset
from models.datasets.loader import create_bcc_dataloader

KEYS = ["hits_0", "passes_0", "hit_share", "evidence_recent", "hit_age", "pass_age", "cast_share", "range"]
PRIMARY = "occupied_0.5s"


class Network(torch.nn.Module):
    """A cell and the mean of its neighbours, standardised, to one logit."""

    def __init__(self, mean: torch.Tensor, deviation: torch.Tensor) -> None:
        super().__init__()
        self.mean, self.deviation = mean, deviation
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(2 * len(mean), 32), torch.nn.ReLU(), torch.nn.Linear(32, 1)
        )

    def forward(self, features: torch.Tensor, neighbors: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        own = (features - self.mean) / self.deviation
        around = (neighbors - self.mean) / self.deviation * mask[..., None]
        mean = around.sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
        return self.layers(torch.cat([own, mean], 1))[:, 0]


def loss_of(network: Network, batch: dict[str, torch.Tensor], column: int) -> torch.Tensor:
    """Log loss where the outcome is known."""
    logits = network(batch["features"], batch["neighbors"], batch["neighbor_mask"])
    known = batch["observed"][:, column]
    return functional.binary_cross_entropy_with_logits(logits[known], batch["target"][known, column])


def main(location: str = "sim:city?sweeps=30&beams=32&azimuths=256&seed=3", epochs: str = "2") -> float:
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as name:
        run, stored = Path(name) / "run", Path(name) / "stored"
        if octastream(["replay", location, "--out", str(run), "--no-learn"]) != 0:
            raise SystemExit(f"{location}: cannot be replayed")
        octastream(["dataset", "windows", str(run), "--out", str(stored)])
        cells = BCCDataset(stored, frame_id=2, lod=7, feature_keys=KEYS)
        windows, column = len(cells.windows), cells.targets.index(PRIMARY)
        train, later = cells.between(0, windows * 3 // 5), cells.between(windows * 3 // 5, windows)
        loader = create_bcc_dataloader(train, batch_size=256, num_workers=0)

        x = torch.cat([batch["features"] for batch in loader])
        network = Network(x.mean(0), x.std(0).clamp(min=1e-6))
        optimiser = torch.optim.AdamW(network.parameters(), 0.01)
        for epoch in range(int(epochs)):
            for batch in loader:
                loss = loss_of(network, batch, column)
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            print(f"epoch {epoch}: {float(loss.detach()):.3f} nats in the last batch")

        whole = next(iter(create_bcc_dataloader(later, len(later), 0, shuffle=False)))
        with torch.no_grad():
            found = float(loss_of(network, whole, column))
        rate = whole["target"][:, column][whole["observed"][:, column]].mean()
        constant = float(functional.binary_cross_entropy(rate, rate))
        print(f"later windows: {found:.3f} nats, {constant:.3f} for the share that is occupied")
        return constant - found


if __name__ == "__main__":
    main(*sys.argv[1:3])
