"""Messages of producers as sweeps and transforms, and the headers of messages.

The header ``content-type`` says what a payload is in: ROS 2's CDR when there is none, the own format, or
Foxglove's protobuf. The robot is the message's key. CloudEvents' binary mode puts what an event is into
headers.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from stream.codecs import foxglove, pointcloud2, tf
from stream.codecs.cdr import CodecError
from stream.codecs.content_type import CDR, ContentType
from stream.codecs.names import clipped, require_name, require_robot_id
from stream.codecs.pointcloud2 import Columns
from stream.codecs.state import to_dict
from stream.codecs.wire import CONTENT_TYPE, WireError, decode, decode_all
from stream.records import (
    Binned,
    FeatureSample,
    ModelActivated,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.topics import topic_of
from stream.trace_ids import traceparent_of
from stream.transform import Transform

SENSOR, PART, PARTS, KIND, TRACE = "octa_sensor", "part", "parts", "content-type", "traceparent"
MAP_RESET = "octa_map_reset"
"""On a message of transforms: a new map begins with them. No format has a field for it."""

Headers = Iterable[tuple[str, bytes | None]]

_NUMBER = re.compile(rb"[0-9]{1,9}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


# ---- what producers send -------------------------------------------------------------------------------


def decode_sweep(
    data: bytes | None, headers: Headers, key: bytes | None, *, content_type: str = CDR
) -> Sweep:
    """The sweep, or part of one, of a message on ``octa.sweep.received.v1``.

    data : PointCloud2 as CDR, a Sweep of the own format, or foxglove.PointCloud, by ``content-type``
    content_type : what data is in where no header says so
    headers : ``octa_sensor`` names the sensor, else the frame does; ``part`` and ``parts`` place a part
    key : the robot id in UTF-8
    Returns the sweep as it was sent: whether its stamp is usable is for Perceive to judge
    Raises WireError: ``bad_key`` or ``bad_header`` (also where they contradict the payload), ``schema`` or
    ``corrupt``; never reads past the end
    """
    found = _Headers(headers)
    robot_id, kind = _robot_of(key), found.content_type(content_type)
    part, sensor = found.part(), found.text(SENSOR)
    _require_names("bad_header", **{SENSOR: sensor or ""})
    payload = _payload(data)
    if kind.media == CONTENT_TYPE:
        sweep: Sweep = decode(Sweep, payload)
        _agree("bad_key", "key", robot_id, sweep.robot_id)
        _agree("bad_header", SENSOR, sensor, sweep.stream_id.partition("/")[2])
        _agree("bad_header", f"{PART}, {PARTS}", part, (sweep.part, sweep.parts))
        _require_names("corrupt", stream_id=sweep.stream_id.partition("/")[2], frame=sweep.frame)
        return sweep
    stamp_ns, frame, (points, intensity, time_offset_ns) = _cloud(kind, payload)
    number, parts = part or (0, 1)
    return Sweep(
        stream_id=f"{robot_id}/{sensor or frame}",
        stamp_ns=stamp_ns,
        frame=frame,
        points=points,
        intensity=intensity,
        time_offset_ns=time_offset_ns,
        part=number,
        parts=parts,
    )


def decode_transforms(
    data: bytes | None, headers: Headers, key: bytes | None, *, static: bool, content_type: str = CDR
) -> list[Transform]:
    """The transforms of a message on ``octa.transform.received.v1``, or of ``static`` ones, in its order.

    data : TFMessage as CDR, Transforms of the own format, or foxglove.FrameTransform(s), by ``content-type``
    content_type : what data is in where no header says so; key : the robot id in UTF-8
    headers : with ``octa_map_reset`` a new map begins with the transforms, unless they are static
    Returns transforms as they were sent; whether they are rigid is for the FrameRegistry to judge
    Raises WireError as ``decode_sweep``
    """
    robot_id, found = _robot_of(key), _Headers(headers)
    transforms = _transforms(found.content_type(content_type), robot_id, _payload(data), static)
    if not found.map_reset() or static:
        return transforms
    return [replace(transform, resets_map=True) for transform in transforms]


def _transforms(kind: ContentType, robot_id: str, payload: bytes, static: bool) -> list[Transform]:
    if kind.media == CONTENT_TYPE:
        transforms: list[Transform] = decode_all(Transform, payload)
        for transform in transforms:
            _agree("bad_key", "key", robot_id, transform.robot_id)
            _agree("corrupt", "static, by the topic,", static, transform.static)
            _require_names("corrupt", parent=transform.parent, child=transform.child)
        return transforms
    name, read = "TFMessage", tf.decode_cdr
    if kind.media != CDR:
        name, read = kind.schema_of(_TRANSFORMS), _TRANSFORMS[kind.schema]
    with _refusing(name):
        return read(kind.unframed(payload), robot_id=robot_id, static=static)


_TRANSFORMS = {
    foxglove.TRANSFORM: foxglove.decode_transform,
    foxglove.TRANSFORMS: foxglove.decode_transforms,
}


def require_content_type(text: str, *, transforms: bool) -> None:
    """Raises WireError, ``schema``, for a content type that no message of transforms, or of sweeps, is in.

    ModuleNotFoundError where the package that reads it is not installed
    """
    kind = ContentType.parse(text)
    if kind.schema:
        kind.schema_of(_TRANSFORMS if transforms else [foxglove.CLOUD])
        foxglove.require()


def _cloud(kind: ContentType, payload: bytes) -> tuple[int, str, Columns]:
    """Stamp, frame and columns of a cloud that is not in the own format."""
    name, read = "PointCloud2", pointcloud2.decode_cdr
    if kind.media != CDR:
        name, read = kind.schema_of([foxglove.CLOUD]), foxglove.decode_cloud
    with _refusing(name):
        stamp_ns, frame, points, intensity, time_offset_ns = read(kind.unframed(payload))
    return stamp_ns, frame, (points, intensity, time_offset_ns)


@contextmanager
def _refusing(name: str) -> Iterator[None]:
    """Say what a message was taken for when it cannot be decoded."""
    try:
        yield
    except CodecError as error:
        raise WireError("corrupt", f"{name}: {error}") from error
    except ModuleNotFoundError as error:  # the message can be sent again once the package is there
        raise WireError("schema", str(error)) from error


def dead_letter(
    error: WireError,
    *,
    key: bytes | None,
    data: bytes | None,
    topic: str,
    partition: int,
    offset: int,
    appended_ns: int,
) -> SweepRejected:
    """The dead letter of a message that could not be decoded: where it lies, and what is wrong with it.

    data : the payload, of which the letter holds the first 16 hex digits of sha256
    appended_ns : when the message was appended, which stands for the stamp that cannot be read
    A key that names no robot leaves the robot empty
    """
    try:
        robot_id = _robot_of(key)
    except WireError:
        robot_id = ""
    digest = "" if data is None else f" sha256:{hashlib.sha256(data).hexdigest()[:16]}"
    return SweepRejected(
        robot_id=robot_id,
        stream_id=f"{robot_id}/{topic}",
        stamp_ns=appended_ns,
        part=0,
        reason=error.reason,
        detail=f"{topic}-{partition}@{offset}{digest}: {clipped(error.detail)}",
    )


def encode_foxglove(sweep: Sweep) -> bytes:
    """A sweep as foxglove.PointCloud, otherwise as ``encode_pointcloud2``."""
    _require_plain(sweep, foxglove.CLOUD)
    return foxglove.encode_cloud(
        sweep.stamp_ns, sweep.frame, sweep.points, sweep.intensity, sweep.time_offset_ns
    )


def encode_pointcloud2(sweep: Sweep) -> bytes:
    """A sweep as PointCloud2 in CDR, with the fields x y z intensity, and t where it has time offsets.

    Robot, sensor and part travel in key and headers.
    Raises ValueError for rays without return and for hits only, which the message has no place for, and for a
    stamp outside 0 <= stamp < 2^31 s
    """
    _require_plain(sweep, "PointCloud2")
    return pointcloud2.encode_cdr(
        sweep.stamp_ns, sweep.frame, sweep.points, sweep.intensity, sweep.time_offset_ns
    )


def _require_plain(sweep: Sweep, message: str) -> None:
    if sweep.hits_only:
        raise ValueError(
            f"hits_only: {message} cannot say that its points are no ends of rays; "
            f"send the sweep as {CONTENT_TYPE}"
        )
    if len(sweep.misses):
        raise ValueError(
            f"misses: {message} has no place for {len(sweep.misses)} rays without return; "
            f"send the sweep as {CONTENT_TYPE}, or without them"
        )


def _payload(data: bytes | None) -> bytes:
    if data is None:
        raise WireError("corrupt", "the message has no payload")
    return data


def _robot_of(key: bytes | None) -> str:
    if not key:
        raise WireError("bad_key", "the message has no key; the robot id is expected")
    try:
        robot_id = key.decode()
    except UnicodeDecodeError as error:
        raise WireError("bad_key", f"the key {key[:40]!r} is not UTF-8; the robot id is expected") from error
    try:
        require_robot_id(robot_id)
    except ValueError as error:
        raise WireError("bad_key", f"robot_id: {error}") from error
    return robot_id


def _require_names(reason: str, **names: str) -> None:
    for what, name in names.items():
        try:
            require_name(name)
        except ValueError as error:
            raise WireError(reason, f"{what}: {error}") from error


def _agree(reason: str, what: str, said: Any, found: Any) -> None:
    if said is not None and said != found:
        raise WireError(reason, f"{what} is {said!r}, but the payload says {found!r}")


class _Headers:
    """The headers that are read here; others are let pass."""

    def __init__(self, headers: Headers) -> None:
        self._values: dict[str, bytes] = {}
        for name, value in headers:
            if name not in (SENSOR, PART, PARTS, KIND, MAP_RESET):
                continue
            if value is None or self._values.setdefault(name, value) != value:
                raise WireError("bad_header", f"{name}: {'is null' if value is None else 'is there twice'}")

    def text(self, name: str) -> str | None:
        """A header as text, None without it."""
        value = self._values.get(name)
        if value is None:
            return None
        try:
            text = value.decode()
        except UnicodeDecodeError as error:
            raise WireError("bad_header", f"{name}: {value[:40]!r} is not UTF-8") from error
        if not text:
            raise WireError("bad_header", f"{name}: is empty")
        return text

    def map_reset(self) -> bool:
        """Whether a new map begins.  Raises WireError for a value that says neither"""
        text = self.text(MAP_RESET)
        if text not in (None, "0", "1"):
            raise WireError("bad_header", f"{MAP_RESET}: {text!r} is neither 1, a new map begins, nor 0")
        return text == "1"

    def content_type(self, otherwise: str) -> ContentType:
        """What the payload is in, one of the formats known; ``otherwise`` where no header says so."""
        return ContentType.parse(self.text(KIND) or otherwise)

    def part(self) -> tuple[int, int] | None:
        """Number of the part, and how many there are; None without such headers."""
        values = [self._values.get(name) for name in (PART, PARTS)]
        if values == [None, None]:
            return None
        number, parts = (int(value) if value and _NUMBER.fullmatch(value) else -1 for value in values)
        if not 0 <= number < parts:
            raise WireError("bad_header", f"{PART}, {PARTS}: expected 0 <= part < parts, got {values}")
        return number, parts


# ---- headers of what is sent ---------------------------------------------------------------------------


def headers_of(
    record: Any, source: str, traceparent: bytes | None = None, *, content_type: str = CONTENT_TYPE
) -> list[tuple[str, bytes]]:
    """Headers of a record's message: CloudEvents in binary mode, and the trace that it belongs to.

    source : who sends it, a URI reference; traceparent : of another trace than the sweep's own
    All follow from the arguments, so a record that is sent again has the same headers. A Sweep's also say its
    sensor and part.
    Raises TypeError for what has no topic
    """
    headers = [
        ("ce_specversion", "1.0"),
        ("ce_id", _id_of(record)),
        ("ce_source", source),
        ("ce_type", topic_of(record)),
        ("ce_time", _time_of(record)),
        (KIND, content_type),
    ]
    if isinstance(record, Sweep):
        headers += [(SENSOR, record.stream_id.partition("/")[2])]
        headers += [(PART, str(record.part)), (PARTS, str(record.parts))]
    if isinstance(record, Transform) and record.resets_map:
        headers += [(MAP_RESET, "1")]
    sent = [(name, value.encode()) for name, value in headers]
    traceparent = traceparent or traceparent_of(record)
    return sent if traceparent is None else [*sent, (TRACE, traceparent)]


def _id_of(record: Any) -> str:
    """Names what the record is about; two records with one type and one id are equal."""
    if isinstance(record, Sweep | Binned):
        return f"{record.prediction_id}/{record.part}"
    if isinstance(record, Prediction | Shadow | FeatureSample):
        return record.prediction_id
    if isinstance(record, Outcome):
        return f"{record.prediction_id}/{record.horizon_ns}"
    if isinstance(record, ModelActivated):
        return f"{record.stream_id}/{record.first_stamp_ns}"
    # Transforms, publications, dead letters, labels and events have no name: they are what they say.
    text = json.dumps(to_dict(record), sort_keys=True, default=_spelt)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _spelt(value: Any) -> str:
    return value.tobytes().hex() if isinstance(value, np.ndarray) else str(value)


def _time_of(record: Any) -> str:
    """The record's stamp by RFC 3339, to the nanosecond."""
    stamp_ns = record.first_stamp_ns if isinstance(record, ModelActivated) else record.stamp_ns
    seconds, rest_ns = divmod(stamp_ns, 1_000_000_000)
    return f"{_EPOCH + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"
