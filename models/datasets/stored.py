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

from models.datasets.place import Place
from models.datasets.window import Window, grid_of_lattice, lattice_of, require_same, said_of
from models.graphs.columns import require_keys
from native.grid import Grid
from native.schema import MismatchError
from stream.files import is_of_system

PARTS = "parts.json"
VERSION = 1

Piece = tuple[str, int]
"""A file of a container, and the number of a window in it."""


class StoredError(ValueError):
    """A stored container that cannot be read: missing parts, damage; names the file and the way out."""


def grids_of(where: str | Path) -> list[Grid]:
    """The lattices of a stored container, each once, in the order of its files.

    Raises StoredError, MismatchError
    """
    place = Place(where)
    found: dict[Grid, None] = {}
    for name in files_of(place):
        found[grid_of_lattice(lattice_of(_schema_of(place, name), place.shown(name)))] = None
    return list(found)


class StoredContainer:
    """The windows of one frame and LOD of a stored container; files are memory-mapped.

    where : an Arrow file, or a folder with its list of parts; a path, or a ``pyarrow.fs`` URI
    Raises StoredError (missing or damaged files), MismatchError (no such frame and LOD, parts that disagree)
    """

    def __init__(self, where: str | Path, frame_id: int, lod: int) -> None:
        self.place, self.frame_id, self.lod = Place(where), frame_id, lod
        found = {name: _schema_of(self.place, name) for name in files_of(self.place)}
        lattices = {name: lattice_of(schema, self.place.shown(name)) for name, schema in found.items()}
        wanted = (str(frame_id), str(lod))
        self._names = [name for name, said in lattices.items() if (said["frame"], said["lod"]) == wanted]
        if not self._names:
            there = sorted({f"frame {said['frame']}, LOD {said['lod']}" for said in lattices.values()})
            listed = "; ".join(there) or "none"
            raise MismatchError(f"{self.place}: no cells of frame {frame_id}, LOD {lod}; there are {listed}")
        self.schema: pa.Schema = found[self._names[0]]
        for name in self._names[1:]:
            require_same(self.schema, found[name], self.place.shown(name))
        self.half_edge_m = float(lattices[self._names[0]]["half_edge_m"])

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
        for name in self._names:
            hasher.update(repr((name, self.place.stat(name))).encode())
        hasher.update(repr(more).encode())
        return hasher.hexdigest()

    def sizes(self) -> list[int]:
        """Number of cells of every window."""
        return [len(batch) for batch in self._batches()]

    def __iter__(self) -> Iterator[Window]:
        """The windows in order; raises StoredError (damage), MismatchError (ids)."""
        return self.windows(0, None)

    def windows(self, first: int, last: int | None) -> Iterator[Window]:
        """The windows from a place on, up to another one; errors as of all."""
        for batch in self._batches(first, last):
            yield Window(batch, str(self.place))

    def _batches(self, first: int = 0, last: int | None = None) -> Iterator[pa.RecordBatch]:
        begin = 0  # place of a file's first window
        for name in self._names:
            with _readable(self.place.shown(name)), self.place.open(name) as source:
                reader = ipc.open_file(source)
                own, begin = begin, begin + reader.num_record_batches
                end = begin if last is None else min(begin, last)
                for number in range(max(first, own) - own, end - own):
                    batch = reader.get_batch(number)
                    batch.validate()
                    yield batch

    def pieces(self) -> list[Piece]:
        """Every window by its file and its number there, in order."""
        found = []
        for name in self._names:
            with _readable(self.place.shown(name)), self.place.open(name) as source:
                found += [(name, number) for number in range(ipc.open_file(source).num_record_batches)]
        return found

    def window(self, piece: Piece) -> Window:
        """One of ``pieces``; raises StoredError (damage), MismatchError (ids)."""
        name, number = piece
        with _readable(self.place.shown(name)), self.place.open(name) as source:
            batch = ipc.open_file(source).get_batch(number)
            batch.validate()
            return Window(batch, self.place.shown(name))


def _schema_of(place: Place, name: str) -> pa.Schema:
    with _readable(place.shown(name)), place.open(name) as source:
        return ipc.open_file(source).schema


@contextmanager
def _readable(file: str) -> Iterator[None]:
    """Errors of Arrow name the file."""
    try:
        yield
    except (pa.ArrowException, OSError) as error:
        if is_of_system(error):
            raise
        raise StoredError(f"{file}: damaged, or no Arrow file: {' '.join(str(error).split())}") from error


def files_of(place: Place) -> list[str]:
    """Names of the files of a container, "" for that of one file."""
    if place.stat() is not None:
        return [""]
    if place.stat(PARTS) is None:
        what = (
            "no such file or folder" if place.is_empty() else f"has no {PARTS}, so it is no stored container"
        )
        raise StoredError(f"{place}: {what}, or writing it was cut off")
    listed = place.shown(PARTS)
    try:
        values = json.loads(place.read_text(PARTS))
        version, names = values["version"], [Path(part["file"]).name for part in values["parts"]]
    except (ValueError, KeyError, TypeError) as error:
        raise StoredError(f"{listed}: damaged: {error}") from error
    if version != VERSION:
        raise StoredError(f"{listed}: version {version}, this release reads version {VERSION}")
    missing = [name for name in names if place.stat(name) is None]
    if missing:
        some = ", ".join(missing[:5])
        raise StoredError(f"{place}: {len(missing)} of {len(names)} parts are missing: {some}")
    return names
