"""One row a sweep: where a run keeps them, and reading them.

A run that has ended has them in one file, by contract. One that is being written, and the archive of a
cluster, which never ends, have them in parts, so that adding some costs the same after a day as at once.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from stream.files import numbered

SWEEPS = "sweeps"
"""Name of the dataset."""
Filters = list[tuple[str, str, Any]]
"""(column, operator, value), all of which hold, as pyarrow has them."""


def whole_file(run: Path) -> Path:
    """Where all of them lie in the end."""
    return run / f"{SWEEPS}.parquet"


def sweep_files(run: Path) -> list[Path]:
    """Every file with rows of sweeps, the oldest rows first; none in a run without sweeps.

    A sweep may be in the one file and in a part: of a run that was cut off while they were joined, and of an
    archive that an earlier version has begun.
    """
    whole = whole_file(run)
    return [*([whole] if whole.is_file() else []), *numbered((run / SWEEPS).glob("part-*.parquet"))]


def count_sweeps(run: Path) -> int:
    """Number of rows.  Raises as ``read_sweeps``"""
    return len(read_sweeps(run, ["prediction_id"]))


def read_sweeps(run: Path, columns: Sequence[str] | None = None, filters: Filters | None = None) -> pa.Table:
    """Rows of a run in the order of writing, each sweep once, with all columns of SWEEP_SCHEMA or some.

    Raises FileNotFoundError where the run has no file of sweeps, pyarrow.ArrowInvalid for a damaged one
    """
    chosen = None if filters is None else pq.filters_to_expression(filters)
    try:
        return _read(run, columns, chosen)
    except FileNotFoundError:  # the run ended at this moment, and its parts were joined
        return _read(run, columns, chosen)


def _read(run: Path, columns: Sequence[str] | None, chosen: pc.Expression | None) -> pa.Table:
    paths, whole = sweep_files(run), whole_file(run)
    if not paths:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(whole))
    if paths[0] != whole or paths == [whole]:
        return _rows(paths, columns, chosen)
    known = _rows([whole], ["prediction_id"], None)["prediction_id"].combine_chunks()
    new = ~pc.field("prediction_id").isin(known)
    after = _rows(paths[1:], columns, new if chosen is None else chosen & new)
    return pa.concat_tables([_rows([whole], columns, chosen), after])


def _rows(paths: Sequence[Path], columns: Sequence[str] | None, chosen: pc.Expression | None) -> pa.Table:
    """Not partitioned, as pyarrow takes a path to be that has a folder with an equals sign in its name."""
    named = None if columns is None else list(columns)
    return pq.read_table(list(paths), columns=named, filters=chosen, partitioning=None)
