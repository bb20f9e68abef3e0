"""Snapshots of tasks where every worker can read them."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress

from pyarrow import fs

from agents.kafka.messages import decode_snapshot, encode_snapshot
from agents.operations import Memory, Snapshot
from agents.task_id import TaskId
from stream.codecs.state import Frozen, StateError

KEEP = 3
_CHECK = 4
_WHOLE, _HALF = ".state", ".writing"


class SnapshotStore:
    """``uri/<agent>-<partition>/<journal offset>.state``, newest first, each with a checksum.

    A file is written beside its place and moved there, so a reader sees a whole one or none; what was cut
    short or damaged after that is passed over.
    """

    def __init__(self, uri: str) -> None:
        self._files, self._root = fs.FileSystem.from_uri(uri)

    def write(self, task: TaskId, agent: bytes | Frozen, memory: Memory) -> None:
        """Add one; older ones beyond KEEP go, and halves that are left of others.  Raises OSError"""
        folder = f"{self._root}/{task}"
        self._files.create_dir(folder, recursive=True)
        path = f"{folder}/{memory.journal:020d}{_WHOLE}"
        self._delete(half for half in self._paths(str(task), _HALF) if half < path)
        self._put(path, agent, memory)
        self._delete(self._paths(str(task))[KEEP:])

    def _delete(self, paths: Iterable[str]) -> None:
        for path in paths:
            with suppress(FileNotFoundError):  # a worker that had the task before may do the same
                self._files.delete_file(path)

    def tasks(self) -> list[str]:
        """Names of tasks that have written here."""
        selector = fs.FileSelector(self._root, allow_not_found=True)
        found = self._files.get_file_info(selector)
        return sorted(item.base_name for item in found if item.type == fs.FileType.Directory)

    def stored(self, task: str) -> list[tuple[str, Snapshot | None]]:
        """Every one of a task with its path, newest first, then what is left of others; None: not whole."""
        return [(path, self.read(path)) for path in [*self._paths(task), *self._paths(task, _HALF)]]

    def read(self, path: str) -> Snapshot | None:
        """One snapshot, None for what was cut short, damaged, or written by another version."""
        if path.endswith(_HALF):
            return None
        with self._files.open_input_stream(path) as stream:
            data = stream.read()
        if zlib.crc32(data[_CHECK:]).to_bytes(_CHECK, "little") != data[:_CHECK]:
            return None
        try:
            snapshot = decode_snapshot(data[_CHECK:])
        except StateError:  # written by another version
            return None
        return snapshot if snapshot.whole else None

    def replace(self, path: str, snapshot: Snapshot | None) -> None:
        """Put another one in the place of a stored one, or nothing.  Raises OSError"""
        if snapshot is None:
            self._files.delete_file(path)
        else:
            self._put(path, snapshot.agent, snapshot.memory)

    def _put(self, path: str, agent: bytes | Frozen, memory: Memory) -> None:
        """Piece by piece: putting tens of megabytes together would keep the interpreter from all else."""
        chunks = encode_snapshot(agent, memory).chunks()
        checksum = 0
        for chunk in chunks:
            checksum = zlib.crc32(chunk, checksum)
        with self._files.open_output_stream(f"{path}{_HALF}") as stream:
            stream.write(checksum.to_bytes(_CHECK, "little"))
            for chunk in chunks:
                stream.write(chunk)
        self._files.move(f"{path}{_HALF}", path)

    def reach(self, task: TaskId) -> int:
        """How far the task's journal reached when its newest one was written."""
        newest = next(iter(self._paths(str(task))), "0")
        return int(newest.rpartition("/")[2].removesuffix(_WHOLE))

    def newest(self, task: TaskId) -> Snapshot | None:
        """The newest whole one."""
        return next(self._whole(task), None)

    def _whole(self, task: TaskId) -> Iterator[Snapshot]:
        for path in self._paths(str(task)):
            snapshot = self.read(path)
            if snapshot is not None:
                yield snapshot

    def _paths(self, task: str, ending: str = _WHOLE) -> list[str]:
        selector = fs.FileSelector(f"{self._root}/{task}", allow_not_found=True)
        names = [item.path for item in self._files.get_file_info(selector) if item.path.endswith(ending)]
        return sorted(names, reverse=True)
