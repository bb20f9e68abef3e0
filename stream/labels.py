"""What people say that cells are: words as they come, and what stands of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from stream.cell_rows import locate
from stream.files import is_of_system
from stream.tables import LABEL_SCHEMA, TableError


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Labels:
    """What stands: the last word on every cell.

    classes : names, ascending; code : int32 (N,), of them
    cell_id : uint64 (N,); at_ns : int64 (N,), sweep that the word is about, 0 for any; ascending by both
    weight : float64 (N,); contradicted : bool (N,), an earlier word by somebody else was another one
    words : rows in all; repeated : rows that said what stood already; corrected : cells whose author took an
        own word back, counted each time; contradictions : words that were another's before, counted each time
    """

    classes: tuple[str, ...]
    cell_id: NDArray[np.uint64]
    at_ns: NDArray[np.int64]
    code: NDArray[np.int32]
    weight: NDArray[np.float64]
    contradicted: NDArray[np.bool_]
    words: int
    repeated: int
    corrected: int
    contradictions: int

    def __len__(self) -> int:
        return len(self.cell_id)

    def counts(self) -> Mapping[str, int]:
        """Cells by class."""
        return dict(
            zip(self.classes, np.bincount(self.code, minlength=len(self.classes)).tolist(), strict=True)
        )

    def of_cells(
        self, cell_id: NDArray[np.uint64], at_ns: int
    ) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
        """What cells are in one sweep, int32 (M,), -1 where nobody has said; and weights, float64 (M,).

        A word about the sweep counts before one about the cell at any time.
        """
        code = np.full(len(cell_id), -1, np.int32)
        weight = np.zeros(len(cell_id))
        for stamp in (0, at_ns):  # the sweep's own words last
            chosen = np.flatnonzero(self.at_ns == stamp)
            row, found = locate(self.cell_id[chosen], cell_id)
            code[found], weight[found] = self.code[chosen[row[found]]], self.weight[chosen[row[found]]]
        return code, weight


def merge_labels(words: pa.Table) -> Labels:
    """The last word on every cell, by stamp; of two with one stamp the last by author, then class.

    words : rows of ``LABEL_SCHEMA``, in any order; a row that is there twice counts once
    Deterministic: it depends on the set of rows alone.
    """
    author, _ = _coded(words["author"])
    label, classes = _coded(words["label"])
    cell_id, at_ns, stamp = (words[name].to_numpy() for name in ("cell_id", "at_ns", "stamp_ns"))
    weight = words["weight"].to_numpy()
    order = np.lexsort((weight, label, author, stamp, at_ns, cell_id))
    columns = [column[order] for column in (cell_id, at_ns, stamp, author, label, weight)]
    fresh = np.ones(len(order), np.bool_)
    fresh[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    cell_id, at_ns, stamp, author, label, weight = (column[fresh] for column in columns)
    same = (cell_id[1:] == cell_id[:-1]) & (at_ns[1:] == at_ns[:-1])  # as the word before it
    other = same & (label[1:] != label[:-1])
    own = other & (author[1:] == author[:-1])
    last = np.append(~same, True)[: len(cell_id)]
    begin = np.flatnonzero(np.append(True, ~same)[: len(cell_id)])
    against = np.append(False, other & ~own)[: len(cell_id)]
    contradicted = np.add.reduceat(against, begin) > 0 if len(begin) else np.zeros(0, np.bool_)
    return Labels(
        classes=tuple(classes),
        cell_id=cell_id[last],
        at_ns=at_ns[last],
        code=label[last].astype(np.int32),
        weight=weight[last],
        contradicted=contradicted,
        words=len(words),
        repeated=len(words) - len(cell_id) + int((same & ~other).sum()),
        corrected=int(own.sum()),
        contradictions=int((other & ~own).sum()),
    )


def _coded(column: pa.ChunkedArray) -> tuple[NDArray[np.int64], list[str]]:
    """Texts as numbers in the order of the texts, and the texts."""
    names, code = np.unique(np.array(column.to_pylist(), dtype=np.str_), return_inverse=True)
    return code.astype(np.int64), [str(name) for name in names]


def read_labels(run: Path) -> Labels:
    """What stands of the words in a run folder.  Raises TableError for a damaged file"""
    return merge_labels(read_words(run))


def read_words(run: Path) -> pa.Table:
    """All words in a run folder, as they came.  Raises TableError for a damaged file"""
    tables = [LABEL_SCHEMA.empty_table()]
    for path in sorted((run / "labels").glob("*.parquet")):
        try:
            tables.append(pq.read_table(path).select(LABEL_SCHEMA.names).cast(LABEL_SCHEMA))
        except (pa.ArrowException, KeyError, ValueError, OSError) as error:
            if is_of_system(error):
                raise
            raise TableError(f"{path}: not a file of labels: {' '.join(str(error).split())}") from error
    return pa.concat_tables(tables)
