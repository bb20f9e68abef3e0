"""rosbag2 recordings written by rosbags itself: SQLite and MCAP, split, compressed and broken."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import yaml
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Damage, Item, SourceError, SourceOptions
from stream.sources.mcap_file import McapFile
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path
from tests.stream.test_mcap import Entry, cloud, drive, kinds, stamps_ms, transform

MS = 1_000_000
LOG = "kitti_0005_000-053.mcap"
TYPES = get_typestore(Stores.ROS2_HUMBLE)
NAMES = {
    "/tf": "tf2_msgs/msg/TFMessage",
    "/tf_static": "tf2_msgs/msg/TFMessage",
    "/chat": "std_msgs/msg/String",
}
STORAGES = [StoragePlugin.SQLITE3, StoragePlugin.MCAP]


def write(
    folder: Path,
    entries: Iterable[Entry],
    storage: StoragePlugin = StoragePlugin.SQLITE3,
    compression: CompressionMode = CompressionMode.NONE,
) -> str:
    writer = Writer(folder, version=9, storage_plugin=storage)
    writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer:
        channels = {}
        for topic, log_time, data in entries:
            if topic not in channels:
                kind = NAMES.get(topic, "sensor_msgs/msg/PointCloud2")
                channels[topic] = writer.add_connection(topic, kind, typestore=TYPES)
            writer.write(channels[topic], log_time, data)
    return str(folder)


def write_split(folder: Path, parts: Sequence[Sequence[Entry]], storage: StoragePlugin) -> str:
    """A bag of several files, as a recorder with a limit on their size leaves it."""
    bags = [
        Path(write(folder.with_name(f"{folder.name}_{n}"), part, storage)) for n, part in enumerate(parts)
    ]
    folder.mkdir()
    metadata = yaml.safe_load((bags[0] / "metadata.yaml").read_text())
    described = metadata["rosbag2_bagfile_information"]
    described["relative_file_paths"] = []
    for bag in bags:
        (file,) = (path for path in bag.iterdir() if path.suffix != ".yaml")
        shutil.copy(file, folder)
        described["relative_file_paths"].append(file.name)
    (folder / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    return str(folder)


def read(location: str, **options: object) -> list[Item]:
    return list(open_source(location, SourceOptions(**options)))  # type: ignore[arg-type]


def assert_equal(ours: Sequence[Item], theirs: Sequence[Item]) -> None:
    """The same items, bit for bit."""
    for one, other in zip(ours, theirs, strict=True):
        if not (isinstance(one, Sweep) and isinstance(other, Sweep)):
            assert one == other
            continue
        assert (one.stream_id, one.stamp_ns, one.frame) == (other.stream_id, other.stamp_ns, other.frame)
        assert one.points.tobytes() == other.points.tobytes()
        assert one.intensity.tobytes() == other.intensity.tobytes()
        assert one.time_offset_ns is None and other.time_offset_ns is None


@pytest.fixture(scope="module")
def recorded() -> tuple[list[Entry], list[Item]]:
    """The recorded log up to its fifth sweep, as messages and as the MCAP source reads it."""
    path = data_path(LOG)
    file, items = McapFile(path), []
    for item in open_source(str(path), SourceOptions()):
        items.append(item)
        if kinds(items).get("Sweep") == 5:
            break
    messages = sorted(message for unit in islice(file.contents.units, 12) for message in file.messages(unit))
    channels = file.channels()
    return [
        (channels[message.channel_id][0], message.log_time_ns, bytes(message.data))
        for message in messages[: len(items)]
    ], items


@pytest.mark.data
@pytest.mark.parametrize("compression", [CompressionMode.NONE, CompressionMode.MESSAGE, CompressionMode.FILE])
@pytest.mark.parametrize("storage", STORAGES)
def test_recorded_sweeps_equal_those_of_the_mcap_log(
    tmp_path: Path,
    recorded: tuple[list[Entry], list[Item]],
    storage: StoragePlugin,
    compression: CompressionMode,
) -> None:
    entries, wanted = recorded
    items = read(write(tmp_path / "bag", entries, storage, compression))
    assert kinds(items)["Sweep"] == 5 and kinds(items)["Transform"] > 10
    assert_equal(items, wanted)


def test_a_bag_as_info_describes_it(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", [*drive(), ("/chat", 1500 * MS, b"\0\1\0\0\1\0\0\0\0")])
    info = open_source(location, SourceOptions()).info()
    assert (info.location, info.format, info.sweeps, info.root_frame) == (location, "rosbag2", 4, "odom")
    assert info.topics == {
        "/chat": ("std_msgs/msg/String", 1),
        "/points": ("sensor_msgs/msg/PointCloud2", 4),
        "/tf": ("tf2_msgs/msg/TFMessage", 4),
    }
    assert (info.start_ns, info.end_ns, info.sensor_frames) == (1000 * MS, 1500 * MS, ("lidar",))


def test_points_extents_and_stamps(tmp_path: Path) -> None:
    items = read(write(tmp_path / "bag", drive(3)), robot_id="r")
    sweeps = [item for item in items if isinstance(item, Sweep)]
    table = [
        (sweep.stream_id, sweep.stamp_ns, len(sweep.points), sweep.points.min(), sweep.points.max())
        for sweep in sweeps
    ]
    assert table == [
        ("r/lidar", 1_000_000_000, 5, 1000.0, 1000.0),
        ("r/lidar", 1_100_000_000, 5, 1100.0, 1100.0),
        ("r/lidar", 1_200_000_000, 5, 1200.0, 1200.0),
    ]


@pytest.mark.parametrize("storage", STORAGES)
def test_messages_come_by_log_time_within_a_file_and_across_files(
    tmp_path: Path, storage: StoragePlugin
) -> None:
    entries = [drive(6)[place] for place in (3, 0, 9, 1, 2, 11, 4, 10, 5, 8, 7, 6)]
    whole = read(write(tmp_path / "whole", entries, storage))
    split = read(write_split(tmp_path / "split", [entries[:5], entries[5:9], entries[9:]], storage))
    assert [type(item).__name__ for item in whole] == ["Transform", "Sweep"] * 6
    assert stamps_ms(whole) == [1000, 1100, 1200, 1300, 1400, 1500]
    assert_equal(split, whole)


def test_a_bag_that_is_one_mcap_file_is_read_as_that_file(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", drive(), StoragePlugin.MCAP)
    assert open_source(location, SourceOptions()).info().format == "mcap"
    (file,) = Path(location).glob("*.mcap")
    file.write_bytes(file.read_bytes()[:-40])
    assert kinds(read(location)) == {"Transform": 4, "Sweep": 4, "Damage": 1}


def test_a_database_alone(tmp_path: Path) -> None:
    whole = read(write(tmp_path / "bag", drive()))
    (tmp_path / "bag" / "metadata.yaml").unlink()
    assert_equal(read(str(tmp_path / "bag")), whole)
    assert_equal(read(str(tmp_path / "bag" / "bag.db3")), whole)
    shutil.copy(tmp_path / "bag" / "bag.db3", tmp_path / "bag" / "other.db3")
    with pytest.raises(SourceError, match=r"holds 2 \.db3 files; name one of them, or make the missing"):
        read(str(tmp_path / "bag"))


def test_iterating_again_and_at_once_gives_the_same(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "bag", drive()), SourceOptions())
    pairs = list(zip(source, source, strict=True))
    assert len(pairs) == 8
    assert_equal([one for one, _ in pairs], [other for _, other in pairs])


def test_topics_are_chosen_and_refused_as_for_mcap(tmp_path: Path) -> None:
    entries = [*drive(2), ("/rear/points", 1200 * MS, cloud(1200 * MS, "rear"))]
    location = write(tmp_path / "bag", entries)
    with pytest.raises(
        SourceError, match="2 PointCloud2 topics: /points, /rear/points; pick one with --topic"
    ):
        read(location)
    items = read(location, topic="/rear/points")
    assert [item.stream_id for item in items if isinstance(item, Sweep)] == ["robot/rear"]
    with pytest.raises(
        SourceError, match="topic /front is not in the log; PointCloud2 topics: /points, /rear"
    ):
        read(location, topic="/front")
    with pytest.raises(SourceError, match=r"no PointCloud2 topic in the log; topics: /chat \(std_msgs"):
        read(write(tmp_path / "chat", [("/chat", 1, b"")]))


def test_static_transforms_and_poses(tmp_path: Path) -> None:
    mount = ("/tf_static", 900 * MS, transform(900 * MS, "base", "lidar"))
    location = write(tmp_path / "bag", [mount, *drive(2)])
    assert [item.static for item in read(location) if isinstance(item, Transform)] == [True, False, False]
    poses = tmp_path / "poses.txt"
    poses.write_text("1 0 0 7 0 1 0 0 0 0 1 0\n" * 2)
    moved = [item for item in read(location, poses=poses) if isinstance(item, Transform)]
    assert [item.translation[0] for item in moved] == [7.0, 7.0]


def test_a_message_that_cannot_be_decoded_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    entries = drive(3)
    entries[3] = ("/points", 1100 * MS + 1, cloud(1100 * MS)[:-10])
    items = read(write(tmp_path / "bag", entries))
    assert stamps_ms(items) == [1000, 1200]
    (rejected,) = (item for item in items if isinstance(item, SweepRejected))
    assert rejected.detail.startswith("/points at log time 1100000001: data: ")


def test_a_compressed_message_that_does_not_unpack_is_rejected(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", drive(3), compression=CompressionMode.MESSAGE)
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute(
            "UPDATE messages SET data = substr(data, 1, 20) WHERE timestamp = ?", [1100 * MS + 1]
        )
    database.close()
    items = read(location)
    assert kinds(items) == {"Transform": 3, "Sweep": 2, "SweepRejected": 1}
    (rejected,) = (item for item in items if isinstance(item, SweepRejected))
    assert rejected.detail.startswith("/points at log time 1100000001: CDR header 28b5")


@pytest.mark.parametrize("column", ["name", "type"])
@pytest.mark.parametrize("value", [None, b"\xff"])
def test_a_topic_whose_name_or_type_is_no_text_is_refused(tmp_path: Path, column: str, value: object) -> None:
    write(tmp_path / "bag", drive(2))
    path = tmp_path / "bag" / "bag.db3"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE loose AS SELECT * FROM topics")  # without "not null"
        database.execute("DROP TABLE topics")
        database.execute("ALTER TABLE loose RENAME TO topics")
        database.execute(f"UPDATE topics SET {column} = ? WHERE id = 1", [value])
    database.close()
    with pytest.raises(SourceError, match=r"bag\.db3: not a readable rosbag2 recording: .*text is expected"):
        read(str(path))


def change(key: str, value: object) -> Callable[[Path], None]:
    def damage(bag: Path) -> None:
        path = bag / "metadata.yaml"
        content = yaml.safe_load(path.read_text())
        content["rosbag2_bagfile_information"][key] = value
        path.write_text(yaml.safe_dump(content))

    return damage


def overwrite(name: str, content: bytes) -> Callable[[Path], None]:
    def damage(bag: Path) -> None:
        (bag / name).write_bytes(content)

    return damage


BROKEN = {
    "cut within its head": (
        lambda bag: overwrite("bag.db3", (bag / "bag.db3").read_bytes()[:60])(bag),
        "not a readable rosbag2 recording: .*malformed",
    ),
    "wrong magic": (overwrite("bag.db3", b"#ROSBAG V2.0\n" * 99), "file is not a database"),
    "empty database": (overwrite("bag.db3", b""), "missing tables"),
    "missing database": (lambda bag: (bag / "bag.db3").unlink(), "files are missing"),
    "no yaml": (overwrite("metadata.yaml", b"\xff\xfe{{"), "not the metadata of a bag"),
    "empty metadata": (overwrite("metadata.yaml", b""), "no rosbag2_bagfile_information; ros2 bag reindex"),
    "a metadata list": (overwrite("metadata.yaml", b"- 1"), "no rosbag2_bagfile_information"),
    "unknown storage": (change("storage_identifier", "rocks"), "storage_identifier: 'rocks' is not one of"),
    "unknown compression": (change("compression_mode", "file"), "compression_format: '' is not zstd"),
    "newer version": (change("version", 99), "version 99 not supported"),
    "no topics": (change("topics_with_message_count", None), "Invalid bag metadata"),
    "files are a number": (change("relative_file_paths", 3), "Invalid bag metadata"),
    "times are texts": (change("duration", "long"), "Invalid bag metadata"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "message"), BROKEN.values(), ids=BROKEN)
def test_broken_bags_give_one_clear_line(
    tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    location = write(tmp_path / "bag", drive())
    damage(tmp_path / "bag")
    with pytest.raises(SourceError, match=message) as caught:
        open_source(location, SourceOptions())
    assert str(caught.value).startswith(location)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"#ROSBAG V2.0\n" * 9, "not a rosbag2 database: it does not begin with the SQLite magic"),
        (b"SQLite format 3\0" + bytes(90), "not a readable rosbag2 recording"),
    ],
)
def test_broken_databases_alone(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.db3"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as caught:
        open_source(str(path), SourceOptions())
    assert "\n" not in str(caught.value)


def test_a_row_that_is_no_message_ends_the_bag(tmp_path: Path) -> None:
    """SQLite holds any type in any column."""
    location = write(tmp_path / "bag", drive(3))
    with sqlite3.connect(tmp_path / "bag" / "bag.db3") as database:
        database.execute("UPDATE messages SET data = 7 WHERE timestamp = ?", [1100 * MS])
    database.close()
    items = read(location)
    assert kinds(items) == {"Transform": 1, "Sweep": 1, "Damage": 1}
    assert "the bag cannot be read on: a message is not a time and bytes: 1100000000, 7" in str(items[-1])


def test_one_mcap_file_that_is_missing(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", drive(), StoragePlugin.MCAP)
    (tmp_path / "bag" / "bag.mcap").unlink()
    with pytest.raises(SourceError, match="files are missing"):
        open_source(location, SourceOptions())


def test_other_metadata_beside_sweeps_are_no_bag(tmp_path: Path) -> None:
    (tmp_path / "metadata.yaml").write_text("weather: rain")
    (tmp_path / "0.bin").write_bytes(bytes(16))
    assert open_source(str(tmp_path), SourceOptions()).info().format == "kitti"


def test_a_bag_without_messages(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "bag", []), SourceOptions())
    with pytest.raises(SourceError, match="no readable message"):
        source.info()
    with pytest.raises(SourceError, match="no PointCloud2 topic in the log; topics: none"):
        iter(source)


def test_a_cut_compressed_file(tmp_path: Path) -> None:
    location = write(tmp_path / "bag", drive(), compression=CompressionMode.FILE)
    (packed,) = Path(location).glob("*.zstd")
    packed.write_bytes(packed.read_bytes()[:-50])
    with pytest.raises(SourceError, match="not a readable rosbag2 recording") as caught:
        open_source(location, SourceOptions())
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cut", [False, True])
def test_damage_anywhere_is_one_line_or_one_final_damage(tmp_path: Path, cut: bool) -> None:
    entries = [(topic, time, data) for topic, time, data in drive(40)]
    whole = (Path(write(tmp_path / "bag", entries)) / "bag.db3").read_bytes()
    path, rng = tmp_path / "bag" / "bag.db3", np.random.default_rng(3)
    outcomes: Counter[str] = Counter()
    for _ in range(120):
        content = bytearray(whole)
        place = int(rng.integers(len(whole)))
        if cut:
            del content[place:]
        else:
            content[place : place + 64] = rng.bytes(len(content[place : place + 64]))
        path.write_bytes(content)
        try:
            source = open_source(str(tmp_path / "bag"), SourceOptions())
            items = list(source)
            source.info()
        except SourceError as error:
            outcomes["error"] += 1
            assert "\n" not in str(error)
            continue
        outcomes["damage" if isinstance(items[-1], Damage) else "whole"] += 1
        assert all(not isinstance(item, Damage) for item in items[:-1])
    assert outcomes["damage"] + outcomes["error"] > 10
    assert len(outcomes) > 1
