"""SQL over the datasets of a run folder, by DuckDB: joins and sums of any number of rows, bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream.tables import OUTCOME_SCHEMA, PREDICTION_SCHEMA, SHADOW_SCHEMA, SWEEP_SCHEMA, TableError

MEMORY = "2GB"
"""What DuckDB may hold; beyond, it goes on in files of a temporary folder."""

BATCH_ROWS = 2**16

_DATASETS = {
    "predictions": PREDICTION_SCHEMA,
    "outcomes": OUTCOME_SCHEMA,
    "shadows": SHADOW_SCHEMA,
    "sweeps": SWEEP_SCHEMA,
}


class RunTables:
    """The datasets ``predictions``, ``outcomes``, ``shadows`` and ``sweeps`` of one run, as views.

    A dataset without a file is a view without rows. ``damaged`` names files that are cut off; they are left
    out. Sums of integers do not depend on the number of threads, sums of floats do: queries add up integers.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, run: Path) -> None:
        self._database = database
        self.damaged: list[str] = []
        for name, schema in _DATASETS.items():
            self._view(name, schema, self._readable(run, name))

    def _readable(self, run: Path, name: str) -> list[str]:
        files = []
        for path in [run / "sweeps.parquet"] if name == "sweeps" else sorted((run / name).glob("*.parquet")):
            try:
                pq.read_metadata(path)
            except FileNotFoundError:
                continue
            except pa.ArrowInvalid:
                self.damaged.append(path.relative_to(run).as_posix())
                continue
            files.append(str(path))
        return files

    def _view(self, name: str, schema: pa.Schema, files: list[str]) -> None:
        if files:
            relation = self._database.read_parquet(files)
            relation.create_view(name)
        else:
            self.give(name, schema.empty_table())

    def give(self, name: str, table: pa.Table) -> None:
        """Make an Arrow table known to queries."""
        self._database.register(name, table)

    def run(self, sql: str, **values: Any) -> None:
        """Execute a statement; ``$name`` in it stands for a value.  Raises TableError for damaged files"""
        with _readable_errors():
            self._database.execute(sql, values)

    def table(self, sql: str, **values: Any) -> dict[str, NDArray[Any]]:
        """Rows of a query as columns.  Raises TableError for files that are damaged"""
        with _readable_errors():
            found = self._database.sql(sql, params=values).to_arrow_table()
        return {name: np.asarray(found[name].to_numpy()) for name in found.column_names}

    def batches(self, sql: str, **values: Any) -> Iterator[dict[str, NDArray[Any]]]:
        """The same, a batch of rows at a time."""
        with _readable_errors():
            for batch in self._database.sql(sql, params=values).to_arrow_reader(BATCH_ROWS):
                columns = zip(batch.schema.names, batch.columns, strict=True)
                yield {name: column.to_numpy(zero_copy_only=False) for name, column in columns}


@contextmanager
def run_tables(run: Path, memory: str = MEMORY) -> Iterator[RunTables]:
    """The tables of a run folder, while the context lasts; nothing is written into the folder."""
    with TemporaryDirectory(prefix="octa-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory, "temp_directory": spill,
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
        }  # fmt: skip
        with duckdb.connect(":memory:", config=settings) as database:
            yield RunTables(database, run)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.ProgrammingError:  # of a query, not of what it reads
        raise
    except duckdb.Error as error:
        raise TableError(f"run: its stored files cannot be read: {' '.join(str(error).split())}") from error
