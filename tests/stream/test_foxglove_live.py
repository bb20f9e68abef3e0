"""Sweeps and transforms of a live Foxglove server: the SDK's own, older ones, and what is none."""

from __future__ import annotations

import http.server
import json
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from stream.codecs import foxglove, tf
from stream.codecs.inputs import encode_foxglove, encode_pointcloud2
from stream.codecs.wire import encode
from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sources.foxglove_live import MAX_MESSAGE_BYTES, FoxgloveLive
from stream.sources.inbox import Inbox
from stream.sources.logged_message import LoggedMessage
from stream.sources.message_types import POINTS_TYPE, TF_TYPE
from stream.sources.offers import LiveOptions
from stream.sweep import Sweep
from stream.transform import Transform
from tests.stream.foxglove_server import Server, wait_for

WORLD = "sim:city?sweeps=3&beams=32&azimuths=64&seed=3"
CDR = {"/points": POINTS_TYPE, "/tf": TF_TYPE, "/tf_static": TF_TYPE}
CLOUD, FRAMES = f"{foxglove.CLOUD} in protobuf", f"{foxglove.TRANSFORMS} in protobuf"
FRAME = f"{foxglove.TRANSFORM} in protobuf"


@pytest.fixture(scope="module")
def items() -> list[Item]:
    """What the robot does: its sweeps without the rays that messages have no place for."""
    found: list[Item] = []
    for item in open_source(WORLD, SourceOptions(robot_id="ant")):
        if isinstance(item, Sweep):
            item = Sweep(
                stream_id=item.stream_id,
                stamp_ns=item.stamp_ns,
                frame=item.frame,
                points=item.points,
                intensity=item.intensity,
            )
        found.append(item)
    return found


def in_cdr(item: Item) -> LoggedMessage:
    if isinstance(item, Sweep):
        return LoggedMessage(7, "/points", POINTS_TYPE, encode_pointcloud2(item))
    assert isinstance(item, Transform)
    return LoggedMessage(7, "/tf_static" if item.static else "/tf", TF_TYPE, tf.encode_cdr([item]))


def in_protobuf(item: Item) -> LoggedMessage:
    """Mounts on a topic whose name says nothing."""
    if isinstance(item, Sweep):
        return LoggedMessage(7, "/cloud", CLOUD, encode_foxglove(item))
    assert isinstance(item, Transform)
    if item.static:
        return LoggedMessage(7, "/mounts", FRAMES, foxglove.encode_transforms([item]))
    return LoggedMessage(7, "/frames", FRAME, foxglove.encode_transform(item))


class Listener:
    """Reads a live source in a thread; leaving stops it, and raises what it raised."""

    def __init__(self, uri: str, inbox: Inbox | None = None, **options: Any) -> None:
        self.said: list[str] = []
        self.items: list[Item] = []
        self.error: BaseException | None = None
        self.live = FoxgloveLive(uri, LiveOptions(robot_id="ant", **options), self.said.append, inbox=inbox)
        self._thread = threading.Thread(target=self._read)

    def _read(self) -> None:
        try:
            for item in self.live:
                self.items.append(item)
        except SourceError as error:
            self.error = error

    def __enter__(self) -> Listener:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()
        self.wait()

    def wait(self) -> None:
        """Until it has ended by itself."""
        self._thread.join(20)
        assert not self._thread.is_alive()

    def wait_for_items(self, count: int) -> None:
        wait_for(lambda: len(self.items) >= count, f"{count} items, {self.said}")

    def has_said(self, text: str) -> bool:
        return any(text in line for line in self.said)


def same(found: list[Item], expected: list[Item]) -> bool:
    """By what Kafka would be sent."""
    return [encode(item) for item in found] == [encode(item) for item in expected]


def test_what_the_server_sends_are_the_items_of_the_robot(items: list[Item]) -> None:
    with Server() as server:
        server.offer(CDR)
        with Listener(server.uri) as listener:
            server.wait_for_subscribers(CDR)
            server.send(map(in_cdr, items))
            listener.wait_for_items(len(items))
    assert same(listener.items, items)
    assert listener.said[:2] == [
        f"{server.uri}: connected (foxglove.sdk.v1)",
        "takes " + ", ".join(f"{topic} ({kind})" for topic, kind in CDR.items()),
    ]


def test_foxglove_messages_too_with_the_topic_of_mounts_named(items: list[Item]) -> None:
    topics = {"/cloud": CLOUD, "/frames": FRAME, "/mounts": FRAMES, "/json": f"{foxglove.CLOUD} in json"}
    with Server() as server:
        server.offer(topics, {name: foxglove.schema_data(name) for name in foxglove.require()})
        with Listener(server.uri, static_topics=("/mounts",)) as listener:
            server.wait_for_subscribers(["/cloud", "/frames", "/mounts"])
            server.send(map(in_protobuf, items))
            listener.wait_for_items(len(items))
    assert same(listener.items, items)
    assert listener.has_said("not taken: /json: foxglove.PointCloud in json; only protobuf is read")


def test_channels_that_appear_later_and_go(items: list[Item]) -> None:
    sweeps = [item for item in items if isinstance(item, Sweep)]
    with Server() as server, Listener(server.uri, topics=("/points",)) as listener:
        wait_for(lambda: listener.has_said("waits for /points, which the server does not offer"), "said")
        for number in range(2):
            server.offer({"/points": POINTS_TYPE})
            server.wait_for_subscribers(["/points"])
            server.send([in_cdr(sweeps[number])])
            listener.wait_for_items(number + 1)
            server.withdraw("/points")
            wait_for(lambda: listener.has_said("gone: /points"), "said")
        server.status("the lens is dirty")
        wait_for(lambda: listener.has_said("the server says: warning: the lens is dirty"), "said")
    assert same(listener.items, sweeps[:2])


def test_a_server_that_goes_away_is_found_again(items: list[Item]) -> None:
    with Server() as server:
        server.offer(CDR | {"/camera": "sensor_msgs/msg/Image"})
        with Listener(server.uri) as listener:
            server.wait_for_subscribers(CDR)
            server.send(map(in_cdr, items[:4]))
            listener.wait_for_items(4)
            server.stop()
            wait_for(lambda: listener.has_said("not reached (Connection refused)"), "said")
            with Server(server.port) as again:
                again.offer(CDR | {"/camera": "sensor_msgs/msg/Image"})
                again.wait_for_subscribers(CDR)
                again.send(map(in_cdr, items[4:]))
                listener.wait_for_items(len(items))
    assert same(listener.items, items)
    assert f"{server.uri}: the server closed the connection; next attempt in 0.5 s" in listener.said
    assert sum("connected" in line for line in listener.said) == 2
    assert sum("/camera" in line for line in listener.said) == 1


def test_a_robot_that_is_not_there_yet_is_waited_for_and_given_up_when_told() -> None:
    with Server() as server:
        uri = server.uri
    with Listener(uri) as listener:
        wait_for(lambda: listener.has_said("next attempt in 1 s"), "said")
    assert listener.said[0] == f"{uri}: not reached (Connection refused); next attempt in 0.5 s"
    assert (listener.items, listener.error) == ([], None)


def test_a_message_that_cannot_be_decoded_is_rejected_and_the_rest_goes_on(items: list[Item]) -> None:
    sweep = next(item for item in items if isinstance(item, Sweep))
    broken = LoggedMessage(7, "/points", POINTS_TYPE, encode_pointcloud2(sweep)[:100])
    with Server() as server:
        server.offer(CDR)
        with Listener(server.uri) as listener:
            server.wait_for_subscribers(CDR)
            server.send([broken, in_cdr(sweep)])
            listener.wait_for_items(2)
    rejected, good = listener.items
    assert isinstance(rejected, SweepRejected)
    assert (rejected.robot_id, rejected.reason) == ("ant", "corrupt")
    assert rejected.detail.startswith("/points at log time 7: ")
    assert same([good], [sweep])


def test_two_clouds_of_one_frame_are_not_mixed(items: list[Item]) -> None:
    sweep = next(item for item in items if isinstance(item, Sweep))
    message = in_cdr(sweep)
    with Server() as server:
        server.offer({"/points": POINTS_TYPE, "/filtered": POINTS_TYPE})
        with Listener(server.uri) as listener:
            server.wait_for_subscribers(["/points", "/filtered"])
            server.send([message, message._replace(topic="/filtered"), message])
            server.send([message._replace(topic="/filtered"), message])
            listener.wait_for_items(3)
    assert same(listener.items, [sweep] * 3)
    assert [line for line in listener.said if "/filtered:" in line] == [
        f"not taken: /filtered: its frame {sweep.frame} is that of /points already; choose one with --topic"
    ]


def test_what_the_reader_is_too_slow_for_is_dropped_counted_and_said(items: list[Item]) -> None:
    sweep = next(item for item in items if isinstance(item, Sweep))
    inbox = Inbox(3 * len(in_cdr(sweep).data))
    said = list[str]()
    with Server() as server:
        server.offer(CDR)
        live = FoxgloveLive(server.uri, LiveOptions(robot_id="ant"), said.append, inbox=inbox)
        reader = iter(live)
        server_side = threading.Thread(target=lambda: server.wait_for_subscribers(CDR))
        server_side.start()
        first = threading.Timer(0.5, lambda: (server_side.join(), server.send([in_cdr(sweep)])))
        first.start()
        assert same([next(reader)], [sweep])  # reads one, and no more for a while
        transforms = [item for item in items if isinstance(item, Transform)]
        server.send(map(in_cdr, transforms[:2]))
        server.send([in_cdr(sweep)] * 10)
        wait_for(lambda: len(inbox) + inbox.dropped.total() == 12, f"dropped: {inbox.dropped}")
        live.stop()
        rest = list(reader)
    assert same(rest[:2], transforms[:2])
    assert len(rest) - 2 + inbox.dropped.total() == 10
    assert any("too slow: 1 messages dropped" in line for line in said)


# ---- servers that are not the SDK's --------------------------------------------------------------------


@contextmanager
def handler_at(handler: Callable[[ServerConnection], None], protocols: list[str]) -> Iterator[str]:
    """A WebSocket server of these subprotocols, none for one that chooses none."""
    choose = None if protocols else lambda *_: None
    names = [Subprotocol(name) for name in protocols] or None
    with serve(handler, "127.0.0.1", 0, subprotocols=names, select_subprotocol=choose) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_an_older_server_speaks_the_first_version(items: list[Item]) -> None:
    def robot(connection: ServerConnection) -> None:
        channel = {"id": 9, "topic": "/tf", "encoding": "cdr", "schemaName": TF_TYPE, "schema": ""}
        connection.send(json.dumps({"op": "serverInfo", "name": "old", "capabilities": ["time"]}))
        connection.send(json.dumps({"op": "advertise", "channels": [channel]}))
        [subscription] = json.loads(connection.recv(10))["subscriptions"]
        assert subscription["channelId"] == 9
        for item in transforms:
            head = struct.pack("<BIQ", 1, subscription["id"], 7)
            connection.send(head + bytes(in_cdr(item).data))
        connection.recv(10)  # until the client goes

    transforms = [item for item in items if isinstance(item, Transform) and not item.static][:3]
    with handler_at(robot, ["foxglove.websocket.v1"]) as uri, Listener(uri) as listener:
        listener.wait_for_items(3)
    assert same(listener.items, transforms)
    assert listener.said[0].endswith("connected (foxglove.websocket.v1)")


def test_a_server_that_talks_nonsense_is_left_and_tried_again() -> None:
    calls = list[ServerConnection]()

    def robot(connection: ServerConnection) -> None:
        calls.append(connection)
        connection.send("hello")
        for _ in connection:
            """Until the client goes."""

    with handler_at(robot, ["foxglove.websocket.v1"]) as uri, Listener(uri) as listener:
        wait_for(lambda: len(calls) == 2, "another attempt")
    assert "'hello' is no message of the Foxglove protocol" in listener.said[1]
    assert listener.said[1].endswith("next attempt in 0.5 s")


def test_a_message_without_bounds_is_not_taken_into_memory() -> None:
    def robot(connection: ServerConnection) -> None:
        connection.send(bytes(MAX_MESSAGE_BYTES + 1))

    with handler_at(robot, ["foxglove.websocket.v1"]) as uri, Listener(uri) as listener:
        wait_for(lambda: len(listener.said) > 1, "said")
    assert "too big" in listener.said[1]


def test_a_websocket_of_something_else_is_an_error() -> None:
    with handler_at(lambda connection: None, []) as uri, Listener(uri) as listener:
        listener.wait()
    assert str(listener.error).startswith(f"{uri}: no Foxglove server: it speaks none of foxglove.sdk.v1")


def test_so_is_a_web_server() -> None:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Not on the terminal."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        with Listener(f"ws://127.0.0.1:{web.server_address[1]}/nothing") as listener:
            listener.wait()
        web.shutdown()
        thread.join()
    assert "no Foxglove server that would talk to us" in str(listener.error)
    assert "did not receive a valid HTTP response" in str(listener.error)  # of HTTP 1.1


@pytest.mark.parametrize("uri", ["ws://", "ws://host:port", "http://127.0.0.1:8765", "ws:127.0.0.1"])
def test_what_is_no_address_is_refused_at_once(uri: str) -> None:
    with pytest.raises(SourceError, match="no address of a Foxglove server, expected ws://HOST:PORT"):
        FoxgloveLive(uri, LiveOptions(robot_id="ant"), print)
