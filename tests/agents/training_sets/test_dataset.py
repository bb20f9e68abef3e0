"""``octastream dataset``: runs as windows and as training sets."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from pathlib import Path

import duckdb
import numpy as np
import pandas
import pyarrow.parquet as pq
import pytest

from agents.cli import main
from agents.explain import explain, run_config
from agents.targets.stored import stored_sweeps
from models.datasets.cells import BCCDataset
from models.datasets.windows import WindowGraphDataset
from models.training_sets.flight import TrainingSetServer
from native.window import feature_names
from stream.config import with_overrides
from stream.run_folder import RunFolder
from tests.agents.training_sets.conftest import LOG
from tests.data import ROOT
from tests.guide import run_page
from tests.models.graphs.containers import container
from tests.models.training_sets.rows import chunk_bytes


def test_a_run_becomes_what_it_was_predicted_from(run: Path, tmp_path: Path, capsys) -> None:
    capsys.readouterr()
    assert main(["dataset", "windows", str(run), "--out", str(tmp_path / "city")]) == 0
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
        assert main(["dataset", "windows", str(run), str(run), "--out", str(tmp_path / name)]) == 0
    parts = [tmp_path / name / "part-00000.arrow" for name in ("one", "two")]
    assert parts[0].read_bytes() == parts[1].read_bytes()
    assert json.loads((tmp_path / "one" / "parts.json").read_text())["parts"][0]["windows"] == 28


@pytest.mark.learn
def test_the_page_shows_how_to_read_it(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)  # seconds to import; test_module has it
    monkeypatch.delitem(sys.modules, "models.datasets.module", raising=False)
    assert main(["dataset", "windows", str(run), "--out", "data/drive"]) == 0
    names = run_page("datasets.md", {"container": container()})
    del sys.modules["models.datasets.module"]
    assert names["coarse"].feature_names == ("hits", "class.car", "class.road", "class.tree")
    assert len(names["train"]) + len(names["validation"]) == len(names["cells"]) > 10_000


@pytest.mark.learn
@pytest.mark.long
@pytest.mark.slow
def test_the_example_learns_more_than_the_share() -> None:
    example = runpy.run_path(str(ROOT / "examples/train_on_stored_containers.py"))
    assert (
        example["main"](LOG.replace("sweeps=14", "sweeps=20").replace("azimuths=64", "azimuths=128"), "1")
        > 0.05
    )


def test_errors_are_one_line(run: Path, tmp_path: Path, capsys) -> None:
    assert main(["dataset", "windows", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "not a run folder" in capsys.readouterr().err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert main(["dataset", "windows", str(run), "--out", str(tmp_path / "full")]) == 1
    assert "is not an empty folder" in capsys.readouterr().err


# ---- training sets ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("built") / "set"
    assert main(["dataset", "build", str(run), "--out", str(root), "--region-lod", "2"]) == 0
    return root


def files(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_duckdb_and_pandas_read_what_was_predicted_from(run: Path, built: Path) -> None:
    sweeps = pq.read_table(run / "sweeps.parquet").to_pylist()
    frame = pandas.read_parquet(built)
    assert len(frame) == sum(sweep["cells"] for sweep in sweeps)
    for number in (0, 5, 13):
        found = explain(run, sweeps[number]["prediction_id"])
        own = frame[frame["stamp_ns"] == sweeps[number]["stamp_ns"]].sort_values("cell_id")
        assert np.array_equal(own["cell_id"].to_numpy(), found.cell_id)
        assert np.array_equal(own[list(found.names)].to_numpy(), found.features)
        occupied = own[["occupied_0.2s", "occupied_0.5s", "occupied_1s"]].astype(object).to_numpy()
        assert np.array_equal(np.where(pandas.isna(occupied), -1, occupied).astype(np.int8), found.occupied)
    query = f"SELECT count(*), sum(\"occupied_0.5s\"::int) FROM read_parquet('{built}/**/*.parquet')"
    rows, occupied = duckdb.sql(query).fetchall()[0]
    assert (rows, occupied) == (len(frame), int(frame["occupied_0.5s"].astype("boolean").sum()))
    hive = f"SELECT DISTINCT region FROM read_parquet('{built}/**/*.parquet', hive_partitioning = true)"
    assert {row[0] for row in duckdb.sql(hive).fetchall()} == set(frame["region"].astype(str))


def test_labels_and_a_second_schema_leave_all_else_byte_equal(
    run: Path, built: Path, tmp_path: Path, capsys
) -> None:
    root = shutil.copytree(built, tmp_path / "set")
    frame = pandas.read_parquet(root, columns=["cell_id", "stamp_ns", "before"])
    names = pq.read_schema(next(root.rglob("*.parquet"))).names
    before = chunk_bytes(root, names)
    labels = frame[["cell_id", "stamp_ns"]].assign(label=[f"kind {c % 3}" for c in frame["cell_id"]])
    labels.sample(frac=0.5, random_state=0).to_parquet(tmp_path / "labels.parquet")
    capsys.readouterr()
    assert main(["dataset", "merge", str(root), str(tmp_path / "labels.parquet")]) == 0
    assert f"label: {round(len(frame) / 2):,} of {len(frame):,} rows" in capsys.readouterr().out
    short = ["--name", "short", "--set", "window.bins=6"]
    assert main(["dataset", "recompute", str(root), str(run), *short]) == 0
    assert chunk_bytes(root, names) == before
    assert main(["dataset", "verify", str(root)]) == 0
    merged = pandas.read_parquet(root)
    assert merged["cell_id"].equals(frame["cell_id"])
    given = merged["label"].notna()
    assert given.sum() == round(len(frame) / 2)
    assert (merged["label"][given] == labels["label"][given]).all()
    for sweep in list(stored_sweeps(RunFolder(run), with_overrides(run_config(RunFolder(run)), short[-1:])))[
        ::4
    ]:
        own = merged[merged["stamp_ns"] == sweep.stamp_ns].sort_values("cell_id")
        held = own["cell_id"].isin(sweep.features.cell_id)
        columns = [f"short_{name}" for name in feature_names(6)]
        assert np.array_equal(own[columns][held].to_numpy(), sweep.features.x)
        assert own[columns][~held].isna().all(axis=None)
    capsys.readouterr()
    assert main(["dataset", "info", str(root)]) == 0
    shown = capsys.readouterr().out
    assert "short_: 74" in shown
    assert re.search(r"label (large_)?string", shown)


def test_a_build_adds_only_what_is_new(run: Path, built: Path, tmp_path: Path, capsys) -> None:
    """An archive that grows: first without the last outcomes, later with them, as a run that has ended."""
    archive = tmp_path / "workers" / "archive" / "000"
    shutil.copytree(run, archive, ignore=shutil.ignore_patterns("config.yaml", "summary.json", "models"))
    root, config = tmp_path / "set", tmp_path / "workers.yaml"
    config.write_text("grid: {map_frame: odom}\ntask: {warmup_sweeps: 2}\n")
    command = ["dataset", "build", "--folder", str(tmp_path / "workers"), "--config", str(config)]
    command += ["--region-lod", "2"]
    capsys.readouterr()
    assert main([*command, "--out", str(root)]) == 0
    shown = capsys.readouterr().out
    first = files(root)
    waiting = int(re.search(r"(\d+) wait for their outcomes", shown)[1])
    assert 10 <= waiting < 14
    assert f"{14 - waiting} sweeps" in shown
    assert main([*command, "--out", str(root)]) == 0
    assert f"0 sweeps, 0 rows in 0 new files; {14 - waiting} sweeps were in it" in capsys.readouterr().out
    assert files(root) == first
    (archive / "summary.json").touch()
    assert main([*command, "--out", str(root)]) == 0
    assert f"{waiting} sweeps" in capsys.readouterr().out
    grown = files(root)
    assert all(grown[name] == data for name, data in first.items() if name.endswith(".parquet"))
    order = ["stamp_ns", "cell_id"]
    found, whole = (pandas.read_parquet(each).sort_values(order, ignore_index=True) for each in (root, built))
    assert found.equals(whole)
    assert main(["dataset", "verify", str(root)]) == 0


def test_logged_cells_that_went_wrong_are_chosen(run: Path, built: Path, tmp_path: Path) -> None:
    root = tmp_path / "hard"
    expression = "horizon_ns = 500000000 and occupied and probability < 0.5 -- missed"
    command = ["dataset", "build", "--from-run", str(run), "--where", expression, "--out", str(root)]
    assert main(command) == 0
    predictions = pandas.read_parquet(run / "predictions")
    outcomes = pandas.read_parquet(run / "outcomes")
    both = predictions.merge(outcomes, on=["prediction_id", "horizon_ns", "cell_id"])
    wrong = both[(both["horizon_ns"] == 500_000_000) & both["occupied"] & (both["probability"] < 0.5)]
    found, whole = (
        pandas.read_parquet(each).drop(columns=["date", "region", "lod"]) for each in (root, built)
    )
    assert len(found) == len(wrong) > 100
    keys = ["stamp_ns", "cell_id"]
    expected = whole.merge(wrong[keys], on=keys).sort_values(keys, ignore_index=True)
    found = found.sort_values(keys, ignore_index=True)[expected.columns]
    pandas.testing.assert_frame_equal(found, expected, check_dtype=False, check_exact=True)


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("occupied; DROP TABLE predictions", "more than one"),
        ("occupied) UNION SELECT 1, (2", "syntax error"),
        ("cell_id IN (SELECT 1)", "holds a query"),
        ("EXISTS (SELECT * FROM read_text('/etc/passwd'))", "holds a query"),
        ("occupied OR probability > (SELECT 1)", "holds a query"),
        ("rank() OVER () = 1", "holds a window"),
        ("probability > $1", "holds a parameter"),
        ("sum(probability) > 1", "aggregate"),
        ("probability", "is FLOAT, expected true or false"),
        ("nothing > 1", "nothing"),
        ("occupied, occupied", "single expression"),
        ("", "selection list"),
    ],
)
def test_nothing_but_an_expression_is_taken(
    expression: str, words: str, run: Path, tmp_path: Path, capsys
) -> None:
    capsys.readouterr()
    command = ["dataset", "build", "--from-run", str(run), "--where", expression]
    assert main([*command, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.startswith("octastream: --where ")
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["build", "--out", "new"], "no run is named"),
        (
            ["build", "{run}", "--from-run", "{run}", "--where", "occupied", "--out", "new"],
            "or --from-run RUN",
        ),
        (["build", "--from-run", "{run}", "--out", "new"], "with --where EXPR"),
        (["build", "{run}", "--set", "seed=1", "--out", "new"], "only with --folder"),
        (["build", "nowhere", "--out", "new"], "not a run folder"),
        (["build", "{run}", "--out", "{run}"], "is not empty and holds no training set"),
        (["build", "{run}", "--out", "{set}", "--region-lod", "4"], "regions of"),
        (["build", "{run}", "--out", "new", "--region-lod", "9"], "there are cells of LOD 7"),
        (["info", "nowhere"], "is no training set"),
        (["merge", "{set}", "nowhere.parquet"], "nowhere.parquet"),
        (["merge", "{set}", "labels.txt"], "expected .parquet, .arrow, .csv"),
        (["verify", "nowhere"], "is no training set"),
        (["serve", "nowhere"], "is no training set"),
        (
            ["recompute", "{set}", "{run}", "--name", "a", "--set", "window.bins=20"],
            "choose a shorter window",
        ),
        (["recompute", "{set}", "{run}", "--name", "a", "--set", "grid.lod=6"], "decides the cells"),
        (["recompute", "{set}", "{run}", "--name", "a", "--set", "seed=1"], "is that of the set"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_done_changes_nothing(
    arguments: list[str], words: str, run: Path, built: Path, tmp_path: Path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    before = files(built)
    capsys.readouterr()
    given = [text.format(run=run, set=built) for text in arguments]
    assert main(["dataset", *given]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert files(built) == before
    assert not list(tmp_path.iterdir())


def test_verify_names_what_is_wrong(built: Path, tmp_path: Path, capsys) -> None:
    root = shutil.copytree(built, tmp_path / "set")
    some = sorted(root.rglob("*.parquet"))
    data = bytearray(some[0].read_bytes())
    data[len(data) // 3] ^= 1
    some[0].write_bytes(data)
    shutil.rmtree(some[-1].parent)
    capsys.readouterr()
    assert main(["dataset", "verify", str(root)]) == 1
    shown = capsys.readouterr().out.splitlines()
    assert len(shown) == 2
    assert "the partition is missing" in shown[0]
    assert "damaged: column " in shown[1]


def test_the_page_of_training_sets_runs(run: Path, built: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copytree(built, "data/training")
    with TrainingSetServer(built) as server:
        names = run_page("training-sets.md", {"server": f"grpc://127.0.0.1:{server.port}"})
    assert len(names["frame"]) == names["rows"]
    assert names["seen"] == len(names["frame"])
