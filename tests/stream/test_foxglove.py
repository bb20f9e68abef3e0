"""Foxglove's messages, made by the library's own classes or byte by byte, and nothing beyond their bytes."""

from __future__ import annotations

import math
import re
import struct
import sys
import tracemalloc
from typing import Any

import numpy as np
import pytest
from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
from foxglove_schemas_protobuf.PackedElementField_pb2 import PackedElementField
from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.codecs import foxglove, pointcloud2
from stream.codecs.foxglove import (
    CLOUD,
    LOG,
    MAX_VALUES,
    SCENE,
    TRANSFORM,
    TRANSFORMS,
    CodecError,
    decode_cloud,
    decode_transform,
    decode_transforms,
    encode_cloud,
    encode_transform,
    encode_transforms,
    header,
    schema_data,
)
from stream.transform import Transform

STAMP = 1_317_042_272_123_456_789
CODES = {
    "UINT8": "u1", "INT8": "i1", "UINT16": "<u2", "INT16": "<i2", "UINT32": "<u4", "INT32": "<i4",
    "FLOAT32": "<f4", "FLOAT64": "<f8",
}  # fmt: skip
"""NumericType to numpy's code, as Foxglove's documentation has them."""


def cloud(
    columns: dict[str, tuple[str, Any]] | None = None, *, padding: int = 0, **changes: Any
) -> PointCloud:
    """A PointCloud of columns by name: numeric type and values; two points without ``columns``."""
    if columns is None:
        columns = {axis: ("FLOAT32", [number, -number]) for number, axis in enumerate("xyz", start=1)}
    names = list(columns)
    offsets, end = [], 0
    for name in names:
        offsets.append(end)
        end += np.dtype(CODES[columns[name][0]]).itemsize
    kinds = [CODES[columns[name][0]] for name in names]
    layout = np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": end + padding})
    table = np.zeros(len(next(iter(columns.values()))[1]), layout)
    message = PointCloud(**({"frame_id": "lidar", "point_stride": layout.itemsize} | changes))
    message.timestamp.FromNanoseconds(STAMP)
    for name, offset in zip(names, offsets, strict=True):
        table[name] = columns[name][1]
        message.fields.add(name=name, offset=offset, type=getattr(PackedElementField, columns[name][0]))
    if "data" not in changes:
        message.data = table.tobytes()
    return message


def transform_message(**changes: Any) -> FrameTransform:
    values: dict[str, Any] = {
        "parent_frame_id": "odom",
        "child_frame_id": "base",
        "translation": {"x": 1.0, "y": -2.0, "z": 0.5},
        "rotation": {"x": 0.0, "y": 0.0, "z": 0.6, "w": 0.8},
    }
    message = FrameTransform(**(values | changes))
    message.timestamp.FromNanoseconds(STAMP)
    return message


TRANSFORMED = Transform(
    robot_id="r2", stamp_ns=STAMP, parent="odom", child="base", translation=(1, -2, 0.5),
    rotation=(0, 0, 0.6, 0.8),
)  # fmt: skip


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(CodecError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---- clouds --------------------------------------------------------------------------------------------


def test_a_message_byte_by_byte() -> None:
    """Field numbers and wire types, from the public schema and not from any library."""
    fields = [
        b"\x2a" + bytes([len(field)]) + field
        for field in (
            b"\x0a\x01" + name + b"\x15" + struct.pack("<I", offset) + b"\x18\x07"
            for name, offset in ((b"x", 0), (b"y", 4), (b"z", 8))
        )
    ]
    data = b"".join([
        b"\x0a\x04\x08\x05\x10\x07",  # timestamp: 5 s, 7 ns
        b"\x12\x01a",  # frame_id
        b"\x25" + struct.pack("<I", 12),  # point_stride
        *fields,
        b"\x32\x0c" + struct.pack("<3f", 1.5, -2, 3),  # data
        b"\xa2\x06\x02id",  # uuid, of a later version of the schema
    ])  # fmt: skip
    stamp_ns, frame, points, intensity, offsets = decode_cloud(data)
    assert (stamp_ns, frame, points.tolist()) == (5_000_000_007, "a", [[1.5, -2, 3]])
    assert (intensity.tolist(), offsets) == ([0.0], None)
    assert header(data) == (5_000_000_007, "a")
    assert encode_cloud(5_000_000_007, "a", points, intensity) != data
    assert decode_cloud(encode_cloud(5_000_000_007, "a", points, intensity))[2].tolist() == points.tolist()


@pytest.mark.parametrize("kind", CODES)
def test_every_numeric_type(kind: str) -> None:
    code = np.dtype(CODES[kind])
    low, high = (-1e6, 1e6) if code.kind == "f" else (np.iinfo(code).min, np.iinfo(code).max)
    values = [low, high, 7]
    message = cloud(dict.fromkeys("zyx", (kind, values)) | {"i": (kind, values)}, padding=3)
    _, _, points, intensity, _ = decode_cloud(message.SerializeToString())
    assert points.dtype == intensity.dtype == np.float32
    assert points.tolist() == np.array([[value] * 3 for value in values], np.float32).tolist()
    assert intensity.tolist() == np.array(values, np.float32).tolist()
    assert sorted(CODES) == sorted(set(PackedElementField.NumericType.keys()) - {"UNKNOWN"})


@pytest.mark.parametrize("name", ["intensity", "i", "reflectivity"])
def test_names_of_intensity(name: str) -> None:
    columns = {axis: ("FLOAT32", [1.0]) for axis in "xyz"} | {name: ("UINT8", [200])}
    assert decode_cloud(cloud(columns).SerializeToString())[3].tolist() == [200.0]


@pytest.mark.parametrize("name", ["t", "time", "timestamp", "time_stamp", "time_offset"])
@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("INT32", -5_000),
        ("UINT32", 99_000_000),
        ("FLOAT32", 0.5),
        ("FLOAT64", STAMP / 1e9),
        ("FLOAT64", np.nan),
    ],
)
def test_times_are_those_of_pointcloud2(name: str, kind: str, value: float) -> None:
    codes = {"INT32": 5, "UINT32": 6, "FLOAT32": 7, "FLOAT64": 8}
    columns = {axis: ("FLOAT32", [1.0]) for axis in "xyz"} | {name: (kind, [value])}
    message = cloud(columns)
    same = pointcloud2.PointCloud2(
        stamp_ns=STAMP, frame_id="lidar", height=1, width=1, is_bigendian=False,
        fields=tuple(
            pointcloud2.PointField(
                name=field.name, offset=field.offset, datatype=codes[columns[field.name][0]]
            )
            for field in message.fields
        ),
        point_step=message.point_stride, row_step=message.point_stride, data=message.data,
    )  # fmt: skip
    offsets = decode_cloud(message.SerializeToString())[4]
    expected = pointcloud2.decode(same)[2]
    assert offsets is not None and expected is not None
    assert offsets.tolist() == expected.tolist()
    if kind == "INT32":
        assert offsets.tolist() == [-5_000]


@pytest.mark.parametrize("times", [None, np.array([-5, 2**31 - 1], np.int32)])
def test_encoding_keeps_every_bit_and_is_read_by_the_library(times: Any) -> None:
    points = np.array([[1.5, -2.0, np.nan], [np.inf, 0.0, -0.0]], np.float32)
    intensity = np.array([0.25, np.nan], np.float32)
    data = encode_cloud(STAMP, "lidar", points, intensity, times)
    got = decode_cloud(data)
    assert got[:2] == (STAMP, "lidar")
    assert (got[2].tobytes(), got[3].tobytes()) == (points.tobytes(), intensity.tobytes())
    assert (got[4] is None) if times is None else np.array_equal(got[4], times)
    message = PointCloud.FromString(data)
    assert message.timestamp.ToNanoseconds() == STAMP
    kinds = [PackedElementField.NumericType.Name(field.type) for field in message.fields]
    assert kinds == ["FLOAT32"] * 4 + (["INT32"] if times is not None else [])
    assert not message.HasField("pose")
    assert decode_cloud(memoryview(data))[2].tobytes() == points.tobytes()
    with pytest.raises(ValueError, match="stamp_ns: expected >= 0, got -1"):
        encode_cloud(-1, "lidar", points, intensity)


def test_a_cloud_without_points() -> None:
    for message in (cloud(data=b""), cloud(data=b"", point_stride=12)):
        _, _, points, intensity, offsets = decode_cloud(message.SerializeToString())
        assert (points.shape, intensity.shape, offsets) == ((0, 3), (0,), None)


def test_a_rotation_in_the_pose_turns_the_points() -> None:
    turn = {"x": 0.0, "y": 0.0, "z": math.sqrt(0.5), "w": math.sqrt(0.5)}
    data = cloud(pose={"position": {}, "orientation": turn}).SerializeToString()
    points = decode_cloud(data)[2]
    assert points.dtype == np.float32
    np.testing.assert_allclose(points, [[-2, 1, 3], [2, -1, -3]], atol=1e-6)
    rng = np.random.default_rng(3)
    spots = rng.normal(size=(50, 3)).astype(np.float32) * 40
    x, y, z, w = quaternion = (rng.normal(size=4) / 3).tolist()
    length = math.sqrt(sum(value * value for value in quaternion))
    x, y, z, w = (value / length for value in quaternion)
    rotation = np.array([
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ])  # fmt: skip
    columns = {axis: ("FLOAT32", spots[:, number]) for number, axis in enumerate("xyz")}
    message = cloud(columns, pose={"orientation": {"x": x, "y": y, "z": z, "w": w}})
    expected = spots.astype(np.float64) @ rotation.T
    np.testing.assert_allclose(decode_cloud(message.SerializeToString())[2], expected, rtol=0, atol=1e-5)


def test_points_that_are_not_finite_stay_so_when_they_are_turned() -> None:
    columns = {"x": ("FLOAT32", [np.nan, 1e38]), "y": ("FLOAT32", [0, np.inf]), "z": ("FLOAT32", [0, 0])}
    turn = {"x": 0.0, "y": 0.6, "z": 0.0, "w": 0.8}
    points = decode_cloud(cloud(columns, pose={"orientation": turn}).SerializeToString())[2]
    assert not np.isfinite(points).all(axis=1).any()


@pytest.mark.parametrize(
    "pose", [{}, {"position": {}}, {"orientation": {"w": 1.0}}, {"position": {"x": -0.0}}]
)
def test_poses_that_move_nothing(pose: dict[str, Any]) -> None:
    plain = decode_cloud(cloud().SerializeToString())[2]
    assert decode_cloud(cloud(pose=pose).SerializeToString())[2].tobytes() == plain.tobytes()


BROKEN: dict[str, tuple[PointCloud, str]] = {
    "no z": (
        cloud({axis: ("FLOAT32", [1.0]) for axis in "xy"}),
        "fields: no z among the fields of the cloud (x y)",
    ),
    "no fields": (PointCloud(frame_id="a"), "fields: no x y z among the fields of the cloud (none)"),
    "no frame": (cloud(frame_id=""), "frame_id: the frame name is empty"),
    "slash": (cloud(frame_id="/"), "frame_id: the frame name is empty"),
    "no stride": (
        cloud(point_stride=0, data=b"12345"),
        "point_stride: expected > 0 for 5 bytes of data, got 0",
    ),
    "half a point": (cloud(data=b"0" * 30), "data: 30 bytes, expected a multiple of point_stride 12"),
    "field outside": (
        cloud(point_stride=11, data=b"0" * 11),
        "field z: offset 8 + 4 bytes exceeds point_stride 11",
    ),
    "moved": (
        cloud(pose={"position": {"z": 1.75}}),
        "pose: position (0, 0, 1.75) would move the points away from the origin of lidar, where rays begin; "
        "send them in the sensor's own frame, and where it sits as a FrameTransform",
    ),
    "moved nowhere": (cloud(pose={"position": {"x": math.nan}}), "pose: position (nan, 0, 0) would move"),
    "no turn": (
        cloud(pose={"orientation": {}}),
        "pose: orientation (0.0, 0.0, 0.0, 0.0) has length 0, expected a unit quaternion; leave pose out",
    ),
    "turn not finite": (
        cloud(pose={"orientation": {"x": math.inf, "w": 1}}),
        "pose: orientation (inf, 0.0, 0.0, 1.0) has length inf, expected a unit quaternion",
    ),
    "far from the stamp": (
        cloud({axis: ("FLOAT32", [1.0]) for axis in "xyz"} | {"t": ("UINT32", [2**32 - 1])}),
        "field t: point times 4.29497e+09..4.29497e+09 ns are more than 2.1 s from the stamp",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_clouds_say_what_is_wrong(name: str) -> None:
    message, words = BROKEN[name]
    assert refused(decode_cloud, message.SerializeToString()).startswith(words)


def test_a_type_that_foxglove_does_not_define() -> None:
    message = cloud()
    message.fields[1].type = 9
    words = "field y: type 9 is not one of 1..8 (UINT8 to FLOAT64)"
    assert refused(decode_cloud, message.SerializeToString()) == words


@pytest.mark.parametrize(
    ("seconds", "nanos"), [(-1, 0), (1, -1), (1, 10**9), (2**63 - 1, 0), (9_223_372_037, 0)]
)
def test_stamps_that_are_none(seconds: int, nanos: int) -> None:
    message = cloud()
    message.timestamp.seconds, message.timestamp.nanos = seconds, nanos
    words = f"timestamp: {seconds} s {nanos} ns is not a time since the epoch"
    assert refused(decode_cloud, message.SerializeToString()) == words
    assert refused(header, message.SerializeToString()) == words


# ---- transforms ----------------------------------------------------------------------------------------


def test_transforms_of_the_library() -> None:
    data = transform_message().SerializeToString()
    assert decode_transform(data, robot_id="r2") == [TRANSFORMED]
    two = FrameTransforms(transforms=[transform_message(), transform_message(child_frame_id="/arm")])
    got = decode_transforms(two.SerializeToString(), robot_id="r2", static=True)
    assert [(item.child, item.static) for item in got] == [("base", True), ("arm", True)]
    assert decode_transforms(b"", robot_id="r2") == []


def test_transforms_are_encoded_for_the_library() -> None:
    assert FrameTransform.FromString(encode_transform(TRANSFORMED)) == transform_message()
    found = FrameTransforms.FromString(encode_transforms([TRANSFORMED] * 2)).transforms
    assert list(found) == [transform_message()] * 2
    still = Transform(
        robot_id="", stamp_ns=0, parent="a", child="b", translation=(0, 0, 0), rotation=(0, 0, 0, 1)
    )
    assert decode_transform(encode_transform(still), robot_id="") == [still]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"parent_frame_id": ""}, "parent_frame_id: the frame name is empty"),
        ({"child_frame_id": "/"}, "child_frame_id: the frame name is empty"),
        ({"rotation": None}, "transform odom to base: rotation is missing; send zeros, too"),
        ({"translation": None}, "transform odom to base: translation is missing; send zeros, too"),
    ],
)
def test_broken_transforms_say_what_is_wrong(changes: dict[str, Any], words: str) -> None:
    message = transform_message(**changes)
    assert refused(decode_transform, message.SerializeToString(), robot_id="") == words
    both = FrameTransforms(transforms=[transform_message(), message])
    assert refused(decode_transforms, both.SerializeToString(), robot_id="") == words


# ---- whatever comes ------------------------------------------------------------------------------------

MESSAGES = {
    CLOUD: (
        decode_cloud,
        cloud(
            {axis: ("FLOAT32", [1.0, 2.0]) for axis in "xyz"} | {"t": ("INT32", [0, 5])},
            pose={"orientation": {"z": 0.6, "w": 0.8}},
        ).SerializeToString(),
    ),
    TRANSFORM: (lambda data: decode_transform(data, robot_id=""), transform_message().SerializeToString()),
    TRANSFORMS: (
        lambda data: decode_transforms(data, robot_id=""),
        FrameTransforms(transforms=[transform_message()] * 3).SerializeToString(),
    ),
}


@pytest.mark.parametrize("schema", MESSAGES)
def test_truncation_at_every_byte(schema: str) -> None:
    """Protobuf cannot tell a cut between two fields; what is left must be whole all the same."""
    decode, message = MESSAGES[schema]
    decoded = []
    for end in range(len(message)):
        try:
            got = decode(message[:end])
        except CodecError as error:
            assert "\n" not in str(error)
        else:
            decoded.append((end, got))
    if schema == CLOUD:
        assert [len(got[2]) for _, got in decoded] == [0, 0]  # all points are gone, none is made up
    else:
        assert [len(got) for _, got in decoded] == ([0, 1, 2] if schema == TRANSFORMS else [])


@pytest.mark.parametrize("schema", MESSAGES)
@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_bytes_decode_or_raise_codec_error(schema: str, data: st.DataObject) -> None:
    decode, whole = MESSAGES[schema]
    message = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        decode(bytes(message))
    except CodecError as error:
        assert str(error)
        assert "\n" not in str(error)


@pytest.mark.parametrize("schema", MESSAGES)
@given(message=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_raise_codec_error(schema: str, message: bytes) -> None:
    decode, _ = MESSAGES[schema]
    try:
        decode(message)
    except CodecError as error:
        assert str(error)


@pytest.mark.parametrize("schema", [CLOUD, TRANSFORMS])
def test_empty_values_without_number_are_not_parsed(schema: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two bytes each, and forty times as much once parsed."""
    decode, whole = MESSAGES[schema]
    tag = b"\x2a\x00" if schema == CLOUD else b"\x0a\x00"
    monkeypatch.setattr(foxglove, "require", lambda: {schema: None})  # a parser would fail
    words = f"the message holds more than {MAX_VALUES} values"
    assert refused(decode, tag * 4_000_000) == words
    assert refused(decode, whole + tag * MAX_VALUES) == words


def test_a_length_that_is_not_there_takes_no_memory() -> None:
    claims = b"\x32" + b"\xff\xff\xff\xff\x0f" + b"123"  # data of 4 GiB
    tracemalloc.start()
    assert refused(decode_cloud, claims) == "4294967295 bytes expected at byte 6, 3 left in the message"
    assert tracemalloc.get_traced_memory()[1] < 1 << 20
    tracemalloc.stop()


# ---- the package ---------------------------------------------------------------------------------------


def test_without_the_package_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    foxglove.require.cache_clear()
    for name in [name for name in sys.modules if name.startswith("foxglove_schemas_protobuf")]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ModuleNotFoundError, match=re.escape("pip install 'octastream[formats]'")):
        decode_cloud(b"")
    monkeypatch.undo()
    assert sorted(foxglove.require()) == sorted([CLOUD, LOG, SCENE, TRANSFORM, TRANSFORMS])


@pytest.mark.parametrize("schema", [CLOUD, TRANSFORM, TRANSFORMS])
def test_the_schema_has_all_that_it_refers_to(schema: str) -> None:
    files = FileDescriptorSet.FromString(schema_data(schema)).file
    known: set[str] = set()
    for file in files:
        assert set(file.dependency) <= known
        known.add(file.name)
    names = {f"{file.package}.{message.name}" for file in files for message in file.message_type}
    assert schema in names
