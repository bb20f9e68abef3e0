"""Two real processes over gloo against one on the joined batches; who is who."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from models.training.checkpoint import BEST
from models.training.ranks import ALONE, NotLaunched, Ranks, launch, ranks_of_torchrun
from tests.models.made_graphs import learnable
from tests.models.rank_work import STEPS, fail, joined, trained, work

pytestmark = pytest.mark.learn


@pytest.mark.slow
@pytest.mark.long  # each process imports torch and its compiler anew, ten seconds of one core
def test_two_processes_are_one_on_the_joined_batches(tmp_path: Path) -> None:
    launch(work, 2, tmp_path)
    first, second = (torch.load(tmp_path / f"rank_{rank}.pt", weights_only=True) for rank in (0, 1))
    alone = trained(tmp_path / "alone", ALONE)
    assert len(first["gradients"]) == len(alone["gradients"]) == STEPS
    for step, expected in enumerate(alone["gradients"]):
        for mine, other, whole in zip(
            first["gradients"][step], second["gradients"][step], expected, strict=True
        ):
            assert torch.equal(mine, other)
            np.testing.assert_allclose(mine, whole, rtol=1e-4, atol=1e-7)
    assert first["losses"] == second["losses"]
    np.testing.assert_allclose(first["losses"], alone["losses"], rtol=1e-5)
    for mine, other, whole in zip(first["weights"], second["weights"], alone["weights"], strict=True):
        assert torch.equal(mine, other)
        np.testing.assert_allclose(mine, whole, rtol=1e-4, atol=1e-6)
    assert first["scores"] == second["scores"]
    assert first["scores"] == pytest.approx(alone["scores"], rel=1e-5)
    assert first["scores"]["observed"] == sum(int(batch["observed"].sum()) for batch in joined())
    assert sorted(path.name for path in (tmp_path / "shared").iterdir()) == [BEST, "checkpoint_epoch_1.pt"]
    assert len(first["uneven"]) == len(second["uneven"]) == 2  # as many steps as the shorter share has
    assert first["diverged"].startswith("step 2, epoch 1: another process was given NaN or Inf")
    assert second["diverged"].startswith("step 2, epoch 1: features: column 1 holds NaN or Inf, 1 of 10 rows")
    every = learnable(0, 12)["features"]
    for epoch in (slice(0, 6), slice(6, 12)):
        both = torch.cat((first["seen"][epoch], second["seen"][epoch]))
        assert sorted(both[:, 0].tolist()) == sorted(every[:, 0].tolist())  # each row by one process
    assert not torch.equal(first["seen"][:6], first["seen"][6:])  # another order in another epoch


@pytest.mark.slow
@pytest.mark.long
def test_what_fails_in_a_process_is_told() -> None:
    with pytest.raises(torch.multiprocessing.ProcessRaisedException, match="no such file"):
        launch(fail, 1)


def test_who_this_process_is() -> None:
    given = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1"}
    assert ranks_of_torchrun(given) == Ranks(rank=3, world_size=4, local_rank=1)
    with pytest.raises(NotLaunched, match="RANK, LOCAL_RANK are not set: start with torchrun"):
        ranks_of_torchrun({"WORLD_SIZE": "4"})
    with pytest.raises(ValueError, match=r"rank: 4 must be 0..3"):
        Ranks(rank=4, world_size=4)
    with pytest.raises(ValueError, match="processes: 0 must be >= 1"):
        launch(fail, 0)
    assert torch.equal(ALONE.sum(torch.ones(3)), torch.ones(3))
