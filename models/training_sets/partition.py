"""Rows of a training set by partition: date, region and LOD."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.training_sets.manifest import TrainingSetError
from native.index64 import LOD_MAX, ancestor, decode, to_text

CELL, STAMP, STREAM = "cell_id", "stamp_ns", "stream_id"
PARTITION = ("date", "region", "lod")
"""Said by folders alone."""

DAY_NS = 86_400_000_000_000
BUFFER_ROWS = 2**19
"""Rows held before they are written, about 160 MB with 74 features."""


def partitions(table: pa.Table, region_lod: int) -> Iterator[tuple[str, pa.Table]]:
    """Folder and rows of every partition, ascending by folder; rows ascend by stamp, stream and cell.

    Dates are those of the stamps in UTC, regions the text of an id.
    Raises TrainingSetError for a cell coarser than a region, IdError and ParityError for what is no cell
    """
    stream = table[STREAM].combine_chunks().dictionary_encode()
    names = np.argsort(np.argsort(np.array(stream.dictionary.to_pylist(), dtype=object)))
    rank = names[stream.indices.to_numpy()]
    cell_id = table[CELL].to_numpy()
    table = table.take(pa.array(np.lexsort((cell_id, rank, table[STAMP].to_numpy()))))
    key = partition_keys(table[CELL].to_numpy(), table[STAMP].to_numpy(), region_lod)  # (N, 3)
    found, place = np.unique(key, axis=0, return_inverse=True)
    folders = [folder_of(*row) for row in found.tolist()]
    for number in sorted(range(len(folders)), key=folders.__getitem__):
        yield folders[number], table.filter(pa.array(place.reshape(-1) == number))


def partition_keys(
    cell_id: NDArray[np.uint64], stamp_ns: NDArray[np.int64], region_lod: int
) -> NDArray[np.uint64]:
    """Day, region and LOD of rows, uint64 (N, 3); days count from 1970, and are not before."""
    lod = decode(cell_id).lod
    if len(lod) and lod.min() < region_lod:
        raise TrainingSetError(
            f"region LOD {region_lod}: there are cells of LOD {lod.min()}; choose one from 0 to that"
        )
    if len(stamp_ns) and stamp_ns.min() < 0:
        raise TrainingSetError(f"stamp_ns: {stamp_ns.min()} is before 1970, so it has no date")
    day = (stamp_ns // DAY_NS).astype(np.uint64)
    return np.stack([day, ancestor(cell_id, region_lod), lod.astype(np.uint64)], axis=1)


def folder_of(day: int, region: int, lod: int) -> str:
    """The folder of a partition, ``date=…/region=…/lod=…``."""
    date = np.datetime64(day, "D")
    return f"date={date}/region={to_text(region)}/lod={lod}"


class PartitionWriter:
    """Gathers rows, and hands on whole parts by name; holds at most ``buffer_rows`` and one table more.

    write : told (name, rows) of each part; build : number of this build, region_lod : 0..15
    """

    def __init__(
        self,
        write: Callable[[str, pa.Table], None],
        region_lod: int,
        build: int,
        buffer_rows: int = BUFFER_ROWS,
    ) -> None:
        if not 0 <= region_lod <= LOD_MAX:
            raise TrainingSetError(f"region LOD {region_lod}: must be 0..{LOD_MAX}")
        self._write, self._region_lod, self._build = write, region_lod, build
        self._buffer_rows = buffer_rows
        self._held: list[pa.Table] = []
        self._flushed = 0
        self.rows = 0

    def add(self, table: pa.Table) -> None:
        """Take rows; raises as ``partitions``, and pa.ArrowInvalid for other columns than before."""
        self._held.append(table)
        self.rows += len(table)
        if sum(map(len, self._held)) >= self._buffer_rows:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self._held:
            return
        table, self._held = pa.concat_tables(self._held), []
        for folder, rows in partitions(table, self._region_lod):
            self._write(f"{folder}/part-{self._build:05d}-{self._flushed:05d}.parquet", rows)
        self._flushed += 1
