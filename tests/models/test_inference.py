"""Batch inference: every window once, the same bytes after a kill, and no more memory for more windows."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from models.datasets.stored import StoredContainer, StoredError
from models.datasets.window import cells_of_grid, with_features, with_stamp
from models.inference import BatchInferenceEngine
from models.manifest import ModelRefused
from native import lattice
from native.index64 import decode
from native.schema import MismatchError
from tests.data import ROOT
from tests.models.datasets.stores import GRID, store, window
from tests.models.graphs.containers import random_ids

WINDOWS = [window(number, outcomes=False) for number in (3, 4, 5, 6, 7, 8)]


@dataclass(frozen=True)
class Summing:
    """A model, and the one that is served: sums of features and neighbours, which depend on every input."""

    model_id: str = "sum"
    model_ids: tuple[str, ...] = ("other", "sum")
    digest: str = "d"
    half_edge_m: float = GRID.half_edge_m
    lod: int = GRID.lod
    schema_hash: str = "abc"
    horizons_ns: tuple[int, ...] = (2, 5)

    def model_of(self, stamp_ns: int, source: int | None) -> Summing:
        assert source is None
        return self

    def predict(self, x, neighbor_index):
        padded = np.concatenate([x, np.zeros((1, x.shape[1]), np.float32)])
        return np.stack([x.sum(axis=1), padded[neighbor_index].sum(axis=(1, 2))], axis=1)


def tree(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_window_is_predicted_in_order(tmp_path: Path) -> None:
    store(tmp_path / "in", WINDOWS)
    told: list = []
    found = BatchInferenceEngine(Summing(), part_rows=100).predict_container(
        tmp_path / "in", tmp_path / "out", GRID.lod, progress=lambda *values: told.append(values)
    )
    assert (found.windows, found.rows, found.known) == (6, sum(map(len, WINDOWS)), 0)
    assert told == [(number, 6, "") for number in range(1, 7)]
    stored = StoredContainer(tmp_path / "out", GRID.frame, GRID.lod)
    for batch, answer in zip(WINDOWS, stored, strict=True):
        assert np.array_equal(answer.cell_id, batch["cell_id"].to_numpy())
        assert answer.stamp_ns == batch["stamp_ns"][0].as_py()
        assert set(answer.batch["model_id"].to_pylist()) == {"sum"}
        x = np.array(batch["features"].to_pylist(), np.float32)
        table = neighbours(answer.cell_id)
        expected = np.array([[x[row].sum(), sum(x[at].sum() for at in table[row])] for row in range(len(x))])
        assert np.allclose(answer.features(["probability"]), expected, atol=1e-4)
    assert json.loads(stored.schema.metadata[b"octa.horizons_ns"]) == [2, 5]


def neighbours(cell_id: np.ndarray) -> list[list[int]]:
    """Rows of the neighbours that are there, found one by one."""
    sites = decode(cell_id).sites
    row_of = {tuple(site): row for row, site in enumerate(sites.tolist())}
    return [
        [row_of[tuple(site)] for site in around if tuple(site) in row_of]
        for around in lattice.neighbors(sites).tolist()
    ]


KILLED = """
import os, signal, sys
from pathlib import Path
from models.inference import BatchInferenceEngine
from tests.models.test_inference import GRID, Summing

def progress(done, total, note):
    if done == 4:
        os.kill(os.getpid(), signal.SIGKILL)

BatchInferenceEngine(Summing(), part_rows=150).predict_container(
    Path(sys.argv[1]), Path(sys.argv[2]), GRID.lod, progress=progress
)
"""


def test_a_kill_in_the_middle_costs_a_part(tmp_path: Path) -> None:
    store(tmp_path / "in", WINDOWS)
    engine = BatchInferenceEngine(Summing(), part_rows=150)
    engine.predict_container(tmp_path / "in", tmp_path / "whole", GRID.lod)
    command = [sys.executable, "-c", KILLED, str(tmp_path / "in"), str(tmp_path / "cut")]
    assert subprocess.run(command, cwd=ROOT, check=False).returncode == -signal.SIGKILL
    left = tree(tmp_path / "cut")
    assert any(name.endswith(".tmp") for name in left), "it was killed within a part"
    with pytest.raises(StoredError, match="writing it was cut off"):
        StoredContainer(tmp_path / "cut", GRID.frame, GRID.lod)
    told: list = []
    found = engine.predict_container(
        tmp_path / "in", tmp_path / "cut", GRID.lod, progress=lambda done, *_: told.append(done)
    )
    assert 0 < found.known < 4 and told == list(range(found.known + 1, 7))
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")
    assert engine.predict_container(tmp_path / "in", tmp_path / "cut", GRID.lod).known == 6


LIMITED = """
import resource, sys
from pathlib import Path
from models.inference import BatchInferenceEngine
from tests.models.test_inference import GRID, Summing

engine = BatchInferenceEngine(Summing(), part_rows=40_000)
source, out, extra = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
engine.predict_container(source / "one", out / "one", GRID.lod)  # all that is loaded and pooled
pages = int(Path("/proc/self/statm").read_text().split()[5])
limit = pages * resource.getpagesize() + extra
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
engine.predict_container(source / "many", out / "many", GRID.lod)
"""


def test_memory_is_that_of_one_window(tmp_path: Path) -> None:
    """32 times the windows in 24 MB more; they hold over 60 MB."""
    ids = random_ids(9, 0.9, reach=27)
    assert 30_000 < len(ids) < 50_000
    x = np.random.default_rng(0).normal(size=(len(ids), 3)).astype(np.float32)
    large = with_features(with_stamp(cells_of_grid(GRID, ids), 1), ("a", "b", "c"), x, "abc")
    store(tmp_path / "one", [large] * 2)
    store(tmp_path / "many", [large] * 64)
    assert sum(path.stat().st_size for path in (tmp_path / "many").iterdir()) > 60e6
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(tmp_path / "out"), str(24 << 20)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    one, many = (StoredContainer(tmp_path / "out" / name, GRID.frame, GRID.lod) for name in ("one", "many"))
    assert len(many.sizes()) == 32 * len(one.sizes())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    store(tmp_path / "in", WINDOWS)
    engine = BatchInferenceEngine(Summing())
    for served, words in (
        (Summing(schema_hash="x"), "schema_hash: model has 'x', .* 'abc'"),
        (Summing(half_edge_m=1.0), "half_edge_m: model has 1.0"),
    ):
        with pytest.raises(ModelRefused, match=words):
            BatchInferenceEngine(served).predict_container(tmp_path / "in", tmp_path / "out", GRID.lod)
    with pytest.raises(MismatchError, match=rf"LOD 3 in 0 frames; name one of: frame {GRID.frame}, LOD"):
        engine.predict_container(tmp_path / "in", tmp_path / "out", 3)
    bare = [batch.select(["cell_id", "stamp_ns"]) for batch in WINDOWS]
    with pytest.raises(MismatchError, match="has no column features"):
        engine.predict_container(store(tmp_path / "bare", bare), tmp_path / "out", GRID.lod)
    assert not (tmp_path / "out").exists()
    engine.predict_container(tmp_path / "in", tmp_path / "out", GRID.lod)
    with pytest.raises(FileExistsError, match="forecasts of another container or of other models"):
        BatchInferenceEngine(Summing(digest="e")).predict_container(
            tmp_path / "in", tmp_path / "out", GRID.lod
        )
    with pytest.raises(FileExistsError, match="holds other things"):
        engine.predict_container(tmp_path / "in", tmp_path / "bare", GRID.lod)
