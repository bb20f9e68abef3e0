"""The whole loop on a simulated log: it repeats to the bit, learns, and its numbers can be recomputed."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from agents.explain import explain
from agents.replay import ReplayOptions, RunResult, replay
from stream.config import load_config
from stream.sources import open_source
from tests.recompute_scores import compare

SWEEPS, WARMUP = 30, 10
LOG = f"sim:city?sweeps={SWEEPS}&beams=32&azimuths=128&seed=3"
SETTINGS = (
    "grid.lod=5", f"task.warmup_sweeps={WARMUP}", "network.width=8", "network.layers=1", "learn.prior=none",
    "learn.steps_per_sweep=6", "learn.gate_sweeps=3", "learn.averaging=0.9", "learn.learning_rate=0.01",
)  # fmt: skip
HORIZONS = (200_000_000, 500_000_000, 1_000_000_000)
SCORES = {
    "average_precision", "average_precision_per_sweep", "log_loss", "brier", "ece", "freed_average_precision",
    "appeared_average_precision", "n",
}  # fmt: skip


def run_into(path: Path, *settings: str, options: ReplayOptions | None = None, log: str = LOG) -> RunResult:
    """One replay, with settings after the usual ones."""
    config = load_config(None, [*SETTINGS, *settings])
    return replay([open_source(log)], config, path, options or ReplayOptions(), lambda *_: None)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns."""
    pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("learnt") / "run"
    run_into(path)
    return path


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that only serves."""
    path = tmp_path_factory.mktemp("served") / "run"
    run_into(path, "learn.enabled=false")
    return path


@pytest.fixture(params=[pytest.param("learnt", marks=pytest.mark.learn), "served"])
def run(request: pytest.FixtureRequest) -> Path:
    """Each of the two runs."""
    path: Path = request.getfixturevalue(request.param)
    return path


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def events_of(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "events.jsonl").read_text(encoding="utf-8").splitlines()]


def table_of(run: Path, name: str) -> pa.Table:
    return pq.read_table(run / name, page_checksum_verification=True)


# ---- repeats -------------------------------------------------------------------------------------------


@pytest.mark.learn
def test_a_replay_repeats_to_the_bit(learnt: Path, tmp_path: Path) -> None:
    run_into(tmp_path / "again")
    again = tmp_path / "again"
    first, second = summary_of(learnt), summary_of(again)
    assert first["run_digest"] == second["run_digest"]
    for name in ("latency_ms", "learning_ms"):
        del first[name], second[name]
    assert first == second
    assert events_of(learnt) == events_of(again)
    models = [sorted(path.name for path in (folder / "models").iterdir()) for folder in (learnt, again)]
    assert models[0] == models[1]
    for name in ("predictions", "outcomes", "shadows"):
        assert table_of(learnt, name).equals(table_of(again, name)), name
    for path in sorted((learnt / "containers").iterdir()):
        assert path.read_bytes() == (again / "containers" / path.name).read_bytes()


@pytest.mark.learn
def test_a_paced_replay_takes_the_steps_that_fit_and_follows_from_its_clock(tmp_path: Path) -> None:
    """A clock that ticks at every reading: a step takes a millisecond, and so does all else that is timed."""
    pytest.importorskip("torch")
    settings = ("learn.budget_ms=14", "learn.steps_per_sweep=50")
    runs = []
    for name in "ab":
        options = ReplayOptions(max_sweeps=20, clock=itertools.count(0.0, 0.001).__next__)
        runs.append(run_into(tmp_path / name, *settings, options=options))
        assert yaml.safe_load((tmp_path / name / "config.yaml").read_text())["learn"]["budget_ms"] == 14
    first, second = (run.summary for run in runs)
    assert first == second
    steps = [event["steps"] for event in events_of(tmp_path / "a") if event["event"] == "trained"]
    assert 1 <= min(steps) <= max(steps) < 14
    assert 10 < first["learning_ms"]["p50"] <= 15
    assert first["learning_ms"]["budget"] == 14
    assert first["models"]["trained"] == len(steps) > 5


def test_another_seed_of_the_log_is_another_run(served: Path, tmp_path: Path) -> None:
    result = run_into(tmp_path / "other", "learn.enabled=false", log=LOG.replace("seed=3", "seed=4"))
    assert result.summary["run_digest"] != summary_of(served)["run_digest"]


@pytest.mark.learn
def test_learning_changes_nothing_but_the_served_model(learnt: Path, served: Path) -> None:
    """Cells, features, outcomes and counting baselines are the same with and without it."""
    assert table_of(learnt, "outcomes").equals(table_of(served, "outcomes"))
    with_it, without = table_of(learnt, "sweeps.parquet"), table_of(served, "sweeps.parquet")
    for column in ("prediction_id", "feature_digest", "state_digest", "cells"):
        assert with_it[column].equals(without[column])
    shadows = [table_of(path, "shadows") for path in (learnt, served)]
    for name in ("persistence", "frequency"):
        assert shadows[0][name].equals(shadows[1][name])


# ---- what was found ------------------------------------------------------------------------------------


def test_every_score_can_be_recomputed_from_the_rows(run: Path) -> None:
    rows = compare(run)
    assert len(rows) > 60
    assert [row for row in rows if not row[3]] == []


def test_features_are_rebuilt_from_containers(run: Path) -> None:
    rebuilt = summary_of(run)["rebuild"]
    assert rebuilt["checked"] == rebuilt["identical"] > 1000
    names = table_of(run, "sweeps.parquet")["prediction_id"].to_pylist()
    for name in (names[0], names[WARMUP], names[-1]):
        assert explain(run, name).matches


def test_every_prediction_names_one_model_and_it_was_active(run: Path) -> None:
    table = table_of(run, "predictions").group_by(["prediction_id", "model_id"]).aggregate([])
    assert len(table) == SWEEPS
    served = dict(zip(table["prediction_id"].to_pylist(), table["model_id"].to_pylist(), strict=True))
    sweeps = table_of(run, "sweeps.parquet").to_pylist()
    assert {row["prediction_id"]: row["model_id"] for row in sweeps} == served
    active = [event for event in events_of(run) if event["event"] == "activated"]
    assert active[0]["model_id"] == "frequency"
    for row in sweeps:
        last = [event for event in active if event["stamp_ns"] <= row["stamp_ns"]][-1]
        assert row["model_id"] == last["model_id"]


def test_the_summary_keeps_its_contract(run: Path) -> None:
    summary = summary_of(run)
    assert summary["sweeps"] == SWEEPS
    assert summary["warmup_sweeps"] == WARMUP
    assert summary["dead_letters"] == {}
    assert summary["grid"] == {"half_edge_m": 1.6, "lod": 5, "map_frame": "odom"}
    assert set(summary["scores"]) == {"persistence", "frequency", "linear", "frozen", "online"}
    assert set(summary["scores_by_horizon"]) == {str(horizon) for horizon in HORIZONS}
    assert all(set(scores) == SCORES for scores in summary["scores"].values())
    assert set(summary["models"]) >= {"trained", "activated", "promoted", "rejected", "rolled_back"}
    assert set(summary["latency_ms"]) == {"decode", "bin", "visibility", "features", "inference", "total"}
    assert all(value["max"] >= value["p50"] > 0 for value in summary["latency_ms"].values())
    assert (summary["feature_skew"], summary["duplicates"]) == (0, 0)
    assert summary["cells_predicted"] > summary["cells_due"] > summary["cells_observed"] > 0
    for value in summary["scores"]["online"].values():
        assert value is not None
        assert math.isfinite(value)


def test_outcomes_are_missed_only_at_the_end_of_the_log(run: Path) -> None:
    table = table_of(run, "outcomes").group_by(["prediction_id", "horizon_ns"]).aggregate([])
    counts = {horizon: table["horizon_ns"].to_pylist().count(horizon) for horizon in HORIZONS}
    assert counts == {horizon: SWEEPS - horizon // 100_000_000 for horizon in HORIZONS}
    assert set(summary_of(run)["outcomes_missed"].values()) == {0}


def test_unobserved_cells_have_no_outcome(run: Path) -> None:
    outcomes = table_of(run, "outcomes")
    due = summary_of(run)["cells_due"]
    primary = np.count_nonzero(outcomes["horizon_ns"].to_numpy() == HORIZONS[1])
    assert primary == summary_of(run)["cells_observed"] < due


# ---- with and without learning -------------------------------------------------------------------------


@pytest.mark.learn
def test_models_are_trained_promoted_and_activated_in_mid_stream(learnt: Path) -> None:
    summary, events = summary_of(learnt), events_of(learnt)
    models = summary["models"]
    assert models["promoted"] == 1
    assert models["trained"] == SWEEPS - 5
    assert models["activated"] > 3
    assert {name: sum(event["event"] == name for event in events) for name in models} == models
    published = {event["model_id"] for event in events if event["event"] == "published"}
    served = set(table_of(learnt, "predictions")["model_id"].to_pylist())
    assert served - {"frequency"} <= published
    for name in served - {"frequency"}:
        manifest = json.loads((learnt / "models" / name / "manifest.json").read_text())
        assert manifest["model_id"] == name
        assert manifest["horizons_ns"] == list(HORIZONS)
    champion = (learnt / "models" / "champion").read_text().strip()
    assert champion in published


@pytest.mark.learn
def test_shadows_hold_every_baseline_once_it_exists(learnt: Path) -> None:
    table = table_of(learnt, "shadows")
    names = table_of(learnt, "sweeps.parquet")["prediction_id"].to_pylist()
    place = {name: number for number, name in enumerate(names)}
    number = np.array([place[name] for name in table["prediction_id"].to_pylist()])
    for name, first in (("persistence", 6), ("frequency", 6), ("linear", 6), ("frozen", WARMUP)):
        known = table[name].is_valid().to_numpy()
        assert np.array_equal(known, number >= first), name


def test_without_learning_what_has_no_support_is_null(served: Path) -> None:
    summary = summary_of(served)
    assert summary["models"] == {name: int(name == "activated") for name in summary["models"]}
    assert set(table_of(served, "predictions")["model_id"].to_pylist()) == {"frequency"}
    frozen = summary["scores"]["frozen"]
    assert frozen == summary["scores"]["online"]  # the built-in model is what served the warm-up
    assert sorted(path.name for path in (served / "models").iterdir()) == []


def test_a_log_shorter_than_the_warm_up_gives_null_and_never_zero(tmp_path: Path) -> None:
    result = run_into(tmp_path / "short", "learn.enabled=false", options=ReplayOptions(max_sweeps=7))
    summary = result.summary
    assert (summary["sweeps"], summary["cells_observed"] > 0) == (7, True)
    for scores in [*summary["scores"].values(), *summary["scores_by_horizon"][str(HORIZONS[2])].values()]:
        assert scores == dict.fromkeys(SCORES) | {"n": 0}
    assert all(row[3] for row in compare(tmp_path / "short"))
    assert "1000000000" in summary["scores_by_horizon"]
    assert result.damage is None
    assert result.report.is_file()


@pytest.mark.learn
def test_a_run_names_its_log_configuration_and_versions(learnt: Path) -> None:
    values = yaml.safe_load((learnt / "config.yaml").read_text())
    (log,) = values["logs"]
    assert open_source(log).info() == open_source(LOG).info()
    assert values["grid"]["map_frame"] == "odom"
    assert values["seed"] == 0
    assert {"python", "machine", "numpy", "onnxruntime"} <= set(values["versions"])
