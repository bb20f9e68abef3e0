"""Recordings of other tools, from the file to the run folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import laspy
import numpy as np
import pyarrow.dataset as ds
import pytest
import yaml
from rosbags.rosbag2 import Writer
from rosbags.typesys import Stores, get_typestore

from agents.cli import main
from agents.failure import describe
from stream.codecs import pointcloud2, tf
from stream.run_folder import RunFolder
from stream.sources import open_source
from stream.sources.message_types import POINTS_TYPE, TF_TYPE
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import ROOT

CITY = "sim:city?sweeps=12&beams=32&azimuths=128&seed=3"
CORNER = np.array([457_000.0, 5_428_000.0, -12.0])
QUICK = ["--no-learn", "--set", "task.warmup_sweeps=3"]


def replay(location: str, out: Path, *arguments: str) -> dict[str, object]:
    assert main(["replay", location, "--out", str(out), *QUICK, *arguments]) == 0
    summary: dict[str, object] = json.loads((out / "summary.json").read_text())
    return summary


def bag_of_city(folder: Path) -> str:
    types = get_typestore(Stores.ROS2_HUMBLE)
    with Writer(folder, version=9) as writer:
        names = {"/tf": TF_TYPE, "/tf_static": TF_TYPE, "/points": POINTS_TYPE}
        topics = {name: writer.add_connection(name, kind, typestore=types) for name, kind in names.items()}
        for number, item in enumerate(open_source(CITY)):
            if isinstance(item, Transform):
                writer.write(
                    topics["/tf_static" if item.static else "/tf"], 1 + number, tf.encode_cdr([item])
                )
                continue
            assert isinstance(item, Sweep)
            cloud = pointcloud2.encode_cdr(item.stamp_ns, item.frame, item.points, item.intensity)
            writer.write(topics["/points"], 1 + number, cloud)
    return str(folder)


def las_of_city(folder: Path) -> Path:
    """Sweeps that never move, as a scanner on a tripod writes them: points in a map, 2 m above its ground."""
    folder.mkdir()
    sweeps = [item for item in open_source(CITY) if isinstance(item, Sweep)]
    for number, sweep in enumerate(sweeps):
        header = laspy.LasHeader(point_format=6, version="1.4")
        header.scales, header.offsets = np.full(3, 0.001), CORNER
        cloud = laspy.LasData(header)
        finite = sweep.points[np.isfinite(sweep.points).all(axis=1)]
        cloud.x, cloud.y, cloud.z = (finite + CORNER + [60, 60, 2]).T
        cloud.write(str(folder / f"{number:03}.laz"))
    return folder


def test_a_bag_is_replayed_to_the_same_digest_as_what_it_was_made_from(tmp_path: Path) -> None:
    location = bag_of_city(tmp_path / "bag")
    bag, city = replay(location, tmp_path / "a"), replay(CITY, tmp_path / "b")
    assert bag["sweeps"] == 12 and bag["dead_letters"] == {}
    assert bag["run_digest"] == city["run_digest"]
    config = yaml.safe_load((tmp_path / "a" / "config.yaml").read_text())
    assert config["logs"] == ["bag"] and "origins" not in config["versions"]


def test_las_files_are_replayed_where_it_is_said_where_the_sensor_stood(tmp_path: Path) -> None:
    folder = las_of_city(tmp_path / "scans")
    (folder / "poses.txt").write_text("1 0 0 457060 0 1 0 5428060 0 0 1 -10\n" * 12)
    summary = replay(str(folder), tmp_path / "run", "--rate-hz", "10")
    assert summary["sweeps"] == 12 and summary["dead_letters"] == {}
    config = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    (entry,) = config["versions"]["origins"]
    assert entry["log"] == "scans" and entry["crs"] is None
    with laspy.open(folder / "000.laz") as first:
        assert entry["origin_m"] == np.floor(first.header.mins).tolist()


def test_no_place_is_called_free_from_where_no_sensor_stood(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without poses the same files are hits only; with them, rays make most of the outcomes free."""
    folder, run = las_of_city(tmp_path / "tiles"), tmp_path / "run"
    assert main(["doctor", str(folder), "--rate-hz", "10"]) == 0
    shown = capsys.readouterr().out
    assert "all 12 sweeps are hits only" in shown and "--poses FILE says where the sensor stood" in shown
    assert "grid.range_min_m=0" in shown and "12 of 12 sweeps" in shown
    summary = replay(str(folder), run, "--rate-hz", "10", "--set", "grid.range_min_m=0")
    assert summary["sweeps"] == 12 and summary["dead_letters"] == {}
    records = list(RunFolder(run).records("robot", 0, 99))
    assert len(records) == 12
    for record in records:
        assert (record.rays, record.misses, len(record.beams), int(record.passes.sum())) == (0, 0, 0, 0)
        assert record.binned > 0
    outcomes = ds.dataset(run / "outcomes").to_table()["occupied"].to_numpy()
    assert len(outcomes) > 1000 and outcomes.all()
    (folder / "poses.txt").write_text("1 0 0 457060 0 1 0 5428060 0 0 1 -10\n" * 12)
    replay(str(folder), tmp_path / "rays", "--rate-hz", "10", "--set", "grid.range_min_m=0")
    assert not ds.dataset(tmp_path / "rays" / "outcomes").to_table()["occupied"].to_numpy().all()


def test_info_shows_origin_and_coordinate_system(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from laspy.vlrs.known import WktCoordinateSystemVlr

    header = laspy.LasHeader(point_format=6, version="1.4")
    header.offsets = CORNER
    header.vlrs.append(WktCoordinateSystemVlr('PROJCS["WGS 84 / UTM zone 32N",' + 300 * "A" + "]"))
    laspy.LasData(header).write(str(tmp_path / "a.las"))
    assert main(["info", str(tmp_path / "a.las")]) == 0
    shown = capsys.readouterr().out
    assert "the map's zero is 457,000 5,428,000 -12 of the log" in shown
    assert 'PROJCS["WGS 84 / UTM zone 32N",AAA' in shown and 100 * "A" not in shown


def test_a_broken_file_is_said_once(tmp_path: Path) -> None:
    """The library would print what it raises as well."""
    folder = las_of_city(tmp_path / "scans")
    for path in folder.iterdir():
        path.write_bytes(path.read_bytes()[:-200])
    code = (
        f"from agents.cli import main; raise SystemExit(main(['doctor', {str(folder)!r}, '--rate-hz', '10']))"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False, timeout=100
    )
    assert shown.returncode == 1
    assert shown.stderr == ""
    assert shown.stdout.count("000.laz: chunk 0: its layers end at byte ") == 1


@pytest.mark.parametrize("package", ["rosbags", "laspy", "lazrs", "plyfile"])
def test_missing_packages_are_named_with_the_way_out(package: str) -> None:
    line, code = describe(ModuleNotFoundError("No module named", name=f"{package}.inside"))
    assert (line, code) == (f"reading this log needs {package}: pip install 'octastream[formats]'", 1)
