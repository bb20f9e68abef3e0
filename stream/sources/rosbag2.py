"""rosbag2 recordings: SQLite files, alone or with their folder, and folders of several MCAP files."""

from __future__ import annotations

import heapq
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml
import zstandard

from stream.plain_yaml import read_yaml
from stream.sources.base import Damage, SourceError, SourceOptions, one_line
from stream.sources.logged_message import LoggedMessage
from stream.sources.mcap import McapLog
from stream.sources.ros2 import Ros2Source, Wanted
from stream.sources.unpacked import unpack_file, unpack_zstd

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

SUFFIX = ".db3"
METADATA_NAME = "metadata.yaml"
STORAGES = ("sqlite3", "mcap")

_METADATA_KEY = "rosbag2_bagfile_information"
_MAGIC = b"SQLite format 3\x00"
_MAX_MESSAGE_BYTES = 256 << 20
"""Cap on one unpacked message, as for messages of Arrow."""


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
    if not isinstance(files, list) or len(files) != 1 or not isinstance(files[0], str):
        return None
    path = folder / Path(files[0]).name
    return path if path.is_file() else None


class _Opened(NamedTuple):
    """Files of a bag: their topics and types, their messages by log time, and why one cannot be read on."""

    topics: set[tuple[str, str]]
    files: Sequence[Callable[[Wanted], Iterator[LoggedMessage | Damage]]]
    damage: str | None = None


class BagLog:
    """A rosbag2 recording as a log of ROS 2 messages, zstd-compressed by message or by file or not at all.

    path : folder or ``.db3`` file
    Raises SourceError when the bag cannot be opened
    """

    format = "rosbag2"

    def __init__(self, path: Path) -> None:
        self.path = path
        self._metadata: dict[str, Any] = {}
        if path.is_dir():
            self._metadata = _read_metadata(path)
            _check_storage(path, self._metadata)
        else:
            _check_magic(path)
        self._compression = _compression(path, self._metadata)
        with self._open() as opened:
            self.damage = opened.damage
            self._topics = sorted(opened.topics)

    def topics(self) -> list[tuple[str, str]]:
        """Topics and types, as the metadata, the database or the MCAP files list them."""
        return self._topics

    def messages(self, wanted: Wanted) -> Iterator[LoggedMessage | Damage]:
        """Messages by log time, merged over the files of the bag; damage costs the rest of its file."""
        damage: list[str] = []
        with self._open() as opened:
            files = [_sound(file(wanted), damage) for file in opened.files]
            merged = heapq.merge(*files, key=lambda message: message.log_time_ns)
            yield from map(_decompressed, merged) if self._compression == "message" else merged
        if damage:
            yield Damage(location=str(self.path), detail="; ".join(damage))

    @contextmanager
    def _open(self) -> Iterator[_Opened]:
        with ExitStack() as stack:
            try:
                folder = self.path
                if self._compression == "file":
                    folder = stack.enter_context(_unpacked(folder, self._metadata))
                if self._metadata.get("storage_identifier") == "mcap":
                    opened = _open_mcap(folder)
                else:
                    opened = _open_sqlite(folder, stack)
            except ModuleNotFoundError:
                raise
            except Exception as error:  # nor have these
                raise SourceError(
                    f"{self.path}: not a readable rosbag2 recording: {one_line(error)}"
                ) from error
            yield opened


@contextmanager
def _unpacked(folder: Path, metadata: dict[str, Any]) -> Iterator[Path]:
    """The bag without the compression of its files, in a folder that goes afterwards.

    rosbags would unpack them as well, however large they become. Raises as ``unpack_file``
    """
    with TemporaryDirectory(prefix="octastream-bag-") as name:
        files = _files(folder, metadata)
        for path in files:
            unpack_file(path, Path(name, path.stem))
        plain = metadata | {"compression_mode": "", "relative_file_paths": [path.stem for path in files]}
        Path(name, METADATA_NAME).write_text(yaml.safe_dump({_METADATA_KEY: plain}), "utf8")
        yield Path(name)


def _files(folder: Path, metadata: dict[str, Any]) -> list[Path]:
    """Files of a bag, which lie in its folder.  Raises ValueError when some do not"""
    named = metadata.get("relative_file_paths")
    if not (isinstance(named, list) and all(isinstance(name, str) for name in named)):
        raise ValueError(f"{METADATA_NAME}: relative_file_paths: {reprlib.repr(named)} are no names of files")
    paths = [folder / Path(name).name for name in named]
    if missing := [path.name for path in paths if not path.is_file()]:
        raise ValueError(f"{len(missing)} of its files are missing: {', '.join(missing[:3]):.200}")
    return paths


def _open_mcap(folder: Path) -> _Opened:
    """MCAP files by this package's own reader: that of rosbags unpacks chunks however large they become."""
    logs = [McapLog(path) for path in _files(folder, _read_metadata(folder))]
    topics = {topic for log in logs for topic in log.topics()}
    return _Opened(
        topics, [log.messages for log in logs], next((log.damage for log in logs if log.damage), None)
    )


def _open_sqlite(path: Path, stack: ExitStack) -> _Opened:
    from rosbags.rosbag2 import Reader

    reader = Reader(path)
    reader.open()
    stack.callback(reader.close)
    _check_topics(reader.connections)
    storage: Any = reader.storage
    # a Reader reads one file after the other, although they may overlap in time
    files = [partial(_messages, file) for file in getattr(storage, "storages", [storage])]
    return _Opened({_topic_of(connection) for connection in reader.connections}, files)


def _sound(messages: Iterator[LoggedMessage | Damage], damage: list[str]) -> Iterator[LoggedMessage]:
    """Messages of a file as far as they can be read; why no further is added to ``damage``."""
    try:
        for message in messages:
            if isinstance(message, LoggedMessage):
                yield message
            else:
                damage.append(f"{Path(message.location).name}: {message.detail}")
    except Exception as error:  # SQLite and the parsers of rosbags have no class in common
        damage.append(f"the bag cannot be read on: {one_line(error)}")


def _messages(file: Any, wanted: Wanted) -> Iterator[LoggedMessage]:
    chosen = [connection for connection in file.connections if wanted(*_topic_of(connection))]
    if chosen:  # rosbags takes none for all
        for connection, log_time_ns, data in file.messages(chosen):
            if not (isinstance(log_time_ns, int) and isinstance(data, bytes | memoryview)):
                raise ValueError(f"a message is not a time and bytes: {log_time_ns!r:.20}, {data!r:.20}")
            yield LoggedMessage(log_time_ns, *_topic_of(connection), data)


def _check_topics(connections: Iterable[Connection]) -> None:
    """Raises ValueError for names that are none: SQLite keeps anything in any column."""
    for connection in connections:
        if not (isinstance(connection.topic, str) and isinstance(connection.msgtype, str)):
            named = f"{connection.topic!r:.40} of type {connection.msgtype!r:.40}"
            raise ValueError(f"topic {named}, text is expected; record it again")


def _topic_of(connection: Connection) -> tuple[str, str]:
    """Topic and type; a type not in CDR carries its encoding."""
    encoding = getattr(connection.ext, "serialization_format", "cdr")
    kind = connection.msgtype
    return connection.topic, kind if encoding == "cdr" else f"{kind} in {encoding}"


def _decompressed(message: LoggedMessage) -> LoggedMessage:
    """The message as it was before compression; one that does not unpack is left to be refused as no CDR."""
    try:
        return message._replace(data=unpack_zstd(message.data, _MAX_MESSAGE_BYTES))
    except (ValueError, zstandard.ZstdError):
        return message


def _check_storage(folder: Path, metadata: dict[str, Any]) -> None:
    path = folder / METADATA_NAME
    storage = metadata.get("storage_identifier")
    if storage not in STORAGES:
        raise SourceError(
            f"{path}: storage_identifier: {reprlib.repr(storage)} is not one of "
            f"{' and '.join(STORAGES)}; convert the bag with ros2 bag convert"
        )


def _compression(folder: Path, metadata: dict[str, Any]) -> str:
    """What is compressed, ``message`` or ``file``, empty for nothing.  Raises SourceError unless by zstd"""
    mode = metadata.get("compression_mode")
    if not isinstance(mode, str) or mode.lower() in ("", "none"):
        return ""
    if metadata.get("compression_format") != "zstd":
        found = reprlib.repr(metadata.get("compression_format"))
        raise SourceError(
            f"{folder / METADATA_NAME}: compression_format: {found} is not zstd; "
            "convert the bag with ros2 bag convert"
        )
    return mode.lower()


def _check_magic(path: Path) -> None:
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise SourceError(f"{path}: not a rosbag2 database: it does not begin with the SQLite magic")


def _read_metadata(folder: Path) -> dict[str, Any]:
    path = folder / METADATA_NAME
    try:
        content = read_yaml(path.read_text("utf8"))
    except ValueError as error:
        raise SourceError(f"{path}: not the metadata of a bag: {one_line(error)}") from error
    found = content.get(_METADATA_KEY) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        raise SourceError(
            f"{path}: not the metadata of a bag: no {_METADATA_KEY}; ros2 bag reindex makes them anew"
        )
    return found
