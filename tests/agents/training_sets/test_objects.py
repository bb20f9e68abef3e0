"""Tables of objects beside training sets: cells, classes and pooled features, as anybody reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import duckdb
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.cli import main
from agents.explain import Explanation, explain
from models.datasets.labelled import window_of_labels
from models.datasets.writer import ContainerWriter
from native.grid import Grid
from native.index64 import ancestor, decode, to_text
from stream.annotations.cell_labels import labels_of_shares
from stream.framed import source_of

CLASSES = ("car", "person")
GRID = Grid(half_edge_m=0.4, frame=2, lod=7)


@pytest.fixture(scope="module")
def seen(run: Path) -> dict[int, Explanation]:
    """Three sweeps of the run, by stamp."""
    sweeps = pq.read_table(run / "sweeps.parquet").to_pylist()
    return {sweep["stamp_ns"]: explain(run, sweep["prediction_id"]) for sweep in sweeps[3:6]}


@pytest.fixture(scope="module")
def cells_of(seen: dict[int, Explanation]) -> dict[int, np.ndarray]:
    """Some cells of each, and one that no window has."""
    far = np.uint64(0x20000000)  # along an axis
    return {
        stamp: np.unique(np.append(found.cell_id[10:30], found.cell_id[0] ^ far))
        for stamp, found in seen.items()
    }


def labels(folder: Path, cells_of: dict[int, np.ndarray], stream: str) -> Path:
    """Instance 7, a car, has the first half of the cells, 9, a person, the rest; one cell is of nothing."""
    with ContainerWriter(folder) as writer:
        for stamp_ns, cells in cells_of.items():
            first = np.arange(len(cells)) < len(cells) // 2
            instance = np.where(first, 7, 9)
            instance[-1] = 0
            said = labels_of_shares(CLASSES, cells, np.where(first, 0, 1), instance, np.full(len(cells), 0.8))
            writer.write(window_of_labels(GRID, said, stamp_ns, source_of(stream)))
    return folder


def table(path: Path, cells_of: dict[int, np.ndarray]) -> Path:
    """One track, of nobody knows what."""
    columns = {
        "robot_id": pa.array(["robot"] * len(cells_of)), "stamp_ns": pa.array(list(cells_of), pa.int64()),
        "track_id": pa.array([4] * len(cells_of), pa.int64()),
        "class": pa.array([None] * len(cells_of), pa.string()),
        "cell_id": pa.array([cells[:5] for cells in cells_of.values()], pa.list_(pa.uint64())),
        "speed": pa.array([1.0] * len(cells_of)),
    }  # fmt: skip
    pq.write_table(pa.table(columns), path)
    return path


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*.parquet")}


def test_objects_are_rows_that_duckdb_and_pandas_read(run, seen, cells_of, tmp_path, capsys) -> None:
    container = labels(tmp_path / "labels", cells_of, "robot/lidar")
    found = table(tmp_path / "found.parquet", cells_of)
    build = ["dataset", "build", str(run), "--out", str(tmp_path / "set"), "--region-lod", "2"]
    build += ["--labels", str(container)]
    capsys.readouterr()
    assert main(build) == 0
    assert "6 objects of 3 sweeps" in capsys.readouterr().out
    root = tmp_path / "set-objects"
    frame = pandas.read_parquet(root)
    assert len(frame) == 6 and set(frame["class"]) == set(CLASSES) and set(frame["origin"]) == {"labels"}
    part = next(root.rglob("*.parquet"))
    names = json.loads(pq.read_schema(part).metadata[b"octa.pooled"])
    for row in frame.to_dict("records"):
        told = seen[row["stamp_ns"]]
        cells = cells_of[row["stamp_ns"]]
        half = len(cells) // 2
        own = cells[:half] if row["object_id"] == 7 else cells[half:-1]
        assert row["class"] == CLASSES[0 if row["object_id"] == 7 else 1]
        assert np.array_equal(row["cells"], own) and row["cell_id"] in own
        sites = decode(own).sites
        away = np.linalg.norm(sites - sites.mean(0), axis=1)
        assert away[own.tolist().index(row["cell_id"])] == away.min()
        assert row["region"] == to_text(int(ancestor(np.array([row["cell_id"]], np.uint64), 2)[0]))
        x = told.features[np.isin(told.cell_id, own)]
        assert row["pooled_cells"] == len(x) > 0
        column = list(told.names).index("hits_0")
        for pool, value in (("mean", x[:, column].mean()), ("least", x[:, column].min())):
            assert row["pooled"][names.index(f"hits_0_{pool}")] == pytest.approx(value, rel=1e-6)
        assert np.array_equal(row["pooled"][names.index(f"{told.names[0]}_greatest") :], x.max(0))

    before = files(root)
    assert main([*build, "--found", str(found)]) == 0  # labels are there; tracks are new
    assert "3 objects of 3 sweeps; 3 times a sweep was in it" in capsys.readouterr().out
    after = files(root)
    assert before.items() <= after.items() and len(after) > len(before)
    query = f"SELECT origin, count(*), max(len(cells)) FROM read_parquet('{root}/**/*.parquet') GROUP BY 1"
    assert sorted(duckdb.sql(query).fetchall())[0] == ("found", 3, 5)
    pooled = f"SELECT count(*) FROM read_parquet('{root}/**/*.parquet') WHERE pooled[1] IS NOT NULL"
    assert duckdb.sql(pooled).fetchall()[0][0] == 9
    assert main(["dataset", "verify", str(root)]) == 0 and main(["dataset", "info", str(root)]) == 0
    assert "build" in capsys.readouterr().out


def test_what_is_no_table_of_objects_is_refused(run, cells_of, tmp_path, capsys) -> None:
    build = ["dataset", "build", str(run), "--out", str(tmp_path / "set")]
    wrong = tmp_path / "wrong.parquet"
    pq.write_table(pa.table({"stamp_ns": pa.array([1], pa.int64())}), wrong)
    assert main([*build, "--found", str(wrong)]) == 1
    assert "has no column robot_id of string" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
    elsewhere = labels(tmp_path / "labels", cells_of, "robot/other")
    assert main([*build, "--labels", str(elsewhere)]) == 1
    assert "no sweep of the runs has an object" in capsys.readouterr().err
    assert (tmp_path / "set").exists() and not (tmp_path / "set-objects").exists()
    shutil.rmtree(tmp_path / "set")
    chosen = ["dataset", "build", "--from-run", str(run), "--where", "occupied", "--out", str(tmp_path / "s")]
    assert main([*chosen, "--labels", str(elsewhere)]) == 1
    assert "whole runs" in capsys.readouterr().err
