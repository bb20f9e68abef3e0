"""``octastream predict``: the bits that a run served, again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.cli import main
from agents.report.rows import PredictionRows
from models.datasets.stored import StoredContainer
from tests.data import ROOT, data_path
from tests.guide import run_page

LOG = "sim:city?sweeps=4&beams=32&azimuths=64&seed=3"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that served two models, and its windows as a stored container beside it."""
    folder = tmp_path_factory.mktemp("predict")
    first, out = folder / "first", folder / "runs" / "drive"
    small = ["--no-learn", "--set", "task.warmup_sweeps=2"]
    assert main(["replay", LOG, "--out", str(first), *small, "--pin", str(ROOT / "models/prior")]) == 0
    stamps = sorted(pq.read_table(first / "sweeps.parquet")["stamp_ns"].to_pylist())
    other = {"event": "activated", "robot_id": "robot", "stream_id": "robot/lidar", "model_id": "frequency"}
    with (first / "events.jsonl").open("a") as events:
        events.write(json.dumps(other | {"stamp_ns": str(stamps[2]), "sha256": "builtin"}) + "\n")
    assert main(["replay", LOG, "--out", str(out), *small, "--activations", str(first)]) == 0
    shutil.copytree(first / "models", out / "models", dirs_exist_ok=True)
    assert main(["dataset", "windows", str(out), "--out", str(folder / "data" / "drive")]) == 0
    return out


def check_equal(run: Path, out: Path) -> set[str]:
    """Every forecast of a run is in a container with the same bits; returns the models that answered."""
    sweeps = pq.read_table(run / "sweeps.parquet").sort_by("stamp_ns").to_pylist()
    live, models = PredictionRows(run / "predictions"), set()
    stored = StoredContainer(out, 2, 7)
    assert len(stored.sizes()) == len(sweeps)
    for sweep, window in zip(sweeps, stored, strict=True):
        table = live.table(sweep["prediction_id"])
        assert window.stamp_ns == sweep["stamp_ns"]
        assert set(window.batch["model_id"].to_pylist()) == {sweep["model_id"]}
        models.add(sweep["model_id"])
        expected = table["probability"].to_numpy().reshape(-1, len(window.cell_id)).T
        assert np.array_equal(table["cell_id"].to_numpy()[: len(window.cell_id)], window.cell_id)
        found = window.features(["probability"])
        assert found.dtype == expected.dtype and np.array_equal(found, expected)
    return models


def test_forecasts_of_a_run_are_those_that_it_served(run: Path, tmp_path: Path, capsys) -> None:
    data = run.parents[1] / "data" / "drive"
    capsys.readouterr()
    assert main(["predict", str(data), "--model", str(run), "--out", str(tmp_path / "out")]) == 0
    rows = sum(StoredContainer(data, 2, 7).sizes())
    assert f"4 windows, {rows:,} cells" in capsys.readouterr().out
    models = check_equal(run, tmp_path / "out")
    assert len(models) == 2 and "frequency" in models
    assert main(["predict", str(data), "--model", str(run), "--out", str(tmp_path / "out")]) == 0
    assert "4 windows were there" in capsys.readouterr().out
    (one,) = models - {"frequency"}
    single = str(tmp_path / "single")
    assert main(["predict", str(data), "--model", str(run / "models" / one), "--out", single]) == 0
    both = zip(StoredContainer(tmp_path / "out", 2, 7), StoredContainer(Path(single), 2, 7), strict=True)
    for number, (by_run, by_one) in enumerate(both):
        same = np.array_equal(*(each.features(["probability"]) for each in (by_run, by_one)))
        assert same == (by_run.batch["model_id"][0].as_py() == one), number


def test_the_page_shows_how(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(run.parents[1])
    names = run_page("batch-inference.md", {"Path": Path})
    assert names["found"].windows == 4


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("nowhere", "nowhere: is no run, and no model"),
        ("empty", "empty: is no run, and no model"),
        ("broken", "sha256 of model.onnx is"),
    ],
)
def test_errors_are_one_line(run: Path, tmp_path: Path, capsys, model: str, words: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (manifest,) = (run / "models").glob("*/manifest.json")
    own = tmp_path / manifest.parent.name
    own.mkdir()
    (own / "manifest.json").write_bytes(manifest.read_bytes())
    (own / "model.onnx").write_bytes(b"x")
    path = own if model == "broken" else tmp_path / model
    capsys.readouterr()
    data = str(run.parents[1] / "data" / "drive")
    assert main(["predict", data, "--model", str(path), "--out", str(tmp_path / "out")]) == 1
    shown = capsys.readouterr().err
    assert words in shown and shown.count("\n") == 1


@pytest.mark.data
@pytest.mark.learn
@pytest.mark.long
@pytest.mark.slow
def test_a_run_that_learnt_on_the_recorded_log(tmp_path: Path) -> None:
    """Nearly every sweep is forecast by another model."""
    log = str(data_path("kitti_0005_000-053.mcap"))
    run, data, out = (str(tmp_path / name) for name in ("run", "data", "out"))
    assert main(["replay", log, "--out", run, "--sweeps", "14", "--set", "task.warmup_sweeps=3"]) == 0
    assert main(["dataset", run, "--out", data]) == 0
    assert main(["predict", data, "--model", run, "--out", out]) == 0
    assert len(check_equal(Path(run), Path(out))) > 5
