"""Models over HTTP: their lineage, and traffic that is split between them, on a run that has learnt."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from agents.web.experiment import BLOCK_NS, Experiment
from agents.web.server import service_of
from agents.web.world import World
from models.registry import ModelRegistry
from models.runtime import CPU
from models.scores.sequential import FIRST
from stream.records import Outcome, Prediction
from tests.web.played import CITY, Played, Still, client_of, play

pytestmark = [pytest.mark.learn, pytest.mark.slow]

LEARNING = ["learn.enabled=true", "learn.steps_per_sweep=1", "task.warmup_sweeps=2"]
KEYS = [f"user-{number}" for number in range(14)]


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play([(CITY, "ant")], tmp_path_factory.mktemp("learnt") / "run", LEARNING, sweeps=11)


@pytest.fixture
def shared(learnt: Played) -> Any:
    """A registry with two models that share traffic evenly; none of it stays."""
    registry = ModelRegistry(learnt.folder / "models", sync=False)
    old, new = registry.list()[0], registry.list()[-1]
    registry.promote(old, "old")
    registry.promote(new, "new")
    registry.set_split({"old": 1, "new": 1})
    yield {"old": old, "new": new}
    registry.set_split({})


def get(client: TestClient, path: str, **params: Any) -> Any:
    answer = client.get(path, params=params)
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask(client: TestClient, status: int = 200, **question: Any) -> Any:
    answer = client.post("/predict", json={"robot": "ant", "radius_m": 4, **question})
    assert answer.status_code == status, answer.text
    return answer.json()


# ---- lineage -------------------------------------------------------------------------------------------


def test_models_are_listed_with_their_lineage(learnt: Played) -> None:
    client = learnt.client()
    answer = get(client, "/models")
    newest = learnt.of(Prediction)[-1].model_id
    assert answer["serving"] == {"ant/lidar": newest}
    models = {item["model_id"]: item for item in answer["models"]}
    assert models[newest]["activated"] == {"ant/lidar": learnt.of(Prediction)[-1].stamp_ns}
    assert models[newest]["kind"] == "update"
    parent = models[models[newest]["parent_id"]]
    assert parent["published_ns"] <= models[newest]["published_ns"]
    assert models[newest]["events"]["trained"] == 1
    manifest = get(client, f"/models/{newest}")
    assert manifest["sha256"] == models[newest]["sha256"]
    fresh = client_of(service_of(Still(learnt.world.config, learnt.folder), World(learnt.world.config),
                                 providers=[CPU]))  # fmt: skip
    assert {item["model_id"] for item in get(fresh, "/models")["models"]} <= models.keys()


# ---- traffic -------------------------------------------------------------------------------------------


def test_a_key_has_the_same_model_each_time_and_its_forecast(learnt: Played, shared: dict[str, str]) -> None:
    client = learnt.client()
    arms = {}
    for key in KEYS:
        answer = ask(client, user_id=key)
        facts = answer["forecasts"][0]
        arms[key] = facts["arm"]
        assert answer["model"] == facts["model"] == shared[facts["arm"]]
        assert facts["computed"] and facts["arm"] == get(client, "/ab", user_id=key)["arm_of_key"]
        named = ask(client, model=facts["model"])
        assert named["predictions"] == answer["predictions"]
    assert set(arms.values()) == {"old", "new"}
    again = learnt.client()
    assert {key: ask(again, user_id=key)["forecasts"][0]["arm"] for key in KEYS} == arms
    by_stream = ask(client, ab=True)["forecasts"][0]["arm"]
    assert by_stream == get(client, "/ab", user_id="ant/lidar")["arm_of_key"]


def test_without_a_split_a_key_chooses_nothing(learnt: Played) -> None:
    client = learnt.client()
    assert "traffic is not split" in ask(client, 409, user_id="user-1")["detail"]
    assert get(client, "/ab")["arms"] == []
    answer = client.post("/predict", json={"user_id": "a", "radius_m": 3})
    assert answer.status_code == 422 and "robot: is needed" in answer.json()["detail"]
    assert "user_id chooses the model" in ask(client, 422, user_id="a", model="frequency")["detail"]


def test_arms_are_scored_by_what_came_of_what_they_answered(learnt: Played, shared: dict[str, str]) -> None:
    """Asked for each sweep as it comes; a model's loss here is that of its forecasts in the same outcomes."""
    world = World(learnt.world.config)
    client = client_of(service_of(Still(world.config, learnt.folder), world, providers=[CPU]))
    asked = {name: next(key for key in KEYS if arm_of(learnt, key) == name) for name in shared}
    outcomes = 0
    for record in learnt.records:
        world.fold(record)
        if isinstance(record, Prediction):
            for key in asked.values():
                ask(client, user_id=key)
        outcomes += isinstance(record, Outcome) and record.horizon_ns == world.config.task.primary_horizon_ns
    found = get(client, "/ab")
    assert {arm["name"]: arm["share"] for arm in found["arms"]} == {"old": 0.5, "new": 0.5}
    results = {item["name"]: item for item in found["results"]}
    assert {name: item["model_id"] for name, item in results.items()} == shared
    assert [item["forecasts"] for item in results.values()] == [outcomes, outcomes]
    assert results["old"]["cells"] == results["new"]["cells"] > 1000
    assert results["old"]["brier"] != results["new"]["brier"]
    assert all(0.02 < item["brier"] < 0.3 for item in results.values())
    assert found["comparisons"] == [] or found["comparisons"][0]["verdict"] == "open"


def arm_of(played: Played, key: str) -> str:
    split = ModelRegistry(played.folder / "models").split()
    assert split is not None
    return split.name_of(key)


# ---- results -------------------------------------------------------------------------------------------


def results_of(learnt: Played, old: float, new: float, times: int = 120) -> dict[str, Any]:
    """Two arms on one sweep again and again, each so much nearer to what did not come, and noisy."""
    primary = learnt.world.config.task.primary_horizon_ns
    own, dice = Experiment(primary), np.random.default_rng(1)
    prediction = learnt.of(Prediction)[-8]
    own_outcomes = [item for item in learnt.of(Outcome) if item.prediction_id == prediction.prediction_id]
    outcome = next(item for item in own_outcomes if item.horizon_ns == primary)
    base = prediction.probability.astype(float)
    wrong = base.copy()
    wrong[outcome.row] = 1.0 - outcome.occupied[:, None]
    for number in range(times):
        name = f"ant/lidar/{number}"
        for arm, by in (("old", old), ("new", new)):
            moved = np.clip(base + (wrong - base) * by + dice.normal(0, 0.05, base.shape), 0.01, 0.99)
            own.answered(arm, f"bcc-{arm}", replace(prediction, prediction_id=name), moved.astype(np.float32))
        own.observed(replace(outcome, prediction_id=name, stamp_ns=number * BLOCK_NS))
    return own.results()


def test_a_worse_arm_is_found_and_an_equal_one_is_not(learnt: Played) -> None:
    (worse,) = results_of(learnt, 0.0, 0.2)["comparisons"]
    assert (worse["name"], worse["against"], worse["verdict"]) == ("new", "old", "worse")
    assert 0 < worse["low"] < worse["difference"] < worse["high"] and worse["p_value"] < 0.05
    (equal,) = results_of(learnt, 0.0, 0.0)["comparisons"]
    assert equal["verdict"] == "open" and equal["low"] < 0 < equal["high"]
    (better,) = results_of(learnt, 0.2, 0.0)["comparisons"]
    assert better["verdict"] == "better" and better["high"] < 0
    (early,) = results_of(learnt, 0.0, 0.2, times=FIRST // 2)["comparisons"]
    assert early["verdict"] == "open" and early["low"] is None


def test_an_arm_with_another_model_begins_anew(learnt: Played) -> None:
    own = Experiment(learnt.world.config.task.primary_horizon_ns)
    prediction = learnt.of(Prediction)[-8]
    own.answered("old", "bcc-1", prediction, prediction.probability)
    for outcome in learnt.of(Outcome):
        own.observed(outcome)
    (arm,) = own.results()["arms"]
    assert (arm["model_id"], arm["forecasts"]) == ("bcc-1", 1)
    own.answered("old", "bcc-2", prediction, prediction.probability)
    (arm,) = own.results()["arms"]
    assert (arm["model_id"], arm["forecasts"]) == ("bcc-2", 0)
