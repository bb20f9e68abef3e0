"""Where models lie: folders of files, and files beside them, here or behind a ``pyarrow.fs`` URI."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from models.arrow_fs import file_system_of
from stream.addresses import shown
from stream.files import sync

_TEMPORARY = ".writing-"


class Store(Protocol):
    """Names are paths below the store, with ``/``. Whatever is killed when, a file is whole or not there.

    Raises FileNotFoundError for what is not there, OSError for a disk or service that fails
    """

    def read(self, name: str) -> bytes:
        """A file."""

    def holding(self, file: str) -> set[str]:
        """Folders that hold a file of this name."""

    def files(self, folder: str) -> set[str]:
        """Names of the files in a folder; none where there is no such folder."""

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        """A folder of files, in place of one that is there; who finds the last file finds them all."""

    def write(self, name: str, data: bytes) -> None:
        """A file, in place of one that is there."""

    def delete(self, name: str) -> None:
        """Take away a file, if it is there."""

    def remove(self, folder: str) -> None:
        """Take away a folder and what it holds."""

    def writing(self) -> Any:
        """A context in which no other process changes anything, where a store can have that."""


class FolderStore:
    """A folder of this machine, made when missing.

    sync : wait until files are on disk, so that they survive a loss of power
    Folders come and go by one rename. Writers of all processes wait for one another: the folder itself is
    locked, which network file systems may not know.
    """

    def __init__(self, folder: Path, *, sync: bool = True) -> None:
        self._folder, self._sync = folder, sync
        self._lock, self._depth, self._descriptor = threading.RLock(), 0, -1
        folder.mkdir(parents=True, exist_ok=True)

    def __str__(self) -> str:
        return str(self._folder)

    def read(self, name: str) -> bytes:
        return (self._folder / name).read_bytes()

    def holding(self, file: str) -> set[str]:
        return {path.name for path in self._folder.iterdir() if (path / file).is_file()}

    def files(self, folder: str) -> set[str]:
        place = self._folder / folder
        return {path.name for path in place.iterdir() if path.is_file()} if place.is_dir() else set()

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        for left_over in self._folder.glob(f"{_TEMPORARY}*"):  # of a writer that was killed: others wait
            shutil.rmtree(left_over, ignore_errors=True)
        target = self._folder / folder
        with self._staging() as staging, self._staging() as damaged:
            for name, data in files.items():
                self._write(staging / name, data)
            self._sync_folder(staging)
            if target.exists():
                target.replace(damaged)
            staging.replace(target)
        self._sync_folder(self._folder)

    def write(self, name: str, data: bytes) -> None:
        target = self._folder / name
        target.parent.mkdir(exist_ok=True)
        with self._staging() as staging:
            self._write(staging / target.name, data)
            (staging / target.name).replace(target)
        self._sync_folder(target.parent)

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def remove(self, folder: str) -> None:
        with self._staging() as staging:  # out of sight first, so that no reader sees half of it
            (self._folder / folder).replace(staging / folder)
        self._sync_folder(self._folder)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """May be nested within one thread."""
        with self._lock:
            if not self._depth:
                self._descriptor = os.open(self._folder, os.O_RDONLY)
                fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1
                if not self._depth:
                    os.close(self._descriptor)

    @contextmanager
    def _staging(self) -> Iterator[Path]:
        """A folder beside the others, gone afterwards, whatever happens."""
        path = Path(tempfile.mkdtemp(prefix=_TEMPORARY, dir=self._folder))
        path.chmod(self._folder.stat().st_mode & 0o777)  # mkdtemp makes it private
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)

    def _write(self, path: Path, data: bytes) -> None:
        with path.open("wb") as file:
            file.write(data)
            if self._sync:
                file.flush()
                os.fsync(file.fileno())

    def _sync_folder(self, path: Path) -> None:
        if self._sync:
            sync(path)


class ArrowStore:
    """A place that ``pyarrow.fs`` reaches, as ``s3://bucket/models`` or ``gs://bucket/models``.

    Object stores replace a file at once, but have no folders to rename and no locks: the last file of a
    folder is written last and taken away first, and of two who write the same file the last one wins.
    Keys in the URI are never shown. Raises ValueError for a URI that pyarrow does not know, OSError
    """

    def __init__(self, uri: str) -> None:
        from pyarrow import fs

        self._kinds = fs.FileType
        self._fs: Any
        self._fs, root = file_system_of(uri)
        self._root, self._shown = root.rstrip("/"), shown(uri)
        self._selector = fs.FileSelector
        self._fs.create_dir(self._root, recursive=True)

    def __str__(self) -> str:
        return self._shown

    def read(self, name: str) -> bytes:
        with self._fs.open_input_stream(self._path(name)) as stream:
            data: bytes = stream.readall()
        return data

    def holding(self, file: str) -> set[str]:
        found = self._fs.get_file_info(self._selector(self._root, recursive=True))
        paths = [
            info.path[len(self._root) + 1 :].split("/") for info in found if info.type == self._kinds.File
        ]
        return {parts[0] for parts in paths if len(parts) == 2 and parts[1] == file}

    def files(self, folder: str) -> set[str]:
        selector = self._selector(self._path(folder), allow_not_found=True)
        return {info.base_name for info in self._fs.get_file_info(selector) if info.type == self._kinds.File}

    def add(self, folder: str, files: Mapping[str, bytes]) -> None:
        self._fs.create_dir(self._path(folder), recursive=True)
        self.delete(f"{folder}/{list(files)[-1]}")
        for name, data in files.items():
            self.write(f"{folder}/{name}", data)

    def write(self, name: str, data: bytes) -> None:
        if "/" in name:
            self._fs.create_dir(self._path(name.rpartition("/")[0]), recursive=True)
        with self._fs.open_output_stream(self._path(name)) as stream:
            stream.write(data)

    def delete(self, name: str) -> None:
        if self._fs.get_file_info(self._path(name)).type == self._kinds.File:
            self._fs.delete_file(self._path(name))

    def remove(self, folder: str) -> None:
        self._fs.delete_dir(self._path(folder))

    @contextmanager
    def writing(self) -> Iterator[None]:
        yield

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"


def store_of(place: Path | str, *, sync: bool = True) -> Store:
    """A folder, or whatever a URI names."""
    if isinstance(place, str) and "://" in place:
        return ArrowStore(place)
    return FolderStore(Path(place), sync=sync)
