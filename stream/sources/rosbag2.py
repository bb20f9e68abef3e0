"""rosbag2 recordings: SQLite files, alone or with their folder, and folders of several MCAP files."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
import zstandard

from stream.sources.base import Damage, SourceError, SourceOptions, one_line
from stream.sources.logged_message import LoggedMessage
from stream.sources.ros2 import Ros2Source, Wanted

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag2 import Reader

SUFFIX = ".db3"
METADATA_NAME = "metadata.yaml"
STORAGES = ("sqlite3", "mcap")

_MAGIC = b"SQLite format 3\x00"
_MAX_MESSAGE_BYTES = 1 << 30
"""Cap on one message, so that a damaged length cannot ask for all memory."""


def open_rosbag2(path: Path, options: SourceOptions) -> Ros2Source:
    """A bag's folder with its ``metadata.yaml``, or one ``.db3`` file, as a source.

    Raises SourceError when the bag cannot be opened, ModuleNotFoundError without the package rosbags
    """
    return Ros2Source(BagLog(path), options)


def plain_mcap(folder: Path) -> Path | None:
    """The file of a bag that is one MCAP file without rosbag2's own compression, None for any other bag.

    Such a file says by itself all that the metadata do. Raises SourceError when the metadata cannot be read
    """
    metadata = _read_metadata(folder)
    files = metadata.get("relative_file_paths")
    if metadata.get("storage_identifier") != "mcap" or metadata.get("compression_mode"):
        return None
    if not isinstance(files, list) or len(files) != 1:
        return None
    path = folder / Path(str(files[0])).name
    return path if path.is_file() else None


class BagLog:
    """A rosbag2 recording as a log of ROS 2 messages, zstd-compressed by message or by file or not at all.

    path : folder or ``.db3`` file
    Raises SourceError when the bag cannot be opened
    """

    format = "rosbag2"
    damage = None

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            _check_storage(path)
        else:
            _check_magic(path)
        with self._open() as reader:
            _check_topics(path, reader.connections)
            self._topics = sorted({_topic_of(connection) for connection in reader.connections})

    def topics(self) -> list[tuple[str, str]]:
        """Topics and types, as the metadata or the database list them."""
        return self._topics

    def messages(self, wanted: Wanted) -> Iterator[LoggedMessage | Damage]:
        """Messages by log time, merged over the files of the bag."""
        with self._open() as reader:
            files = [_messages(file, wanted) for file in _files(reader)]
            merged = heapq.merge(*files, key=lambda message: message.log_time_ns)
            unpack = _decompressed if reader.compression_mode == "message" else _as_it_is
            try:
                yield from map(unpack, merged)
            except Exception as error:  # SQLite, zstd and the parsers of rosbags have no class in common
                yield Damage(location=str(self.path), detail=f"the bag cannot be read on: {one_line(error)}")

    @contextmanager
    def _open(self) -> Iterator[Reader]:
        from rosbags.rosbag2 import Reader

        try:
            reader = Reader(self.path)
            reader.open()
        except Exception as error:  # as above
            raise SourceError(f"{self.path}: not a readable rosbag2 recording: {one_line(error)}") from error
        try:
            yield reader
        finally:
            reader.close()


def _files(reader: Reader) -> list[Any]:
    """Readers of the single files; a Reader reads one after the other, although they may overlap in time."""
    storage: Any = reader.storage
    return list(getattr(storage, "storages", [storage]))


def _messages(file: Any, wanted: Wanted) -> Iterator[LoggedMessage]:
    chosen = [connection for connection in file.connections if wanted(*_topic_of(connection))]
    if chosen:  # rosbags takes none for all
        for connection, log_time_ns, data in file.messages(chosen):
            if not (isinstance(log_time_ns, int) and isinstance(data, bytes | memoryview)):
                raise ValueError(f"a message is not a time and bytes: {log_time_ns!r:.20}, {data!r:.20}")
            yield LoggedMessage(log_time_ns, *_topic_of(connection), data)


def _check_topics(path: Path, connections: Iterable[Connection]) -> None:
    """Raises SourceError for names that are none: SQLite keeps anything in any column."""
    for connection in connections:
        if not (isinstance(connection.topic, str) and isinstance(connection.msgtype, str)):
            named = f"{connection.topic!r:.40} of type {connection.msgtype!r:.40}"
            raise SourceError(
                f"{path}: not a readable rosbag2 recording: topic {named}, text is expected; record it again"
            )


def _topic_of(connection: Connection) -> tuple[str, str]:
    """Topic and type; a type not in CDR carries its encoding."""
    encoding = getattr(connection.ext, "serialization_format", "cdr")
    kind = connection.msgtype
    return connection.topic, kind if encoding == "cdr" else f"{kind} in {encoding}"


def _as_it_is(message: LoggedMessage) -> LoggedMessage:
    return message


def _decompressed(message: LoggedMessage) -> LoggedMessage:
    """The message as it was before compression; one that does not unpack is left to be refused as no CDR."""
    try:
        if zstandard.frame_content_size(message.data) > _MAX_MESSAGE_BYTES:
            return message
        return message._replace(data=zstandard.decompress(message.data))
    except zstandard.ZstdError:
        return message


def _check_storage(folder: Path) -> None:
    storage = _read_metadata(folder).get("storage_identifier")
    if storage not in STORAGES:
        raise SourceError(
            f"{folder / METADATA_NAME}: storage_identifier: {storage!r} is not one of "
            f"{' and '.join(STORAGES)}; convert the bag with ros2 bag convert"
        )


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise SourceError(f"{path}: not a rosbag2 database: it does not begin with the SQLite magic")


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_NAME
    try:
        content = yaml.safe_load(path.read_text("utf8"))
    except (ValueError, yaml.YAMLError) as error:
        raise SourceError(f"{path}: not the metadata of a bag: {one_line(error)}") from error
    key = "rosbag2_bagfile_information"
    found = content.get(key) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise SourceError(f"{path}: not the metadata of a bag: no {key}; ros2 bag reindex makes them anew")
    return found
