"""What is shown of records, and the files that it is written to, read by other programs' readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from foxglove_schemas_protobuf.Log_pb2 import Log
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from mcap.reader import make_reader
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

from native.index64 import encode
from native.lattice import snap
from stream.codecs import foxglove
from stream.config import Config, ConfigError, load_config
from stream.records import Binned, Outcome, Prediction
from stream.sinks import foxglove as foxglove_sink
from stream.sinks import ros2 as ros2_sink
from stream.sinks.base import Cells, Line, Mounts, Shown
from stream.sinks.drive import Drive
from stream.sinks.evidence import Evidence, forecast_of
from stream.sinks.foxglove import open_foxglove
from stream.sinks.ros2 import open_ros2
from stream.sources import open_source
from stream.sweep import Sweep, cut
from stream.transform import Transform

MS = 1_000_000
CODES = {1: "u1", 2: "i1", 3: "<u2", 4: "<i2", 5: "<u4", 6: "<i4", 7: "<f4", 8: "<f8"}
"""Foxglove's NumericType to numpy's code."""


def config_of(*overrides: str) -> Config:
    return load_config(None, ["grid.map_frame=odom", *overrides])


def table_of(data: bytes) -> np.ndarray[Any, Any]:
    """The points of a PointCloud as a reader without octastream has them."""
    cloud = PointCloud.FromString(data)
    layout = np.dtype({
        "names": [field.name for field in cloud.fields],
        "formats": [CODES[field.type] for field in cloud.fields],
        "offsets": [field.offset for field in cloud.fields],
        "itemsize": cloud.point_stride,
    })  # fmt: skip
    return np.frombuffer(cloud.data, layout)


def sweep_of(robot: str = "ant", *, stamp_ns: int = 1000 * MS, points: int = 10, **changes: Any) -> Sweep:
    values = np.arange(3 * points, dtype=np.float32).reshape(points, 3)
    return Sweep(
        **{"stream_id": f"{robot}/top", "stamp_ns": stamp_ns, "frame": "lidar", "points": values,
           "intensity": values[:, 0].copy()} | changes
    )  # fmt: skip


def edge(
    robot: str, parent: str, child: str, *, static: bool = False, stamp_ns: int = 1000 * MS
) -> Transform:
    return Transform(
        robot_id=robot, stamp_ns=stamp_ns, parent=parent, child=child, translation=(1, 2, 3),
        rotation=(0, 0, 0, 1), static=static,
    )  # fmt: skip


CELLS = np.sort(encode(snap(np.array([[0, 0, 0], [4, 0, 0], [4, 8, 0.0]])), frame=2, tier=0, lod=7))


def prediction_of(stamp_ns: int = 1000 * MS) -> Prediction:
    return Prediction(
        prediction_id=f"ant/top/{stamp_ns}", robot_id="ant", stream_id="ant/top", stamp_ns=stamp_ns, seq=0,
        model_id="m", horizons_ns=(200 * MS, 500 * MS), cell_id=CELLS,
        probability=np.array([[0.1, 0.2], [0.3, 0.4], [0.5, 0.6]], np.float32),
        before=np.array([0, 1, 2], np.uint8), feature_digest="", state_digest="",
    )  # fmt: skip


def outcome_of(rows: list[int], prediction_id: str = "ant/top/1000000000") -> Outcome:
    return Outcome(
        prediction_id=prediction_id, robot_id="ant", stream_id="ant/top", stamp_ns=1000 * MS,
        horizon_ns=500 * MS, observed_stamp_ns=1500 * MS, row=np.array(rows, np.int32), cell_id=CELLS[rows],
        occupied=np.array([row == 2 for row in rows]), before=np.array(rows, np.uint8),
    )  # fmt: skip


# ---- drives --------------------------------------------------------------------------------------------


def test_parts_are_joined_whatever_order_they_come_in_and_twice_is_once() -> None:
    sweep = sweep_of(points=100, time_offset_ns=np.arange(100, dtype=np.int32))
    first, second, third = cut(sweep, 40)
    drive = Drive("odom")
    assert [list(drive.sweep(part)) for part in (third, first, third)] == [[], [], []]
    (whole,) = drive.sweep(second)
    assert whole.points.tobytes() == sweep.points.tobytes()
    assert whole.intensity.tobytes() == sweep.intensity.tobytes()
    assert whole.time_offset_ns is not None and sweep.time_offset_ns is not None
    assert whole.time_offset_ns.tobytes() == sweep.time_offset_ns.tobytes()
    assert (whole.part, whole.parts) == (0, 1)
    assert list(drive.rest()) == [] and +drive.left_out == {}


def test_a_part_that_never_comes_is_counted_and_the_others_are_shown() -> None:
    first, second = cut(sweep_of(points=100), 50)
    drive = Drive("odom")
    assert list(drive.sweep(first)) == []
    whole, after = [*drive.sweep(sweep_of(stamp_ns=2000 * MS))], [*drive.sweep(second)]
    assert [len(item.points) for item in whole] == [50, 10]
    assert after == [] and [len(item.points) for item in drive.rest()] == [50]
    assert +drive.left_out == {"parts of sweeps that did not come": 2}


def test_what_a_point_cloud_cannot_say_is_counted() -> None:
    misses = np.tile(np.float32([0, 0, 1]), (7, 1))
    drive = Drive("odom")
    (shown,) = drive.sweep(sweep_of(misses=misses))
    assert len(shown.misses) == 0 and len(shown.points) == 10
    assert list(drive.sweep(sweep_of(hits_only=True))) == []
    assert +drive.left_out == {"rays without return": 7, "sweeps of hits only": 1}


def test_frames_of_a_second_robot_are_its_own_but_for_the_map() -> None:
    drive = Drive("odom")
    items = [edge("ant", "odom", "base"), edge("bee", "odom", "base"), edge("bee", "base", "lidar")]
    named = [(item.parent, item.child) for given in items for item in drive.transform(given)]  # type: ignore[union-attr]
    assert named == [("odom", "base"), ("odom", "bee/base"), ("bee/base", "bee/lidar")]
    assert [next(drive.sweep(sweep_of(robot))).frame for robot in ("ant", "bee")] == ["lidar", "bee/lidar"]
    assert list(drive.transform(edge("bee", "earth", "odom"))) == []
    assert drive.left_out["transforms of the shared map frame"] == 1
    assert len(list(drive.transform(edge("ant", "earth", "odom")))) == 1


def test_static_transforms_are_shown_with_all_that_are_known_and_the_newest_counts() -> None:
    drive = Drive("odom")
    for child in ("lidar", "camera"):
        (known,) = drive.transform(edge("ant", "base", child, static=True))
    (known,) = drive.transform(edge("ant", "base", "lidar", static=True, stamp_ns=2000 * MS))
    assert isinstance(known, Mounts)
    assert [(item.child, item.stamp_ns // MS) for item in known.transforms] == [
        ("camera", 1000),
        ("lidar", 2000),
    ]


# ---- evidence ------------------------------------------------------------------------------------------


def test_cells_lie_where_they_are_and_outcomes_stand_beside_what_was_predicted() -> None:
    evidence = Evidence(config_of())
    cells = evidence.forecast(forecast_of(prediction_of()))
    assert (cells.topic, cells.frame, cells.shade) == ("/ant/top/predictions", "odom", "probability_500ms")
    assert sorted(cells.points.tolist()) == sorted(
        (snap(np.array([[0, 0, 0], [4, 0, 0], [4, 8, 0.0]])) * np.float32(0.4)).astype(np.float32).tolist()
    )
    assert {name: values.tolist() for name, values in cells.columns.items()} == {
        "probability_200ms": np.float32([0.1, 0.3, 0.5]).tolist(),
        "probability_500ms": np.float32([0.2, 0.4, 0.6]).tolist(),
    }
    seen = evidence.outcome(outcome_of([0, 2]))
    assert (seen.topic, seen.stamp_ns) == ("/ant/top/outcomes_500ms", 1500 * MS)
    assert seen.columns["probability"].tolist() == np.float32([0.2, 0.6]).tolist()
    assert seen.columns["occupied"].tolist() == [0, 1]
    unknown = evidence.outcome(outcome_of([1], "ant/top/5"))
    assert np.isnan(unknown.columns["probability"]).all()


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("grid.lod=6", "grid.lod: 6, but cells of /ant/top/predictions have 7; give the --config"),
        ("grid.map_frame=map", "grid.map_frame: 'map' has the id 1, but cells .* are in frame 2; name the"),
    ],
)
def test_cells_of_another_grid_are_refused(override: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        Evidence(config_of(override)).forecast(forecast_of(prediction_of()))


def test_binned_cells_that_nobody_saw_are_not_shown_and_the_pose_is_a_frame() -> None:
    counts = np.array([0, 3, 0], np.uint32)
    turned = np.array([0, -1, 0, 5, 1, 0, 0, 6, 0, 0, 1, 7], np.float64)
    record = Binned(
        robot_id="ant", seq=0, stream_id="ant/top", stamp_ns=1000 * MS, part=0, parts=1, late=False,
        pose=turned, pose_history=np.empty((0, 12)), cell_id=CELLS, hits=counts,
        passes=np.array([3, 0, 0], np.uint32),
        sums=np.zeros((1, 11), np.int32), beams=np.empty((0, 3), np.int16), points=3, rays=3, binned=3,
    )  # fmt: skip
    evidence = Evidence(config_of())
    cells = evidence.binned(record)
    assert cells.cell_id.tolist() == CELLS[:2].tolist()
    assert cells.columns["occupied"].tolist() == [0, 1]
    pose = evidence.pose(record)
    assert (pose.parent, pose.child, pose.translation) == ("odom", "octastream/ant/top", (5, 6, 7))
    assert pose.rotation == pytest.approx((0, 0, 0.5**0.5, 0.5**0.5))


# ---- files ---------------------------------------------------------------------------------------------


def shown_of(location: str) -> list[Shown]:
    drive, found = Drive("odom"), []
    for item in open_source(location):
        found += drive.sweep(item) if isinstance(item, Sweep) else drive.transform(item)  # type: ignore[arg-type]
    return found


CITY = "sim:city?sweeps=3&beams=32&azimuths=128&seed=3"


def write(sink: Any, shown: list[Shown]) -> None:
    for number, item in enumerate(shown):
        sink.write(item, 10**9 + number)
    sink.close()
    sink.close()  # again changes nothing


def test_a_file_of_foxglove_is_whole_and_its_messages_are_those_of_the_schemas(tmp_path: Path) -> None:
    evidence = Evidence(config_of())
    line = Line(stamp_ns=7, level="warning", name="dead_letter", text="reason=late")
    shown = [*shown_of(CITY), evidence.forecast(forecast_of(prediction_of())), line]
    path = tmp_path / "a.mcap"
    write(open_foxglove(path), shown)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        messages = list(reader.iter_messages())
    assert summary is not None and summary.statistics is not None
    assert summary.statistics.message_count == len(shown) == len(messages)
    assert {index.compression for index in summary.chunk_indexes} == {"zstd"}
    assert all(index.message_index_offsets for index in summary.chunk_indexes)
    schemas = {channel.topic: summary.schemas[channel.schema_id] for channel in summary.channels.values()}
    assert {topic: schema.name for topic, schema in schemas.items()} == {
        "/robot/lidar/points": "foxglove.PointCloud",
        "/tf": "foxglove.FrameTransform",
        "/tf_static": "foxglove.FrameTransforms",
        "/ant/top/predictions": "foxglove.PointCloud",
        "/events": "foxglove.Log",
    }
    assert {schema.encoding for schema in schemas.values()} == {"protobuf"}
    found = {channel.topic: message for _, channel, message in messages}
    log = Log.FromString(found["/events"].data)
    assert (log.level, log.name, log.message) == (Log.WARNING, "dead_letter", "reason=late")
    assert (log.timestamp.ToNanoseconds(), found["/events"].publish_time) == (7, 7)
    table = table_of(found["/ant/top/predictions"].data)
    ids = table[foxglove_sink.ID_HIGH].astype(np.uint64) << np.uint64(32) | table[foxglove_sink.ID_LOW]
    assert ids.tolist() == CELLS.tolist()
    assert table["probability_500ms"].tolist() == np.float32([0.2, 0.4, 0.6]).tolist()


def test_columns_of_every_type_come_back_and_others_are_refused() -> None:
    columns = {code[-2:]: np.array([1, 2], code) for code in CODES.values()}
    table = table_of(foxglove.encode_columns(5, "odom", columns))
    assert {name: table[name].tolist() for name in columns} == {name: [1, 2] for name in columns}
    assert len(table_of(foxglove.encode_columns(5, "odom", {"x": np.empty(0, np.float32)}))) == 0
    with pytest.raises(ValueError, match=r"columns: id uint64 is not one of"):
        foxglove.encode_columns(5, "odom", {"id": np.zeros(2, np.uint64)})
    with pytest.raises(ValueError, match=r"expected one length, got x \(2,\), y \(3,\)"):
        foxglove.encode_columns(5, "odom", {"x": np.zeros(2, np.float32), "y": np.zeros(3, np.float32)})
    with pytest.raises(ValueError, match="stamp_ns: expected >= 0, got -1"):
        foxglove.encode_log(-1, "info", "a", "b")


def test_rosbags_reads_what_is_written_for_ros_by_the_definitions_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    shown = shown_of(CITY)
    write(open_ros2(path), shown)
    types = get_typestore(Stores.EMPTY)
    known = get_typestore(Stores.ROS2_HUMBLE)
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        messages = list(reader.iter_messages())
    for schema in {schema.name: schema for schema, _, _ in messages if schema}.values():
        assert schema.encoding == "ros2msg"
        types.register(get_types_from_msg(schema.data.decode(), schema.name))
        own, theirs = (store.generate_msgdef(schema.name, ros_version=2) for store in (types, known))
        assert own[1] == theirs[1], "the hash of the type, which names every field"
    clouds = [item for item in shown if isinstance(item, Sweep)]
    found = [types.deserialize_cdr(message.data, schema.name) for schema, _, message in messages if schema]
    got = [item for item in found if hasattr(item, "point_step")]
    assert [item.width for item in got] == [len(sweep.points) for sweep in clouds]
    for item, sweep in zip(got, clouds, strict=True):
        values = np.frombuffer(item.data, "<f4").reshape(-1, 4)
        assert values[:, :3].tobytes() == sweep.points.tobytes()
        assert item.header.stamp.sec * 10**9 + item.header.stamp.nanosec == sweep.stamp_ns
    assert len(found) == len(shown)


def test_ros_has_no_message_of_cells() -> None:
    cells = Evidence(config_of()).forecast(forecast_of(prediction_of()))
    assert isinstance(cells, Cells)
    with pytest.raises(TypeError, match="Cells: only sweeps and transforms"):
        ros2_sink.message_of(cells)


def test_without_its_end_a_file_reads_up_to_there(tmp_path: Path) -> None:
    path = tmp_path / "a.mcap"
    shown = shown_of("sim:city?sweeps=12&beams=32&azimuths=512&seed=3")
    write(open_foxglove(path), shown)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    sweeps = [item for item in open_source(str(path)) if isinstance(item, Sweep)]
    assert 0 < len(sweeps) < 12
    assert sweeps[0].points.tobytes() == next(x for x in shown if isinstance(x, Sweep)).points.tobytes()
