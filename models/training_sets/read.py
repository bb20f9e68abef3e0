"""A training set, read: its parts, their schema, and batches for one reader of several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from models.training_sets.manifest import NEXT, Part, TrainingSetError, read_manifest
from stream.files import is_of_system

BATCH_ROWS = 2**14


class TrainingSet:
    """A training set in a folder; a file at a time is open, a batch of rows held.

    Raises TrainingSetError for what is none, or is being published
    """

    def __init__(self, root: Path) -> None:
        self.root, self.manifest = root, read_manifest(root)
        if (root / NEXT).exists():
            raise TrainingSetError(
                f"{root}: is being published; wait a moment. Where that was cut off, the next build or merge "
                "completes it"
            )
        if not self.manifest.parts:
            raise TrainingSetError(f"{root}: has no rows")
        self.schema = self.schema_of(self.manifest.parts[0])

    def schema_of(self, part: Part) -> pa.Schema:
        """Columns and metadata of a part."""
        with readable(self.root / part.file):
            return pq.read_schema(self.root / part.file)

    def table(self, part: Part, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a part, checked against its pages' checksums."""
        with readable(self.root / part.file):
            return pq.ParquetFile(self.root / part.file, page_checksum_verification=True).read(
                columns=None if columns is None else list(columns)
            )

    def batches(
        self,
        columns: Sequence[str] | None = None,
        *,
        rank: int = 0,
        world_size: int = 1,
        batch_rows: int = BATCH_ROWS,
    ) -> Iterator[pa.RecordBatch]:
        """This reader's share of the rows: batches are dealt to readers in turn, so each row goes to one.

        columns : in this order; None for all
        Deterministic. Raises TrainingSetError
        """
        schema = self.selected(columns)
        if not 0 <= rank < world_size:
            raise TrainingSetError(f"rank {rank}: must be 0..{world_size - 1} (world_size {world_size})")
        if not 1 <= batch_rows <= 2**20:
            raise TrainingSetError(f"batch_rows {batch_rows}: must be 1..{2**20}")
        number = 0
        for part in self.manifest.parts:
            with readable(self.root / part.file):
                file = pq.ParquetFile(self.root / part.file, page_checksum_verification=True)
                for batch in file.iter_batches(batch_rows, columns=schema.names):
                    if number % world_size == rank:
                        yield pa.RecordBatch.from_arrays(
                            [batch.column(name) for name in schema.names], schema=schema
                        )
                    number += 1

    def selected(self, columns: Sequence[str] | None) -> pa.Schema:
        """The schema of some columns; raises TrainingSetError for one that is not there."""
        if columns is None:
            return self.schema
        missing = [name for name in columns if name not in self.schema.names]
        if missing or not columns:
            there = ", ".join(self.schema.names)
            raise TrainingSetError(f"columns: no column {', '.join(missing) or 'named'}; there are {there}")
        return pa.schema([self.schema.field(name) for name in columns], metadata=self.schema.metadata)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Errors of Arrow name the file."""
    try:
        yield
    except FileNotFoundError as error:
        raise TrainingSetError(f"{path}: is missing; octastream dataset verify lists all") from error
    except (pa.ArrowException, OSError) as error:
        if is_of_system(error):
            raise
        raise TrainingSetError(f"{path}: damaged: {' '.join(str(error).split())}") from error
