"""What producers send: ROS 2 messages and the own format, keys and headers, and headers of what is sent."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.reader import make_reader

from stream.codecs import foxglove, tf
from stream.codecs.content_type import CDR
from stream.codecs.inputs import (
    dead_letter,
    decode_sweep,
    decode_transforms,
    encode_foxglove,
    encode_pointcloud2,
    headers_of,
)
from stream.codecs.wire import CONTENT_TYPE, WireError, encode, encode_all
from stream.records import Binned, Event, ModelActivated, ModelPublished, Outcome, Prediction, SweepRejected
from stream.sources import open_source
from stream.sources.base import SourceOptions
from stream.sources.logged_message import STATIC_TOPIC
from stream.sources.message_types import POINTS_TYPE
from stream.sweep import Sweep
from stream.topics import SWEEPS
from stream.transform import Transform
from tests.agents.worlds import plain
from tests.data import data_path

LOG = "kitti_0005_000-053.mcap"
ARROW = [("content-type", CONTENT_TYPE.encode())]


def sweep(**changes: Any) -> Sweep:
    values: dict[str, Any] = {
        "stream_id": "r2/top",
        "stamp_ns": 1_700_000_000_000_000_001,
        "frame": "top",
        "points": np.array([[1, 2, 3], [np.nan, -0.0, np.inf]], np.float32),
        "intensity": np.array([0.25, np.nan], np.float32),
    }
    return Sweep(**(values | changes))


def transform(**changes: Any) -> Transform:
    values: dict[str, Any] = {
        "robot_id": "r2",
        "stamp_ns": 5,
        "parent": "odom",
        "child": "base",
        "translation": (1.0, 2.0, 3.0),
        "rotation": (0.0, 0.0, 0.0, 1.0),
    }
    return Transform(**(values | changes))


# ---- there and back ------------------------------------------------------------------------------------


@pytest.mark.data
def test_messages_of_the_recorded_log_are_what_its_source_yields() -> None:
    items = iter(open_source(str(data_path(LOG)), SourceOptions(robot_id="kitti")))
    count = {Sweep: 0, Transform: 0}
    with data_path(LOG).open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            found: Sequence[Any]
            if schema.name == POINTS_TYPE:
                found = [decode_sweep(message.data, [], b"kitti")]
                assert encode_pointcloud2(found[0]) == message.data
            else:
                static = channel.topic == STATIC_TOPIC
                found = decode_transforms(message.data, [], b"kitti", static=static)
                assert tf.encode_cdr(found) == message.data
            for got in found:
                assert plain(got) == plain(next(items))
                count[type(got)] += 1
            if count[Sweep] == 8:
                break
    assert count[Transform] > 30


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"points": np.empty((0, 3), np.float32), "intensity": np.empty(0, np.float32)},
        {"time_offset_ns": np.array([0, -5], np.int32)},
        {"part": 2, "parts": 3},
        {"stream_id": "Gerät 7/vorn/links"},
        {"stamp_ns": 0},
    ],
)
@pytest.mark.parametrize("content_type", [CDR, CONTENT_TYPE])
def test_a_sweep_comes_back_from_its_message_and_headers(changes: dict[str, Any], content_type: str) -> None:
    sent = sweep(**changes)
    data = encode_pointcloud2(sent) if content_type == CDR else encode(sent)
    headers = headers_of(sent, "octastream", content_type=content_type)
    assert plain(decode_sweep(data, headers, sent.robot_id.encode())) == plain(sent)


def test_the_own_format_needs_its_content_type_only() -> None:
    sent = sweep(part=1, parts=2, misses=np.array([[0, 0, 1]], np.float32))
    assert plain(decode_sweep(encode(sent), ARROW, b"r2")) == plain(sent)
    spelt = [("content-type", b"Application/vnd.octastream.V1+arrow; charset=binary")]
    assert plain(decode_sweep(encode(sent), spelt, b"r2")) == plain(sent)


def test_a_cloud_without_headers_is_named_by_its_frame() -> None:
    got = decode_sweep(encode_pointcloud2(sweep(frame="front")), [("other", None)], b"r3")
    assert (got.stream_id, got.frame, got.part, got.parts) == ("r3/front", "front", 0, 1)


@pytest.mark.parametrize("static", [False, True])
def test_transforms_come_back_in_both_formats(static: bool) -> None:
    sent = [transform(child=name, static=static) for name in ("base", "lidar", "camera")]
    assert decode_transforms(tf.encode_cdr(sent), [], b"r2", static=static) == sent
    assert decode_transforms(encode_all(sent), ARROW, b"r2", static=static) == sent
    assert decode_transforms(tf.encode_cdr([]), [], b"r2", static=static) == []


def test_rays_without_return_are_not_dropped_in_silence() -> None:
    with pytest.raises(ValueError, match="misses: PointCloud2 has no place for 1 rays without return"):
        encode_pointcloud2(sweep(misses=np.array([[0, 0, 1]], np.float32)))
    with pytest.raises(
        ValueError, match="hits_only: PointCloud2 cannot say that its points are no ends of rays"
    ):
        encode_pointcloud2(sweep(hits_only=True))


# ---- Foxglove's protobuf ------------------------------------------------------------------------------


def protobuf(schema: str, more: str = "") -> list[tuple[str, bytes]]:
    return [("content-type", f"application/x-protobuf; schema={schema}{more}".encode())]


POINTS, FRAME, FRAMES = "foxglove.PointCloud", "foxglove.FrameTransform", "foxglove.FrameTransforms"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"points": np.empty((0, 3), np.float32), "intensity": np.empty(0, np.float32)},
        {"time_offset_ns": np.array([0, -5], np.int32)},
        {"part": 2, "parts": 3},
    ],
)
def test_a_sweep_comes_back_from_foxglove(changes: dict[str, Any]) -> None:
    sent = sweep(**changes)
    headers = headers_of(sent, "octastream", content_type=protobuf(POINTS)[0][1].decode())
    assert plain(decode_sweep(encode_foxglove(sent), headers, b"r2")) == plain(sent)
    with pytest.raises(ValueError, match=r"misses: foxglove\.PointCloud has no place for 1 rays"):
        encode_foxglove(sweep(misses=np.array([[0, 0, 1]], np.float32)))
    with pytest.raises(ValueError, match=r"hits_only: foxglove\.PointCloud cannot say"):
        encode_foxglove(sweep(hits_only=True))


@pytest.mark.parametrize("static", [False, True])
def test_transforms_come_back_from_foxglove(static: bool) -> None:
    sent = [transform(child=name, static=static) for name in ("base", "lidar")]
    assert decode_transforms(foxglove.encode_transforms(sent), protobuf(FRAMES), b"r2", static=static) == sent
    one = decode_transforms(foxglove.encode_transform(sent[0]), protobuf(FRAME), b"r2", static=static)
    assert one == sent[:1]


@pytest.mark.parametrize(
    "spelt",
    [
        "application/x-protobuf; schema=foxglove.PointCloud",
        "Application/X-Protobuf;schema=foxglove.PointCloud;charset=binary",
        'application/protobuf; Schema="foxglove.PointCloud"',
    ],
)
def test_spellings_of_the_content_type(spelt: str) -> None:
    got = decode_sweep(encode_foxglove(sweep()), [("content-type", spelt.encode())], b"r2")
    assert got.stamp_ns == sweep().stamp_ns


def test_the_framing_of_a_schema_registry_is_stripped() -> None:
    headers = protobuf(POINTS, "; framing=confluent")
    data = encode_foxglove(sweep())
    for head in (b"\0\0\0\0\7\0", b"\0\0\0\0\7\2\0"):
        assert plain(decode_sweep(head + data, headers, b"r2")) == plain(
            decode_sweep(data, protobuf(POINTS), b"r2")
        )
    assert refused(decode_sweep, data, headers, b"r2") == (
        "corrupt: foxglove.PointCloud: the message begins with 0a, framing=confluent expects 00"
    )
    moved = b"\0\0\0\0\7\0" + foxglove.encode_transform(transform())
    framed = protobuf(FRAME, "; framing=Confluent")
    assert decode_transforms(moved, framed, b"r2", static=False) == [transform()]


def test_without_a_header_the_configured_content_type_counts() -> None:
    kind = protobuf(POINTS)[0][1].decode()
    assert decode_sweep(encode_foxglove(sweep()), [], b"r2", content_type=kind).robot_id == "r2"
    assert decode_sweep(CLOUD, [("content-type", CDR.encode())], b"r2", content_type=kind).robot_id == "r2"
    moved = foxglove.encode_transforms([transform()])
    kind = protobuf(FRAMES)[0][1].decode()
    assert decode_transforms(moved, [], b"r2", static=False, content_type=kind) == [transform()]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        (
            [("content-type", b"application/x-protobuf")],
            "schema: content-type application/x-protobuf names no message: append ; schema=NAME",
        ),
        (protobuf(FRAME), f"schema: content-type: schema '{FRAME}', expected {POINTS}"),
        (
            protobuf(POINTS, "; framing=avro"),
            "schema: content-type: framing 'avro', expected confluent or none",
        ),
    ],
)
def test_content_types_of_protobuf_that_are_none(headers: Any, message: str) -> None:
    assert refused(decode_sweep, encode_foxglove(sweep()), headers, b"r2") == message


def test_payloads_of_protobuf_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encode_foxglove(sweep())
    assert refused(decode_sweep, None, protobuf(POINTS), b"r2") == "corrupt: the message has no payload"
    assert refused(decode_sweep, data[:-1], protobuf(POINTS), b"r2").startswith(
        f"corrupt: {POINTS}: 32 bytes"
    )
    assert refused(decode_sweep, CLOUD, protobuf(POINTS), b"r2").startswith(f"corrupt: {POINTS}: ")
    assert refused(decode_transforms, data, protobuf(POINTS), b"r2", static=False) == (
        f"schema: content-type: schema '{POINTS}', expected {FRAME} or {FRAMES}"
    )
    assert refused(decode_transforms, b"\xff", protobuf(FRAME), b"r2", static=False).startswith(
        f"corrupt: {FRAME}: "
    )

    def absent() -> Any:
        raise ModuleNotFoundError("Foxglove messages need it: pip install 'octastream[formats]'")

    monkeypatch.setattr(foxglove, "require", absent)
    assert refused(decode_sweep, data, protobuf(POINTS), b"r2") == (
        "schema: Foxglove messages need it: pip install 'octastream[formats]'"
    )


FRAMED = b"\0\0\0\0\7\2\0"


@pytest.mark.parametrize("schema", [POINTS, FRAME, FRAMES])
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_damage_to_protobuf_gives_a_wire_error_or_a_record(schema: str, data: st.DataObject) -> None:
    whole = {
        POINTS: encode_foxglove(sweep(time_offset_ns=np.array([0, -5], np.int32))),
        FRAME: foxglove.encode_transform(transform()),
        FRAMES: foxglove.encode_transforms([transform(), transform(child="arm")]),
    }[schema]
    framed = data.draw(st.booleans())
    message = bytearray(FRAMED + whole if framed else whole)
    for _ in range(data.draw(st.integers(0, 3))):
        message[data.draw(st.integers(0, len(message) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    del message[data.draw(st.integers(0, len(message))) :]
    headers = protobuf(schema, "; framing=confluent" if framed else "")
    try:
        if schema == POINTS:
            got = decode_sweep(bytes(message), headers, b"r2")
            assert got.points.shape == (len(got.intensity), 3)
        else:
            found = decode_transforms(bytes(message), headers, b"r2", static=False)
            assert all(item.parent and item.child for item in found)
    except WireError as error:
        assert error.reason == "corrupt"
        assert "\n" not in str(error)


# ---- what is refused -----------------------------------------------------------------------------------


def refused(call: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(WireError) as caught:
        call(*arguments, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


CLOUD = encode_pointcloud2(sweep())


@pytest.mark.parametrize(
    ("key", "message"),
    [
        (None, "bad_key: the message has no key; the robot id is expected"),
        (b"", "bad_key: the message has no key; the robot id is expected"),
        (b"\xff", r"bad_key: the key b'\xff' is not UTF-8; the robot id is expected"),
        (b"a/b", "bad_key: robot_id: 'a/b' must be a name without a slash, which ends it in ids"),
    ],
)
def test_keys_that_name_no_robot(key: bytes | None, message: str) -> None:
    assert refused(decode_sweep, CLOUD, [], key) == message
    assert refused(decode_transforms, tf.encode_cdr([transform()]), [], key, static=False) == message


LONG, ESCAPES = "a" * 257, "\x1b[2Jant"
TOO_LONG = f"{'a' * 40!r}... has 257 bytes, a name has 256 at most"
UNPRINTABLE = r"'\x1b[2Jant' holds what cannot be printed; letters, digits and signs are taken"


@pytest.mark.fault(23)
@pytest.mark.parametrize(("name", "message"), [(LONG, TOO_LONG), (ESCAPES, UNPRINTABLE)])
def test_names_that_are_too_long_or_would_upset_a_terminal(name: str, message: str) -> None:
    """Found by a review: a stream id of megabytes, packed into 5 kB, made headers that no topic takes."""
    key, protobuf_cloud = name.encode(), encode_foxglove(sweep(frame=name))
    assert refused(decode_sweep, CLOUD, [], key) == f"bad_key: robot_id: {message}"
    assert (
        refused(decode_sweep, CLOUD, [("octa_sensor", key)], b"r2") == f"bad_header: octa_sensor: {message}"
    )
    found = refused(decode_sweep, encode_pointcloud2(sweep(frame=name)), [], b"r2")
    assert found == f"corrupt: PointCloud2: header.frame_id: {message}"
    found = refused(decode_sweep, protobuf_cloud, protobuf(POINTS), b"r2")
    assert found == f"corrupt: {POINTS}: frame_id: {message}"
    for changes, field in (({"stream_id": f"r2/{name}"}, "stream_id"), ({"frame": name}, "frame")):
        found = refused(decode_sweep, encode(sweep(**changes)), ARROW, b"r2")
        assert found == f"corrupt: {field}: {message}"
    for field in ("parent", "child"):
        moved = transform(**{field: name})
        found = refused(decode_transforms, encode(moved), ARROW, b"r2", static=False)
        assert found == f"corrupt: {field}: {message}"
        found = refused(decode_transforms, tf.encode_cdr([moved]), [], b"r2", static=False)
        assert found.startswith("corrupt: TFMessage: ")
        assert found.endswith(message)
        edges = foxglove.encode_transforms([moved])
        found = refused(decode_transforms, edges, protobuf(FRAMES), b"r2", static=False)
        assert found == f"corrupt: {FRAMES}: {field}_frame_id: {message}"


def test_names_may_be_of_any_language() -> None:
    robot, sensor = "робот 7", "ä" * 128
    found = decode_sweep(CLOUD, [("octa_sensor", sensor.encode())], robot.encode())
    assert found.stream_id == f"{robot}/{sensor}"


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([("octa_sensor", b"")], "bad_header: octa_sensor: is empty"),
        ([("octa_sensor", None)], "bad_header: octa_sensor: is null"),
        ([("octa_sensor", b"\xff")], r"bad_header: octa_sensor: b'\xff' is not UTF-8"),
        ([("octa_sensor", b"a"), ("octa_sensor", b"b")], "bad_header: octa_sensor: is there twice"),
        (
            [("content-type", b"application/json")],
            "schema: content-type 'application/json', expected application/cdr, "
            "application/vnd.octastream.v1+arrow or application/x-protobuf",
        ),
    ],
)
def test_headers_that_say_nothing_of_use(headers: Any, message: str) -> None:
    assert refused(decode_sweep, CLOUD, headers, b"r2") == message


@pytest.mark.parametrize(
    ("part", "parts"),
    [
        (b"0", None),
        (None, b"2"),
        (b"2", b"2"),
        (b"0", b"0"),
        (b"-1", b"2"),
        (b" 1", b"2"),
        (b"1e3", b"9999"),
        (b"0", "٢".encode()),
        (b"0", b"9999999999"),
    ],
)
def test_parts_that_are_none(part: bytes | None, parts: bytes | None) -> None:
    headers = [(name, value) for name, value in (("part", part), ("parts", parts)) if value is not None]
    assert refused(decode_sweep, CLOUD, headers, b"r2") == (
        f"bad_header: part, parts: expected 0 <= part < parts, got {[part, parts]}"
    )


def test_a_header_that_is_there_twice_and_says_the_same_is_let_pass() -> None:
    assert decode_sweep(CLOUD, [("octa_sensor", b"a"), ("octa_sensor", b"a")], b"r2").stream_id == "r2/a"


def test_headers_and_key_that_contradict_the_own_format() -> None:
    data = encode(sweep())
    assert refused(decode_sweep, data, ARROW, b"r3") == "bad_key: key is 'r3', but the payload says 'r2'"
    assert refused(decode_sweep, data, [*ARROW, ("octa_sensor", b"low")], b"r2") == (
        "bad_header: octa_sensor is 'low', but the payload says 'top'"
    )
    assert refused(decode_sweep, data, [*ARROW, ("part", b"1"), ("parts", b"2")], b"r2") == (
        "bad_header: part, parts is (1, 2), but the payload says (0, 1)"
    )
    moving = encode(transform())
    assert refused(decode_transforms, moving, ARROW, b"r3", static=False) == (
        "bad_key: key is 'r3', but the payload says 'r2'"
    )
    assert refused(decode_transforms, moving, ARROW, b"r2", static=True) == (
        "corrupt: static, by the topic, is True, but the payload says False"
    )


@pytest.mark.fault(23)
def test_payloads_that_cannot_be_read() -> None:
    assert refused(decode_sweep, None, [], b"r2") == "corrupt: the message has no payload"
    assert refused(decode_transforms, None, [], b"r2", static=True) == "corrupt: the message has no payload"
    assert (
        refused(decode_sweep, b"", [], b"r2") == "corrupt: PointCloud2: message of 0 bytes has no CDR header"
    )
    assert refused(decode_sweep, CLOUD[:-9], [], b"r2").startswith("corrupt: PointCloud2: data: ")
    assert refused(decode_transforms, b"\0\1\0\0", [], b"r2", static=False).startswith("corrupt: TFMessage: ")
    assert refused(decode_sweep, CLOUD, ARROW, b"r2").startswith("schema: the message begins with 0001")
    assert refused(decode_sweep, encode(transform()), ARROW, b"r2") == (
        "schema: record transform version 2, expected sweep version 2"
    )


@pytest.mark.fault(23)
def test_damage_at_random_is_an_error_or_a_sweep() -> None:
    dice = random.Random(7)
    messages: list[tuple[bytes, list[tuple[str, bytes]]]] = [(CLOUD, []), (encode(sweep()), ARROW)]
    refusals = 0
    for number in range(2000):
        data, headers = messages[number % 2]
        damaged = bytearray(data)
        damaged[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        if dice.random() < 0.3:
            del damaged[dice.randrange(len(data)) :]
        try:
            got = decode_sweep(bytes(damaged), headers, b"r2")
        except WireError as error:
            assert error.reason in ("corrupt", "schema")
            refusals += 1
        else:
            assert headers == []  # CDR has no checksum
            assert got.points.shape == (len(got.intensity), 3)
    assert refusals > 1200


# ---- dead letters --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "robot_id"), [(b"r2", "r2"), (b"a/b", ""), (None, "")])
@pytest.mark.parametrize(("data", "digest"), [(b"abc", " sha256:ba7816bf8f01cfea"), (None, "")])
def test_a_dead_letter_says_where_the_message_lies(
    key: bytes | None, robot_id: str, data: bytes | None, digest: str
) -> None:
    error = WireError("corrupt", "cut\noff")
    letter = dead_letter(error, key=key, data=data, topic=SWEEPS, partition=3, offset=17, appended_ns=9)
    assert letter == SweepRejected(
        robot_id=robot_id,
        stream_id=f"{robot_id}/octa.sweep.received.v1",
        stamp_ns=9,
        part=0,
        reason="corrupt",
        detail=f"octa.sweep.received.v1-3@17{digest}: cut off",
    )


@pytest.mark.fault(23)
def test_a_dead_letter_is_small_whatever_came() -> None:
    """Found by a review: that of a key as large as a message was larger than the topic takes."""
    large = b"k" * (8 * 2**20)
    parts, sensor = [("part", large), ("parts", b"2")], [("octa_sensor", large)]
    for headers, key in (([], large), (parts, b"r2"), (sensor, b"r2")):
        with pytest.raises(WireError) as caught:
            decode_sweep(CLOUD, headers, key)
        letter = dead_letter(
            caught.value, key=key, data=CLOUD, topic=SWEEPS, partition=3, offset=17, appended_ns=9
        )
        assert letter.robot_id == ("" if key is large else "r2")
        assert len(letter.detail) < 1200
        assert len(encode(letter)) < 4096


# ---- headers of what is sent ---------------------------------------------------------------------------


def test_headers_are_those_of_cloudevents() -> None:
    sent = sweep(part=1, parts=2)
    assert headers_of(sent, "robots/r2", b"00-aa-bb-01") == [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"r2/top/1700000000000000001/1"),
        ("ce_source", b"robots/r2"),
        ("ce_type", b"octa.sweep.received.v1"),
        ("ce_time", b"2023-11-14T22:13:20.000000001Z"),
        ("content-type", b"application/vnd.octastream.v1+arrow"),
        ("octa_sensor", b"top"),
        ("part", b"1"),
        ("parts", b"2"),
        ("traceparent", b"00-aa-bb-01"),
    ]


def header(record: Any, name: str) -> str:
    return dict(headers_of(record, "s"))[name].decode()


CELLS = np.empty(0, np.uint64)
ABOUT: dict[str, Any] = {"prediction_id": "a/b/1", "robot_id": "a", "stream_id": "a/b", "stamp_ns": 1}
PREDICTION = Prediction(
    **ABOUT, seq=0, model_id="m", horizons_ns=(), cell_id=CELLS, probability=np.empty((0, 0), np.float32),
    before=np.empty(0, np.uint8), feature_digest="", state_digest="",
)  # fmt: skip
OUTCOME = Outcome(
    **ABOUT, horizon_ns=7, observed_stamp_ns=9, row=np.empty(0, np.int32), cell_id=CELLS,
    occupied=np.empty(0, np.bool_), before=np.empty(0, np.uint8),
)  # fmt: skip
BINNED = Binned(
    robot_id="a", seq=0, stream_id="a/b", stamp_ns=1, part=2, parts=3, late=False, pose=np.zeros(12),
    pose_history=np.zeros((0, 12)), cell_id=CELLS, hits=np.empty(0, np.uint32), passes=np.empty(0, np.uint32),
    sums=np.empty((0, 11), np.int32), beams=np.empty((0, 3), np.int16), points=0, rays=0, binned=0,
)  # fmt: skip
ACTIVATED = ModelActivated(robot_id="a", stream_id="a/b", first_stamp_ns=10**9, model_id="m", sha256="s")


def test_ids_and_times_follow_from_the_record() -> None:
    assert header(PREDICTION, "ce_id") == "a/b/1"
    assert header(OUTCOME, "ce_id") == "a/b/1/7"
    assert header(BINNED, "ce_id") == "a/b/1/2"
    assert header(ACTIVATED, "ce_id") == "a/b/1000000000"
    assert header(ACTIVATED, "ce_time") == "1970-01-01T00:00:01.000000000Z"
    for stamp_ns, time in (
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (2**63 - 1, "2262-04-11T23:47:16.854775807Z"),
    ):
        assert header(Event(kind="gap", stamp_ns=stamp_ns), "ce_time") == time


@pytest.mark.parametrize(
    "record",
    [
        Event(kind="drift", stamp_ns=1, fields={"a": 1, "b": [0.5, None]}),
        ModelPublished(
            model_id="m", sha256="s", kind="update", parent_id="", stamp_ns=1, manifest={"a": 1, "b": 2}
        ),
        SweepRejected(robot_id="a", stream_id="a/b", stamp_ns=1, part=0, reason="late", detail="x"),
        transform(),
    ],
    ids=lambda record: type(record).__name__,
)
def test_what_has_no_name_is_named_by_its_contents(record: Any) -> None:
    assert len(header(record, "ce_id")) == 32
    for item in dataclasses.fields(record):
        value = getattr(record, item.name)
        if isinstance(value, dict):
            turned = dict(reversed(value.items()))
            assert header(dataclasses.replace(record, **{item.name: turned}), "ce_id") == header(
                record, "ce_id"
            )
            value = {**value, "more": 0}
        elif isinstance(value, str):
            value += "x"
        elif isinstance(value, tuple):
            value = value[::-1]
        else:
            value = value + 1
        assert header(dataclasses.replace(record, **{item.name: value}), "ce_id") != header(record, "ce_id")
