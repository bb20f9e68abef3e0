"""``foxglove.PointCloud``, ``FrameTransform(s)``, ``Log`` and ``SceneUpdate`` as protobuf.

The messages are those of the package foxglove-schemas-protobuf, which the extra ``formats`` brings. Protobuf
leaves out what is unset, so a message that is cut off between two fields parses. What has no sensible default
is required here; ``data``, the last field, is the one whose loss reads as an empty cloud.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.codecs import pointcloud2
from stream.codecs.cdr import CodecError, frame_name
from stream.codecs.pointcloud2 import PointCloud2, PointField
from stream.codecs.protobuf import require_few_values
from stream.frames import UNIT_TOLERANCE
from stream.sweep import MAX_STAMP_NS
from stream.transform import Transform

__all__ = [
    "CLOUD",
    "LEVELS",
    "LOG",
    "SCENE",
    "TRANSFORM",
    "TRANSFORMS",
    "CodecError",
    "decode_cloud",
    "decode_transform",
    "decode_transforms",
    "encode_cloud",
    "encode_columns",
    "encode_log",
    "encode_transform",
    "encode_transforms",
    "frame_of",
    "header",
    "parse_scene",
    "require",
    "schema_data",
    "stamp_of",
]

CLOUD, TRANSFORM, TRANSFORMS = "foxglove.PointCloud", "foxglove.FrameTransform", "foxglove.FrameTransforms"
LOG, SCENE = "foxglove.Log", "foxglove.SceneUpdate"
LEVELS = {"info": 2, "warning": 3, "error": 4}
"""Of a line, to ``Log.Level``."""

MAX_VALUES = 4096
"""Fields of a cloud, transforms, or entities of a scene, in one message."""

DATATYPES = {1: 2, 2: 1, 3: 4, 4: 3, 5: 6, 6: 5, 7: 7, 8: 8}
"""``NumericType`` (UINT8 INT8 UINT16 INT16 UINT32 INT32 FLOAT32 FLOAT64) to ``PointField.datatype``."""

_NS = 1_000_000_000
_NUMERIC_TYPES = {datatype: number for number, datatype in DATATYPES.items()}
_SIZES = {
    number: np.dtype(pointcloud2.DATATYPES[datatype]).itemsize for number, datatype in DATATYPES.items()
}
_CODES = {pointcloud2.DATATYPES[datatype]: number for number, datatype in DATATYPES.items()}


@functools.cache
def require() -> Mapping[str, Any]:
    """The message classes by their schema's name.  Raises ModuleNotFoundError that says what to install."""
    try:
        from foxglove_schemas_protobuf.FrameTransform_pb2 import FrameTransform
        from foxglove_schemas_protobuf.FrameTransforms_pb2 import FrameTransforms
        from foxglove_schemas_protobuf.Log_pb2 import Log
        from foxglove_schemas_protobuf.PointCloud_pb2 import PointCloud
        from foxglove_schemas_protobuf.SceneUpdate_pb2 import SceneUpdate
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"Foxglove messages need {error.name}: pip install 'octastream[formats]'", name=error.name
        ) from error
    return {
        CLOUD: PointCloud, TRANSFORM: FrameTransform, TRANSFORMS: FrameTransforms, LOG: Log,
        SCENE: SceneUpdate,
    }  # fmt: skip


def schema_data(schema: str) -> bytes:
    """A schema and all that it refers to, as MCAP keeps it: a serialised FileDescriptorSet."""
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    files: dict[str, Any] = {}

    def add(file: Any) -> None:
        for needed in file.dependencies:
            add(needed)
        files[file.name] = file

    add(require()[schema].DESCRIPTOR.file)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return bytes(found.SerializeToString(deterministic=True))


def _parse(schema: str, data: bytes | memoryview) -> Any:
    kind = require()[schema]
    from google.protobuf.message import DecodeError

    require_few_values(data, MAX_VALUES)
    try:
        return kind.FromString(data)
    except (DecodeError, ValueError) as error:  # the pure Python runtime raises UnicodeDecodeError too
        raise CodecError(" ".join(str(error).split())) from error


# ---- clouds --------------------------------------------------------------------------------------------


def header(data: bytes | memoryview) -> tuple[int, str]:
    """Stamp in nanoseconds and frame of a cloud, without decoding its points.  Raises CodecError."""
    return _header(_parse(CLOUD, data))


def decode_cloud(
    data: bytes | memoryview,
) -> tuple[int, str, NDArray[np.float32], NDArray[np.float32], NDArray[np.int32] | None]:
    """Stamp in nanoseconds, frame, points, intensity and time offsets of a PointCloud.

    Fields are named and read as in ``pointcloud2.decode``. A rotation in ``pose`` is applied to the points in
    float64. A translation is refused: rays begin at the origin of the frame, so moving the points alone would
    carve free space where the sensor never looked.
    Raises CodecError, never reads past the end; ModuleNotFoundError without the package
    """
    cloud = _parse(CLOUD, data)
    stamp_ns, frame = _header(cloud)
    points, intensity, time_offset_ns = pointcloud2.decode(_packed(cloud, stamp_ns, frame))
    return stamp_ns, frame, _turned(points, cloud, frame), intensity, time_offset_ns


def _header(cloud: Any) -> tuple[int, str]:
    return _stamp(cloud), frame_name(cloud.frame_id, "frame_id")


def _stamp(message: Any) -> int:
    seconds, nanoseconds = message.timestamp.seconds, message.timestamp.nanos
    stamp_ns = int(seconds * _NS + nanoseconds)
    if not (0 <= nanoseconds < _NS and 0 <= stamp_ns <= MAX_STAMP_NS):
        raise CodecError(f"timestamp: {seconds} s {nanoseconds} ns is not a time since the epoch")
    return stamp_ns


def _packed(cloud: Any, stamp_ns: int, frame: str) -> PointCloud2:
    """The cloud with its fields in ROS's words, unordered and little endian."""
    data, stride = cloud.data, cloud.point_stride
    if data and stride == 0:
        raise CodecError(f"point_stride: expected > 0 for {len(data)} bytes of data, got 0")
    if data and len(data) % stride:
        raise CodecError(f"data: {len(data)} bytes, expected a multiple of point_stride {stride}")
    return PointCloud2(
        stamp_ns=stamp_ns,
        frame_id=frame,
        height=1,
        width=len(data) // stride if data else 0,
        fields=tuple(_field(field, stride) for field in cloud.fields),
        is_bigendian=False,
        point_step=stride,
        row_step=len(data),
        data=data,
    )


def _field(field: Any, stride: int) -> PointField:
    if field.type not in DATATYPES:
        raise CodecError(f"field {field.name}: type {field.type} is not one of 1..8 (UINT8 to FLOAT64)")
    if field.offset + _SIZES[field.type] > stride:
        raise CodecError(
            f"field {field.name}: offset {field.offset} + {_SIZES[field.type]} bytes exceeds "
            f"point_stride {stride}"
        )
    return PointField(name=field.name, offset=field.offset, datatype=DATATYPES[field.type])


def _turned(points: NDArray[np.float32], cloud: Any, frame: str) -> NDArray[np.float32]:
    """Points in the frame, from those in the pose of the cloud; no pose is the identity."""
    position, turn = cloud.pose.position, cloud.pose.orientation
    if any((position.x, position.y, position.z)):
        raise CodecError(
            f"pose: position ({position.x:g}, {position.y:g}, {position.z:g}) would move the points "
            f"away from the origin of {frame}, where rays begin; send them in the sensor's own frame, and "
            "where it sits as a FrameTransform"
        )
    rotation = (turn.x, turn.y, turn.z, turn.w)
    if not cloud.pose.HasField("orientation") or rotation == (0, 0, 0, 1):
        return points
    length = math.sqrt(sum(value * value for value in rotation))
    if not abs(length - 1) <= UNIT_TOLERANCE:
        raise CodecError(
            f"pose: orientation {rotation} has length {length:.6g}, expected a unit quaternion; "
            "leave pose out where there is none"
        )
    matrix = pose.matrix(np.array([0, 0, 0, *(value / length for value in rotation)], np.float64))
    x, y, z = points.astype(np.float64).T
    # Column by column: a matrix product may be summed in another order on another machine.
    with np.errstate(over="ignore", invalid="ignore"):
        columns = [a * x + b * y + c * z for a, b, c, _ in matrix.reshape(3, 4)]
        return np.stack(columns, axis=1).astype(np.float32)


def encode_cloud(
    stamp_ns: int,
    frame_id: str,
    points: NDArray[np.float32],
    intensity: NDArray[np.float32],
    time_offset_ns: NDArray[np.int32] | None = None,
) -> bytes:
    """A PointCloud with the fields x y z intensity, and t (int32, ns) when given; no pose.

    Raises ValueError when the columns differ in length, or for a stamp below 0
    """
    packed = pointcloud2.pack(stamp_ns, frame_id, points, intensity, time_offset_ns)
    cloud = require()[CLOUD](frame_id=frame_id, point_stride=packed.point_step, data=bytes(packed.data))
    _set_stamp(cloud, stamp_ns)
    for field in packed.fields:
        cloud.fields.add(name=field.name, offset=field.offset, type=_NUMERIC_TYPES[field.datatype])
    return bytes(cloud.SerializeToString(deterministic=True))


def encode_columns(stamp_ns: int, frame_id: str, columns: Mapping[str, NDArray[Any]]) -> bytes:
    """A PointCloud with one field a column, in their order; no pose.

    columns : one dimensional, equally long, of the types that DATATYPES has; those of a place are x y z
    Raises ValueError for columns of different length or another type, or for a stamp below 0
    """
    kinds = {name: column.dtype.newbyteorder("<") for name, column in columns.items()}
    wrong = [f"{name} {kind}" for name, kind in kinds.items() if kind.str[1:] not in _CODES]
    if wrong:
        raise ValueError(f"columns: {', '.join(wrong)} is not one of {', '.join(_CODES)}")
    if len({column.shape for column in columns.values()}) > 1:
        shapes = ", ".join(f"{name} {column.shape}" for name, column in columns.items())
        raise ValueError(f"columns: expected one length, got {shapes}")
    table = np.empty(len(next(iter(columns.values()), ())), list(kinds.items()))
    for name, column in columns.items():
        table[name] = column
    cloud = require()[CLOUD](frame_id=frame_id, point_stride=table.dtype.itemsize, data=table.tobytes())
    _set_stamp(cloud, stamp_ns)
    offset = 0
    for name, kind in kinds.items():
        cloud.fields.add(name=name, offset=offset, type=_CODES[kind.str[1:]])
        offset += kind.itemsize
    return bytes(cloud.SerializeToString(deterministic=True))


def _set_stamp(message: Any, stamp_ns: int) -> None:
    if stamp_ns < 0:
        raise ValueError(f"stamp_ns: expected >= 0, got {stamp_ns}")
    message.timestamp.seconds, message.timestamp.nanos = divmod(stamp_ns, _NS)


# ---- transforms ----------------------------------------------------------------------------------------


def decode_transform(data: bytes | memoryview, *, robot_id: str, static: bool = False) -> list[Transform]:
    """The one transform of a FrameTransform, otherwise as ``decode_transforms``."""
    return [_transform(_parse(TRANSFORM, data), robot_id, static)]


def decode_transforms(data: bytes | memoryview, *, robot_id: str, static: bool = False) -> list[Transform]:
    """Transforms of a FrameTransforms, in its order.

    robot_id, static : not on the wire, as in ``tf.decode_cdr``
    Returns transforms as they were sent; whether they are rigid is for the FrameRegistry to judge
    Raises CodecError, also where translation or rotation is missing: they are not guessed;
    ModuleNotFoundError without the package
    """
    return [_transform(item, robot_id, static) for item in _parse(TRANSFORMS, data).transforms]


def _transform(message: Any, robot_id: str, static: bool) -> Transform:
    parent = frame_name(message.parent_frame_id, "parent_frame_id")
    child = frame_name(message.child_frame_id, "child_frame_id")
    for name in ("translation", "rotation"):
        if not message.HasField(name):
            raise CodecError(f"transform {parent} to {child}: {name} is missing; send zeros, too")
    shift, turn = message.translation, message.rotation
    return Transform(
        robot_id=robot_id,
        stamp_ns=_stamp(message),
        parent=parent,
        child=child,
        translation=(shift.x, shift.y, shift.z),
        rotation=(turn.x, turn.y, turn.z, turn.w),
        static=static,
    )


def encode_transform(transform: Transform) -> bytes:
    """A FrameTransform; robot and ``static`` are not on the wire.  Raises ValueError for a stamp below 0"""
    return bytes(_message_of(transform).SerializeToString(deterministic=True))


def encode_transforms(transforms: Iterable[Transform]) -> bytes:
    """A FrameTransforms with these; otherwise as ``encode_transform``."""
    message = require()[TRANSFORMS](transforms=[_message_of(transform) for transform in transforms])
    return bytes(message.SerializeToString(deterministic=True))


def _message_of(transform: Transform) -> Any:
    message = require()[TRANSFORM](parent_frame_id=transform.parent, child_frame_id=transform.child)
    _set_stamp(message, transform.stamp_ns)
    message.translation.x, message.translation.y, message.translation.z = transform.translation
    turn = message.rotation
    turn.x, turn.y, turn.z, turn.w = transform.rotation
    message.translation.SetInParent()  # zero is said, not left out
    turn.SetInParent()
    return message


# ---- lines ---------------------------------------------------------------------------------------------


def encode_log(stamp_ns: int, level: str, name: str, text: str) -> bytes:
    """A Log: a line that somebody said.  level : one of LEVELS; raises ValueError for a stamp below 0"""
    message = require()[LOG](level=LEVELS[level], name=name, message=text)
    _set_stamp(message, stamp_ns)
    return bytes(message.SerializeToString(deterministic=True))


# ---- scenes --------------------------------------------------------------------------------------------


def parse_scene(data: bytes | memoryview) -> Any:
    """A SceneUpdate, as the package has it.  Raises CodecError; ModuleNotFoundError without the package"""
    return _parse(SCENE, data)


def stamp_of(entity: Any) -> int:
    """Stamp of an entity in nanoseconds.  Raises CodecError"""
    return _stamp(entity)


def frame_of(entity: Any) -> str:
    """Frame of an entity, without the slash that it may begin with.  Raises CodecError for none"""
    return frame_name(entity.frame_id, "frame_id")
