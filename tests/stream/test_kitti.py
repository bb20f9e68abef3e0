"""KITTI Velodyne folders."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path

TEN_HZ = SourceOptions(rate_hz=10)
POSES = "".join(f"1 0 0 {number} 0 1 0 0 0 0 1 0\n" for number in range(3))
STAMPS = "2011-09-26 13:02:25.594360375\n2011-09-26 13:02:25.697683000\n2011-09-26 13:02:25.8\n"


def folder_of(folder: Path) -> Path:
    """Three sweeps of four points; values name sweep and place."""
    folder.mkdir(parents=True)
    for number in range(3):
        table = np.arange(16, dtype="<f4").reshape(4, 4) + 100 * number
        (folder / f"{number:010}.bin").write_bytes(table.tobytes())
    return folder


def items_of(folder: Path, options: SourceOptions = TEN_HZ) -> list[Item]:
    return list(open_source(str(folder), options))


def test_sweeps_and_poses(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "bins")
    (folder / "poses.txt").write_text(POSES)
    source = open_source(str(folder), SourceOptions(robot_id="k", rate_hz=10))
    info = source.info()
    assert (info.format, info.sweeps, info.root_frame, info.topics) == (
        "kitti", 3, "odom", {"*.bin": ("kitti", 3)}
    )  # fmt: skip
    assert (info.start_ns, info.end_ns) == (1_000_000_000, 1_200_000_000)
    items = list(source)
    for number, (move, sweep) in enumerate(zip(items[::2], items[1::2], strict=True)):
        assert isinstance(move, Transform)
        assert isinstance(sweep, Sweep)
        assert move.translation == (number, 0.0, 0.0)
        assert move.stamp_ns == sweep.stamp_ns == 1_000_000_000 + 100_000_000 * number
        table = np.arange(16, dtype=np.float32).reshape(4, 4) + 100 * number
        assert np.array_equal(sweep.points, table[:, :3])
        assert np.array_equal(sweep.intensity, table[:, 3])
        assert sweep.stream_id == "k/velodyne"


@pytest.mark.parametrize(
    ("sweeps", "files", "opened"),
    [
        ("velodyne_points/data", "velodyne_points", "."),
        ("velodyne_points/data", ".", "."),
        ("velodyne_points/data", "velodyne_points", "velodyne_points"),
        ("velodyne_points/data", "velodyne_points", "velodyne_points/data"),
        ("velodyne", ".", "."),
        ("bins", "bins", "bins"),
        ("bins", ".", "bins"),
    ],
)
def test_poses_and_stamps_in_the_folder_or_beside(
    tmp_path: Path, sweeps: str, files: str, opened: str
) -> None:
    folder_of(tmp_path / "drive" / sweeps)
    (tmp_path / "drive" / files / "poses.txt").write_text(POSES)
    (tmp_path / "drive" / files / "timestamps.txt").write_text(STAMPS)
    items = items_of(tmp_path / "drive" / opened, SourceOptions())
    stamps = [item.stamp_ns for item in items if isinstance(item, Sweep)]
    assert stamps == [1317042145594360375, 1317042145697683000, 1317042145800000000]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (STAMPS + STAMPS, r"timestamps.txt: 6 stamps for 3 sweeps"),
        (STAMPS.replace("25.697683000", "25.594360375"), "line 2: the stamp is not after the one before"),
        (STAMPS.replace("2011-09-26 13:02:25.8", "0.2"), "line 3: expected 2011-09-26"),
        (STAMPS.replace("25.8", "25.8x"), "line 3: expected 2011-09-26"),
        (STAMPS.replace("25.8", "25.8000000001"), "line 3: expected 2011-09-26"),
    ],
)
def test_broken_stamps(tmp_path: Path, text: str, message: str) -> None:
    folder = folder_of(tmp_path / "bins")
    (folder / "poses.txt").write_text(POSES)
    (folder / "timestamps.txt").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(str(folder), SourceOptions())
    assert "\n" not in str(caught.value)


def test_broken_files_are_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "bins")
    (folder / "poses.txt").write_text(POSES)
    (folder / "0000000000.bin").write_bytes(b"")
    (folder / "0000000001.bin").write_bytes(bytes(63))
    items = items_of(folder)
    assert [type(item).__name__ for item in items[1::2]] == ["SweepRejected", "SweepRejected", "Sweep"]
    empty, odd = items[1], items[3]
    assert isinstance(empty, SweepRejected)
    assert isinstance(odd, SweepRejected)
    assert empty.detail == "0000000000.bin: the file is empty"
    assert odd.detail.startswith("0000000001.bin: 63 bytes are not a multiple of 16")
    assert (odd.reason, odd.stamp_ns, odd.stream_id) == ("corrupt", 1_100_000_000, "robot/velodyne")


def test_missing_rate_poses_and_wrong_counts(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "bins")
    with pytest.raises(SourceError, match="give --rate-hz"):
        items_of(folder, SourceOptions())
    with pytest.raises(SourceError, match="name the pose file with --poses"):
        items_of(folder)
    poses = tmp_path / "p.txt"
    poses.write_text(POSES + POSES)
    with pytest.raises(SourceError, match="6 poses for 3 sweeps"):
        items_of(folder, SourceOptions(rate_hz=10, poses=poses))


@pytest.mark.data
def test_recorded_sweeps_as_kitti_files_equal_the_pcd_folder(tmp_path: Path) -> None:
    recorded = open_source(str(data_path("kitti_pcd")), TEN_HZ)
    wanted = [item for item in recorded if isinstance(item, Sweep)][:3]
    for number, sweep in enumerate(wanted):
        table = np.column_stack([sweep.points, sweep.intensity])
        (tmp_path / f"{number}.bin").write_bytes(table.astype("<f4").tobytes())
    (tmp_path / "poses.txt").write_text(POSES)
    got = [item for item in items_of(tmp_path) if isinstance(item, Sweep)]
    for one, other in zip(wanted, got, strict=True):
        assert one.points.tobytes() == other.points.tobytes()
        assert one.intensity.tobytes() == other.intensity.tobytes()
        assert one.stamp_ns == other.stamp_ns
