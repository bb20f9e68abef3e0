"""The Foxglove WebSocket protocol without a socket: what is subscribed to, what is said, what is refused."""

from __future__ import annotations

import json
import struct
import sys
from typing import Any

import pytest

from stream.sources.foxglove_session import MAX_TRIES, FoxgloveSession, ProtocolError
from stream.sources.logged_message import LoggedMessage
from stream.sources.message_types import POINTS_TYPE, TF_TYPE
from stream.sources.offers import LiveOptions, Offers

CHANNELS = {
    3: ("/points", "cdr", POINTS_TYPE),
    4: ("/tf", "cdr", TF_TYPE),
    7: ("/camera", "cdr", "sensor_msgs/msg/Image"),
    8: ("/cloud", "json", "foxglove.PointCloud"),
    9: ("/frames", "protobuf", "foxglove.FrameTransforms"),
}


def advertise(*numbers: int) -> str:
    return json.dumps(
        {
            "op": "advertise",
            "channels": [
                {"id": number, "topic": topic, "encoding": encoding, "schemaName": name, "schema": ""}
                for number, (topic, encoding, name) in CHANNELS.items()
                if number in numbers
            ],
        }
    )


def data(subscription: int, payload: bytes = b"payload", time_ns: int = 5) -> bytes:
    return struct.pack("<BIQ", 1, subscription, time_ns) + payload


def session_of(said: list[str], **options: Any) -> FoxgloveSession:
    return FoxgloveSession(Offers(LiveOptions(robot_id="ant", **options), said.append), said.append)


def subscribed(answer: str | None) -> list[int]:
    """Channels that an answer asks for."""
    if answer is None:
        return []
    message = json.loads(answer)
    assert message["op"] == "subscribe"
    assert all(item["id"] == item["channelId"] for item in message["subscriptions"])
    return [item["channelId"] for item in message["subscriptions"]]


def test_clouds_and_transforms_are_subscribed_to_and_the_rest_is_named_with_why() -> None:
    said = list[str]()
    session = session_of(said)
    assert session.on_text('{"op": "serverInfo", "name": "robot", "capabilities": []}') is None
    assert subscribed(session.on_text(advertise(*CHANNELS))) == [3, 4, 9]
    assert said == [
        "not taken: /camera: sensor_msgs/msg/Image is neither a point cloud nor transforms",
        "not taken: /cloud: foxglove.PointCloud in json; only protobuf is read, convert it to protobuf",
        f"takes /frames (foxglove.FrameTransforms in protobuf), /points ({POINTS_TYPE}), /tf ({TF_TYPE})",
    ]


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        ({"topics": ("/points",)}, [3, 4, 9]),
        ({"topics": ("/other",)}, [4, 9]),
        ({"tf_topics": ("/tf",)}, [3, 4]),
        ({"tf_topics": ("/tf",), "static_topics": ("/frames",)}, [3, 4, 9]),
        ({"static_topics": ("/frames",)}, [3, 4, 9]),
    ],
)
def test_what_is_named_is_taken_and_nothing_else_of_its_sort(
    options: dict[str, tuple[str, ...]], numbers: list[int]
) -> None:
    assert subscribed(session_of([], **options).on_text(advertise(3, 4, 9))) == numbers


def test_a_named_topic_that_cannot_be_taken_or_is_not_there_is_said_once() -> None:
    said = list[str]()
    offers = Offers(LiveOptions(robot_id="ant", topics=("/camera", "/later")), said.append)
    for _ in range(2):  # two connections
        session = FoxgloveSession(offers, said.append)
        assert session.on_text(advertise(3, 7)) is None
        assert session.on_text(advertise(8)) is None
    image = "not taken: /camera: sensor_msgs/msg/Image is neither a point cloud nor transforms"
    later = "waits for /later, which the server does not offer yet"
    assert said == [image, later, later]


def test_without_the_package_foxglove_messages_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    from stream.codecs import foxglove

    monkeypatch.setitem(sys.modules, "foxglove_schemas_protobuf.FrameTransform_pb2", None)
    foxglove.require.cache_clear()
    said = list[str]()
    assert subscribed(session_of(said).on_text(advertise(4, 9))) == [4]
    assert "not taken: /frames: Foxglove messages need foxglove_schemas_protobuf" in said[0]


def test_messages_of_subscribed_channels_come_out() -> None:
    session = session_of([])
    session.on_text(advertise(3, 7))
    assert session.on_binary(data(3)) == LoggedMessage(5, "/points", POINTS_TYPE, b"payload")
    assert session.on_binary(data(7)) is None  # not subscribed to
    assert session.on_binary(b"\x02" + bytes(8)) is None  # the server's time
    assert session.on_binary(data(3, b"")) == LoggedMessage(5, "/points", POINTS_TYPE, b"")


def test_channels_come_go_and_come_again() -> None:
    said = list[str]()
    session = session_of(said)
    assert session.on_text('{"op": "advertise", "channels": []}') is None
    assert subscribed(session.on_text(advertise(3))) == [3]
    assert subscribed(session.on_text(advertise(3, 4))) == [4]  # the first one is there already
    answer = session.on_text('{"op": "unadvertise", "channelIds": [3, 5]}')
    assert answer is not None
    assert json.loads(answer) == {"op": "unsubscribe", "subscriptionIds": [3]}
    assert session.topics == ["/tf"]
    assert session.on_binary(data(3)) is None
    assert session.on_text('{"op": "unadvertise", "channelIds": [3]}') is None
    assert subscribed(session.on_text(advertise(3))) == [3]
    assert said[2] == "gone: /points; taken again when the server offers it"


def test_a_server_without_channels_is_not_waited_for_in_silence() -> None:
    said = list[str]()
    session = session_of(said, topics=("/points",))
    for _ in range(3):
        session.on_quiet()
    session.on_text(advertise(3))
    assert said == [
        "waits for the server, which offers no channels yet",
        "waits for /points, which the server does not offer yet",
        f"takes /points ({POINTS_TYPE})",
    ]


@pytest.mark.parametrize(
    "text", ["Unknown channel ID: 3", "Channel 3 is not available; ignoring subscription"]
)
def test_a_channel_that_is_advertised_a_moment_too_soon_is_subscribed_to_again(text: str) -> None:
    said = list[str]()
    session = session_of(said)
    status = json.dumps({"op": "status", "level": 2, "message": text})
    assert session.on_text(status) is None  # of a channel that nobody wanted
    session.on_text(advertise(3, 4))
    for _ in range(MAX_TRIES):
        assert subscribed(session.on_text(status)) == [3]
    assert [line for line in said if "says" in line] == [f"the server says: error: {text}"]
    assert session.on_text(status) is None  # not for ever
    assert [line for line in said if "says" in line] == [f"the server says: error: {text}"] * 2


def test_what_the_server_complains_about_is_passed_on() -> None:
    said = list[str]()
    session = session_of(said)
    for level in range(4):
        session.on_text(json.dumps({"op": "status", "level": level, "message": f"level {level}"}))
    assert said == [
        "the server says: warning: level 1",
        "the server says: error: level 2",
        "the server says: error: level 3",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "hello", "[]", "3", "null", "{}", '{"op": "advertise"}', '{"op": "advertise", "channels": 3}',
        '{"op": "advertise", "channels": [{"id": 1}]}', '{"op": "unadvertise"}',
        '{"op": "advertise", "channels": [{"id": "x", "topic": "", "encoding": "", "schemaName": ""}]}',
        '{"op": "advertise", "channels": [{"id": Infinity, "topic": "", "encoding": "", "schemaName": ""}]}',
        pytest.param("[" * 100_000, id="deep"),
        '{"op": "status", "level": "high"}', '{"op": "unadvertise", "channelIds": [[1]]}',
    ],
)  # fmt: skip
def test_what_is_not_of_the_protocol_is_an_error_of_its_own(text: str) -> None:
    with pytest.raises(ProtocolError, match="no message of the Foxglove protocol"):
        session_of([]).on_text(text)


@pytest.mark.parametrize("message", [b"", b"\x01", data(3)[:12]])
def test_a_binary_message_that_is_cut_off_is_too(message: bytes) -> None:
    session = session_of([])
    session.on_text(advertise(3))
    with pytest.raises(ProtocolError):
        session.on_binary(message)
