"""More columns for a training set, by cell id and stamp: labels, other modalities, other features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.training_sets.additions import Additions
from models.training_sets.columns import require_new, with_metadata
from models.training_sets.manifest import TrainingSetError
from models.training_sets.publish import publishing
from models.training_sets.read import TrainingSet
from stream.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """columns : added or replaced; rows : of the set; matched : of them, that got values"""

    columns: tuple[str, ...]
    rows: int
    matched: int


def merge(
    root: Path,
    additions: Additions,
    *,
    replace: bool = False,
    said: Mapping[str, str] | None = None,
    progress: Progress,
) -> Merged:
    """Give every row the values of its cell; ids, their order and all other columns stay, byte for byte.

    replace : columns of these names give way; said : more metadata, keys without ``octa.``
    A part at a time is rewritten beside, then all are published together: a crash leaves the set as it was.
    Raises TrainingSetError (names that are taken, keys that come twice, nothing that matches), OSError
    """
    with publishing(root) as publication:
        stored = TrainingSet(root)
        require_new(additions.names, stored.schema, replace)
        matched = 0
        for number, part in enumerate(stored.manifest.parts, 1):
            progress(number, len(stored.manifest.parts), part.file)
            table = stored.table(part)
            given = additions.near(part.file.rpartition("/")[0], table)
            row = rows_of(table, given, additions.keys)
            matched += int((row >= 0).sum())
            publication.stage(part.file, _with(table, given, row, additions.names, said or {}))
        if not matched:
            raise TrainingSetError(
                f"{additions.source}: no row is of a cell and stamp of {root}; nothing was merged"
            )
        publication.publish(stored.manifest.with_parts(publication.parts))
    return Merged(columns=tuple(additions.names), rows=stored.manifest.rows, matched=matched)


def rows_of(left: pa.Table, right: pa.Table, keys: Sequence[str]) -> NDArray[np.int64]:
    """For every row the one with the same keys, -1 where there is none; int64 (N,).

    Raises TrainingSetError where two of ``right`` have the same keys
    """
    n = len(left)
    codes = np.zeros(n + len(right), np.int64)
    for key in keys:
        both = pa.concat_arrays([*left[key].chunks, *right[key].chunks]).dictionary_encode()
        codes = codes * len(both.dictionary) + both.indices.to_numpy().astype(np.int64)
        codes = np.unique(codes, return_inverse=True)[1]  # small again, so that no product overflows
    mine, given = codes[:n], codes[n:]
    order = np.argsort(given, kind="stable")
    ordered = given[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        row = right.slice(int(order[twice[0]]), 1)
        which = ", ".join(f"{key} {row[key][0].as_py()}" for key in keys)
        raise TrainingSetError(f"{which}: comes twice among the rows to merge; keep one")
    if not len(ordered):
        return np.full(n, -1, np.int64)
    place = np.minimum(np.searchsorted(ordered, mine), len(ordered) - 1)
    return np.where(ordered[place] == mine, order[place], -1)


def _with(
    table: pa.Table, given: pa.Table, row: NDArray[np.int64], names: Sequence[str], said: Mapping[str, str]
) -> pa.Table:
    """The table with columns of others, null where there is no such row."""
    take = pa.array(row, mask=row < 0)
    schema = table.schema
    columns = {name: table[name] for name in table.schema.names}
    for name in names:
        field = pa.field(name, given.schema.field(name).type)
        known = schema.get_field_index(name)
        schema = schema.append(field) if known < 0 else schema.set(known, field)
        columns[name] = given[name].combine_chunks().take(take)
    return pa.table([columns[name] for name in schema.names], schema=with_metadata(schema, said))
