"""Stored containers: windows of cells in Arrow files.

One Arrow IPC file, a record batch a window, or a folder of such parts that ``parts.json`` lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.ipc as ipc

from models.datasets.window import Window, lattice_of, require_same, said_of
from models.graphs.columns import require_keys
from native.schema import MismatchError

PARTS = "parts.json"
VERSION = 1


class StoredError(ValueError):
    """A stored container that cannot be read: missing parts, damage; names the file and the way out."""


class StoredContainer:
    """The windows of one frame and LOD of a stored container; files are memory-mapped.

    path : an Arrow file, or a folder with its list of parts
    Raises StoredError (missing or damaged files), MismatchError (no such frame and LOD, parts that disagree)
    """

    def __init__(self, path: Path, frame_id: int, lod: int) -> None:
        self.path, self.frame_id, self.lod = path, frame_id, lod
        found = {file: _schema_of(file) for file in _files(path)}
        lattices = {file: lattice_of(schema, str(file)) for file, schema in found.items()}
        wanted = (str(frame_id), str(lod))
        self._files = [file for file, said in lattices.items() if (said["frame"], said["lod"]) == wanted]
        if not self._files:
            there = sorted({f"frame {said['frame']}, LOD {said['lod']}" for said in lattices.values()})
            raise MismatchError(
                f"{path}: no cells of frame {frame_id}, LOD {lod}; there are {'; '.join(there) or 'none'}"
            )
        self.schema: pa.Schema = found[self._files[0]]
        for file in self._files[1:]:
            require_same(self.schema, found[file], str(file))
        self.half_edge_m = float(lattices[self._files[0]]["half_edge_m"])

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of what is to be predicted, none without outcomes."""
        return tuple(json.loads(said_of(self.schema).get("targets", "[]")))

    def feature_names(self, keys: Sequence[str]) -> tuple[str, ...]:
        """A name for every column that keys give, as ``flow.0`` of a vector; raises FeatureError."""
        require_keys(keys)
        return Window(pa.RecordBatch.from_pylist([], schema=self.schema)).feature_names(keys)

    def digest(self, *more: object) -> str:
        """Sha256 over the schema, which files there are, their sizes and times, and more."""
        hasher = hashlib.sha256(self.schema.serialize())
        for file in self._files:
            stat = file.stat()
            hasher.update(repr((file.name, stat.st_size, stat.st_mtime_ns)).encode())
        hasher.update(repr(more).encode())
        return hasher.hexdigest()

    def sizes(self) -> list[int]:
        """Number of cells of every window."""
        return [len(batch) for batch in self._batches()]

    def __iter__(self) -> Iterator[Window]:
        """The windows in order; raises StoredError (damage), MismatchError (ids)."""
        for batch in self._batches():
            yield Window(batch, str(self.path))

    def _batches(self) -> Iterator[pa.RecordBatch]:
        for file in self._files:
            with _readable(file), pa.memory_map(str(file)) as source:
                reader = ipc.open_file(source)
                for number in range(reader.num_record_batches):
                    batch = reader.get_batch(number)
                    batch.validate()
                    yield batch


def lattices_in(path: Path) -> list[tuple[int, int]]:
    """Frame and LOD of the windows of a stored container, each pair once, ascending; raises StoredError."""
    said = [lattice_of(_schema_of(file), str(file)) for file in _files(path)]
    return sorted({(int(each["frame"]), int(each["lod"])) for each in said})


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    """Errors of Arrow name the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise StoredError(f"{file}: damaged, or no Arrow file: {' '.join(str(error).split())}") from error


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.exists():
        raise StoredError(f"{path}: no such file or folder")
    listed = path / PARTS
    if not listed.exists():
        raise StoredError(f"{path}: has no {PARTS}, so it is no stored container, or writing it was cut off")
    try:
        values = json.loads(listed.read_text(encoding="utf-8"))
        version, names = values["version"], [Path(part["file"]).name for part in values["parts"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoredError(f"{listed}: damaged: {error}") from error
    if version != VERSION:
        raise StoredError(f"{listed}: version {version}, this release reads version {VERSION}")
    missing = [name for name in names if not (path / name).is_file()]
    if missing:
        raise StoredError(
            f"{path}: {len(missing)} of {len(names)} parts are missing: {', '.join(missing[:5])}"
        )
    return [path / name for name in names]


def _schema_of(file: Path) -> pa.Schema:
    with _readable(file), pa.memory_map(str(file)) as source:
        return ipc.open_file(source).schema
