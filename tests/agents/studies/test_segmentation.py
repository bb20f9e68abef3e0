"""The study of what cells lie on: whose labels it takes, what networks read, and a whole one that repeats."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agents.cli import main
from agents.studies.conduct import PAGE, RESULT
from native.index64 import decode, encode, parent
from native.neighbors import neighbor_table

pytestmark = pytest.mark.learn


def window(seed: int = 0):
    """Cells of a block; the higher half is of class 1, and a feature says so where it is not hidden."""
    from models.training.segmentation import LabelledWindow

    rng = np.random.default_rng(seed)
    sites = np.array(
        [[x, y, z] for x in range(8) for y in range(8) for z in range(8) if x % 2 == y % 2 == z % 2]
    )
    cell_id = np.sort(encode(sites.astype(np.int32), frame=2, tier=0, lod=7))
    high = (decode(cell_id).sites[:, 2] >= 3).astype(np.int64)
    x = rng.normal(size=(len(cell_id), 3)).astype(np.float32)
    x[:, 0] = np.where(rng.random(len(x)) < 0.5, high, 0.5)
    row = np.flatnonzero(rng.random(len(x)) < 0.7)
    return LabelledWindow(
        cell_id=cell_id, half_edge_m=0.4, x=x, neighbor_index=neighbor_table(cell_id), row=row, code=high[row]
    )  # fmt: skip


def test_coarser_levels_hold_the_means_of_their_children() -> None:
    from models.training.segmentation import LEVELS

    own = window()
    levels = {name: values.numpy() for name, values in own.levels.items()}
    n = len(own.cell_id)
    assert sorted(set(levels["lod"].tolist())) == [7 - LEVELS, 6, 7] and (levels["lod"][:n] == 7).all()
    up = parent(own.cell_id)
    for row in (0, n // 2, n - 1):
        above = levels["parent_index"][row]
        assert levels["lod"][above] == 6
        mean = own.x[up == up[row]].mean(0)
        assert np.allclose(levels["features"][above], mean, atol=1e-6)
        away = np.abs(levels["position"][above] - levels["position"][row])
        assert (away <= 0.8).all()  # a child's site is within one coarse half edge of its parent's
    index = levels["neighbor_index"]
    there = index < len(index)
    lod = np.append(levels["lod"], -1)
    assert (lod[index][there] == np.repeat(levels["lod"], 14).reshape(-1, 14)[there]).all()
    assert there.any(1)[n:].any()


LONG = (pytest.mark.slow, pytest.mark.long)


@pytest.mark.parametrize(
    "name",
    [
        "bcc_model",
        "cross_lod",
        *(pytest.param(name, marks=LONG) for name in ("convolution", "attention", "transformer")),
    ],
)
def test_a_network_learns_what_only_neighbours_tell(name: str) -> None:
    """Half the cells hide what they are: their neighbours give it away, and the linear floor is not told."""
    from models.nets.catalogue import build_net
    from models.training.segmentation import logits_of, train_segmenter

    train, other = [window(seed) for seed in range(3)], window(9)
    hidden = other.x[other.row, 0] == 0.5
    net = build_net({"name": name, "feature_count": 3, "output_count": 2, "hidden_dim": 16}, seed=1)
    train_segmenter(net, train, steps=40, seed=0, progress=lambda *_: None)
    said = logits_of(net, other).argmax(1).numpy()
    assert len(said) == len(other.row)
    assert (said == other.code)[hidden].mean() > 0.75


def test_the_floor_knows_each_cell_alone() -> None:
    from agents.studies.segmentation import _Linear

    rng = np.random.default_rng(0)
    code = rng.integers(0, 3, 600)
    x = np.eye(3, dtype=np.float32)[code] + rng.normal(0, 0.1, (600, 3)).astype(np.float32)
    linear = _Linear(3, 0)
    for _ in range(20):
        linear.learn(x, code)
    said = linear.predict(x)
    assert np.allclose(said.sum(1), 1) and (said[:, 3:] < 0.2).all()
    assert (said.argmax(1) == code).mean() > 0.95


def test_options_are_checked(tmp_path: Path) -> None:
    study = ["study", "segmentation", "--out", str(tmp_path / "out")]
    assert main([*study, "--train-seed", "301"]) == 1  # the held-out one
    assert main([*study, "--drive", "kitti.mcap"]) == 1
    assert main([*study, "--drive", "sim:city?robots=2"]) == 1
    assert main([*study, "--sweeps", "4"]) == 2
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.long
def test_a_whole_study_repeats(tmp_path: Path) -> None:
    results = []
    for name in ("one", "two"):
        args = ["--drive", "sim:city?azimuths=128", "--train-seed", "5", "--held-out-seed", "6"]
        args += ["--sweeps", "10", "--steps", "30", "--seeds", "2", "--out", str(tmp_path / name)]
        assert main(["study", "segmentation", *args]) == 0
        results.append((tmp_path / name / RESULT).read_text())
    assert results[0] == results[1]
    result = json.loads(results[0])
    scores, cells = result["tables"]
    assert [row[0] for row in scores["rows"]] == [
        "linear", "bcc_model", "convolution", "attention", "transformer", "cross_lod",
    ]  # fmt: skip
    names = scores["columns"][3:-1]
    assert {"building", "ground", "vehicle"} <= set(names)
    for row in scores["rows"]:
        assert row[1] == pytest.approx(np.mean(row[3:-1]), abs=2e-4)
        low, high = map(float, row[2].split(" to "))
        assert low <= row[1] + 1e-3 and row[1] <= high + 1e-3
    assert sum(row[4] for row in cells["rows"]) == pytest.approx(1, abs=1e-3)
    assert result["charts"][0]["kind"] == "bars" and result["charts"][0]["lines"][0]["x"] == ["mean", *names]
    assert result["logs"][-1].startswith("sim:city?seed=6&")
    assert '"type": "bar"' in (tmp_path / "one" / PAGE).read_text()
