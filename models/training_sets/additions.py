"""Columns that are to be merged: from Parquet, Arrow or CSV files, or a stored container."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as csv
import pyarrow.dataset as ds

from models.datasets.stored import PARTS
from models.training_sets.columns import KEYS
from models.training_sets.manifest import TrainingSetError
from models.training_sets.partition import CELL, PARTITION, STAMP, STREAM

_TYPES = {CELL: pa.uint64(), STAMP: pa.int64(), STREAM: pa.string()}
_WANTED = {CELL: "uint64", STAMP: "int64, nanoseconds", STREAM: "text"}

PANDAS_INDEX = "__index_level_"
"""How pandas names an index that it writes, which is no column of anybody's."""

FORMATS = {
    ".parquet": "parquet",
    ".arrow": "ipc",
    ".csv": ds.CsvFileFormat(convert_options=csv.ConvertOptions(column_types=_TYPES)),  # ids look like floats
}


class Additions:
    """Rows with ``cell_id`` and, where they have them, ``stamp_ns`` and ``stream_id``, and columns to merge.

    place : a file, a folder of files, partitioned as a training set or not, or a stored container
    columns : which of them; None for all but the keys; prefix : put before their names
    ``keys`` are those that there are: without a stamp what is said of a cell holds at all times.
    A part's neighbourhood is read at a time, never the whole.
    Raises TrainingSetError for a file that cannot be read, keys of another type, columns that are not there
    """

    def __init__(self, place: Path, columns: Sequence[str] | None = None, prefix: str = "") -> None:
        self.source = str(place)
        self._data = _open(place)
        schema = self._data.schema
        self.keys = tuple(key for key in KEYS if key in schema.names)
        if CELL not in self.keys:
            raise TrainingSetError(f"{place}: has no column {CELL}; columns are {', '.join(schema.names)}")
        for key in self.keys:
            fits = pa.types.is_string if key == STREAM else pa.types.is_integer
            if not fits(schema.field(key).type):
                raise TrainingSetError(f"{place}: {key} is {schema.field(key).type}, expected {_WANTED[key]}")
        self._partitioned = all(name in schema.names for name in PARTITION)
        there = [
            name
            for name in schema.names
            if name not in (*KEYS, *PARTITION) and not name.startswith(PANDAS_INDEX)
        ]
        missing = [name for name in columns or () if name not in there]
        if missing or not there:
            raise TrainingSetError(
                f"{place}: no column {', '.join(missing) or 'to merge'}; "
                f"there are {', '.join(there) or 'none'}"
            )
        self._columns = list(columns or there)
        self.names = [prefix + name for name in self._columns]

    def near(self, folder: str, table: pa.Table) -> pa.Table:
        """The rows that may be of those of a part, keys as a training set has them.

        folder : of the part; table : its rows
        """
        bounds = pc.min_max(table[CELL])
        chosen = (ds.field(CELL) >= bounds["min"]) & (ds.field(CELL) <= bounds["max"])
        if STAMP in self.keys:
            bounds = pc.min_max(table[STAMP])
            chosen &= (ds.field(STAMP) >= bounds["min"]) & (ds.field(STAMP) <= bounds["max"])
        if self._partitioned:
            for text in folder.split("/"):
                name, _, value = text.partition("=")
                chosen &= ds.field(name) == value
        try:
            found = self._data.to_table(columns=[*self.keys, *self._columns], filter=chosen)
            keys = [found[key].cast(_TYPES[key]) for key in self.keys]
        except (pa.ArrowException, OSError) as error:
            raise TrainingSetError(f"{self.source}: {' '.join(str(error).split())}") from error
        for key, column in zip(self.keys, keys, strict=True):
            if column.null_count:
                raise TrainingSetError(f"{self.source}: {key}: {column.null_count} rows have none")
        return pa.table([*keys, *(found[name] for name in self._columns)], names=[*self.keys, *self.names])


def _open(place: Path) -> ds.Dataset:
    try:
        if (place / PARTS).is_file():
            names = [Path(part["file"]).name for part in json.loads((place / PARTS).read_text())["parts"]]
            return ds.dataset([str(place / name) for name in names], format="ipc")
        if place.is_dir():
            text = pa.schema([(name, pa.string()) for name in PARTITION])
            folders = ds.partitioning(text, flavor="hive") if list(place.glob("date=*")) else None
            return ds.dataset(str(place), format="parquet", partitioning=folders)
        if place.suffix not in FORMATS:
            raise TrainingSetError(
                f"{place}: expected {', '.join(FORMATS)}, a folder of Parquet, or a container"
            )
        return ds.dataset(str(place), format=FORMATS[place.suffix])
    except (pa.ArrowException, ValueError, KeyError, TypeError) as error:
        if isinstance(error, TrainingSetError):
            raise
        raise TrainingSetError(f"{place}: cannot be read: {' '.join(str(error).split())}") from error
