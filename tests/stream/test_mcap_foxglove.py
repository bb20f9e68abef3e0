"""MCAP logs of Foxglove's messages, against the source that they were written from."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from mcap.writer import Writer

from stream.codecs import foxglove, tf
from stream.codecs.foxglove import CLOUD, TRANSFORM, TRANSFORMS, schema_data
from stream.frames import FrameRegistry
from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sources.message_types import TF_TYPE
from stream.sweep import Sweep
from stream.transform import Transform

MS = 1_000_000
WORLD = "sim:city?sweeps=6&beams=32&seed=3"
Entry = tuple[str, str, int, bytes]
"""Topic, schema, log time and payload of a message."""


def cloud(sweep: Sweep) -> bytes:
    """The sweep as a producer would write it with the library alone."""
    message = PointCloud(frame_id=sweep.frame, point_stride=20)
    message.timestamp.FromNanoseconds(sweep.stamp_ns)
    for number, name in enumerate(["x", "y", "z", "intensity"]):
        message.fields.add(name=name, offset=4 * number + 4, type=PackedElementField.FLOAT32)
    table = np.zeros((len(sweep.points), 5), "<f4")
    table[:, 1:4], table[:, 4] = sweep.points, sweep.intensity
    message.data = table.tobytes()
    return message.SerializeToString()


def frame(transform: Transform) -> FrameTransform:
    names = ("x", "y", "z", "w")
    message = FrameTransform(
        parent_frame_id=transform.parent,
        child_frame_id=transform.child,
        translation=dict(zip(names, transform.translation, strict=False)),
        rotation=dict(zip(names, transform.rotation, strict=True)),
    )
    message.timestamp.FromNanoseconds(transform.stamp_ns)
    return message


def entries_of(items: Iterable[Item], *, together: bool = False) -> list[Entry]:
    """What a robot that speaks Foxglove would log; ``together`` sends transforms as FrameTransforms."""
    entries: list[Entry] = []
    log_time = 0
    for item in items:
        if isinstance(item, Sweep):
            log_time = item.stamp_ns
            entries.append(("/lidar", CLOUD, log_time, cloud(item)))
        elif isinstance(item, Transform):
            log_time = max(log_time, item.stamp_ns)
            data = FrameTransforms(transforms=[frame(item)]) if together else frame(item)
            entries.append(("/tf", TRANSFORMS if together else TRANSFORM, log_time, data.SerializeToString()))
    return entries


def write(path: Path, entries: Sequence[Entry], encoding: str = "protobuf") -> str:
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=100_000)
        writer.start()
        channels: dict[tuple[str, str], int] = {}
        for topic, kind, log_time, data in entries:
            if (topic, kind) not in channels:
                if kind.startswith("foxglove"):
                    form = "jsonschema" if encoding == "json" else encoding
                    schema = writer.register_schema(
                        kind, form, schema_data(kind) if form == "protobuf" else b"{}"
                    )
                    channels[topic, kind] = writer.register_channel(topic, encoding, schema)
                else:
                    schema = writer.register_schema(kind, "ros2msg", b"")
                    channels[topic, kind] = writer.register_channel(topic, "cdr", schema)
            writer.add_message(channels[topic, kind], log_time, data, log_time)
        writer.finish()
    return str(path)


def read(location: str, **options: Any) -> list[Item]:
    return list(open_source(location, SourceOptions(**options)))


def sweep_at(stamp_ns: int) -> Sweep:
    points = np.full((3, 3), 5, np.float32)
    return Sweep(
        stream_id="r/lidar", stamp_ns=stamp_ns, frame="lidar", points=points, intensity=points[:, 0].copy()
    )


def edge(stamp_ns: int, parent: str, child: str) -> Transform:
    return Transform(
        robot_id="r", stamp_ns=stamp_ns, parent=parent, child=child, translation=(0, 0, 1),
        rotation=(0, 0, 0, 1),
    )  # fmt: skip


def drive() -> list[Item]:
    """A mount, once, then a pose and a sweep every 100 ms."""
    stamps = [1000 * MS + 100 * MS * number for number in range(4)]
    return [
        edge(stamps[0], "base", "lidar"),
        *(item for stamp in stamps for item in (edge(stamp, "odom", "base"), sweep_at(stamp))),
    ]


# ---- the same as from the source itself ----------------------------------------------------------------


@pytest.mark.parametrize("together", [False, True])
def test_simulated_sweeps_come_back_bit_for_bit(tmp_path: Path, together: bool) -> None:
    items = list(open_source(WORLD, SourceOptions(robot_id="ant")))
    location = write(tmp_path / "a.mcap", entries_of(items, together=together))
    found = read(location, robot_id="ant")
    sweeps = [item for item in items if isinstance(item, Sweep)]
    got = [item for item in found if isinstance(item, Sweep)]
    assert len(got) == len(sweeps) == 6
    for one, other in zip(got, sweeps, strict=True):
        assert (one.stream_id, one.stamp_ns, one.frame) == (other.stream_id, other.stamp_ns, other.frame)
        assert one.points.tobytes() == other.points.tobytes()
        assert one.intensity.tobytes() == other.intensity.tobytes()
        assert len(one.points) > 1000
    assert [item for item in found if isinstance(item, Transform)] == [
        item for item in items if isinstance(item, Transform)
    ]
    info, direct = (open_source(name, SourceOptions()).info() for name in (location, WORLD))
    assert (info.sweeps, info.root_frame, info.sensor_frames) == (6, direct.root_frame, direct.sensor_frames)
    kind = f"{TRANSFORMS if together else TRANSFORM} in protobuf"
    assert info.topics["/lidar"] == (f"{CLOUD} in protobuf", 6)
    assert info.topics["/tf"][0] == kind


# ---- what is static ------------------------------------------------------------------------------------


def test_an_edge_with_one_transform_is_static_and_gives_poses_to_all_sweeps(tmp_path: Path) -> None:
    found = read(write(tmp_path / "a.mcap", entries_of(drive())), robot_id="r")
    transforms = [item for item in found if isinstance(item, Transform)]
    assert [(item.child, item.static) for item in transforms] == [("lidar", True)] + [("base", False)] * 4
    frames = FrameRegistry(max_gap_ns=200 * MS)
    for item in transforms:
        frames.add(item)
    stamps = [item.stamp_ns for item in found if isinstance(item, Sweep)]
    assert [frames.look_up("odom", "lidar", stamp).reshape(3, 4)[2, 3] for stamp in stamps] == [2.0] * 4


def test_an_edge_that_never_changes_is_dynamic_all_the_same(tmp_path: Path) -> None:
    items = [*drive(), edge(1300 * MS, "base", "lidar")]
    found = read(write(tmp_path / "a.mcap", entries_of(items)))
    assert {item.static for item in found if isinstance(item, Transform)} == {False}


def test_a_topic_may_say_that_its_transforms_are_static(tmp_path: Path) -> None:
    entries = entries_of([*drive(), edge(1300 * MS, "base", "lidar")], together=True)
    renamed = [
        ("/tf_static" if b"lidar" in data and kind == TRANSFORMS else topic, kind, log_time, data)
        for topic, kind, log_time, data in entries
    ]
    found = read(write(tmp_path / "a.mcap", renamed))
    static = [(item.child, item.static) for item in found if isinstance(item, Transform)]
    assert static == [("lidar", True), *[("base", False)] * 4, ("lidar", True)]


def test_transforms_of_ros_beside_clouds_of_foxglove(tmp_path: Path) -> None:
    """What is static there is said by the topic, however seldom a transform comes."""
    once = [("/tf", TF_TYPE, 1000 * MS, tf.encode_cdr([edge(1000 * MS, "odom", "lidar")]))]
    found = read(write(tmp_path / "a.mcap", [*once, *entries_of([sweep_at(1000 * MS)])]), robot_id="r")
    assert found[0] == edge(1000 * MS, "odom", "lidar")
    assert isinstance(found[1], Sweep)


def test_poses_replace_the_transforms_of_the_log(tmp_path: Path) -> None:
    poses = tmp_path / "poses.txt"
    poses.write_text("1 0 0 7 0 1 0 0 0 0 1 0\n" * 4)
    found = read(write(tmp_path / "a.mcap", entries_of(drive())), poses=poses)
    moved = [item for item in found if isinstance(item, Transform)]
    assert [item.translation[0] for item in moved] == [7.0] * 4


# ---- what is broken ------------------------------------------------------------------------------------


def test_a_message_that_cannot_be_decoded_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    entries = entries_of(drive())
    entries[2] = (*entries[2][:3], entries[2][3][:-10])
    entries[3] = (*entries[3][:3], b"\xff\xff")
    entries.append(("/lidar", CLOUD, 1350 * MS, cloud(dataclasses.replace(sweep_at(1), stamp_ns=0))))
    location = write(tmp_path / "a.mcap", entries)
    found = read(location)
    rejected = [item for item in found if isinstance(item, SweepRejected)]
    assert [item.stream_id for item in rejected] == ["robot/lidar", "robot/tf", "robot/lidar"]
    assert {item.reason for item in rejected} == {"corrupt"}
    assert all("\n" not in item.detail for item in rejected)
    assert rejected[0].detail.startswith("/lidar at log time 1000000000: ")
    assert rejected[2].detail.endswith("header.stamp is 0: the driver did not stamp the sweep")
    assert [item.stamp_ns // MS for item in found if isinstance(item, Sweep)] == [1100, 1200, 1300]
    assert open_source(location, SourceOptions()).info().sweeps == 5


def json_entries() -> list[Entry]:
    data = json.dumps({"frame_id": "lidar"}).encode()
    return [("/tf", TRANSFORM, 1, data), ("/lidar", CLOUD, 2, data)]


def test_json_is_refused_where_it_is_all_there_is(tmp_path: Path) -> None:
    location = write(tmp_path / "a.mcap", json_entries(), "json")
    for options in ({}, {"topic": "/lidar"}):
        with pytest.raises(SourceError) as caught:
            read(location, **options)
        words = "/lidar is foxglove.PointCloud in json"
        assert words in str(caught.value)
        assert "\n" not in str(caught.value)
    with pytest.raises(SourceError, match=r"only protobuf is read, convert it to protobuf$"):
        read(location)
    assert open_source(location, SourceOptions()).info().sweeps == 0


def test_transforms_in_json_are_not_left_out_in_silence(tmp_path: Path) -> None:
    location = str(tmp_path / "a.mcap")
    with Path(location).open("wb") as file:
        writer = Writer(file)
        writer.start()
        for topic, kind, encoding, data in (
            ("/tf", TRANSFORM, "json", b"{}"),
            ("/lidar", CLOUD, "protobuf", cloud(sweep_at(5))),
        ):
            channel = writer.register_channel(topic, encoding, writer.register_schema(kind, encoding, b""))
            writer.add_message(channel, 5, data, 5)
        writer.finish()
    words = (
        "topic /tf is foxglove.FrameTransform in json; only protobuf is read, convert it to protobuf, or give"
    )
    with pytest.raises(SourceError, match=words):
        read(location)
    poses = tmp_path / "poses.txt"
    poses.write_text("1 0 0 7 0 1 0 0 0 0 1 0\n")
    assert len(read(location, poses=poses)) == 2


def test_without_the_package_a_log_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    location = write(tmp_path / "a.mcap", entries_of(drive()))
    foxglove.require.cache_clear()
    for name in [name for name in sys.modules if name.startswith("foxglove_schemas_protobuf")]:
        monkeypatch.setitem(sys.modules, name, None)
    for do in (lambda: read(location), open_source(location, SourceOptions()).info):
        with pytest.raises(SourceError, match=r"a\.mcap: Foxglove messages need .*octastream\[formats\]"):
            do()
