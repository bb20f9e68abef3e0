"""MCAP logs: the recorded one, small written ones, and broken copies of both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.writer import CompressionType, Writer
from mcap_ros2.decoder import DecoderFactory

from stream.codecs import pointcloud2, tf
from stream.frames import FrameRegistry
from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Damage, Item, SourceError, SourceOptions
from stream.sources.mcap_file import McapFile
from stream.sources.message_types import POINTS_TYPE, TF_TYPE
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path

MS = 1_000_000
LOG = "kitti_0005_000-053.mcap"
Entry = tuple[str, int, bytes]
"""Topic, log time and payload of a message."""


def cloud(stamp_ns: int, frame: str = "lidar", count: int = 5) -> bytes:
    points = np.full((count, 3), stamp_ns // MS, np.float32)
    return pointcloud2.encode_cdr(stamp_ns, frame, points, np.zeros(count, np.float32))


def transform(stamp_ns: int, parent: str = "odom", child: str = "lidar") -> bytes:
    sent = Transform(
        robot_id="",
        stamp_ns=stamp_ns,
        parent=parent,
        child=child,
        translation=(0, 0, 0),
        rotation=(0, 0, 0, 1),
    )
    return tf.encode_cdr([sent])


def drive(sweeps: int = 4) -> list[Entry]:
    """One transform and one sweep every 100 ms from 1 s on."""
    stamps = [1000 * MS + 100 * MS * number for number in range(sweeps)]
    return [
        entry
        for stamp in stamps
        for entry in (("/tf", stamp, transform(stamp)), ("/points", stamp + 1, cloud(stamp)))
    ]


def write(path: Path, entries: Sequence[Entry], *, finish: bool = True, **options: Any) -> str:
    """Write an MCAP file with a chunk for every two messages, unless ``options`` say otherwise."""
    with path.open("wb") as file:
        writer = Writer(file, **({"chunk_size": 1, "compression": CompressionType.ZSTD} | options))
        writer.start("ros2")
        channels: dict[str, int] = {}
        for topic, log_time, data in entries:
            if topic not in channels:
                kind = (
                    TF_TYPE if "tf" in topic else POINTS_TYPE if "points" in topic else "std_msgs/msg/String"
                )
                schema = writer.register_schema(kind, "ros2msg", b"")
                channels[topic] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic], log_time, data, log_time)
        if finish:
            writer.finish()
    return str(path)


def read(location: str, **options: Any) -> list[Item]:
    return list(open_source(location, SourceOptions(**options)))


def kinds(items: Sequence[Item]) -> dict[str, int]:
    return dict(Counter(type(item).__name__ for item in items))


def stamps_ms(items: Sequence[Item]) -> list[int]:
    return [item.stamp_ns // MS for item in items if isinstance(item, Sweep)]


def head(tmp_path: Path, size: int) -> Path:
    """The first bytes of the recorded log."""
    path = tmp_path / "head.mcap"
    with data_path(LOG).open("rb") as file:
        path.write_bytes(file.read(size))
    return path


@pytest.mark.data
def test_recorded_log_against_the_generic_decoder() -> None:
    from mcap.reader import make_reader

    items = iter(open_source(str(data_path(LOG)), SourceOptions(robot_id="kitti")))
    with data_path(LOG).open("rb") as file:
        reader = make_reader(file, decoder_factories=[DecoderFactory()])
        for number, (schema, channel, _, message) in enumerate(reader.iter_decoded_messages()):
            item = next(items)
            assert schema is not None
            if schema.name == TF_TYPE:
                (sent,) = message.transforms
                turn = sent.transform.rotation
                assert isinstance(item, Transform)
                assert item.stamp_ns == sent.header.stamp.sec * 10**9 + sent.header.stamp.nanosec
                assert (item.parent, item.child) == (sent.header.frame_id, sent.child_frame_id)
                assert item.rotation == (turn.x, turn.y, turn.z, turn.w)
                assert item.static == (channel.topic == "/tf_static")
            else:
                table = np.frombuffer(message.data, np.float32).reshape(-1, 4)
                assert isinstance(item, Sweep)
                assert item.stream_id == "kitti/velodyne"
                assert item.stamp_ns == message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
                assert np.array_equal(item.points, table[:, :3])
                assert np.array_equal(item.intensity, table[:, 3])
            if number > 40:
                break


@pytest.mark.data
def test_recorded_log_whole() -> None:
    source = open_source(str(data_path(LOG)), SourceOptions())
    info = source.info()
    assert (info.format, info.sweeps, info.root_frame) == ("mcap", 54, "odom")
    assert info.sensor_frames == ("velodyne",)
    assert info.topics == {
        "/tf": (TF_TYPE, 266),
        "/tf_static": (TF_TYPE, 1),
        "/velodyne_points": (POINTS_TYPE, 54),
    }
    assert (info.start_ns, info.end_ns) == (1317042272000000000, 1317042277400000000)
    frames, sweeps = FrameRegistry(max_gap_ns=500 * MS), []
    for item in source:
        if isinstance(item, Transform):
            frames.add(item)
        else:
            assert isinstance(item, Sweep)
            sweeps.append(item)
    assert len(sweeps) == 54
    assert sum(len(sweep.points) for sweep in sweeps) > 54 * 110_000
    track = [frames.look_up("odom", "velodyne", sweep.stamp_ns).reshape(3, 4)[:, 3] for sweep in sweeps]
    steps = np.linalg.norm(np.diff(track, axis=0), axis=1)
    assert 0.1 < steps.min() < steps.max() < 1.5


@pytest.mark.data
def test_recorded_log_cut_off_within_a_chunk(tmp_path: Path) -> None:
    path = head(tmp_path, 6_000_000)
    items = read(str(path))
    assert kinds(items) == {"Transform": 1 + 1 + 3 * 5, "Sweep": 4, "Damage": 1}
    damage = items[-1]
    assert isinstance(damage, Damage)
    assert damage.location == str(path)
    assert "the file is cut off: a record of" in damage.detail
    assert open_source(str(path), SourceOptions()).info().sweeps == 4
    assert [stamp % 10_000 for stamp in stamps_ms(items)] == [2000, 2100, 2200, 2300]


@pytest.mark.data
def test_recorded_log_with_flipped_bytes_in_a_chunk(tmp_path: Path) -> None:
    path = head(tmp_path, 6_000_000)
    third = McapFile(path).contents.units[2]
    content = bytearray(path.read_bytes())
    content[third.offset + 500_000] ^= 0xFF
    path.write_bytes(content)
    items = read(str(path))
    assert kinds(items) == {"Transform": 1 + 1 + 5, "Sweep": 2, "Damage": 1}
    damage = items[-1]
    assert isinstance(damage, Damage)
    assert damage.detail.startswith(f"corrupt chunk at byte {third.offset}: ")
    assert open_source(str(path), SourceOptions()).info().sweeps == 2


@pytest.mark.parametrize("compression", list(CompressionType))
@pytest.mark.parametrize("chunked", [True, False])
def test_compressions(tmp_path: Path, compression: CompressionType, chunked: bool) -> None:
    location = write(tmp_path / "a.mcap", drive(), compression=compression, use_chunking=chunked)
    items = read(location, robot_id="r2")
    assert kinds(items) == {"Transform": 4, "Sweep": 4}
    sweep = items[1]
    assert isinstance(sweep, Sweep)
    assert (sweep.stream_id, sweep.frame, sweep.stamp_ns) == ("r2/lidar", "lidar", 1000 * MS)
    assert sweep.points.tolist() == [[1000.0] * 3] * 5
    assert [item.robot_id for item in items if isinstance(item, Transform)] == ["r2"] * 4


def test_iterating_again_gives_the_same(tmp_path: Path) -> None:
    source = open_source(write(tmp_path / "a.mcap", drive()), SourceOptions())
    first, second = iter(source), iter(source)
    pairs = list(zip(first, second, strict=True))
    assert len(pairs) == 8
    for one, other in pairs:
        if isinstance(one, Sweep) and isinstance(other, Sweep):
            assert one.points.tobytes() == other.points.tobytes()
        else:
            assert one == other


@pytest.mark.parametrize("chunk_size", [1, 400, 1 << 20])
@pytest.mark.parametrize("chunked", [True, False])
def test_log_time_order_across_chunks(tmp_path: Path, chunk_size: int, chunked: bool) -> None:
    shuffled = [drive(6)[place] for place in (3, 0, 9, 1, 2, 11, 4, 10, 5, 8, 7, 6)]
    location = write(tmp_path / "a.mcap", shuffled, chunk_size=chunk_size, use_chunking=chunked)
    items = read(location)
    assert [type(item).__name__ for item in items] == ["Transform", "Sweep"] * 6
    assert stamps_ms(items) == [1000, 1100, 1200, 1300, 1400, 1500]


@pytest.mark.parametrize("chunk_size", [1, 1 << 20])
def test_equal_log_times_keep_file_order(tmp_path: Path, chunk_size: int) -> None:
    entries = [("/points", 5, cloud(10 * MS)), ("/tf", 5, transform(3)), ("/points", 5, cloud(9 * MS))]
    items = read(write(tmp_path / "a.mcap", entries, chunk_size=chunk_size))
    assert [type(item).__name__ for item in items] == ["Sweep", "Transform", "Sweep"]
    assert stamps_ms(items) == [10, 9]


def test_equal_log_times_keep_file_order_when_the_later_chunk_begins_earlier(tmp_path: Path) -> None:
    first, second = (("/points", 5, cloud(stamp * MS, count=50)) for stamp in (10, 9))
    entries = [first, ("/tf", 4, transform(3)), second]
    location = write(tmp_path / "a.mcap", entries, chunk_size=600, compression=CompressionType.NONE)
    assert [unit.start_ns for unit in McapFile(Path(location)).contents.units] == [4, 5]
    items = read(location)
    assert [type(item).__name__ for item in items] == ["Transform", "Sweep", "Sweep"]
    assert stamps_ms(items) == [10, 9]


@pytest.mark.parametrize(
    "options",
    [
        {"use_statistics": False, "repeat_channels": False, "repeat_schemas": False},
        {"repeat_schemas": False},
        {"use_statistics": False},
        {"use_summary_offsets": False},
        {"use_chunking": False, "repeat_channels": False},
    ],
)
def test_files_without_a_summary(tmp_path: Path, options: dict[str, bool]) -> None:
    location = write(tmp_path / "a.mcap", drive(), **options)
    assert kinds(read(location)) == {"Transform": 4, "Sweep": 4}
    info = open_source(location, SourceOptions()).info()
    assert (info.sweeps, info.root_frame, info.sensor_frames) == (4, "odom", ("lidar",))


def test_unfinished_recording_is_read_and_says_so(tmp_path: Path) -> None:
    location = write(tmp_path / "a.mcap", drive(), finish=False)
    items = read(location)
    assert kinds(items) == {"Transform": 4, "Sweep": 4, "Damage": 1}
    assert "the file ends without a footer" in str(items[-1])
    assert open_source(location, SourceOptions()).info().sweeps == 4


@pytest.mark.parametrize(
    ("compression", "step"),
    [
        (CompressionType.ZSTD, 7),
        pytest.param(CompressionType.ZSTD, 1, marks=pytest.mark.long),
        pytest.param(CompressionType.NONE, 1, marks=pytest.mark.long),
    ],
)
def test_truncation_anywhere(tmp_path: Path, compression: CompressionType, step: int) -> None:
    """Every prefix gives whole sweeps and one Damage at its end, or one clear line."""
    whole = Path(write(tmp_path / "a.mcap", drive(3), compression=compression)).read_bytes()
    path = tmp_path / "cut.mcap"
    delivered = []
    for end in range((len(whole) - 1) % step, len(whole), step):
        path.write_bytes(whole[:end])
        try:
            items = read(str(path))
        except SourceError as error:
            assert not delivered, "nothing must become unreadable again as the file grows"
            assert str(path) in str(error)
            assert "\n" not in str(error)
            continue
        assert isinstance(items[-1], Damage)
        assert kinds(items)["Damage"] == 1
        delivered.append(len(stamps_ms(items)))
    assert delivered == sorted(delivered)
    assert set(delivered) <= {0, 1, 2, 3}
    assert delivered[-1] == 3


def test_changed_bytes_never_raise_anything_but_source_errors(tmp_path: Path) -> None:
    whole = Path(write(tmp_path / "a.mcap", drive(3))).read_bytes()
    path = tmp_path / "changed.mcap"
    rng = np.random.default_rng(5)
    outcomes: Counter[str] = Counter()
    for _ in range(400):
        content = bytearray(whole)
        content[int(rng.integers(len(whole)))] = int(rng.integers(256))
        path.write_bytes(content)
        try:
            items = read(str(path))
            open_source(str(path), SourceOptions()).info()
        except SourceError as error:
            outcomes["error"] += 1
            assert "\n" not in str(error)
        else:
            outcomes["damage" if isinstance(items[-1], Damage) else "whole"] += 1
            assert all(not isinstance(item, Damage) for item in items[:-1])
    assert outcomes["damage"] > 100


def test_a_message_that_cannot_be_decoded_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    entries = drive(3)
    entries[2] = ("/tf", 1100 * MS, b"\x00\x01\x00\x00\xff\xff\xff\xff")
    entries[3] = ("/points", 1100 * MS + 1, cloud(1100 * MS)[:-10])
    entries.insert(4, ("/points", 1150 * MS, b"nonsense"))
    entries.insert(5, ("/points", 1160 * MS, cloud(0)))
    items = read(write(tmp_path / "a.mcap", entries))
    assert stamps_ms(items) == [1000, 1200]
    rejected = [item for item in items if isinstance(item, SweepRejected)]
    assert {item.reason for item in rejected} == {"corrupt"}
    assert [item.stream_id for item in rejected] == ["robot/tf", "robot/lidar", "robot/points", "robot/lidar"]
    assert [item.stamp_ns for item in rejected] == [1100 * MS, 1100 * MS, 1150 * MS, 0]
    assert rejected[1].detail.startswith("/points at log time 1100000001: data: ")
    assert "the driver did not stamp the sweep" in rejected[3].detail


def test_static_topics_by_name(tmp_path: Path) -> None:
    entries = [("/bot/tf_static", 1, transform(1, "base", "lidar")), ("/bot/tf", 2, transform(2)), *drive(1)]
    items = [item for item in read(write(tmp_path / "a.mcap", entries)) if isinstance(item, Transform)]
    assert [item.static for item in items] == [True, False, False]


def test_two_clouds_need_a_choice(tmp_path: Path) -> None:
    entries = [*drive(2), ("/rear/points", 1200 * MS, cloud(1200 * MS, "rear"))]
    location = write(tmp_path / "a.mcap", entries)
    assert open_source(location, SourceOptions()).info().sensor_frames == ("lidar", "rear")
    with pytest.raises(
        SourceError, match=r"2 PointCloud2 topics: /points, /rear/points; pick one with --topic"
    ):
        iter(open_source(location, SourceOptions()))
    items = read(location, topic="/rear/points")
    assert [item.stream_id for item in items if isinstance(item, Sweep)] == ["robot/rear"]
    assert open_source(location, SourceOptions(topic="/rear/points")).info().sweeps == 1
    with pytest.raises(
        SourceError, match=r"topic /front is not in the log; PointCloud2 topics: /points, /rear"
    ):
        read(location, topic="/front")
    with pytest.raises(SourceError, match=f"topic /tf is {TF_TYPE}, not PointCloud2"):
        read(location, topic="/tf")


def test_no_cloud_topic(tmp_path: Path) -> None:
    location = write(tmp_path / "a.mcap", [("/tf", 1, transform(1)), ("/chat", 2, b"")])
    with pytest.raises(SourceError, match=r"no PointCloud2 topic in the log; topics: /chat \(std_msgs"):
        read(location)
    assert open_source(location, SourceOptions()).info().sweeps == 0


def test_no_transforms(tmp_path: Path) -> None:
    location = write(tmp_path / "a.mcap", [entry for entry in drive() if entry[0] != "/tf"])
    assert kinds(read(location)) == {"Sweep": 4}
    assert open_source(location, SourceOptions()).info().root_frame is None


def test_root_is_above_the_sensor(tmp_path: Path) -> None:
    other = ("/tf", 1, transform(1, "a_other", "a_thing"))
    location = write(tmp_path / "a.mcap", [other, *drive(), ("/tf", 9**11, transform(1, "map", "odom"))])
    assert open_source(location, SourceOptions()).info().root_frame == "map"
    alone = write(tmp_path / "b.mcap", [other, ("/points", 2, cloud(2 * MS))])
    assert open_source(alone, SourceOptions()).info().root_frame == "a_other"


def test_poses_replace_the_transforms_of_the_log(tmp_path: Path) -> None:
    poses = tmp_path / "poses.txt"
    poses.write_text("".join(f"1 0 0 {number} 0 1 0 0 0 0 1 0\n" for number in range(4)))
    location = write(tmp_path / "a.mcap", drive())
    items = read(location, poses=poses)
    assert [type(item).__name__ for item in items] == ["Transform", "Sweep"] * 4
    moved = [item for item in items if isinstance(item, Transform)]
    assert [item.translation[0] for item in moved] == [0.0, 1.0, 2.0, 3.0]
    assert {(item.parent, item.child) for item in moved} == {("odom", "lidar")}
    assert [item.stamp_ns // MS for item in moved] == stamps_ms(items)
    with pytest.raises(SourceError, match="4 poses for 3 sweeps"):
        read(write(tmp_path / "b.mcap", drive(3)), poses=poses)


def test_not_an_mcap_and_nothing_in_it(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    path.write_bytes(b"#ROSBAG V2.0\n" * 10)
    with pytest.raises(SourceError, match="not an MCAP file"):
        open_source(str(path), SourceOptions())
    location = write(path, [])
    with pytest.raises(SourceError, match="no PointCloud2 topic in the log; topics: none"):
        read(location)
    with pytest.raises(SourceError, match="no readable message"):
        open_source(location, SourceOptions()).info()


def test_zeros_after_the_last_record(tmp_path: Path) -> None:
    """A file system that lost its last writes leaves zeros."""
    location = write(tmp_path / "a.mcap", drive(), finish=False)
    with Path(location).open("ab") as file:
        file.write(bytes(5000))
    items = read(location)
    assert stamps_ms(items) == [1000, 1100, 1200, 1300]
    assert "no record begins here" in str(items[-1])


def test_a_changed_point_is_noticed_by_the_crc_alone(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "a.mcap", drive(), compression=CompressionType.NONE))
    content = bytearray(path.read_bytes())
    place = content.index(np.float32(1200.0).tobytes() * 3)
    content[place] ^= 1
    path.write_bytes(content)
    items = read(str(path))
    assert stamps_ms(items) == [1000, 1100]
    assert "crc validation failed" in str(items[-1])
    assert kinds(items) == {"Transform": 3, "Sweep": 2, "Damage": 1}
