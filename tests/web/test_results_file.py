"""What comes of an A/B outlives the server: it goes on as if it had not ended, and counts nothing twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.web.experiment import BLOCK_NS, Experiment
from agents.web.results_file import results_kept
from models.scores.sequential import FIRST
from stream.config import ConfigError
from stream.records import Outcome, Prediction
from tests.web.played import Played


def play(city: Played, own: Experiment, blocks: Iterable[int], second: str = "bcc-b") -> None:
    """Two arms answer once a block, and what came of it is observed; the second one is worse."""
    primary = city.world.config.task.primary_horizon_ns
    outcome = [item for item in city.of(Outcome) if item.horizon_ns == primary][-1]
    named = (item for item in city.of(Prediction) if item.prediction_id == outcome.prediction_id)
    prediction = next(named)
    for block in blocks:
        name = f"ant/lidar/{block}"
        for arm, model_id, worse in (("a", "bcc-a", 0.0), ("b", second, 0.1)):
            noise = np.random.default_rng([block, len(arm)]).normal(worse, 0.02)
            wrong = np.clip(prediction.probability + noise, 0.01, 0.99).astype(np.float32)
            own.answered(arm, model_id, replace(prediction, prediction_id=name), wrong)
        own.observed(replace(outcome, prediction_id=name, stamp_ns=block * BLOCK_NS))


@contextmanager
def begun(city: Played, path: Path) -> Iterator[Experiment]:
    """A server's results, until it ends."""
    own = Experiment(city.world.config.task.primary_horizon_ns)
    with results_kept(own, path):
        yield own


def test_a_server_that_is_started_again_goes_on(city: Played, tmp_path: Path) -> None:
    whole, path = Experiment(city.world.config.task.primary_horizon_ns), tmp_path / "deep" / "ab.json"
    play(city, whole, range(FIRST + 12))
    wanted = whole.results()
    assert wanted["comparisons"][0]["verdict"] == "worse"
    with begun(city, path) as own:
        play(city, own, range(31))  # the last block stays open
    with begun(city, path) as own:
        kept = own.results()
        assert [arm["blocks"] for arm in kept["arms"]] == [30, 30]
        play(city, own, range(20, 30))
        assert own.results() == kept, "read once more, and not counted again"
        play(city, own, range(30, FIRST + 12))
        assert own.results() == wanted


def test_another_model_or_pass_begins_anew(city: Played, tmp_path: Path) -> None:
    with begun(city, tmp_path / "ab.json") as own:
        play(city, own, range(5))
    with begun(city, tmp_path / "ab.json") as own:
        play(city, own, range(5, 7), second="bcc-c")
        assert [arm["model_id"] for arm in own.results()["arms"]] == ["bcc-c", "bcc-a"]
        own.begin_again()
        assert own.results()["arms"] == []


def test_one_server_has_the_file_and_it_is_checked(city: Played, tmp_path: Path) -> None:
    path = tmp_path / "ab.json"
    with begun(city, path) as own:
        play(city, own, range(3))
        with pytest.raises(ConfigError, match="another server writes it"), begun(city, path):
            pass
    good = json.loads(path.read_text())
    damaged: dict[str, Any] = {
        "no results": "{}", "primary_horizon_ns: is 7": json.dumps(good | {"primary_horizon_ns": 7}),
        "Expecting": path.read_text()[:50], "go on from": json.dumps(good | {"arms": [{"name": "a"}]}),
    }  # fmt: skip
    for said, text in damaged.items():
        path.write_text(text)
        with pytest.raises(ConfigError, match=said), begun(city, path):
            pass
        assert path.read_text() == text, "nothing is written over it"


def test_a_full_disk_ends_nothing(city: Played, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ab.json"
    with begun(city, path) as own:
        path.mkdir()  # as good as a disk that takes nothing
        play(city, own, range(3))
        assert "--ab-results" in caplog.text and own.results()["arms"][0]["blocks"] == 2


def test_who_asks_does_not_wait_for_the_file(city: Played) -> None:
    own = Experiment(city.world.config.task.primary_horizon_ns)
    found: list[dict[str, Any]] = []

    def written(state: dict[str, Any]) -> None:
        asking = threading.Thread(target=lambda: found.append(own.results()), daemon=True)
        asking.start()
        asking.join(5)
        assert not asking.is_alive(), "it waits for who writes"

    own.on_block = written
    play(city, own, range(3))
    assert [item["arms"][0]["blocks"] for item in found] == [1, 2]
