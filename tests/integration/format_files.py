"""One log of every format: three recorded sweeps, written and read by the formats' own libraries.

``python -m tests.integration.format_files`` writes the golden table anew, from what these libraries read.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import laspy
import numpy as np
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud as FoxgloveCloud
from mcap.reader import make_reader
from numpy.typing import NDArray
from plyfile import PlyData, PlyElement
from pypcd4 import PointCloud
from rosbags.rosbag2 import Reader, StoragePlugin
from rosbags.typesys import Stores, get_typestore

from stream.sources import open_source
from stream.sources.base import Item
from stream.sweep import Sweep
from tests.data import data_path
from tests.stream import test_mcap_foxglove as foxglove_log
from tests.stream import test_rosbag2 as bag
from tests.stream.test_mcap import Entry

GOLDEN = Path(__file__).with_name("formats.json")
LOG, FOLDER = "kitti_0005_000-053.mcap", "kitti_pcd"
CLOUDS = "/velodyne_points"
CORNER = np.array([457_000.0, 5_428_000.0, -12.0])
"""Where the map of LAS files lies in UTM."""

STAMPS_US = (1_532_402_927_647_951, 1_532_402_927_747_951, 1_532_402_927_847_951)
VOXEL_M = 0.4
SWEEPS = 3
TYPES = get_typestore(Stores.ROS2_HUMBLE)

Array = NDArray[Any]
Stamped = tuple[int | None, Array]
"""Stamp (ns), where the file has one, and points (N, 3) of a sweep, in the coordinates of the file."""


@dataclass(frozen=True)
class Format:
    """A log of one format.

    make : writes it into a folder, or finds it, and says where it is
    read : its sweeps as its own library reads them
    arguments : what a replay needs beside; hits_only : no ray makes anything free
    placed : coordinates in the file are those of a map
    """

    make: Callable[[Path], Path]
    read: Callable[[Path], Iterator[Stamped]]
    arguments: tuple[str, ...] = ()
    hits_only: bool = False
    placed: bool = False


def table_of(sweeps: Iterator[Stamped]) -> dict[str, Any]:
    """Sweeps, points, extents (m, to the millimetre) and stamps (ns) of a log."""
    read = list(islice(sweeps, SWEEPS))
    points = np.concatenate([places for _, places in read]).astype(np.float64)
    return {
        "sweeps": len(read),
        "points": len(points),
        "min_m": points.min(axis=0).round(3).tolist(),
        "max_m": points.max(axis=0).round(3).tolist(),
        "first_stamp_ns": read[0][0],
        "last_stamp_ns": read[-1][0],
    }


# ---- what was recorded ---------------------------------------------------------------------------------


def recorded_messages() -> list[Entry]:
    """Messages of the recorded log up to its third cloud, as its library reads them."""
    entries: list[Entry] = []
    with data_path(LOG).open("rb") as file:
        for _, channel, message in make_reader(file).iter_messages():
            entries.append((channel.topic, message.log_time, message.data))
            if sum(topic == CLOUDS for topic, _, _ in entries) == SWEEPS:
                return entries
    raise AssertionError(f"{LOG} holds fewer than {SWEEPS} clouds")


def recorded_items() -> list[Item]:
    """The same as the MCAP source reads it."""
    items: list[Item] = []
    for item in open_source(str(data_path(LOG))):
        items.append(item)
        if sum(isinstance(one, Sweep) for one in items) == SWEEPS:
            break
    return items


def recorded_clouds() -> list[Array]:
    """The first recorded PCD files, float32 (N, 4): x y z intensity."""
    paths = sorted(data_path(FOLDER).glob("*.pcd"))[:SWEEPS]
    return [PointCloud.from_path(path).numpy(("x", "y", "z", "intensity")) for path in paths]


def recorded_poses() -> Array:
    """Their poses, float64 (3, 3, 4), sensor to map."""
    return np.loadtxt(data_path(FOLDER) / "poses.txt")[:SWEEPS].reshape(-1, 3, 4)


def map_clouds() -> list[Array]:
    """Their points in the map, float64 (N, 4)."""
    return [
        np.column_stack([cloud[:, :3].astype(np.float64) @ pose[:, :3].T + pose[:, 3], cloud[:, 3]])
        for cloud, pose in zip(recorded_clouds(), recorded_poses(), strict=True)
    ]


def write_poses(folder: Path, poses: Array) -> None:
    np.savetxt(folder / "poses.txt", poses.reshape(-1, 12), fmt="%.9g" if poses.max() < 1e5 else "%.12g")


# ---- ROS 2 and Foxglove --------------------------------------------------------------------------------


def cloud_of(data: bytes) -> Stamped:
    message: Any = TYPES.deserialize_cdr(data, "sensor_msgs/msg/PointCloud2")
    fields = [field for field in message.fields if field.name in "xyz"]
    kind = np.dtype(
        {
            "names": [field.name for field in fields],
            "formats": ["<f4"] * 3,
            "offsets": [field.offset for field in fields],
            "itemsize": message.point_step,
        }
    )
    rows = np.frombuffer(message.data, kind)
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec, np.stack([rows[name] for name in "xyz"], axis=1)


def read_mcap(path: Path) -> Iterator[Stamped]:
    with path.open("rb") as file:
        for _, _, message in make_reader(file).iter_messages(topics=[CLOUDS]):
            yield cloud_of(message.data)


def make_foxglove(folder: Path) -> Path:
    return Path(foxglove_log.write(folder / "foxglove.mcap", foxglove_log.entries_of(recorded_items())))


def read_foxglove(path: Path) -> Iterator[Stamped]:
    with path.open("rb") as file:
        for _, _, message in make_reader(file).iter_messages(topics=["/lidar"]):
            cloud = FoxgloveCloud.FromString(message.data)
            rows = np.frombuffer(cloud.data, "<f4").reshape(-1, cloud.point_stride // 4)
            yield cloud.timestamp.ToNanoseconds(), rows[:, 1:4]


def make_bag(storage: StoragePlugin) -> Callable[[Path], Path]:
    return lambda folder: Path(bag.write(folder / "bag", recorded_messages(), storage))


def read_bag(path: Path) -> Iterator[Stamped]:
    with Reader(path) as reader:
        wanted = [connection for connection in reader.connections if connection.topic == CLOUDS]
        for _, _, data in reader.messages(wanted):
            yield cloud_of(data)


# ---- folders of files ----------------------------------------------------------------------------------


def read_pcd(folder: Path) -> Iterator[Stamped]:
    for path in sorted(folder.glob("*.pcd")):
        yield None, PointCloud.from_path(path).numpy(("x", "y", "z"))


def make_kitti(folder: Path) -> Path:
    for number, cloud in enumerate(recorded_clouds()):
        cloud.astype("<f4").tofile(folder / f"{number:010}.bin")
    write_poses(folder, recorded_poses())
    (folder / "timestamps.txt").write_text(
        "".join(f"2011-09-26 13:02:25.{tenth}00000123\n" for tenth in range(1, 1 + SWEEPS))
    )
    return folder


def read_kitti(folder: Path) -> Iterator[Stamped]:
    stamps = np.loadtxt(folder / "timestamps.txt", dtype=str, delimiter=";")
    for path, stamp in zip(sorted(folder.glob("*.bin")), stamps, strict=True):
        whole = np.datetime64(stamp.replace(" ", "T"), "ns").astype(np.int64)
        yield int(whole), np.fromfile(path, "<f4").reshape(-1, 4)[:, :3]


def make_nuscenes(folder: Path) -> Path:
    for stamp, cloud in zip(STAMPS_US, recorded_clouds(), strict=True):
        rows = np.column_stack([cloud, np.arange(len(cloud)) % 32])
        rows.astype("<f4").tofile(folder / f"n015__LIDAR_TOP__{stamp}.pcd.bin")
    write_poses(folder, recorded_poses())
    return folder


def read_nuscenes(folder: Path) -> Iterator[Stamped]:
    for path in sorted(folder.glob("*.pcd.bin")):
        stamp_us = int(path.name.split("__")[-1].removesuffix(".pcd.bin"))
        yield stamp_us * 1000, np.fromfile(path, "<f4").reshape(-1, 5)[:, :3]


def make_las(suffix: str, posed: bool) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        for number, cloud in enumerate(map_clouds()):
            header = laspy.LasHeader(point_format=6, version="1.4")
            header.scales, header.offsets = np.full(3, 0.001), CORNER
            header.global_encoding.gps_time_type = laspy.header.GpsTimeType.STANDARD
            las = laspy.LasData(header)
            las.x, las.y, las.z = cloud[:, :3].T + CORNER[:, None]
            las.intensity = (cloud[:, 3] * 65535).astype(np.uint16)
            las.gps_time = np.full(len(cloud), 350_000_000.25 + number / 8)
            las.write(str(folder / f"{number}{suffix}"))
        if posed:
            poses = recorded_poses()
            poses[:, :, 3] += CORNER
            write_poses(folder, poses)
        return folder

    return make


def read_las(folder: Path) -> Iterator[Stamped]:
    for path in sorted([*folder.glob("*.las"), *folder.glob("*.laz")]):
        las = laspy.read(str(path))
        since_1980_s = float(las.gps_time.min()) + 1_000_000_000
        yield round(since_1980_s * 1000) * 10**6 + 315_964_800 * 10**9, np.array([las.x, las.y, las.z]).T


def make_ply(folder: Path) -> Path:
    for number, cloud in enumerate(map_clouds()):
        rows = np.rec.fromarrays(cloud.T, [("x", "f8"), ("y", "f8"), ("z", "f8"), ("intensity", "f8")])
        PlyData([PlyElement.describe(np.asarray(rows), "vertex")]).write(str(folder / f"{number}.ply"))
    return folder


def read_ply(folder: Path) -> Iterator[Stamped]:
    for path in sorted(folder.glob("*.ply")):
        vertex = PlyData.read(str(path))["vertex"]
        yield None, np.array([vertex["x"], vertex["y"], vertex["z"]]).T


def make_volume(folder: Path) -> Path:
    for number, cloud in enumerate(map_clouds()):
        low = np.array([-40.0, -40.0, -4.0])
        voxels = np.floor((cloud[:, :3] - low) / VOXEL_M).astype(int)
        grid = np.zeros((200, 200, 30), bool)
        grid[tuple(voxels[((voxels >= 0) & (voxels < grid.shape)).all(axis=1)].T)] = True
        np.savez_compressed(folder / f"{number}.npz", occupancy=grid, origin=low, resolution=VOXEL_M)
    return folder


def read_volume(folder: Path) -> Iterator[Stamped]:
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as arrays:
            x, y, z = np.nonzero(arrays["occupancy"])
            middles = (np.array([x, y, z]).T + 0.5) * float(arrays["resolution"])
            yield None, middles + arrays["origin"]


RATE = ("--rate-hz", "10")
FORMATS: dict[str, Format] = {
    "mcap_cdr": Format(lambda folder: data_path(LOG), read_mcap),
    "mcap_foxglove": Format(make_foxglove, read_foxglove),
    "rosbag2_sqlite": Format(make_bag(StoragePlugin.SQLITE3), read_bag),
    "rosbag2_mcap": Format(make_bag(StoragePlugin.MCAP), read_bag),
    "pcd": Format(lambda folder: data_path(FOLDER), read_pcd, RATE),
    "kitti": Format(make_kitti, read_kitti),
    "nuscenes": Format(make_nuscenes, read_nuscenes),
    "las": Format(make_las(".las", posed=True), read_las, placed=True),
    "laz": Format(make_las(".laz", posed=False), read_las, hits_only=True, placed=True),
    "ply": Format(make_ply, read_ply, RATE, hits_only=True, placed=True),
    "volume": Format(make_volume, read_volume, RATE, hits_only=True, placed=True),
}


def main() -> None:
    """Write the golden table."""
    tables = {}
    for name, form in FORMATS.items():
        with TemporaryDirectory() as folder:
            tables[name] = table_of(form.read(form.make(Path(folder))))
    GOLDEN.write_text(json.dumps(tables, indent=1) + "\n")


if __name__ == "__main__":
    main()
