"""nuScenes folders of .pcd.bin files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sweep import Sweep
from stream.transform import Transform

STAMPS_US = (1532402927647951, 1532402927697823, 1532402927747690)
NAME = "n015-2018-07-24-11-22-45+0800__LIDAR_TOP__{}.pcd.bin"
POSES = "".join(f"0 1 0 {number} -1 0 0 0 0 0 1 1.84\n" for number in range(3))


def table_of(number: int) -> np.ndarray:
    """Four points of five values that name sweep and place."""
    return np.arange(20, dtype="<f4").reshape(4, 5) + 100 * number


def folder_of(folder: Path, poses: str = POSES) -> Path:
    folder.mkdir(parents=True)
    for number, stamp in enumerate(STAMPS_US):
        (folder / NAME.format(stamp)).write_bytes(table_of(number).tobytes())
    if poses:
        (folder / "poses.txt").write_text(poses)
    return folder


def items_of(location: Path, **options: object) -> list[Item]:
    return list(open_source(str(location), SourceOptions(**options)))  # type: ignore[arg-type]


def test_sweeps_poses_and_stamps(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "samples" / "LIDAR_TOP")
    info = open_source(str(folder), SourceOptions()).info()
    assert (info.format, info.sweeps, info.root_frame) == ("nuscenes", 3, "odom")
    assert info.topics == {"*.pcd.bin": ("nuscenes", 3)}
    assert (info.start_ns, info.end_ns) == (1532402927647951000, 1532402927747690000)
    assert info.sensor_frames == ("LIDAR_TOP",)
    items = items_of(folder, robot_id="n")
    for number, (move, sweep) in enumerate(zip(items[::2], items[1::2], strict=True)):
        assert isinstance(move, Transform) and isinstance(sweep, Sweep)
        assert move.stamp_ns == sweep.stamp_ns == STAMPS_US[number] * 1000
        assert (move.parent, move.child, move.translation) == ("odom", "LIDAR_TOP", (number, 0.0, 1.84))
        assert sweep.stream_id == "n/LIDAR_TOP"
        assert np.array_equal(sweep.points, table_of(number)[:, :3])
        assert np.array_equal(sweep.intensity, table_of(number)[:, 3])
        assert sweep.points.flags.c_contiguous


def test_sweeps_come_by_stamp_whatever_the_log_is_called(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "log")
    first = folder / NAME.format(STAMPS_US[0])
    first.rename(folder / f"z__LIDAR_TOP__{STAMPS_US[0]}.pcd.bin")
    sweeps = [item for item in items_of(folder) if isinstance(item, Sweep)]
    assert [sweep.stamp_ns // 1000 for sweep in sweeps] == list(STAMPS_US)


def test_one_file(tmp_path: Path) -> None:
    path = folder_of(tmp_path / "log", poses="1 0 0 0 0 1 0 0 0 0 1 0\n") / NAME.format(STAMPS_US[1])
    move, sweep = items_of(path)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert np.array_equal(sweep.points, table_of(1)[:, :3])


def test_the_suffix_tells_five_values_from_four(tmp_path: Path) -> None:
    """Twenty values are four points here and five in KITTI's files."""
    folder = folder_of(tmp_path / "five")
    four = tmp_path / "four"
    four.mkdir()
    (four / "0.bin").write_bytes(table_of(0).tobytes())
    (four / "poses.txt").write_text("1 0 0 0 0 1 0 0 0 0 1 0\n")
    (kitti,) = (item for item in items_of(four, rate_hz=10) if isinstance(item, Sweep))
    assert kitti.points.shape == (5, 3)
    assert open_source(str(four), SourceOptions()).info().format == "kitti"
    (folder / "0.bin").write_bytes(bytes(16))
    with pytest.raises(SourceError, match=r"holds \.bin and \.pcd\.bin files; name one file or one folder"):
        open_source(str(folder), SourceOptions())


def test_bad_sizes_are_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "log")
    (folder / NAME.format(STAMPS_US[0])).write_bytes(b"")
    (folder / NAME.format(STAMPS_US[1])).write_bytes(bytes(64))
    empty, odd, sound = items_of(folder)[1::2]
    assert isinstance(empty, SweepRejected) and isinstance(odd, SweepRejected) and isinstance(sound, Sweep)
    assert empty.detail == f"{NAME.format(STAMPS_US[0])}: the file is empty"
    assert odd.detail.startswith(f"{NAME.format(STAMPS_US[1])}: 64 bytes are not a multiple of 20")
    assert (odd.reason, odd.stamp_ns, odd.stream_id) == ("corrupt", STAMPS_US[1] * 1000, "robot/LIDAR_TOP")


@pytest.mark.parametrize(
    "name",
    ["0.pcd.bin", "n__LIDAR_TOP__.pcd.bin", "n__LIDAR_TOP__0.pcd.bin", f"n__LIDAR__{10**18}.pcd.bin"],
)
def test_names_without_a_stamp(tmp_path: Path, name: str) -> None:
    folder = folder_of(tmp_path / "log")
    (folder / name).write_bytes(bytes(20))
    with pytest.raises(SourceError, match="no stamp in the file name; expected microseconds") as caught:
        open_source(str(folder), SourceOptions())
    assert name in str(caught.value) and "\n" not in str(caught.value)


def test_two_sweeps_of_one_stamp(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "log")
    (folder / f"m__LIDAR_TOP__{STAMPS_US[0]}.pcd.bin").write_bytes(bytes(20))
    with pytest.raises(SourceError, match="have one stamp; a folder holds one sensor's sweeps"):
        open_source(str(folder), SourceOptions())


def test_poses_are_needed_and_must_fit(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "log", poses="")
    assert open_source(str(folder), SourceOptions()).info().root_frame is None
    with pytest.raises(SourceError, match="name the pose file with --poses"):
        items_of(folder)
    (tmp_path / "p.txt").write_text(POSES + POSES)
    with pytest.raises(SourceError, match="6 poses for 3 sweeps"):
        items_of(folder, poses=tmp_path / "p.txt")
