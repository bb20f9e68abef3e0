"""``octastream compare``: runs on the cells that all of them forecast and saw."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.metrics import average_precision_score

from agents.cli import main
from agents.compare import CompareError, compare

NS = 500_000_000
PREDICTIONS, OUTCOMES = "predictions/part-00000.parquet", "outcomes/part-00000.parquet"


def run_of(folder: Path, seed: int, bins: int, sweeps: int = 6) -> Path:
    """A run folder with random forecasts of the same world, and cells of its own."""
    world, own = np.random.default_rng(0), np.random.default_rng(seed)
    for name in ("predictions", "outcomes"):
        (folder / name).mkdir(parents=True)
    config = {"grid": {"map_frame": "odom"}, "window": {"bins": bins}, "task": {"warmup_sweeps": 2}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    (folder / "summary.json").write_text('{"warmup_sweeps": 2}')
    predictions, outcomes, listed = [], [], []
    for stamp in range(sweeps):
        occupied = world.random(100) < 0.3
        cells = np.sort(own.choice(100, 80, replace=False)).astype(np.uint64)
        seen = own.random(80) < 0.9
        name = f"robot/lidar/{stamp}"
        p = (own.integers(1, 2**17, 80) / 2**17).astype(np.float32)
        predictions.append(
            pa.table(
                {"prediction_id": [name] * 80, "horizon_ns": [NS] * 80, "cell_id": cells, "probability": p}
            )
        )
        n = int(seen.sum())
        outcomes.append(
            pa.table(
                {
                    "prediction_id": [name] * n, "horizon_ns": [NS] * n, "cell_id": cells[seen],
                    "occupied": occupied[cells[seen].astype(int)], "before": pa.array([0] * n, pa.uint8()),
                }
            )
        )  # fmt: skip
        listed.append({"prediction_id": name, "stream_id": "robot/lidar", "stamp_ns": stamp, "model_id": "m",
                       "feature_digest": "", "state_digest": "", "cells": 80})  # fmt: skip
    pq.write_table(pa.concat_tables(predictions), folder / PREDICTIONS)
    pq.write_table(pa.concat_tables(outcomes), folder / OUTCOMES)
    pq.write_table(pa.Table.from_pylist(listed), folder / "sweeps.parquet")
    return folder


def test_scores_are_those_of_the_common_cells(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = [run_of(tmp_path / "a", 1, 10), run_of(tmp_path / "b", 2, 6, sweeps=5)]
    found = compare(runs, lambda done, total, note: None)
    frames = [pq.read_table(run / PREDICTIONS).to_pandas() for run in runs]
    seen = [pq.read_table(run / OUTCOMES).to_pandas() for run in runs]
    keys = ["prediction_id", "horizon_ns", "cell_id"]
    common = frames[0].merge(frames[1], on=keys).merge(seen[0], on=keys).merge(seen[1], on=keys)
    common = common[~common["prediction_id"].isin(["robot/lidar/0", "robot/lidar/1"])]
    assert found.sweeps == 3
    assert found.contradicted == 0
    assert found.runs[0].schema != found.runs[1].schema
    for compared, column in zip(found.runs, ("probability_x", "probability_y"), strict=True):
        assert compared.scores.n == len(common) > 100
        expected = average_precision_score(common["occupied_x"], common[column])
        assert compared.scores.average_precision() == pytest.approx(expected, abs=1e-12)
    assert [run.own for run in found.runs] == [
        int((~outcome["prediction_id"].isin(["robot/lidar/0", "robot/lidar/1"])).sum()) for outcome in seen
    ]
    assert main(["compare", *map(str, runs)]) == 0
    assert f"{len(common):,}" in capsys.readouterr().out


def test_contradictions_are_left_out_and_counted(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", 1, 10)
    other = shutil.copytree(run, tmp_path / "b")
    table = pq.read_table(other / OUTCOMES)
    occupied = table["occupied"].to_numpy(zero_copy_only=False).copy()
    occupied[-7:] = ~occupied[-7:]
    pq.write_table(table.set_column(3, "occupied", pa.array(occupied)), other / OUTCOMES)
    found = compare([run, other], lambda done, total, note: None)
    assert found.contradicted == 7
    assert found.runs[0].scores.n == found.runs[0].own - 7


def test_runs_without_common_cells_are_refused(tmp_path: Path) -> None:
    run = run_of(tmp_path / "a", 1, 10)
    coarse = shutil.copytree(run, tmp_path / "b")
    (coarse / "config.yaml").write_text("grid: {map_frame: odom, lod: 6}")
    elsewhere = shutil.copytree(run, tmp_path / "c")
    table = pq.read_table(elsewhere / "sweeps.parquet")
    names = pa.array([f"other/{name}" for name in table["prediction_id"].to_pylist()])
    pq.write_table(table.set_column(0, "prediction_id", names), elsewhere / "sweeps.parquet")
    for runs, words in (
        ([run], "two runs or more"),
        ([run, coarse], "grid.half_edge_m is 0.8"),
        ([run, elsewhere], "no scored cell in common"),
    ):
        with pytest.raises(CompareError, match=words):
            compare(runs, lambda done, total, note: None)
