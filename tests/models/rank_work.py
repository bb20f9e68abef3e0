"""What processes that train together do in tests; a module of its own, as each of them imports it anew."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, DistributedSampler

from models.nets.bcc_model import BCCModel
from models.training.online import TrainingDiverged
from models.training.ranks import Ranks
from models.training.trainer import BCCTrainer
from models.training.trainer_config import TrainerConfig
from tests.models.made_graphs import FEATURES, learnable, rows_of

STEPS = 4
CONFIG = TrainerConfig(epochs=1, accumulation=2, lr=0.01, track=())


def joined() -> list[dict[str, Tensor]]:
    """Batches of which each process takes every second row; how much is observed, differs by process."""
    batches = [learnable(seed, 20) for seed in range(2 * STEPS)]
    for batch in batches:
        batch["observed"][1::4] = False
    return batches


def share(batches: list[dict[str, Tensor]], ranks: Ranks) -> list[dict[str, Tensor]]:
    return [{key: value[ranks.rank :: ranks.world_size] for key, value in batch.items()} for batch in batches]


def begin(out: Path, batches: Any, ranks: Ranks, config: TrainerConfig = CONFIG) -> BCCTrainer:
    net = BCCModel(16, 1, feature_count=FEATURES, seed=1)
    return BCCTrainer(net, batches, batches, out=out, ranks=ranks, config=config)


def trained(out: Path, ranks: Ranks) -> dict[str, Any]:
    """Gradients of every step, losses, validation and weights."""
    own = begin(out, share(joined(), ranks), ranks)
    gradients: list[list[Tensor]] = []
    own._optimizer.register_step_pre_hook(
        lambda optimizer, arguments, options: gradients.append(
            [parameter.grad.clone() for parameter in own.model.parameters()]
        )
    )
    own.train()
    return {
        "gradients": gradients, "losses": own.step_losses, "scores": own.validate(),
        "weights": list(own.model.state_dict().values()),
    }  # fmt: skip


def work(ranks: Ranks, device: torch.device, out: Path) -> None:
    """What each process does; the test reads its file."""
    found = trained(out / "shared", ranks)
    uneven = begin(out, share(joined()[: 6 if ranks.first else 4], ranks), ranks)
    uneven.train_epoch()
    found["uneven"] = uneven.step_losses
    poisoned = share(joined(), ranks)
    if ranks.rank == 1:
        poisoned[2]["features"][3, 1] = math.nan
    try:
        begin(out, poisoned, ranks).train_epoch()
    except TrainingDiverged as error:
        found["diverged"] = str(error)
    rows = rows_of(learnable(0, 12))
    sampler = DistributedSampler(rows, num_replicas=ranks.world_size, rank=ranks.rank)  # type: ignore[arg-type]
    seen: list[list[int]] = []
    loader = DataLoader(rows, batch_size=3, sampler=sampler)  # type: ignore[arg-type]
    own = begin(out, loader, ranks, TrainerConfig(epochs=2, track=()))
    own.model.register_forward_pre_hook(
        lambda module, given, named: seen.append(named["features"]), with_kwargs=True
    )
    for _ in range(2):
        own.train_epoch()
    found["seen"] = torch.cat(seen)
    torch.save(found, out / f"rank_{ranks.rank}.pt")


def fail(ranks: Ranks, device: torch.device) -> None:
    raise RuntimeError("no such file")
