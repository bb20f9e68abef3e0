"""Objects of simulated and recorded logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from agents.cli import main
from agents.objects.examples import drive, path_examples
from agents.objects.find import OBJECT_SCHEMA, find_objects
from agents.objects.sight import Sight
from agents.objects.truth import instances
from models.objects.motion import HORIZONS_S
from native.index64 import decode
from stream.config import load_config
from stream.sources import open_source
from stream.sources.base import Item, SourceError
from tests.agents.worlds import config_of, parts_of, stamp_of, sweep_of, transforms_to
from tests.data import data_path

YARD = "sim:yard?seed=3&sweeps=14&azimuths=256"


def quiet(done: int, total: int | None, text: str) -> None:
    """Nobody watches."""


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("objects") / "yard.parquet"
    counts = find_objects(open_source(YARD), load_config(None, []), out, quiet)
    assert counts.sweeps == 14 and counts.damage is None
    assert counts.objects == pq.read_metadata(out).num_rows > 5
    return out


def test_objects_are_cells_that_lie_in_their_boxes(table: Path) -> None:
    objects = pq.read_table(table)
    assert objects.schema.equals(OBJECT_SCHEMA)
    for row in objects.to_pylist():
        sites = decode(np.array(row["cell_id"], np.uint64)).sites * 0.4
        assert len(sites) >= 2 and (np.diff(np.array(row["cell_id"], np.uint64).astype(np.int64)) > 0).all()
        far = np.hypot(sites[:, 0] - row["x"], sites[:, 1] - row["y"])
        assert far.min() < 1.5
        assert row["class"] is None and row["path"] is None


def test_parts_of_two_sensors_may_come_by_turns() -> None:
    log: list[Item] = [*transforms_to(5)]
    for index in range(3):
        halves = [parts_of(index, 2, stream_id=stream_id) for stream_id in ("robot/left", "robot/right")]
        log += [half for pair in zip(*halves, strict=True) for half in pair]
    seen = list(Sight(config_of()).sweeps(log))
    assert [sweep.stamp_ns for sweep in seen] == [stamp_of(index) for index in range(3) for _ in halves]


def test_a_sweep_that_is_whole_after_a_newer_one_is_left_out() -> None:
    """Whoever follows objects goes on in time."""
    first, second = parts_of(0, 2, stream_id="robot/left")
    between = sweep_of(0.5, stream_id="robot/right")
    log: list[Item] = [*transforms_to(5), first, between, second, sweep_of(1, stream_id="robot/left")]
    seen = list(Sight(config_of()).sweeps(log))
    assert [sweep.stamp_ns for sweep in seen] == [stamp_of(0.5), stamp_of(1)]


def test_found_objects_are_those_that_move(table: Path) -> None:
    """Most of what is followed lies where the simulator has somebody who walks or drives."""
    moving = {
        seen.cells.stamp_ns: seen.truth.boxes.take(seen.truth.boxes.speed() > 0.3)
        for seen in drive(YARD, load_config(None, []))
    }
    objects = pq.read_table(table).to_pylist()
    near = [
        np.hypot(*(moving[row["stamp_ns"]].centre[:, :2] - [row["x"], row["y"]]).T).min() < 1.5
        for row in objects
    ]
    assert np.mean(near) > 0.5


def test_cells_on_objects_are_told_from_others() -> None:
    seen = list(drive("sim:city?seed=3&sweeps=2&azimuths=256", load_config(None, [])))[-1]
    row = instances(seen.cells, seen.truth)
    on = row >= 0
    assert 0.01 < on.mean() < 0.5
    away = seen.cells.centroid[on] - seen.truth.boxes.centre[row[on]]
    assert np.abs(away).max() < 8.0
    assert seen.visible[np.unique(row[on])].any()


def test_paths_of_a_drive_follow_from_its_seed() -> None:
    location = "sim:yard?seed=4&sweeps=45"
    motions, futures = path_examples(location, load_config(None, []))
    again, _ = path_examples(location, load_config(None, []))
    assert (motions.history == again.history).all() and len(motions) == len(futures) > 5
    assert futures.path.shape[1:] == (len(HORIZONS_S), 2)
    assert (motions.known[:, -10:] == 1).all()
    walked = np.linalg.norm(futures.path[:, -1], axis=1) / HORIZONS_S[-1]
    assert 0.3 < np.median(walked) < 3.0  # people, and few forklifts
    assert not motions.around.any()


def test_only_a_simulator_tells_where_objects_are() -> None:
    with pytest.raises(SourceError, match="only a simulated drive"):
        next(drive(str(data_path("kitti_0005_000-053.mcap")), load_config(None, [])))


def test_one_bar_counts_the_sweeps_of_all_drives() -> None:
    from agents.objects.commands import _over

    seen: list[tuple[int, int | None, str]] = []
    told = _over(["sim:city?sweeps=20&robots=2", "sim:yard?sweeps=5"], lambda *said: seen.append(said))
    for place in ("city", "yard"):
        next(told)(3, None, place)
    assert seen == [(3, 45, "city"), (43, 45, "yard")]


@pytest.mark.learn
@pytest.mark.slow
@pytest.mark.long
def test_commands_train_and_score_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from agents.objects import detection, forecast

    monkeypatch.setattr(forecast, "PATHS", ("sim:yard?seed=5&sweeps=80",))
    monkeypatch.setattr(detection, "DRIVES", ("sim:yard?seed=5&sweeps=48&azimuths=256",))
    monkeypatch.setattr(forecast, "DRIVES", ("sim:yard?seed=5&sweeps=48&azimuths=256",))
    monkeypatch.setattr(forecast, "HELD_OUT", ("sim:yard?seed=6&sweeps=48&azimuths=256",))
    models = [tmp_path / "gru.onnx", tmp_path / "detector.onnx"]
    assert main(["objects", "train", "forecaster", "--out", str(models[0])]) == 0
    assert "moments of objects" in capsys.readouterr().out
    assert main(["objects", "train", "detector", "--out", str(models[1])]) == 0
    assert "cells of objects, on 1 drives" in capsys.readouterr().out
    assert main(["objects", "score", str(models[0])]) == 0
    shown = capsys.readouterr().out
    for name in ("constant velocity", "constant turn", "gru"):
        assert f"{name}, turning" in shown and f"{name}, straight" in shown
    assert "minADE, m" in shown and "miss rate" in shown
    assert main(["objects", "score", "--detector", str(models[1])]) == 0
    shown = capsys.readouterr().out
    for name in ("components, all, pedestrian", "detector, all, pedestrian", "detector, moving, truck"):
        assert name in shown


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.long
def test_objects_of_the_real_log(tmp_path: Path) -> None:
    """A van and cars go ahead of the recording car: some tracks move, and none faster than traffic does."""
    source = open_source(str(data_path("kitti_0005_000-053.mcap")))
    out = tmp_path / "kitti.parquet"
    counts = find_objects(source, load_config(None, []), out, quiet)
    assert counts.sweeps > 40 and len(counts.moving) >= 3
    objects = pq.read_table(out)
    speed = np.hypot(objects["vx"].to_numpy(), objects["vy"].to_numpy())
    assert np.quantile(speed, 0.95) < 25.0
