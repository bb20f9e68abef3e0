"""Writes stored containers: windows into numbered Arrow files, and a list of these."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc

from models.datasets.place import Place
from models.datasets.stored import PARTS, VERSION
from models.datasets.window import lattice_of, require_same

Level = tuple[str, str]
"""Frame and LOD."""


class ContainerWriter:
    """Writes windows into the parts of a new folder; ``close``, as a context does, writes the list of them.

    folder : a path, or a ``pyarrow.fs`` URI; part_rows : a part is closed once it has so many
    Raises FileExistsError for a folder that is not empty
    """

    def __init__(self, folder: str | Path, part_rows: int = 2**18) -> None:
        self._place, self._part_rows = Place(folder), part_rows
        if not self._place.is_empty():
            raise FileExistsError(f"{self._place}: is not an empty folder; name another one")
        self._parts: list[dict[str, Any]] = []
        self._schemas: dict[Level, pa.Schema] = {}
        self._open: dict[Level, tuple[ipc.RecordBatchFileWriter, Any, dict[str, Any]]] = {}

    def __enter__(self) -> ContainerWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        else:
            self._end(*self._open)

    @property
    def rows(self) -> int:
        """Rows written."""
        return sum(part["rows"] for part in self._parts)

    @property
    def windows(self) -> int:
        """Windows written."""
        return sum(part["windows"] for part in self._parts)

    def write(self, window: pa.RecordBatch) -> None:
        """Append a window to those of its frame and LOD.

        Raises MismatchError for what is no window, or has other columns than the others of its frame and LOD
        """
        lattice = lattice_of(window.schema, "window")
        level = lattice["frame"], lattice["lod"]
        require_same(self._schemas.setdefault(level, window.schema), window.schema, "window")
        if level not in self._open:
            self._begin(level)
        writer, _, part = self._open[level]
        writer.write_batch(window)
        part["windows"] += 1
        part["rows"] += len(window)
        if part["rows"] >= self._part_rows:
            self._end(level)

    def close(self) -> None:
        """End every part and write the list of them."""
        self._end(*self._open)
        text = json.dumps({"version": VERSION, "parts": self._parts}, indent=1) + "\n"
        with self._place.create(PARTS) as file:
            file.write(text.encode())

    def _begin(self, level: Level) -> None:
        part: dict[str, Any] = {"file": f"part-{len(self._parts):05d}.arrow", "windows": 0, "rows": 0}
        self._parts.append(part)
        file = self._place.create(part["file"])
        self._open[level] = ipc.new_file(file, self._schemas[level]), file, part

    def _end(self, *levels: Level) -> None:
        for level in levels:
            writer, file, _ = self._open.pop(level)
            writer.close()
            file.close()
