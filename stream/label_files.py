"""Files of labels that people and programs make: CSV, Parquet, JSON lines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from native.errors import OctaError
from native.index64 import decode, from_text
from stream.files import is_of_system
from stream.records import LabelGiven

NEEDED = ("cell_id", "label")
READERS = ".csv, .parquet or .jsonl"


class LabelFileError(ValueError):
    """A file of labels that cannot be taken; names file, row and column, and says what is expected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Defaults:
    """What counts where a row does not say it: robot, author and stamp of the words."""

    robot_id: str
    author: str
    stamp_ns: int


def read_label_file(path: Path, defaults: Defaults, lod: int | None) -> tuple[list[LabelGiven], int]:
    """The words in a file, and how many rows say nothing (their label is empty).

    Columns ``cell_id`` (a number, or text as ``i3d1...``) and ``label``; optional ``stamp_ns``, ``author``,
    ``at_ns`` and ``weight``. Others are left alone.
    lod : of the cells that are labelled; None where that is not known
    Raises LabelFileError; OSError
    """
    words: dict[tuple[int, str, str, int, float], set[int]] = {}
    empty = 0
    for number, row in enumerate(_rows(path), 1):
        try:
            word = _word(row, defaults)
            if word is None:
                empty += 1
            else:
                words.setdefault(word, set()).add(_cell(row["cell_id"]))
        except (ValueError, OverflowError, TypeError) as error:
            raise LabelFileError(f"{path}: row {number}: {error}") from error
    return [_record(path, word, cells, defaults, lod) for word, cells in sorted(words.items())], empty


def _record(
    path: Path, word: tuple[int, str, str, int, float], cells: set[int], defaults: Defaults, lod: int | None
) -> LabelGiven:
    stamp_ns, author, label, at_ns, weight = word
    cell_id = np.array(sorted(cells), np.uint64)
    try:
        found = np.unique(decode(cell_id).lod)
    except OctaError as error:
        raise LabelFileError(f"{path}: cell_id: of label {label!r}: {error}") from error
    if lod is not None and found.tolist() != [lod]:
        raise LabelFileError(
            f"{path}: cell_id: of label {label!r}: LOD {found.max()}, the run's cells are of LOD {lod}"
        )
    return LabelGiven(
        robot_id=defaults.robot_id, stamp_ns=stamp_ns, author=author, label=label, at_ns=at_ns, weight=weight,
        cell_id=cell_id,
    )  # fmt: skip


def _word(row: Mapping[str, Any], defaults: Defaults) -> tuple[int, str, str, int, float] | None:
    label = str(row["label"] if row["label"] is not None else "").strip()
    if not label:
        return None
    weight = float(_given(row, "weight", 1.0))
    if not 0 < weight < float("inf"):
        raise ValueError(f"weight: {row['weight']!r} must be a number > 0")
    stamp_ns, at_ns = (_whole(row, name, default) for name, default in
                       (("stamp_ns", defaults.stamp_ns), ("at_ns", 0)))  # fmt: skip
    return stamp_ns, str(_given(row, "author", defaults.author)), label, at_ns, weight


def _given(row: Mapping[str, Any], name: str, default: Any) -> Any:
    value = row.get(name)
    return default if value is None or value == "" else value


def _whole(row: Mapping[str, Any], name: str, default: int) -> int:
    value = _given(row, name, default)
    try:
        number = int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name}: {value!r} must be a whole number of nanoseconds") from None
    if not 0 <= number < 2**63:
        raise ValueError(f"{name}: {value!r} must be 0..2^63 - 1")
    return number


def _cell(value: Any) -> int:
    text = str(value).strip()
    try:
        number = int(text, 0) if text[:1].isdigit() else from_text(text)
    except (OctaError, ValueError):
        raise ValueError(f"cell_id: {value!r} is neither a number nor the text form of an id") from None
    if not 0 <= number < 2**64:
        raise ValueError(f"cell_id: {value!r} must be 0..2^64 - 1")
    return number


def _rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Rows of a file as mappings; the needed columns are there."""
    if path.suffix == ".jsonl":
        yield from _json_rows(path)
        return
    try:
        if path.suffix == ".parquet":
            table = pq.read_table(path)
        elif path.suffix == ".csv":
            names = csv.open_csv(path).schema.names
            text = csv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
            table = csv.read_csv(path, convert_options=text)
        else:
            raise LabelFileError(f"{path}: is not read; give a file that ends in {READERS}")
        _require(path, table.column_names)
        for batch in table.to_batches():
            yield from batch.to_pylist()
    except LabelFileError:
        raise
    except (pa.ArrowException, ValueError, OSError) as error:  # ValueError: a text that is no UTF-8
        if is_of_system(error):
            raise
        raise LabelFileError(f"{path}: cannot be read: {' '.join(str(error).split())}") from error


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise LabelFileError(f"{path}: line {number}: no JSON: {error}") from error
            if not isinstance(row, dict):
                raise LabelFileError(f"{path}: line {number}: expected an object, got {type(row).__name__}")
            _require(path, list(row))
            yield row


def _require(path: Path, names: list[str]) -> None:
    missing = [name for name in NEEDED if name not in names]
    if missing:
        raise LabelFileError(f"{path}: has no column {missing[0]}; columns are {', '.join(names)}")
