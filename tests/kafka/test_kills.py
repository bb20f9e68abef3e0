"""A few kills, at marks and at random, while models are trained and swapped: the kill test, shortly."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kafka.kill_test import FIRST_LEARNING, WRONG, run
from tests.kafka.launch_killed import IN_SWAP, WRITING

KILLS = 8


@pytest.mark.kafka
@pytest.mark.learn
@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.fault(1, 3, 4, 5, 6, 33)
def test_kills_while_models_are_swapped_lose_nothing(tmp_path: Path) -> None:
    found = run(KILLS, seed=11, folder=tmp_path, learn=True)
    assert {name: found[name] for name in WRONG if found[name]} == {}, found["examples"]
    assert sum(found["kills"].values()) >= KILLS
    first = {mark for marks in FIRST_LEARNING.values() for mark in marks}
    assert first >= {"handled", "stored", "sent", "acknowledged", WRITING, IN_SWAP}
    assert first <= set(found["kills"])
    assert found["models_activated"] > 1
    assert found["killed"].keys() >= {"archive-0", "learn-0"}
    assert not found["archive"]["archived containers"].startswith("0 ")
