"""A run to build from. Training sets are written as always, but nobody waits for the disk: that is for losses
of power alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from agents.cli import main
from models.training_sets import publish

LOG = "sim:city?sweeps=14&beams=32&azimuths=64&seed=3"


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of one robot, in a city; nobody writes into it."""
    out = tmp_path_factory.mktemp("dataset") / "run"
    assert main(["replay", LOG, "--out", str(out), "--no-learn", "--set", "task.warmup_sweeps=2"]) == 0
    return out


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_the_disk() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "sync", lambda path: None)
        yield
