"""MCAP files: messages in chunks, compressed and indexed, with the schema of every channel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mcap.writer import CompressionType, Writer

from stream.sinks.base import Shown

LIBRARY = "octastream"
"""Of the writer, in the header: without a version, so that the same messages are the same bytes."""
MAX_CHANNELS = 2**16 - 1


class Schema(NamedTuple):
    """What messages of a channel are: name and text of the type, and what both are encoded in."""

    name: str
    encoding: str
    data: bytes
    message_encoding: str


class Message(NamedTuple):
    """One message.  stamp_ns : when it was published, >= 0"""

    topic: str
    schema: Schema
    data: bytes
    stamp_ns: int


class McapSink:
    """One MCAP file that is being written.

    message_of : what is shown as a message; profile : ``ros2`` or empty
    The same messages give the same bytes, with the same version of zstd. Raises OSError when the file cannot
    be made
    """

    def __init__(self, path: Path, message_of: Callable[[Shown], Message], profile: str = "") -> None:
        self._path, self._message_of = path, message_of
        self._file = path.open("wb")
        self._writer = Writer(self._file, compression=CompressionType.ZSTD)
        self._writer.start(profile=profile, library=LIBRARY)
        self._schemas: dict[Schema, int] = {}
        self._channels: dict[tuple[str, Schema], int] = {}
        self._written: dict[int, int] = {}
        self._closed = False

    def write(self, shown: Shown, log_time_ns: int) -> None:
        """Add one message.  Raises OSError (disk full), ValueError for more topics than a file can have"""
        message = self._message_of(shown)
        channel = self._channel(message.topic, message.schema)
        number = self._written[channel]
        self._writer.add_message(channel, log_time_ns, message.data, message.stamp_ns, number)
        self._written[channel] = number + 1

    def _channel(self, topic: str, schema: Schema) -> int:
        known = self._channels.get((topic, schema))
        if known is not None:
            return known
        if len(self._channels) == MAX_CHANNELS:
            raise ValueError(f"{self._path}: {MAX_CHANNELS} topics are all that MCAP has numbers for")
        if schema not in self._schemas:
            self._schemas[schema] = self._writer.register_schema(schema.name, schema.encoding, schema.data)
        number = self._writer.register_channel(topic, schema.message_encoding, self._schemas[schema])
        self._channels[topic, schema], self._written[number] = number, 0
        return number

    def close(self) -> None:
        """Write the last chunk, statistics and the index."""
        if not self._closed:
            self._closed = True
            with self._file:
                self._writer.finish()  # type: ignore[no-untyped-call]
