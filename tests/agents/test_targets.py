"""``octastream train``: other targets on stored runs, scored before they are learnt."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.cli import main
from agents.explain import run_config
from agents.targets.stored import stored_sweeps
from stream.run_folder import RunFolder

pytestmark = pytest.mark.learn

LOG = "sim:city?sweeps=26&beams=32&azimuths=256&seed=3"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A served run of a simulated log, with what the simulator knows as labels."""
    folder = tmp_path_factory.mktemp("targets")
    small = ["--set", "network.width=12", "--set", "task.warmup_sweeps=2", "--no-learn"]
    assert main(["replay", LOG, "--out", str(folder / "run"), *small]) == 0
    assert main(["label", "truth", str(folder / "run"), "--out", str(folder / "truth.parquet")]) == 0
    assert main(["label", "give", str(folder / "run"), str(folder / "truth.parquet")]) == 0
    return folder / "run"


def trained(run: Path, out: Path, target: str, *more: str) -> dict:
    assert main(["train", str(run), "--target", target, "--out", str(out), "--steps", "12", *more]) == 0
    assert (out / "model.onnx").stat().st_size > 1000
    found: dict = json.loads((out / "target.json").read_text())
    return found


def test_stored_sweeps_are_those_that_were_predicted_from(run: Path) -> None:
    folder = RunFolder(run)
    found = list(stored_sweeps(folder, run_config(folder)))
    assert len(found) == 26
    assert all(sweep.matches for sweep in found)
    assert [sweep.stamp_ns for sweep in found] == sorted(sweep.stamp_ns for sweep in found)


def test_semantic_classes_are_learnt_where_nobody_has_labelled(run: Path, tmp_path: Path, capsys) -> None:
    found = trained(run, tmp_path / "class", "class", "--delay", "0.3")
    assert "ground" in found["classes"]
    network, prior = (found["scores"][name]["held_out"] for name in ("network", "prior"))
    assert network["n"] == prior["n"] > 1_000
    assert network["accuracy"] > prior["accuracy"] + 0.1
    assert network["log_loss"] < prior["log_loss"] - 0.2
    assert network["mean_iou"] > prior["mean_iou"] + 0.1
    assert found["labelled"] == 26 - 3, "those of the last 0.3 s are not known yet"
    assert "network, held out" in capsys.readouterr().out


def test_the_same_run_trains_to_the_same_bits(run: Path, tmp_path: Path) -> None:
    trained(run, tmp_path / "one", "class", "--delay", "1.8")
    trained(run, tmp_path / "two", "class", "--delay", "1.8")
    assert (tmp_path / "one/model.onnx").read_bytes() == (tmp_path / "two/model.onnx").read_bytes()
    assert (tmp_path / "one/target.json").read_text() == (tmp_path / "two/target.json").read_text()


def test_change_is_forecast_better_than_its_rate(run: Path, tmp_path: Path) -> None:
    scores = trained(run, tmp_path / "changed", "changed")["scores"]
    assert scores["network"]["n"] == scores["base_rate"]["n"] > 10_000
    assert scores["network"]["average_precision"] > scores["base_rate"]["average_precision"] + 0.1
    assert scores["network"]["log_loss"] < scores["base_rate"]["log_loss"]


@pytest.mark.long
def test_intensity_is_forecast_better_than_its_mean(run: Path, tmp_path: Path) -> None:
    """Over all sweeps, the first ones included, of which a network without a prior knows nothing."""
    scores = trained(run, tmp_path / "intensity", "intensity", "--steps", "48")["scores"]
    assert scores["network"]["n"] > 10_000
    assert scores["network"]["rmse"] < scores["mean"]["rmse"]
    assert scores["network"]["mae"] < 0.8 * scores["mean"]["mae"]


def test_a_run_without_labels_says_so(run: Path, tmp_path: Path, capsys) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for name in ("config.yaml", "sweeps.parquet", "containers", "outcomes", "predictions"):
        (bare / name).symlink_to(run / name)
    assert main(["train", str(bare), "--target", "class", "--out", str(tmp_path / "out")]) == 1
    assert "has labels of 0 classes, it takes 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    assert np.all([path.name != "labels" for path in bare.iterdir()])
