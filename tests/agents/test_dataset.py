"""``octastream dataset``: windows of a run, with what they were predicted from and what came of them."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.cli import main
from agents.explain import explain
from models.datasets.cells import BCCDataset
from models.datasets.windows import WindowGraphDataset
from tests.data import ROOT
from tests.guide import run_page
from tests.models.graphs.containers import container

LOG = "sim:city?sweeps=14&beams=32&azimuths=128&seed=3"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dataset") / "run"
    assert main(["replay", LOG, "--out", str(out), "--no-learn", "--set", "task.warmup_sweeps=2"]) == 0
    return out


def test_a_run_becomes_what_it_was_predicted_from(run: Path, tmp_path: Path, capsys) -> None:
    capsys.readouterr()
    assert main(["dataset", str(run), "--out", str(tmp_path / "city")]) == 0
    shown = capsys.readouterr().out
    sweeps = pq.read_table(run / "sweeps.parquet").to_pylist()
    keys = explain(run, sweeps[0]["prediction_id"]).names
    graphs = WindowGraphDataset(tmp_path / "city", 2, 7, keys)
    assert len(graphs) == len(sweeps) == 14
    assert graphs.targets == ("occupied_0.2s", "occupied_0.5s", "occupied_1s")
    for number in (0, 3, 13):
        found, graph = explain(run, sweeps[number]["prediction_id"]), graphs[number]
        assert graphs.stamp_ns[number] == sweeps[number]["stamp_ns"]
        assert np.array_equal(graph["index"], found.cell_id)
        assert np.array_equal(graph["features"], found.features)
        assert np.array_equal(graph["neighbor_index"], found.neighbor_index)
        assert np.array_equal(graph["observed"], found.occupied >= 0)
        assert np.array_equal(graph["target"], np.maximum(found.occupied, 0).astype(np.float32))
    outcomes = pq.read_table(run / "outcomes")
    assert f"14 windows, {sum(s['cells'] for s in sweeps):,} cells, {len(outcomes):,} outcomes" in shown
    before = BCCDataset(tmp_path / "city", 2, 7, ["before"])
    assert set(np.unique(before.table.features)) == {0.0, 1.0, 2.0}


def test_runs_follow_each_other_to_the_same_bits(run: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        assert main(["dataset", str(run), str(run), "--out", str(tmp_path / name)]) == 0
    parts = [tmp_path / name / "part-00000.arrow" for name in ("one", "two")]
    assert parts[0].read_bytes() == parts[1].read_bytes()
    assert json.loads((tmp_path / "one" / "parts.json").read_text())["parts"][0]["windows"] == 28


@pytest.mark.learn
def test_the_page_shows_how_to_read_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)  # seconds to import; test_module has it
    monkeypatch.delitem(sys.modules, "models.datasets.module", raising=False)
    assert main(["dataset", str(run), "--out", "data/drive"]) == 0
    names = run_page("datasets.md", {"container": container()})
    del sys.modules["models.datasets.module"]
    assert names["coarse"].feature_names == ("hits", "class.car", "class.road", "class.tree")
    assert len(names["train"]) + len(names["validation"]) == len(names["cells"]) > 10_000


@pytest.mark.learn
@pytest.mark.long
@pytest.mark.slow
def test_the_example_learns_more_than_the_share() -> None:
    example = runpy.run_path(str(ROOT / "examples/train_on_stored_containers.py"))
    assert example["main"](LOG.replace("sweeps=14", "sweeps=20"), "1") > 0.05


def test_errors_are_one_line(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["dataset", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "not a run folder" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert main(["dataset", str(run), "--out", str(tmp_path / "full")]) == 1
    assert "is not an empty folder" in capsys.readouterr().err
