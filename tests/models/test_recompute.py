"""The independent recomputation agrees with a sound run and catches an unsound one."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from models.probability import quantise
from models.scores.prequential import NAMES, PrequentialScores
from tests.data import ROOT
from tests.recompute_scores import RunFolderError, compare, main, recompute

HORIZONS, PRIMARY, WARMUP, SWEEPS, ROWS = (200, 500), 500, 3, 12, 300
STREAM = "car/lidar"


def write_run(folder, sweeps=SWEEPS):
    """A run folder of random forecasts with the summary that our own scores give."""
    rng = np.random.default_rng(7)
    running = PrequentialScores(HORIZONS, PRIMARY, WARMUP)
    tables = {"predictions": [], "outcomes": [], "shadows": []}
    ids = [f"{STREAM}/{1000 + 100 * index}" for index in range(sweeps)]
    for index, name in enumerate(ids):
        cell = np.sort(rng.choice(2**40, ROWS, replace=False)).astype(np.uint64) + np.uint64(2**63)
        truth = rng.beta(0.7, 0.6, ROWS)
        before = rng.integers(0, 3, ROWS).astype(np.uint8)
        shadow = {key: quantise(np.round(truth + rng.normal(0, 0.3, ROWS), 1)) for key in NAMES[:-1]}
        if index == 0:  # baselines have no outcome to learn from yet
            shadow = {}
        tables["shadows"].append({"prediction_id": [name] * ROWS, "cell_id": cell}
                                 | {key: shadow.get(key, [None] * ROWS) for key in NAMES[:-1]})  # fmt: skip
        for horizon in HORIZONS:
            served = quantise(truth + rng.normal(0, 0.1, ROWS))
            tables["predictions"].append({
                "prediction_id": [name] * ROWS, "stream_id": [STREAM] * ROWS,
                "stamp_ns": [1000 + 100 * index] * ROWS, "horizon_ns": [horizon] * ROWS,
                "model_id": ["m"] * ROWS, "cell_id": cell, "probability": served,
            })  # fmt: skip
            if 100 * index + horizon > 100 * (sweeps - 1):
                continue
            row = np.flatnonzero(rng.random(ROWS) < 0.75)
            occupied = rng.random(len(row)) < truth[row]
            if index == 5:
                occupied[:] = False
            tables["outcomes"].append({
                "prediction_id": [name] * len(row), "horizon_ns": [horizon] * len(row),
                "observed_stamp_ns": [1000 + 100 * index + horizon] * len(row), "cell_id": cell[row],
                "occupied": occupied, "before": before[row],
            })  # fmt: skip
            running.add(
                stamp_ns=1000 + 100 * index, horizon_ns=horizon, sweep_index=index, cells_predicted=ROWS,
                probability={key: value[row] for key, value in (shadow | {"online": served}).items()},
                occupied=occupied, before=before[row],
            )  # fmt: skip
    for name, parts in tables.items():
        (folder / name).mkdir(parents=True)
        for chunk in range(0, len(parts), 7):
            table = pa.concat_tables([typed(part) for part in parts[chunk : chunk + 7]])
            pq.write_table(table, folder / name / f"{chunk:05d}.parquet")
    stamps = [1000 + 100 * index for index in range(sweeps)]
    table = pa.table({"prediction_id": ids, "stream_id": [STREAM] * sweeps, "stamp_ns": stamps})
    pq.write_table(table.take(rng.permutation(sweeps)), folder / "sweeps.parquet")
    task = {"horizons_ns": list(HORIZONS), "primary_horizon_ns": PRIMARY, "warmup_sweeps": WARMUP}
    (folder / "config.yaml").write_text(yaml.safe_dump({"seed": 0, "task": task}))
    counts = {
        "cells_predicted": sweeps * ROWS,
        "cells_due": running.cells_due,
        "cells_observed": running.cells_observed,
    }
    summary = {"warmup_sweeps": WARMUP, **counts, **running.summary()}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def typed(columns):
    floats = {"probability", *NAMES}
    types = {"before": pa.uint8(), "cell_id": pa.uint64()} | dict.fromkeys(floats, pa.float32())
    return pa.table({key: pa.array(value, types.get(key)) for key, value in columns.items()})


def edit_summary(folder, change):
    path = folder / "summary.json"
    summary = json.loads(path.read_text())
    change(summary)
    path.write_text(json.dumps(summary))


def edit_table(folder, name, change):
    path = folder / name / "00007.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def differing(folder):
    return [row[0] for row in compare(folder) if not row[3]]


@pytest.fixture(scope="module")
def sound_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("sound") / "run")


@pytest.fixture
def run(sound_run, tmp_path):
    return shutil.copytree(sound_run, tmp_path / "run")


def test_a_sound_run_agrees_to_the_last_score(run):
    assert differing(run) == []
    found = recompute(run)
    assert found["problems"] == []
    assert found["cells_due"] == ROWS * 7
    assert found["cells_predicted"] == ROWS * SWEEPS
    assert set(found["scores"]) == set(NAMES)
    assert set(found["scores_by_horizon"]) == {"200", "500"}
    assert found["scores"]["online"]["n"] > 0
    assert all(value is not None for scores in found["scores"].values() for value in scores.values())


def test_it_runs_on_its_own(run):
    script = ROOT / "tests" / "recompute_scores.py"
    command = [sys.executable, str(script), str(run)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=run, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "scores.online.freed_average_precision" in done.stdout
    imports = [line for line in script.read_text().splitlines() if line.startswith(("import ", "from "))]
    assert not any(word in line for line in imports for word in ("native", "stream", "models", "agents"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", [
    "average_precision", "average_precision_per_sweep", "log_loss", "brier", "ece",
    "freed_average_precision", "appeared_average_precision", "n",
])  # fmt: skip
def test_each_wrong_score_is_caught(run, name, key):
    edit_summary(
        run, lambda summary: summary["scores"][name].update({key: summary["scores"][name][key] + 2e-6})
    )
    assert differing(run) == [f"scores.{name}.{key}"]


def test_wrong_counts_missing_and_null_scores_are_caught(run, capsys):
    def change(summary):
        summary["cells_predicted"] += 1
        summary["scores_by_horizon"]["200"]["online"]["brier"] = None
        summary["scores"]["frozen"].pop("ece")
        summary["scores"]["extra"] = {}
        summary["warmup_sweeps"] = 4

    edit_summary(run, change)
    assert differing(run) == [
        "scores.frozen.ece",
        "scores.extra",
        "scores_by_horizon.200.online.brier",
        "cells_predicted",
        "problem: warmup_sweeps: 4 in summary.json, 3 in config.yaml",
    ]
    assert main([str(run)]) == 1
    assert capsys.readouterr().out.count("DIFFERS") == 5


def test_a_changed_forecast_or_label_is_caught(run):
    edit_table(run, "outcomes", lambda table: table.set_column(
        4, "occupied", pa.array(~table["occupied"].to_numpy(zero_copy_only=False))))  # fmt: skip
    assert {"scores.online.log_loss", "scores.frozen.brier"} <= set(differing(run))
    edit_table(run, "outcomes", lambda table: table.set_column(
        4, "occupied", pa.array(~table["occupied"].to_numpy(zero_copy_only=False))))  # fmt: skip
    assert differing(run) == []
    edit_table(run, "predictions", lambda table: table.set_column(
        6, "probability", pa.array(table["probability"].to_numpy()[::-1])))  # fmt: skip
    assert "scores.online.log_loss" in differing(run)


def test_scoring_the_warm_up_is_caught(run):
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["task"]["warmup_sweeps"] = 2
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    assert "scores.online.n" in differing(run)


def test_rows_stored_twice_count_once_and_must_be_equal(run):
    edit_table(run, "outcomes", lambda table: pa.concat_tables([table, table]))
    edit_table(run, "shadows", lambda table: pa.concat_tables([table, table]))
    assert differing(run) == []
    path = run / "predictions" / "00000.parquet"
    table = pq.read_table(path)
    other = table.set_column(6, "probability", pa.array(1 - table["probability"].to_numpy()))
    pq.write_table(other, run / "predictions" / "99999.parquet")
    assert any("stored twice differ in probability" in name for name in differing(run))


def test_contradictions_between_tables_are_caught(run):
    edit_table(run, "outcomes", lambda table: table.set_column(
        3, "cell_id", pa.array(table["cell_id"].to_numpy() + np.uint64(2**41))))  # fmt: skip
    assert any("outcomes have no such row" in name for name in differing(run))
    edit_table(run, "predictions", lambda table: table.set_column(
        4, "model_id", pa.array(["m", "other"] * (len(table) // 2))))  # fmt: skip
    assert any("more than one model" in name for name in differing(run))
    sweeps = pq.read_table(run / "sweeps.parquet")
    pq.write_table(sweeps.slice(1), run / "sweeps.parquet")
    assert any("that sweeps.parquet lacks" in name for name in differing(run))


def test_a_log_shorter_than_the_horizon_has_no_scores(tmp_path):
    short = write_run(tmp_path / "short", sweeps=2)
    assert not list((short / "outcomes").glob("*"))
    assert differing(short) == []
    assert recompute(short)["scores"]["online"]["average_precision"] is None


def test_folders_that_cannot_be_read_are_named(run, tmp_path, capsys):
    with pytest.raises(RunFolderError, match=r"summary\.json"):
        recompute(tmp_path)
    assert main([]) == 2
    assert main([str(tmp_path / "nothing")]) == 2
    assert "error: " in capsys.readouterr().err
    edit_table(run, "predictions", lambda table: table.drop_columns(["probability"]))
    assert main([str(run)]) == 2
    assert "predictions" in capsys.readouterr().err
