"""Rows of one prediction out of a folder of Parquet files, a row group at a time."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

KEPT_GROUPS = 4
"""Decoded row groups kept at once; bounds memory whatever the length of the run."""


@dataclass(frozen=True, slots=True)
class _Span:
    path: Path
    group: int
    start: int
    length: int


class PredictionRows:
    """Random access by prediction id to the Parquet files of one folder.

    Rows of one prediction may lie in several runs, row groups or files, in any order. Only the ids are
    read at first; other columns are decoded when asked for, and the last few row groups are kept.
    Files that are cut off are left out and named in ``damaged``.
    """

    def __init__(self, folder: Path) -> None:
        self._spans: dict[str, list[_Span]] = {}
        self._recent: OrderedDict[tuple[Path, int], pa.Table] = OrderedDict()
        self.columns: list[str] = []
        self.damaged: list[str] = []
        for path in sorted(folder.glob("*.parquet")):
            try:
                self._index(path)
            except pa.ArrowInvalid:
                self.damaged.append(path.name)

    def __contains__(self, prediction_id: str) -> bool:
        return prediction_id in self._spans

    def __len__(self) -> int:
        return len(self._spans)

    def table(self, prediction_id: str) -> pa.Table | None:
        """All rows of a prediction without its text columns, or None where there is none."""
        spans = self._spans.get(prediction_id)
        if not spans:
            return None
        return pa.concat_tables([self._group(s.path, s.group).slice(s.start, s.length) for s in spans])

    def _index(self, path: Path) -> None:
        with pq.ParquetFile(path, read_dictionary=["prediction_id"]) as file:
            schema = file.schema_arrow
            self.columns = [name for name in schema.names if not _is_text(schema.field(name).type)]
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=["prediction_id"]).column(0).combine_chunks()
                self._index_group(path, group, _dictionary(column))

    def _index_group(self, path: Path, group: int, ids: pa.DictionaryArray) -> None:
        codes = ids.indices.to_numpy(zero_copy_only=False)
        if len(codes) == 0:
            return
        names = ids.dictionary.to_pylist()
        starts = np.concatenate([[0], np.flatnonzero(np.diff(codes)) + 1])
        lengths = np.diff([*starts, len(codes)])
        for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
            span = _Span(path, group, start, length)
            self._spans.setdefault(names[codes[start]], []).append(span)

    def _group(self, path: Path, group: int) -> pa.Table:
        key = (path, group)
        if key not in self._recent:
            with pq.ParquetFile(path) as file:
                names = [name for name in self.columns if name in file.schema_arrow.names]
                self._recent[key] = file.read_row_group(group, columns=names)
            if len(self._recent) > KEPT_GROUPS:
                self._recent.popitem(last=False)
        self._recent.move_to_end(key)
        return self._recent[key]


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _dictionary(column: pa.Array | pa.ChunkedArray) -> pa.DictionaryArray:
    if isinstance(column, pa.ChunkedArray):
        column = (
            pa.concat_arrays(column.unify_dictionaries().chunks) if column.num_chunks else pa.array([], "str")
        )
    return column if pa.types.is_dictionary(column.type) else pc.dictionary_encode(column)
