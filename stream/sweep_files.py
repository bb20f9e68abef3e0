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
import pyarrow.parquet as pq

SWEEPS = "sweeps"
"""Name of the dataset."""


def whole_file(run: Path) -> Path:
    """Where all of them lie in the end."""
    return run / f"{SWEEPS}.parquet"


def sweep_files(run: Path) -> list[Path]:
    """Every file with rows of sweeps, the oldest rows first; none in a run without sweeps.

    Where the one file is there, parts are what was to be removed after it was written.
    """
    whole = whole_file(run)
    return [whole] if whole.is_file() else sorted((run / SWEEPS).glob("part-*.parquet"))


def count_sweeps(run: Path) -> int:
    """Number of rows.  Raises pyarrow.ArrowInvalid for a damaged file"""
    return sum(pq.read_metadata(path).num_rows for path in sweep_files(run))


def read_sweeps(
    run: Path, columns: Sequence[str] | None = None, filters: list[tuple[str, str, Any]] | None = None
) -> pa.Table:
    """Rows of a run in the order of writing, with the columns of SWEEP_SCHEMA or some of them.

    filters : (column, operator, value), all of which hold, as pyarrow has them
    Raises FileNotFoundError where the run has no file of sweeps, pyarrow.ArrowInvalid for a damaged one
    """
    paths = sweep_files(run)
    if not paths:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(whole_file(run)))
    return pq.read_table(paths, columns=None if columns is None else list(columns), filters=filters)
