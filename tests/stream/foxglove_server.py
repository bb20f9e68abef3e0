"""The server of the Foxglove SDK, as a robot would run it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType

import foxglove
from foxglove import Channel, Context, Schema

from stream.sources.logged_message import LoggedMessage

HOST = "127.0.0.1"
WAIT_SECONDS = 20.0


def wait_for(true: Callable[[], bool], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Wait until something is true.  Raises AssertionError"""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.02)


class Server:
    """A server on the loopback; ``port`` 0 takes a free one. Leaving stops it."""

    def __init__(self, port: int = 0) -> None:
        self._context = Context()
        self._server = foxglove.start_server(name="robot", port=port, context=self._context)
        self._channels: dict[str, Channel] = {}
        self._stopped = False
        self.port = self._server.port

    @property
    def uri(self) -> str:
        return f"ws://{HOST}:{self.port}"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """As when the robot is switched off; waits until its port is closed, as the SDK does not."""
        if not self._stopped:
            self._stopped = True
            self._server.stop()
            wait_for(lambda: not _listens(self.port), "the end of the server")

    def offer(self, topics: Mapping[str, str], schemas: Mapping[str, bytes] | None = None) -> None:
        """Add channels: topic to type, as logs name it."""
        for topic, kind in topics.items():
            name, _, encoding = kind.partition(" in ")
            data = b"{}" if encoding == "json" else (schemas or {}).get(name, b"schema")
            schema_encoding = {"": "ros2msg", "json": "jsonschema"}.get(encoding, encoding)
            schema = Schema(name=name, encoding=schema_encoding, data=data)
            self._channels[topic] = Channel(
                topic, schema=schema, message_encoding=encoding or "cdr", context=self._context
            )

    def withdraw(self, topic: str) -> None:
        """Take a channel away."""
        self._channels.pop(topic).close()

    def status(self, message: str) -> None:
        self._server.publish_status(message, foxglove.StatusLevel.Warning)

    def wait_for_subscribers(self, topics: Iterable[str]) -> None:
        """Wait until somebody listens; what is sent before is heard by nobody."""
        for topic in topics:
            wait_for(self._channels[topic].has_sinks, f"a subscriber of {topic}")

    def send(self, messages: Iterable[LoggedMessage]) -> None:
        """Send messages on their channels."""
        for message in messages:
            self._channels[message.topic].log(bytes(message.data), log_time=message.log_time_ns)


def _listens(port: int) -> bool:
    try:
        socket.create_connection((HOST, port), timeout=2.0).close()
    except OSError:
        return False
    return True
