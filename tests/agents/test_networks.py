"""``octastream train`` and ``octastream tune`` on stored containers."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from agents.cli import main
from models.datasets.windows import WindowGraphDataset
from models.probability import quantise
from models.runtime import OnnxModel
from models.training.checkpoint import load_model
from tests.data import ROOT, data_path
from tests.models.datasets.stores import NAMES, WHERE, store, window
from tests.models.test_export import GRID_STEP

pytestmark = pytest.mark.learn

SMALL = ["--set", "hidden_dim=8", "--set", "num_layers=1", "--set", "epochs=2", "--set", "track=[]"]


@pytest.fixture(scope="module")
def city(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("networks") / "city", [window(n) for n in range(8)])


@pytest.mark.parametrize("net", ["attention", "transformer"])
def test_a_network_is_trained_and_served_by_the_loops_runtime(
    net: str, city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(city), "--out", str(tmp_path), *SMALL, "--set", f"net={net}"]) == 0
    assert " of 2 is best: loss 0." in capsys.readouterr().out
    best, served = (
        load_model(tmp_path / "best_model.pt"),
        OnnxModel("m", (tmp_path / "model.onnx").read_bytes()),
    )
    graph = WindowGraphDataset(city, **WHERE, feature_keys=NAMES)[7]
    index = graph["neighbor_index"].astype(np.int32)
    more = {"lod": int(graph["lod"][0])} if net == "transformer" else {}
    with torch.no_grad():
        logits = best(torch.from_numpy(graph["features"]), torch.from_numpy(index), **more)
    answer = served.predict(np.array(graph["features"]), index)
    np.testing.assert_allclose(answer, quantise(torch.sigmoid(logits).numpy()), rtol=0, atol=GRID_STEP)
    assert answer.std() > 0


def test_a_broken_off_training_goes_on(
    city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    given = [*SMALL, "--set", "net=bcc_model", "--set", "batch_size=128"]
    for out in (whole, parts):
        assert main(["train", str(city), "--out", str(out), *given]) == 0
    for name in ("checkpoint_epoch_2.pt", "best_model.pt", "model.onnx"):  # as if it had been killed
        (parts / name).unlink()
    capsys.readouterr()
    assert main(["train", str(city), "--out", str(parts), *given]) == 1
    assert "holds a training; add --resume, or name another folder" in capsys.readouterr().err
    assert main(["train", str(city), "--out", str(parts), *given, "--resume"]) == 0
    one, other = (torch.load(out / "checkpoint_epoch_2.pt", weights_only=True) for out in (whole, parts))
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["history"] == other["history"]


def bare(tmp_path: Path) -> Path:
    return store(tmp_path / "bare", [window(0, outcomes=False)])


def lonely(tmp_path: Path) -> Path:
    return store(tmp_path / "lonely", [window(0)])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--set", "net=gnn"], "net: 'gnn' must be one of bcc_model, convolution, attention, transformer"),
        (["--set", "net=cross_lod"], "a window has one level"),
        (["--set", "size=3"], "size: no such value; there are accumulation, batch_size"),
        (["--set", "lr"], "--set lr: expected key=value"),
        (["--set", "lr=-1"], "lr: -1 must be above 0"),
        (["--set", "validation=1"], "validation: 1 must be above 0 and below 1"),
        (["--set", "hidden_dim=10"], "heads: 4 must divide hidden_dim 10"),
        (["--ddp"], "are not set: start with torchrun"),
    ],
)
def test_bad_input_is_one_line(
    given: list[str], words: str, city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", str(city), "--out", str(tmp_path / "out"), *given]) == 1
    shown = capsys.readouterr().err
    assert words in shown
    assert len(shown.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_containers_that_cannot_be_trained_on(
    city: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for container, words in (
        (bare(tmp_path), "has no outcomes; octastream dataset windows RUN... writes them"),
        (lonely(tmp_path), "1 windows are too few to train and validate"),
        (tmp_path / "nowhere", "no such file or folder"),
    ):
        assert main(["train", str(container), "--out", str(tmp_path / "out"), *SMALL]) == 1
        assert words in capsys.readouterr().err


def example(*arguments: str) -> float:
    found: float = runpy.run_path(str(ROOT / "examples/attention.py"))["main"](*arguments)
    return found


@pytest.mark.slow
@pytest.mark.long
def test_the_example_serves_what_it_trained() -> None:
    assert example() <= GRID_STEP


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.long
def test_the_example_on_recorded_sweeps() -> None:
    assert example(str(data_path("kitti_0005_000-053.mcap")), "0", "12") <= GRID_STEP


def program(*arguments: str, launcher: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own."""
    code = "import sys; from agents.cli import main; sys.exit(main(sys.argv[1:]))"
    runner = [*launcher, sys.executable] if launcher else [sys.executable]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [*runner, "-c", code, *arguments], capture_output=True, text=True, timeout=1500, check=False,
        env=environment, cwd=ROOT,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1600)
def test_torchrun_and_processes_started_here_come_to_the_same(city: Path, tmp_path: Path) -> None:
    given = ["train", str(city), *SMALL, "--set", "batch_size=1"]
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--no-python")
    launched = program(*given, "--out", str(tmp_path / "torchrun"), "--ddp", launcher=torchrun)
    assert launched.returncode == 0, launched.stderr
    spawned = program(*given, "--out", str(tmp_path / "spawned"), "--processes", "2")
    assert spawned.returncode == 0, spawned.stderr
    one, other = (
        torch.load(tmp_path / name / "checkpoint_epoch_2.pt", weights_only=True)
        for name in ("torchrun", "spawned")
    )
    assert one["trainer_config"]["world_size"] == 2
    assert all(torch.equal(one["model"][name], other["model"][name]) for name in one["model"])
    assert one["history"] == other["history"]


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.timeout(1600)
def test_ray_tunes_four_trials(city: Path, tmp_path: Path) -> None:
    found = program("tune", str(city), "--out", str(tmp_path / "tuned"), "--trials", "4", "--set", "epochs=4")
    assert found.returncode == 0, found.stderr
    best = json.loads((tmp_path / "tuned" / "best_config.json").read_text())
    assert set(best["values"]) == {"hidden_dim", "num_layers", "dropout", "lr", "weight_decay", "batch_size"}
    assert best["trials"] == 4
    assert f"best of 4 trials, {best['stopped']} stopped early: loss {best['val_loss']:.4f}" in found.stdout
    assert f"--set hidden_dim={best['values']['hidden_dim']}" in found.stdout
    results = []
    for folder in (tmp_path / "tuned" / "trials").iterdir():
        newest = max(folder.glob("checkpoint_epoch_*.pt"), key=lambda path: int(path.stem.rpartition("_")[2]))
        results += torch.load(newest, weights_only=True)["history"]
    assert min(result["val_loss"] for result in results) == pytest.approx(best["val_loss"])
    net = load_model(tmp_path / "tuned" / "best_model.pt")
    assert net.model_config["hidden_dim"] == best["values"]["hidden_dim"]
    again = program("tune", str(city), "--out", str(tmp_path / "tuned"), "--trials", "4")
    assert again.returncode == 1
    assert "holds a search; name another folder" in again.stderr
