"""Sweeps and transforms as messages of ROS 2 in MCAP, as ``ros2 bag record`` would have written them."""

from __future__ import annotations

from pathlib import Path

from stream.codecs import tf
from stream.codecs.inputs import encode_pointcloud2
from stream.sinks.base import TF, TF_STATIC, Mounts, Shown, sweep_topic
from stream.sinks.mcap import McapSink, Message, Schema
from stream.sweep import Sweep
from stream.transform import Transform

_HEADER = """
MSG: std_msgs/Header
builtin_interfaces/Time stamp
string frame_id
"""
_TIME = """
MSG: builtin_interfaces/Time
int32 sec
uint32 nanosec
"""
_POINT_CLOUD2 = """std_msgs/Header header
uint32 height
uint32 width
sensor_msgs/PointField[] fields
bool is_bigendian
uint32 point_step
uint32 row_step
uint8[] data
bool is_dense
"""
_POINT_FIELD = """
MSG: sensor_msgs/PointField
uint8 INT8=1
uint8 UINT8=2
uint8 INT16=3
uint8 UINT16=4
uint8 INT32=5
uint8 UINT32=6
uint8 FLOAT32=7
uint8 FLOAT64=8
string name
uint32 offset
uint8 datatype
uint32 count
"""
_TF_MESSAGE = "geometry_msgs/TransformStamped[] transforms\n"
_TRANSFORM_STAMPED = """
MSG: geometry_msgs/TransformStamped
std_msgs/Header header
string child_frame_id
geometry_msgs/Transform transform
"""
_TRANSFORM = """
MSG: geometry_msgs/Transform
geometry_msgs/Vector3 translation
geometry_msgs/Quaternion rotation
"""
_VECTOR3 = """
MSG: geometry_msgs/Vector3
float64 x
float64 y
float64 z
"""
_QUATERNION = """
MSG: geometry_msgs/Quaternion
float64 x 0
float64 y 0
float64 z 0
float64 w 1
"""


def _schema(name: str, *definitions: str) -> Schema:
    """A type with all that it refers to, as MCAP keeps definitions of ROS 2: parted by lines of 80 signs."""
    return Schema(name, "ros2msg", ("=" * 80).join(definitions).encode(), "cdr")


CLOUD = _schema("sensor_msgs/msg/PointCloud2", _POINT_CLOUD2, _POINT_FIELD, _HEADER, _TIME)
TRANSFORMS = _schema(
    "tf2_msgs/msg/TFMessage",
    _TF_MESSAGE, _TRANSFORM_STAMPED, _TRANSFORM, _VECTOR3, _QUATERNION, _HEADER, _TIME,
)  # fmt: skip


def open_ros2(path: Path) -> McapSink:
    """An MCAP file of PointCloud2 and TFMessage.  Raises OSError"""
    return McapSink(path, message_of, profile="ros2")


def message_of(shown: Shown) -> Message:
    """A sweep or transform as a message.

    Raises TypeError for what ROS 2 has no message of, ValueError for a stamp outside 0 <= stamp < 2^31 s
    """
    if isinstance(shown, Sweep):
        return Message(sweep_topic(shown), CLOUD, encode_pointcloud2(shown), shown.stamp_ns)
    if isinstance(shown, Transform):
        return Message(TF, TRANSFORMS, tf.encode_cdr([shown]), shown.stamp_ns)
    if isinstance(shown, Mounts):
        newest_ns = max(transform.stamp_ns for transform in shown.transforms)
        return Message(TF_STATIC, TRANSFORMS, tf.encode_cdr(shown.transforms), newest_ns)
    raise TypeError(f"{type(shown).__name__}: only sweeps and transforms are messages of ROS 2")
