"""Every format from the file to the run folder: a golden table, and one clear line for whatever is broken."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import Writer

from agents.cli import main
from native import pose
from stream.codecs import pointcloud2
from stream.run_folder import RunFolder
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.test_cli import one_line
from tests.data import data_path
from tests.integration.format_files import FORMATS, GOLDEN, LOG, SWEEPS, Format, Stamped, table_of
from tests.stream.test_mcap import drive
from tests.stream.test_mcap import write as write_mcap

QUICK = ["--no-learn", "--set", "task.warmup_sweeps=0", "--sweeps", str(SWEEPS)]
RATE = ["--rate-hz", "10"]
DAMAGED = "damaged, and read up to the damage: "
POSE = "1 0 0 0 0 1 0 0 0 0 1 0\n"
Table = dict[str, Any]


@pytest.fixture(scope="module")
def golden() -> dict[str, Table]:
    tables: dict[str, Table] = json.loads(GOLDEN.read_text())
    return tables


@pytest.fixture(scope="module", params=list(FORMATS))
def made(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Format, Path]:
    name: str = request.param
    form = FORMATS[name]
    return name, form, form.make(tmp_path_factory.mktemp(name))


def our_sweeps(form: Format, location: Path) -> Iterator[Stamped]:
    """Sweeps as our source reads them, in the coordinates of the file."""
    source = open_source(str(location), SourceOptions(rate_hz=10 if form.arguments else None))
    origin, matrix = np.array(source.info().origin or (0, 0, 0)), np.eye(4)[:3]
    for item in source:
        if isinstance(item, Transform):
            matrix = pose.matrix(np.array([*item.translation, *item.rotation])).reshape(3, 4)
        if isinstance(item, Sweep):
            assert item.hits_only == form.hits_only
            points = item.points.astype(np.float64)
            if form.placed:
                points = points @ matrix[:, :3].T + matrix[:, 3] + origin
            yield None if form.arguments else item.stamp_ns, points


def assert_equal(table: Table, wanted: Table) -> None:
    for key in ("sweeps", "points", "first_stamp_ns", "last_stamp_ns"):
        assert table[key] == wanted[key], key
    for key in ("min_m", "max_m"):
        assert table[key] == pytest.approx(wanted[key], abs=1.5e-3), key


@pytest.mark.data
def test_the_table_is_what_the_formats_own_libraries_read(
    made: tuple[str, Format, Path], golden: dict[str, Table]
) -> None:
    name, form, location = made
    assert_equal(table_of(form.read(location)), golden[name])


@pytest.mark.data
def test_the_table_is_what_our_sources_read(made: tuple[str, Format, Path], golden: dict[str, Table]) -> None:
    name, form, location = made
    assert_equal(table_of(our_sweeps(form, location)), golden[name])


@pytest.mark.data
def test_doctor_and_replay(
    made: tuple[str, Format, Path],
    golden: dict[str, Table],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """What a dry run promises, a replay does; rays make cells free where, and only where, there are any."""
    name, form, location = made
    assert main(["doctor", str(location), *form.arguments, "--sweeps", str(SWEEPS)]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert f"{SWEEPS} of {SWEEPS} sweeps" in shown.out
    assert (f"all {SWEEPS} sweeps are hits only" in shown.out) == form.hits_only
    assert main(["replay", str(location), *form.arguments, *QUICK, "--out", str(tmp_path / "run")]) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["sweeps"], summary["points"]) == (SWEEPS, golden[name]["points"])
    assert summary["dead_letters"] == {}
    records = list(RunFolder(tmp_path / "run").records("robot", 0, 99))
    assert len(records) == SWEEPS and all(record.binned > 1000 for record in records)
    seen_through = [int(record.passes.sum()) for record in records]
    assert (max(seen_through) == 0) == (sum(record.rays for record in records) == 0) == form.hits_only


# ---- broken variants -----------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Broken:
    """A log with one fault: where it is, and how a replay ends."""

    location: Path
    words: str
    arguments: tuple[str, ...] = ()
    code: int = 1


def folder_with(folder: Path, files: dict[str, bytes | str]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def first_file(name: str, folder: Path) -> Path:
    """The first file of a format's log, alone in a folder."""
    source = folder / "whole"
    source.mkdir()
    made = FORMATS[name].make(source)
    first = next(path for path in sorted(made.iterdir()) if path.suffix not in (".txt", ".yaml"))
    (folder / first.name).write_bytes(first.read_bytes())
    return folder / first.name


def cut_in_half(name: str, words: str) -> Callable[[Path], Broken]:
    def make(folder: Path) -> Broken:
        path = first_file(name, folder)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2 + 1])
        (folder / "poses.txt").write_text("" if FORMATS[name].hits_only else POSE)
        if FORMATS[name].hits_only:
            (folder / "poses.txt").unlink()
        return Broken(path, words, tuple(RATE))

    return make


def cut_recording(folder: Path) -> Broken:
    """Damage behind the first sweeps: they are processed, and the exit code says so."""
    path = folder / "cut.mcap"
    path.write_bytes(data_path(LOG).read_bytes()[:4_000_000])
    return Broken(path, f"processed up to the damage: {path}: ", code=3)


def cut_bag(folder: Path) -> Broken:
    location = FORMATS["rosbag2_sqlite"].make(folder)
    (file,) = location.glob("*.db3")
    file.write_bytes(file.read_bytes()[:50_000])
    return Broken(location, "not a readable rosbag2 recording")


def cut_foxglove(folder: Path) -> Broken:
    path = FORMATS["mcap_foxglove"].make(folder)
    path.write_bytes(path.read_bytes()[:300])
    return Broken(path, str(path))


def wrong_field(folder: Path) -> Broken:
    """A PointCloud2 whose x has a type that ROS does not know."""
    entries = [
        (topic, time, data.replace(b"\x07\0\0\0\1\0\0\0", b"\x63\0\0\0\1\0\0\0"))
        for topic, time, data in drive()
    ]
    return Broken(Path(write_mcap(folder / "a.mcap", entries)), "datatype")


def wrong_message(folder: Path) -> Broken:
    path = folder / "json.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start()
        schema = writer.register_schema("foxglove.PointCloud", "jsonschema", b"{}")
        writer.add_message(writer.register_channel("/lidar", "json", schema), 1, b"{}", 1)
        writer.finish()
    return Broken(path, "json")


def lone(name: str, content: bytes | str, words: str, *beside: tuple[str, str]) -> Callable[[Path], Broken]:
    return lambda folder: Broken(
        folder_with(folder, {name: content, **dict(beside)}) / name, words, tuple(RATE)
    )


def nan_gps_time(folder: Path) -> Broken:
    import laspy

    path = first_file("las", folder)
    las = laspy.read(str(path))
    las.gps_time = np.full(len(las.points), np.nan)
    las.write(str(path))
    return Broken(path, "GPS time nan..nan s is not a time; give --rate-hz")


def nan_timestamps(folder: Path) -> Broken:
    files: dict[str, bytes | str] = {"0.bin": bytes(16), "poses.txt": POSE, "timestamps.txt": "nan\n"}
    return Broken(folder_with(folder, files), "timestamps.txt: line 1: expected 2011-09-26")


PCD = (
    "VERSION 0.7\nFIELDS x y z\nSIZE 4 4 4\nTYPE F F F\nCOUNT 1 1 1\nWIDTH 1\nHEIGHT 1\nPOINTS 1\n"
    "DATA ascii\n1 2 3\n"
)
PLY = (
    "ply\nformat ascii 1.0\nelement vertex 1\nproperty float x\nproperty float y\nproperty float z\n"
    "end_header\n1 2 3\n"
)
POSES = ("poses.txt", POSE)

BROKEN: dict[str, Callable[[Path], Broken]] = {
    "mcap cut": cut_recording,
    "mcap cut at once": cut_foxglove,
    "mcap wrong magic": lone("a.mcap", b"MCAP" * 20, "not an MCAP file"),
    "mcap wrong field": wrong_field,
    "mcap wrong message": wrong_message,
    "rosbag2 cut": cut_bag,
    "rosbag2 wrong magic": lone("a.db3", b"SQL" * 99, "not a rosbag2 database"),
    "pcd cut": cut_in_half("pcd", "points cannot be read"),
    "pcd wrong magic": lone("a.pcd", b"PK\x03\x04" * 9, "not a PCD file", POSES),
    "pcd wrong field": lone("a.pcd", PCD.replace("TYPE F", "TYPE Q"), "corrupt: a.pcd: ", POSES),
    "kitti cut": cut_in_half("kitti", "are not a multiple of 16"),
    "kitti empty": lone("a.bin", b"", "the file is empty", POSES),
    "kitti NaN stamp": nan_timestamps,
    "nuscenes cut": cut_in_half("nuscenes", "are not a multiple of 20"),
    "nuscenes no stamp": lone("a__LIDAR_TOP__nan.pcd.bin", bytes(20), "no stamp in the file name", POSES),
    "las cut": cut_in_half("las", "cut off: "),
    "las wrong magic": lone("a.las", b"LAZY" * 99, "not a LAS file: it does not begin with LASF"),
    "las NaN stamp": nan_gps_time,
    "laz cut": cut_in_half("laz", "its layers end at byte "),
    "ply cut": cut_in_half("ply", "early end-of-file"),
    "ply wrong magic": lone("a.ply", b"PLY\0" * 9, "not a PLY file: it does not begin with ply"),
    "ply wrong field": lone("a.ply", PLY.replace("float x", "list uchar float x"), "a.ply: "),
    "volume cut": cut_in_half("volume", "cannot be read: "),
    "volume wrong magic": lone("a.npz", b"\x93NUMPY" * 9, "not a .npz file of numpy"),
    "volume without place": lone("a.npy", b"\x93NUMPY" * 9, "no volume.yaml beside it"),
}  # fmt: skip


@pytest.mark.data
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_log_is_one_clear_line(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log").mkdir()
    broken = BROKEN[name](tmp_path / "log")
    command = [str(broken.location), *broken.arguments, "--set", "grid.map_frame=odom"]
    code = main(["replay", *command, "--no-learn", "--out", str(tmp_path / "run")])
    line = one_line(capsys.readouterr().err)
    assert code == broken.code, line
    assert broken.words in line and broken.location.name in line
    assert main(["doctor", *command]) == (0 if code == 3 else code)
    shown = capsys.readouterr()
    assert (DAMAGED if code == 3 else broken.words) in " ".join((shown.out + shown.err).split())
    assert not shown.err or one_line(shown.err) == line


@pytest.mark.parametrize(
    "name", ["a.mcap", "a.db3", "a.pcd", "a.bin", "a.pcd.bin", "a.las", "a.laz", "a.ply", "a.npz"]
)
@pytest.mark.parametrize("command", ["info", "doctor", "replay"])
def test_a_missing_file_is_named(
    command: str, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "run")] if command == "replay" else []
    assert main([command, str(tmp_path / name), *out]) == 1
    assert one_line(capsys.readouterr().err) == f"{tmp_path / name}: no such file or folder"
    assert not (tmp_path / "run").exists()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("name", ["a.mcap", "a.pcd", "a.bin", "a.las", "a.ply", "a.npz"])
def test_a_file_that_may_not_be_read_is_named(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name).write_bytes(b"secret")
    (tmp_path / name).chmod(0)
    assert main(["doctor", str(tmp_path / name)]) == 1
    assert one_line(capsys.readouterr().err) == f"{tmp_path / name}: Permission denied"


def empty_cloud(folder: Path) -> Path:
    none = np.empty((0, 3), np.float32)
    entries = [
        (topic, time, pointcloud2.encode_cdr(time, "lidar", none, none[:, 0]) if "points" in topic else data)
        for topic, time, data in drive()
    ]
    return Path(write_mcap(folder / "a.mcap", entries))


def empty_pcd(folder: Path) -> Path:
    text = PCD.replace("POINTS 1", "POINTS 0").replace("WIDTH 1", "WIDTH 0")
    return folder_with(folder, {"a.pcd": text, "poses.txt": POSE}) / "a.pcd"


def empty_las(folder: Path) -> Path:
    import laspy

    laspy.LasData(laspy.LasHeader(point_format=6, version="1.4")).write(str(folder / "a.las"))
    return folder / "a.las"


def empty_volume(folder: Path) -> Path:
    np.savez(folder / "a.npz", occupancy=np.zeros((4, 4, 4), bool), origin=np.zeros(3), resolution=0.2)
    return folder / "a.npz"


EMPTY: dict[str, Callable[[Path], Path]] = {
    "mcap": empty_cloud,
    "pcd": empty_pcd,
    "las": empty_las,
    "ply": lambda folder: folder_with(folder, {"a.ply": PLY.replace("vertex 1", "vertex 0")}) / "a.ply",
    "volume": empty_volume,
}


@pytest.mark.parametrize("name", EMPTY)
def test_sweeps_without_points_are_said_by_doctor(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sensor that is blocked sees nothing, which is no fault of the log; a log without any point is one."""
    location = EMPTY[name](tmp_path)
    assert main(["doctor", str(location), *([] if name == "mcap" else RATE)]) == 1
    shown = capsys.readouterr()
    assert shown.err == "" and "no sweep in this log holds a point" in shown.out
