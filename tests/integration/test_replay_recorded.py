"""The whole loop on recorded sweeps, as a user runs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.cli import main
from tests.data import data_path
from tests.recompute_scores import compare

pytestmark = [pytest.mark.data, pytest.mark.learn, pytest.mark.slow]
LOG = "kitti_0005_000-053.mcap"
BASELINES = ("persistence", "frequency", "linear")


def replay(log: str, out: Path, *arguments: str) -> dict[str, Any]:
    assert main(["replay", str(data_path(log)), "--out", str(out), *arguments]) == 0
    summary: dict[str, Any] = json.loads((out / "summary.json").read_text())
    return summary


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One replay of the whole log, from scratch: the harder case for learning."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    replay(LOG, out, "--from-scratch")
    return out


def test_learning_beats_every_baseline_on_the_recorded_log(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    scores = summary["scores"]
    assert summary["sweeps"] == 54 and summary["dead_letters"] == {}
    assert all(value is not None for score in scores.values() for value in score.values())
    for name in BASELINES:
        assert scores["online"]["average_precision"] > scores[name]["average_precision"]
        assert scores["online"]["log_loss"] < scores[name]["log_loss"]
    assert scores["online"]["average_precision"] >= scores["frozen"]["average_precision"]
    assert scores["online"]["log_loss"] <= scores["frozen"]["log_loss"]
    assert scores["online"]["average_precision"] >= 0.91
    assert summary["models"]["promoted"] == 1 and summary["models"]["activated"] > 10


def test_features_are_rebuilt_bit_for_bit_and_scores_can_be_recomputed(whole: Path) -> None:
    summary = json.loads((whole / "summary.json").read_text())
    assert summary["rebuild"]["checked"] >= 1000
    assert summary["rebuild"]["identical"] == summary["rebuild"]["checked"]
    assert summary["feature_skew"] == 0
    assert [row for row in compare(whole) if not row[-1]] == []


def test_no_prediction_names_two_models_and_every_model_is_stored(whole: Path) -> None:
    sweeps = pq.read_table(whole / "sweeps.parquet").to_pydict()
    predictions = pq.read_table(whole / "predictions", columns=["prediction_id", "model_id"])
    pairs = predictions.group_by(["prediction_id", "model_id"]).aggregate([]).to_pydict()
    assert len(pairs["prediction_id"]) == len(set(pairs["prediction_id"])) == 54
    assert dict(zip(sweeps["prediction_id"], sweeps["model_id"], strict=True)) == dict(
        zip(pairs["prediction_id"], pairs["model_id"], strict=True)
    )
    for model_id in set(sweeps["model_id"]) - {"frequency"}:
        assert (whole / "models" / model_id / "model.onnx").exists()


@pytest.mark.parametrize(
    ("log", "arguments"),
    [
        (LOG, ["--sweeps", "12", "--set", "task.warmup_sweeps=5"]),
        pytest.param(
            "kitti_pcd",
            ["--rate-hz", "10", "--sweeps", "16", "--set", "task.warmup_sweeps=8"],
            marks=pytest.mark.long,
        ),
    ],
)
def test_two_runs_have_the_same_digest(log: str, arguments: list[str], tmp_path: Path) -> None:
    first = replay(log, tmp_path / "a", *arguments)
    second = replay(log, tmp_path / "b", *arguments)
    assert first["run_digest"] == second["run_digest"]
    assert first["scores"] == second["scores"]
    other = replay(log, tmp_path / "c", *arguments, "--set", "seed=1")
    assert other["run_digest"] != first["run_digest"]
