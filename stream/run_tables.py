"""SQL over the datasets of a run folder, by DuckDB: joins and sums of any number of rows, bounded memory."""

from __future__ import annotations

import json
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

from stream.sweep_rows import SWEEPS, read_sweeps, sweep_files, whole_file
from stream.tables import OUTCOME_SCHEMA, PREDICTION_SCHEMA, SHADOW_SCHEMA, SWEEP_SCHEMA, TableError

MEMORY = "2GB"
"""What DuckDB may hold; beyond, it goes on in files of a temporary folder."""

BATCH_ROWS = 2**16

_DATASETS = {
    "predictions": PREDICTION_SCHEMA,
    "outcomes": OUTCOME_SCHEMA,
    "shadows": SHADOW_SCHEMA,
    SWEEPS: SWEEP_SCHEMA,
}


class RunTables:
    """The datasets ``predictions``, ``outcomes``, ``shadows`` and ``sweeps`` of one run, as views.

    A dataset without a file is a view without rows. ``damaged`` names files that are cut off; they are left
    out. Sums of integers do not depend on the number of threads, sums of floats do: queries add up integers.
    """

    def __init__(self, database: duckdb.DuckDBPyConnection, run: Path, spill: str) -> None:
        self._database = database
        self._places = [str(run.absolute()), spill]
        self.damaged: list[str] = []
        for name, schema in _DATASETS.items():
            self._view(name, schema, self._readable(run, name))
        if whole_file(run) in (files := sweep_files(run)) and len(files) > 1 and not self.damaged:
            self.give(SWEEPS, read_sweeps(run))  # a sweep may be in several files

    def _readable(self, run: Path, name: str) -> list[str]:
        files = []
        for path in sweep_files(run) if name == SWEEPS else sorted((run / name).glob("*.parquet")):
            try:
                pq.read_metadata(path)
            except FileNotFoundError:
                continue
            except pa.ArrowInvalid:
                self.damaged.append(path.relative_to(run).as_posix())
                continue
            files.append(str(path.absolute()))
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

    def where(self, sql: str, expression: str) -> Iterator[dict[str, NDArray[Any]]]:
        """Rows of a query for which an expression over its columns is true, a batch at a time.

        expression : one boolean expression in DuckDB's SQL, of columns, values and functions of a row; no
            query in it, no aggregate. Files beyond the run cannot be reached from then on.
        Raises ExpressionError, TableError
        """
        require_expression(expression)
        self._shut()
        rows = self._database.sql(sql)
        try:
            condition = duckdb.SQLExpression(expression)
            kind = str(rows.select(condition).types[0])
            found = rows.filter(condition) if kind == "BOOLEAN" else None
        except duckdb.Error as error:
            raise ExpressionError(expression, " ".join(str(error).split())) from error
        if found is None:
            raise ExpressionError(expression, f"is {kind}, expected true or false of every row")
        with _readable_errors():
            for batch in found.to_arrow_reader(BATCH_ROWS):
                columns = zip(batch.schema.names, batch.columns, strict=True)
                yield {name: column.to_numpy(zero_copy_only=False) for name, column in columns}

    def _shut(self) -> None:
        """Leave DuckDB the files of the run and its own, and nothing else."""
        self._database.execute("SET allowed_directories = $places", {"places": self._places})
        self._database.execute("SET enable_external_access = false")
        self._database.execute("SET lock_configuration = true")


class ExpressionError(ValueError):
    """An expression that cannot choose rows; names it, and says what is wrong."""

    def __init__(self, expression: str, why: str) -> None:
        super().__init__(f"--where {expression!r}: {why}")


def require_expression(expression: str) -> None:
    """Raises ExpressionError for more than one expression, what does not parse, and queries within it."""
    try:
        text = str(duckdb.SQLExpression(expression))
    except duckdb.Error as error:
        raise ExpressionError(expression, " ".join(str(error).split())) from error
    with duckdb.connect(":memory:") as database:
        query = {"sql": f"SELECT 1 WHERE ({text})"}
        found = database.execute("SELECT json_serialize_sql($sql)", query).fetchall()
    tree = json.loads(found[0][0])
    if tree["error"] or len(tree["statements"]) != 1:
        raise ExpressionError(expression, "is no expression")
    refused = {"SUBQUERY": "a query", "WINDOW": "a window over rows", "PARAMETER": "a parameter"}
    for kind in _classes(tree["statements"][0]["node"].get("where_clause")):
        if kind in refused:
            raise ExpressionError(
                expression, f"holds {refused[kind]}; only columns, values and functions may be"
            )


def _classes(node: Any) -> Iterator[str]:
    """What kinds of expressions a parsed one consists of."""
    for value in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _classes(value)
    if isinstance(node, dict) and isinstance(node.get("class"), str):
        yield node["class"]


@contextmanager
def run_tables(run: Path, memory: str = MEMORY) -> Iterator[RunTables]:
    """The tables of a run folder, while the context lasts; nothing is written into the folder."""
    with TemporaryDirectory(prefix="octa-") as spill:
        settings: dict[str, str | bool | int | float | list[str]] = {
            "memory_limit": memory, "temp_directory": spill,
            "autoinstall_known_extensions": "false", "autoload_known_extensions": "false",
        }  # fmt: skip
        with duckdb.connect(":memory:", config=settings) as database:
            yield RunTables(database, run, spill)


@contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except duckdb.ProgrammingError:  # of a query, not of what it reads
        raise
    except duckdb.Error as error:
        raise TableError(f"run: its stored files cannot be read: {' '.join(str(error).split())}") from error
