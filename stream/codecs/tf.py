"""``tf2_msgs/TFMessage``: transforms on the wire."""

from __future__ import annotations

from collections.abc import Iterable

from stream.codecs.cdr import CdrReader, CdrWriter, CodecError
from stream.transform import Transform

__all__ = ["CodecError", "decode_cdr", "encode_cdr"]

_LEAST_BYTES = 8 + 6 + 6 + 7 * 8
"""Smallest TransformStamped: stamp, two names of one letter, seven doubles."""


def decode_cdr(data: bytes | memoryview, *, robot_id: str, static: bool = False) -> list[Transform]:
    """Transforms of one message, in its order.

    data : CDR with its encapsulation header, either byte order
    robot_id, static : not on the wire: which robot, and whether it came on ``/tf_static``
    Returns transforms as they were sent; whether they are rigid is for the FrameRegistry to judge
    Raises CodecError, never reads past the end
    """
    reader = CdrReader(data)
    return [_transform(reader, robot_id, static) for _ in range(reader.count(_LEAST_BYTES, "transforms"))]


def _transform(reader: CdrReader, robot_id: str, static: bool) -> Transform:
    stamp_ns, parent = reader.header()
    child = reader.frame("child_frame_id")
    x, y, z, qx, qy, qz, qw = reader.doubles(7, f"transform {parent} to {child}")
    return Transform(
        robot_id=robot_id,
        stamp_ns=stamp_ns,
        parent=parent,
        child=child,
        translation=(x, y, z),
        rotation=(qx, qy, qz, qw),
        static=static,
    )


def encode_cdr(transforms: Iterable[Transform], *, big_endian: bool = False) -> bytes:
    """One message with these transforms; robot and ``static`` are not on the wire.

    Raises ValueError for a stamp outside 0 <= stamp < 2^31 s
    """
    transforms = list(transforms)
    writer = CdrWriter(big_endian=big_endian)
    writer.uint32(len(transforms))
    for transform in transforms:
        writer.header(transform.stamp_ns, transform.parent)
        writer.string(transform.child)
        writer.doubles((*transform.translation, *transform.rotation))
    return bytes(writer.data)
