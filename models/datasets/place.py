"""Where a stored container lies: a file or folder of this machine, or behind a ``pyarrow.fs`` URI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import fs

from models.arrow_fs import file_system_of
from stream.addresses import shown


class Place:
    """A file, or a folder of files by name; the name "" is the place itself.

    where : a path, or a URI as ``s3://bucket/city`` or ``gs://bucket/city``; keys in it are never shown
    Raises ValueError (a URI that pyarrow does not know), OSError
    """

    def __init__(self, where: str | Path) -> None:
        if "://" in str(where):
            self._fs, root = file_system_of(str(where))
            self._shown = shown(str(where)).rstrip("/")
        else:
            self._fs, root = fs.LocalFileSystem(), str(Path(where).absolute())
            self._shown = str(where).rstrip("/")
        self._root = root.rstrip("/")

    def __str__(self) -> str:
        return self._shown

    def shown(self, name: str) -> str:
        """A file as messages name it."""
        return f"{self._shown}/{name}" if name else self._shown

    @property
    def local(self) -> Path | None:
        """The path on this machine, None elsewhere."""
        return Path(self._root) if isinstance(self._fs, fs.LocalFileSystem) else None

    def stat(self, name: str = "") -> tuple[int, int] | None:
        """Size and time of a file, None where there is none."""
        info = self._fs.get_file_info(self._path(name))
        return (info.size, info.mtime_ns) if info.type == fs.FileType.File else None

    def is_empty(self) -> bool:
        """Whether nothing is there, or a folder without anything in it."""
        if self._fs.get_file_info(self._root).type == fs.FileType.File:
            return False
        return not self._fs.get_file_info(fs.FileSelector(self._root, allow_not_found=True))

    def open(self, name: str = "") -> Any:
        """A file to read anywhere in, mapped into memory on this machine."""
        path = self._path(name)
        return pa.memory_map(path) if self.local is not None else self._fs.open_input_file(path)

    def read_text(self, name: str) -> str:
        """A text."""
        with self._fs.open_input_stream(self._path(name)) as stream:
            data: bytes = stream.read()
        return data.decode()

    def create(self, name: str) -> Any:
        """A file to write, in place of one that is there; the folder is made when missing."""
        self._fs.create_dir(self._root, recursive=True)
        return self._fs.open_output_stream(self._path(name))

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root
