"""A few kills, at random and at marks, while models are trained and swapped: the kill test, shortly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka.kill_test import run

KILLS = 8
WRONG = ("lost", "duplicates", "unexpected", "out_of_order", "wrong_states", "wrong")


@pytest.mark.kafka
@pytest.mark.learn
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.fault(1, 3, 4, 5, 6, 12, 33)
def test_kills_while_models_are_swapped_lose_nothing(tmp_path: Path) -> None:
    found = run(KILLS, seed=11, folder=tmp_path, learn=True)
    assert {name: found[name] for name in WRONG if found[name]} == {}, found["examples"]
    assert sum(found["kills"].values()) >= KILLS
    assert found["models_activated"] > 1
    assert "learn-0" in found["killed"], "another seed is needed: Learn was never killed"
