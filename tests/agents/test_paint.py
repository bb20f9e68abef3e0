"""``octastream label project | merge`` and ``paint``: labels of points and boxes to cells, and back."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from pypcd4 import PointCloud

from agents.cli import main
from agents.replay import with_map_frame
from models.datasets.cells import BCCDataset
from models.datasets.labelled import LabelContainer
from native.index64 import decode, encode
from stream.config import Config, load_config
from stream.framed import source_of
from stream.labels import read_labels
from stream.point_cells import PointLocator
from stream.posed import LeftOut, PosedSweep, posed_sweeps
from stream.records import Binned, EndOfLog
from stream.sources import open_source
from stream.sources.base import SourceOptions
from tests.agents.run_folder import RunSpec, write_run
from tests.agents.worlds import feed, of_type, perceive_of
from tests.data import data_path
from tests.guide import run_page
from tests.stream.annotations.test_files import POSE, logged, scene, tracklets

CITY = "sim:city?sweeps=4&beams=32&azimuths=64&seed=3"


def posed(location: str, options: SourceOptions | None = None) -> list[PosedSweep]:
    source = open_source(location, options)
    config = with_map_frame(Config(), [source.info().root_frame])
    return list(
        posed_sweeps(
            source, PointLocator(config), LeftOut(), max_gap_ns=config.pose.max_gap_ns,
            max_held=config.pose.max_held_sweeps,
        )
    )  # fmt: skip


def class_of_cells(cell_id: np.ndarray) -> np.ndarray:
    """A number of a class for every cell, 10, 40 or 70, that its neighbours do not share, and 0 for some."""
    return np.array([10, 40, 70, 0], "<u4")[decode(cell_id).sites @ np.array([1, 2, 3]) % 4]


def label_files(folder: Path, sweeps: list[PosedSweep]) -> list[np.ndarray]:
    """A ``.label`` file a sweep: what every point's cell is, with an instance by class. 0 in no cell."""
    folder.mkdir()
    values = []
    for item in sweeps:
        number = class_of_cells(item.cells.cell_id)
        value = item.cells.map.to_points(number | (number // 10 << 16), np.uint32(0)).astype("<u4")
        value.tofile(folder / f"{item.number:06d}.label")
        values.append(value)
    return values


def painted(out: Path, stream_id: str, stamp_ns: int) -> np.ndarray:
    return PointCloud.from_path(out / stream_id / f"{stamp_ns}.pcd").pc_data


def cell_of(points: np.ndarray) -> np.ndarray:
    return points["cell_high"].astype(np.uint64) << np.uint64(32) | points["cell_low"]


def check_round_trip(log: list[str], sweeps: list[PosedSweep], folder: Path) -> None:
    """From points to cells and back: every point has what was said of it, and is where it was."""
    values = label_files(folder / "labels", sweeps)
    assert main(["label", "project", *log, str(folder / "labels"), "--out", str(folder / "cells")]) == 0
    assert main(["paint", *log, str(folder / "cells"), "--out", str(folder / "painted")]) == 0
    names = json.loads((folder / "painted" / "classes.json").read_text())["classes"]
    number_of = np.array([0, *[{"car": 10, "road": 40, "vegetation": 70}.get(name, -1) for name in names]])
    assert len(list((folder / "painted").rglob("*.pcd"))) == len(sweeps)
    for item, value in zip(sweeps, values, strict=True):
        found = painted(folder / "painted", item.sweep.stream_id, item.sweep.stamp_ns)
        assert len(found) == len(item.sweep.points)
        for axis, name in enumerate("xyz"):
            assert np.array_equal(found[name], item.sweep.points[:, axis], equal_nan=True)
        assert np.array_equal(found["intensity"], item.sweep.intensity)
        assert np.array_equal(number_of[found["label"]], value & 0xFFFF)
        assert np.array_equal(found["instance"], value >> 16)
        expected = item.cells.map.to_points(item.cells.cell_id, np.uint64(0))
        assert np.array_equal(cell_of(found), expected)
        lost = np.flatnonzero(expected == 0)
        returns = np.isfinite(item.sweep.points).all(axis=1) & (item.sweep.points != 0).any(axis=1)
        assert not returns[lost].any(), "every return is in a cell"


def test_points_are_in_the_cells_that_they_are_binned_to() -> None:
    """Of a sensor that turns while it moves, with a range that takes all points."""
    log = CITY.replace("sweeps=4", "sweeps=2&spin=1")
    config = load_config(
        overrides=["grid.map_frame=odom", "grid.range_min_m=0", "grid.range_max_m=500", "sweep.deskew=auto"]
    )
    records = of_type(feed(perceive_of(config), [*open_source(log), EndOfLog()]), Binned)
    sweeps = posed(log)  # with the usual range
    assert len(sweeps) == len(records) == 2
    for item, record in zip(sweeps, records, strict=True):
        assert item.sweep.time_offset_ns is not None
        hit = record.hits > 0
        assert np.array_equal(item.cells.cell_id, record.cell_id[hit])
        assert np.array_equal(np.diff(item.cells.map.starts.astype(np.int64)), record.hits[hit])


def test_from_points_to_cells_and_back(tmp_path: Path) -> None:
    check_round_trip([CITY], posed(CITY), tmp_path)


@pytest.mark.data
def test_every_raw_point_of_the_recorded_log_gets_its_label(tmp_path: Path) -> None:
    folder = tmp_path / "log"
    folder.mkdir()
    for number in (3, 4):
        shutil.copy(data_path("kitti_pcd") / f"{number:010d}.pcd", folder)
    poses = (data_path("kitti_pcd") / "poses.txt").read_text().splitlines()
    (folder / "poses.txt").write_text("\n".join(poses[3:5]) + "\n")
    sweeps = posed(str(folder), options=SourceOptions(rate_hz=10))
    assert sum(len(item.sweep.points) for item in sweeps) > 200_000
    named = [
        dataclasses.replace(item, number=item.number + 3) for item in sweeps
    ]  # as the files of the log are
    check_round_trip([str(folder), "--rate-hz", "10"], named, tmp_path)


@pytest.mark.data
@pytest.mark.long
@pytest.mark.slow
def test_all_sweeps_of_the_recorded_log(tmp_path: Path) -> None:
    log = str(data_path("kitti_0005_000-053.mcap"))
    sweeps = posed(log)
    assert len(sweeps) == 54
    check_round_trip([log], sweeps, tmp_path)


# ---- boxes


def boxes_of(sweep: PosedSweep) -> bytes:
    """Two cars about a sweep, 20 ms later: one in the lidar's frame, one in the map."""
    stamp_ns = sweep.sweep.stamp_ns + 20_000_000
    return scene(
        [
            {"id": "moving", "frame": sweep.sweep.frame, "stamp_ns": stamp_ns, "size": (8, 8, 4)},
            {"id": "still", "frame": "odom", "stamp_ns": stamp_ns, "said": {"label": "crate"}},
        ]
    )


def test_boxes_label_the_sweep_that_they_are_near(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    sweeps = posed(CITY)
    boxes = logged(tmp_path / "boxes.mcap", *map(boxes_of, sweeps[1:]))
    project = ["label", "project", CITY, str(boxes), "--out"]
    assert main([*project, "data/labels"]) == 0
    shown = capsys.readouterr().out
    assert "3 sweeps with" in shown
    # Of the last sweep the moving car's later box has no pose any more, so it is taken from the nearest.
    assert "boxes: 3 between two stamps, 3 taken from the nearest stamp, 1 times no pose" in shown
    assert f"1 boxes left out, the first: car 1 at {sweeps[3].sweep.stamp_ns + 20_000_000}: " in shown, (
        "the log has ended"
    )
    container = LabelContainer(Path("data/labels"), 2, 7)
    assert container.classes == ("car", "crate")
    assert list(container) == [(item.sweep.stamp_ns, source_of("robot/lidar")) for item in sweeps[1:]]
    places = []
    for key in list(container)[:2]:
        labels = container.labels(key)
        assert labels.fractions[:, 0].sum() * 4 * 0.4**3 == pytest.approx(8 * 8 * 4, rel=1e-6)
        assert set(labels.instance.tolist()) == {1, 2}
        places.append(decode(labels.cell_id[labels.code == 0]).sites.mean(axis=0))
    assert np.linalg.norm(places[1] - places[0]) > 0.3, "the first car goes with the robot"
    x = BCCDataset("data/labels", 2, 7, ["fractions", "class"]).table.features[:-1]
    assert np.array_equal(x[:, :2].argmax(axis=1), x[:, 2]), "they are columns to train on"
    names = run_page("labelled-cells.md", {"Path": Path})
    assert len(names["sweep"].cell_id) == len(names["sweep"].fractions) > 0
    assert main([*project, str(tmp_path / "none"), "--within", "0.01", "--between", "0"]) == 0
    assert "0 sweeps with 0 labelled cells; 4 without" in capsys.readouterr().out


def test_tracklets_are_of_the_frame_with_their_number(tmp_path: Path) -> None:
    (tmp_path / "drive.xml").write_text(tracklets(POSE.format(x=9, rx=0, yaw=0.3), first="2"))
    assert (
        main(["label", "project", CITY, str(tmp_path / "drive.xml"), "--out", str(tmp_path / "cells")]) == 0
    )
    container = LabelContainer(tmp_path / "cells", 2, 7)
    assert [stamp for stamp, _ in container] == [posed(CITY)[2].sweep.stamp_ns]


def test_a_label_container_is_given_to_a_run_and_merged_by_cell(tmp_path: Path, capsys) -> None:
    sweeps = posed(CITY)
    label_files(tmp_path / "labels", sweeps)
    boxes = logged(tmp_path / "boxes.mcap", *map(boxes_of, sweeps[1:]))
    for name, said in (("points", tmp_path / "labels"), ("boxes", boxes)):
        assert main(["label", "project", CITY, str(said), "--out", str(tmp_path / name)]) == 0
    names = [str(tmp_path / name) for name in ("points", "boxes")]
    assert main(["label", "merge", *names, "--out", str(tmp_path / "both")]) == 0
    points, boxed, both = (LabelContainer(tmp_path / name, 2, 7) for name in ("points", "boxes", "both"))
    assert both.classes == tuple(sorted({*points.classes, *boxed.classes}))
    assert list(both) == list(points)
    for key in both:
        told: dict = {}
        for container in (points, boxed):
            if (labels := container.labels(key)) is not None:
                most = labels.fractions.max(axis=1)
                columns = (labels.cell_id, labels.code, labels.instance, labels.fraction, most)
                rows = zip(*(column.tolist() for column in columns), strict=True)
                told |= {cell: (container.classes[code], *rest) for cell, code, *rest in rows}
        found = both.labels(key)
        assert found.cell_id.tolist() == sorted(told)
        for row, cell in enumerate(found.cell_id.tolist()):
            code = found.code[row]
            said = (found.instance[row], found.fraction[row], found.fractions[row, code])
            assert (both.classes[code], *said) == told[cell]
    run = write_run(tmp_path / "run", RunSpec(sweeps=2, cells=20, warmup=0))
    assert main(["label", "give", str(run), str(tmp_path / "both"), "--stamp", "2026-01-01"]) == 0
    standing = read_labels(run)
    expected = sum(len(both.labels(key)) for key in both)
    assert len(standing) == expected and set(standing.classes) <= set(both.classes)
    capsys.readouterr()
    out = tmp_path / "painted"
    assert main(["paint", CITY, str(run), "--out", str(out)]) == 0
    assert main(["paint", CITY, str(tmp_path / "both"), "--out", str(tmp_path / "again")]) == 0
    for item in sweeps:
        one, two = (
            painted(each, item.sweep.stream_id, item.sweep.stamp_ns) for each in (out, tmp_path / "again")
        )
        classes = [
            np.array(["", *json.loads((each / "classes.json").read_text())["classes"]])
            for each in (out, tmp_path / "again")
        ]
        assert np.array_equal(classes[0][one["label"]], classes[1][two["label"]])


def test_paint_with_a_file_of_words_or_a_least_share(tmp_path: Path) -> None:
    (item, *_) = posed(CITY)
    cell = int(item.cells.cell_id[np.argmax(np.diff(item.cells.map.starts.astype(np.int64)))])
    (tmp_path / "words.csv").write_text(f"cell_id,label\n{cell},tree\n")
    assert main(["paint", CITY, str(tmp_path / "words.csv"), "--out", str(tmp_path / "words")]) == 0
    found = painted(tmp_path / "words", item.sweep.stream_id, item.sweep.stamp_ns)
    assert (found["label"] == 1).sum() > 1
    assert np.array_equal(found["label"] == 1, cell_of(found) == cell)
    boxes = logged(tmp_path / "boxes.mcap", boxes_of(item))
    assert main(["label", "project", CITY, str(boxes), "--out", str(tmp_path / "cells")]) == 0
    counts = []
    for share in ("0", "0.5", "1"):
        out = tmp_path / f"share{share}"
        assert main(["paint", CITY, str(tmp_path / "cells"), "--out", str(out), "--min-fraction", share]) == 0
        found = painted(out, item.sweep.stream_id, item.sweep.stamp_ns)
        counts.append(int((found["label"] > 0).sum()))
    assert counts[0] > counts[1] > counts[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["label", "project", CITY, "nowhere.xml", "--out", "a"], "nowhere.xml: no such file"),
        (["label", "project", CITY, "nowhere", "--out", "a"], "nowhere: no such file or folder"),
        (["label", "project", CITY, "words.csv", "--out", "a"], "unknown kind of labels; expected a folder"),
        (["label", "project", CITY, "empty", "--out", "a"], "holds no .label files"),
        (["label", "project", CITY, "short", "--out", "a"], "labels of 1 points, the sweep has"),
        (["label", "project", CITY, "drive.xml", "--names", "a.yaml", "--out", "a"], "only for .label files"),
        (["paint", CITY, "empty", "--out", "a"], "writing it was cut off"),
        (["paint", CITY, "fine.csv", "--out", "full"], "is not an empty folder"),
        (["paint", CITY, "words.csv", "--out", "a"], "LOD 6, the run's cells are of LOD 7"),
        (["label", "merge", "empty", "--out", "a"], "writing it was cut off"),
    ],
)
def test_errors_are_one_line(tmp_path: Path, monkeypatch, capsys, arguments: list[str], words: str) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("empty", "short", "full"):
        (tmp_path / name).mkdir()
    (tmp_path / "full" / "a").touch()
    np.zeros(1, "<u4").tofile(tmp_path / "short" / "000000.label")
    (tmp_path / "drive.xml").write_text(tracklets())
    (tmp_path / "fine.csv").write_text("cell_id,label\n")
    coarse = int(encode(np.array([[0, 0, 0]], np.int32), frame=2, tier=0, lod=6)[0])
    (tmp_path / "words.csv").write_text(f"cell_id,label\n{coarse},tree\n")
    assert main(arguments) == 1
    shown = capsys.readouterr().err
    assert words in shown and shown.count("\n") == 1
