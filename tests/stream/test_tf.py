"""TFMessage on the wire."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_ros2._dynamic import serialize_dynamic

from stream.codecs.tf import CodecError, decode_cdr, encode_cdr
from stream.transform import Transform

printable = st.characters(codec="utf-8", exclude_characters="/").filter(str.isprintable)
names = st.text(printable, min_size=1, max_size=12)
numbers = st.floats(allow_nan=False)


@st.composite
def transforms(draw: st.DrawFn) -> Transform:
    x, y, z, qx, qy, qz, qw = (draw(numbers) for _ in range(7))
    return Transform(
        robot_id="r",
        stamp_ns=draw(st.integers(0, 2**31 * 10**9 - 1)),
        parent=draw(names),
        child=draw(names),
        translation=(x, y, z),
        rotation=(qx, qy, qz, qw),
    )


@given(st.lists(transforms(), max_size=4), st.booleans())
@settings(max_examples=60, deadline=None)
def test_what_is_written_is_read(wanted: list[Transform], big_endian: bool) -> None:
    message = encode_cdr(wanted, big_endian=big_endian)
    assert decode_cdr(message, robot_id="r") == wanted


@given(st.lists(transforms(), min_size=1, max_size=2), st.booleans())
@settings(max_examples=15, deadline=None)
def test_truncation_at_every_byte_is_an_error(wanted: list[Transform], big_endian: bool) -> None:
    message = encode_cdr(wanted, big_endian=big_endian)
    for end in range(len(message)):
        with pytest.raises(CodecError):
            decode_cdr(message[:end], robot_id="r")


@given(st.lists(transforms(), min_size=1, max_size=2), st.data())
@settings(max_examples=200, deadline=None)
def test_any_changed_bytes_decode_or_raise_codec_error(wanted: list[Transform], data: st.DataObject) -> None:
    message = bytearray(encode_cdr(wanted))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        decode_cdr(bytes(message), robot_id="r")
    except CodecError as error:
        assert "\n" not in str(error)


def test_static_and_robot_are_passed_in_and_slashes_dropped() -> None:
    sent = Transform(
        robot_id="", stamp_ns=5, parent="/odom", child="/base", translation=(1, 2, 3), rotation=(0, 0, 0, 1)
    )
    (got,) = decode_cdr(encode_cdr([sent]), robot_id="robot 7", static=True)
    assert (got.robot_id, got.parent, got.child, got.static) == ("robot 7", "odom", "base", True)


def test_a_count_beyond_the_message_is_refused_before_anything_is_read() -> None:
    with pytest.raises(CodecError, match="4294967295 elements cannot fit"):
        decode_cdr(b"\x00\x01\x00\x00\xff\xff\xff\xff" + bytes(200), robot_id="r")


def test_empty_frames_and_foreign_encapsulation_are_refused() -> None:
    sent = Transform(
        robot_id="", stamp_ns=5, parent="", child="b", translation=(1, 2, 3), rotation=(0, 0, 0, 1)
    )
    with pytest.raises(CodecError, match="frame name is empty"):
        decode_cdr(encode_cdr([sent] * 2), robot_id="r")
    with pytest.raises(CodecError, match="CDR header 0003"):
        decode_cdr(b"\x00\x03\x00\x00\x00\x00\x00\x00", robot_id="r")


SCHEMA = """geometry_msgs/TransformStamped[] transforms
================================================================================
MSG: geometry_msgs/TransformStamped
std_msgs/Header header
string child_frame_id
geometry_msgs/Transform transform
================================================================================
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
================================================================================
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
================================================================================
MSG: geometry_msgs/Transform
geometry_msgs/Vector3 translation
geometry_msgs/Quaternion rotation
================================================================================
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
================================================================================
MSG: geometry_msgs/Quaternion
float64 x
float64 y
float64 z
float64 w
"""


@given(st.lists(transforms(), max_size=3))
@settings(max_examples=20, deadline=None)
def test_bytes_are_those_of_the_generic_ros2_encoder(wanted: list[Transform]) -> None:
    encode = serialize_dynamic("tf2_msgs/msg/TFMessage", SCHEMA)["tf2_msgs/msg/TFMessage"]
    message = {
        "transforms": [
            {
                "header": {
                    "stamp": {"sec": item.stamp_ns // 10**9, "nanosec": item.stamp_ns % 10**9},
                    "frame_id": item.parent,
                },
                "child_frame_id": item.child,
                "transform": {
                    "translation": dict(zip("xyz", item.translation, strict=True)),
                    "rotation": dict(zip("xyzw", item.rotation, strict=True)),
                },
            }
            for item in wanted
        ]
    }
    assert encode_cdr(wanted) == encode(message)
