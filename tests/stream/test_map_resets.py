"""How a log, and a message over Kafka, says that a new map begins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from mcap.writer import Writer

from stream.codecs import pointcloud2, tf
from stream.codecs.inputs import decode_transforms, headers_of
from stream.codecs.wire import CONTENT_TYPE, WireError, encode
from stream.sources import open_source
from stream.sources.map_resets import EMPTY_TYPE, is_map_reset
from stream.sources.message_types import POINTS_TYPE, TF_TYPE
from stream.transform import Transform

MS = 1_000_000
EMPTY = b"\x00\x01\x00\x00\x00"
RESET = [("octa_map_reset", b"1")]


def transform(stamp_ns: int, *, resets_map: bool = False, static: bool = False) -> Transform:
    return Transform(
        robot_id="robot", stamp_ns=stamp_ns, parent="map", child="lidar", translation=(1.0, 2.0, 3.0),
        rotation=(0.0, 0.0, 0.0, 1.0), resets_map=resets_map, static=static,
    )  # fmt: skip


def write(path: Path, reset_topic: str, kind: str = EMPTY_TYPE) -> str:
    """Five transforms and sweeps; an empty message after the second one."""
    cloud = pointcloud2.encode_cdr(0, "lidar", np.ones((3, 3), np.float32), np.zeros(3, np.float32))
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start("ros2")
        topics = {"/tf": TF_TYPE, "/points": POINTS_TYPE, reset_topic: kind}
        channels = {
            topic: writer.register_channel(topic, "cdr", writer.register_schema(name, "ros2msg", b""))
            for topic, name in topics.items()
        }
        for number in range(1, 6):
            stamp = 100 * MS * number
            cloud = pointcloud2.encode_cdr(
                stamp, "lidar", np.ones((3, 3), np.float32), np.zeros(3, np.float32)
            )
            writer.add_message(channels["/tf"], stamp, tf.encode_cdr([transform(stamp)]), stamp)
            writer.add_message(channels["/points"], stamp + 1, cloud, stamp + 1)
            if number == 2:
                writer.add_message(channels[reset_topic], stamp + 50 * MS, EMPTY, stamp + 50 * MS)
        writer.finish()
    return str(path)


@pytest.mark.parametrize("topic", ["/map_reset", "/robot_1/localization/map_reset", "map_reset"])
def test_the_transform_after_an_empty_message_begins_a_map(tmp_path: Path, topic: str) -> None:
    source = open_source(write(tmp_path / "log.mcap", topic))
    marks = [item.resets_map for item in source if isinstance(item, Transform)]
    assert marks == [False, False, True, False, False]
    assert source.info().topics[topic] == (EMPTY_TYPE, 1)


def test_other_empty_messages_say_nothing(tmp_path: Path) -> None:
    for number, (topic, kind) in enumerate([("/reset", EMPTY_TYPE), ("/map_reset", "std_msgs/msg/Bool")]):
        assert not is_map_reset(topic, kind)
        source = open_source(write(tmp_path / f"{number}.mcap", topic, kind))
        assert not any(item.resets_map for item in source if isinstance(item, Transform))


@pytest.mark.parametrize("own", [False, True])
@pytest.mark.parametrize("resets", [False, True])
def test_a_header_says_it_over_kafka(own: bool, resets: bool) -> None:
    sent = transform(5 * MS, resets_map=resets)
    data = encode(sent) if own else tf.encode_cdr([sent])
    headers = headers_of(sent, "urn:test", content_type=CONTENT_TYPE if own else "application/cdr")
    assert decode_transforms(data, headers, b"robot", static=False) == [sent]


def test_what_holds_for_all_time_begins_no_map() -> None:
    data = tf.encode_cdr([transform(0, static=True)])
    [mount] = decode_transforms(data, RESET, b"robot", static=True)
    assert not mount.resets_map


@pytest.mark.parametrize("value", [b"yes", b"2", b"", None])
def test_a_header_that_says_neither_is_refused(value: bytes | None) -> None:
    data = tf.encode_cdr([transform(5 * MS)])
    with pytest.raises(WireError, match="octa_map_reset") as caught:
        decode_transforms(data, [("octa_map_reset", value)], b"robot", static=False)
    assert caught.value.reason == "bad_header"
