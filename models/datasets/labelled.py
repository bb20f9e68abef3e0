"""Label containers: stored containers whose windows say what their cells are, by the same ids."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.datasets.stored import StoredContainer
from models.datasets.window import SOURCE, Window, cells_of_grid, said_of, with_column, with_stamp
from native.arrow import PREFIX
from native.grid import Grid
from native.schema import MismatchError
from stream.annotations.cell_labels import CellLabels
from stream.cell_rows import locate

CLASSES = "classes"
CODE, INSTANCE, FRACTION, FRACTIONS = "class", "instance", "fraction", "fractions"

Key = tuple[int, int]
"""Stamp of a sweep, and the number of its stream."""


def window_of_labels(grid: Grid, labels: CellLabels, stamp_ns: int, source: int) -> pa.RecordBatch:
    """A window of a label container, of one sweep.

    Columns beside ``cell_id`` and ``stamp_ns``: ``source`` uint64, number of the stream, ``class`` int32,
    place among the names in the metadata ``octa.classes``, ``instance`` uint32, ``fraction`` float32, and
    ``fractions``, a float32 a class. Raises MismatchError without a class
    """
    if not labels.classes:
        raise MismatchError("classes: a label container needs at least one")
    window = with_stamp(cells_of_grid(grid, labels.cell_id), stamp_ns)
    columns = (
        (SOURCE, np.full(len(labels), source, np.uint64)), (CODE, labels.code), (INSTANCE, labels.instance),
        (FRACTION, labels.fraction), (FRACTIONS, labels.fractions),
    )  # fmt: skip
    for name, values in columns:
        window = with_column(window, name, values)
    said = {f"{PREFIX}{CLASSES}": json.dumps(list(labels.classes))}
    return window.replace_schema_metadata(
        (window.schema.metadata or {}) | {key.encode(): value.encode() for key, value in said.items()}
    )


def classes_of(schema: pa.Schema, place: str) -> tuple[str, ...]:
    """Names of the classes of a label container; raises MismatchError for another kind of container."""
    said = said_of(schema).get(CLASSES)
    missing = [name for name in (SOURCE, CODE, INSTANCE, FRACTION, FRACTIONS) if name not in schema.names]
    if said is None or missing:
        what = f"the column {missing[0]}" if missing else f"{PREFIX}{CLASSES} in its metadata"
        raise MismatchError(f"{place}: is no label container: it lacks {what}")
    return tuple(json.loads(said))


def labels_of_window(window: Window, classes: tuple[str, ...]) -> CellLabels:
    """What a window says.  Raises MismatchError for a class that has no name"""
    code, instance, fraction = (window.batch.column(name).to_numpy() for name in (CODE, INSTANCE, FRACTION))
    if len(code) and not 0 <= code.min() <= code.max() < len(classes):
        raise MismatchError(f"class: must be 0..{len(classes) - 1}, got {code.min()}..{code.max()}")
    fractions = window.batch.column(FRACTIONS).flatten().to_numpy().reshape(-1, len(classes))
    return CellLabels(
        classes=classes, cell_id=window.cell_id, code=code, instance=instance, fraction=fraction,
        fractions=fractions,
    )  # fmt: skip


def key_of_window(window: Window) -> Key | None:
    """Which sweep a window is of, None for one without cells."""
    source = window.batch.column(SOURCE)
    return (window.stamp_ns, source[0].as_py()) if len(source) else None


class LabelContainer:
    """The label windows of one frame and LOD by sweep; files are memory-mapped.

    Raises as ``StoredContainer``; MismatchError for another kind of container, or a sweep that is there twice
    """

    def __init__(self, path: Path, frame_id: int, lod: int) -> None:
        self._stored = StoredContainer(path, frame_id, lod)
        self.path, self.half_edge_m = path, self._stored.half_edge_m
        self.schema = self._stored.schema
        self.classes = classes_of(self.schema, str(path))
        self._windows: dict[Key, Window] = {}
        for window in self._stored:
            key = key_of_window(window)
            if key is None:
                continue
            if key in self._windows:
                raise MismatchError(f"{path}: stamp_ns: the sweep at {key[0]} is there twice")
            self._windows[key] = window

    def __iter__(self) -> Iterator[Key]:
        """Sweeps with a labelled cell, ascending."""
        return iter(sorted(self._windows))

    def labels(self, key: Key) -> CellLabels | None:
        """What is said of the cells of a sweep, None for nothing."""
        window = self._windows.get(key)
        return None if window is None else labels_of_window(window, self.classes)


def merged(containers: Sequence[LabelContainer]) -> Iterator[tuple[Key, CellLabels]]:
    """All that label containers say, sweep by sweep; of a cell that several speak of, the last one counts.

    Classes are those of all, ascending. Raises MismatchError for containers of different half edges
    """
    for other in containers[1:]:
        if other.half_edge_m != containers[0].half_edge_m:
            raise MismatchError(
                f"{other.path}: half_edge_m is {other.half_edge_m}, that of {containers[0].path} "
                f"{containers[0].half_edge_m}"
            )
    classes = tuple(sorted({name for container in containers for name in container.classes}))
    numbered = [[(key, number) for key in each] for number, each in enumerate(containers)]
    for key, group in groupby(heapq.merge(*numbered), key=lambda item: item[0]):
        said = [containers[number].labels(key) for _, number in group]
        yield key, _last_word([_renamed(labels, classes) for labels in said if labels is not None])


def _renamed(labels: CellLabels, classes: tuple[str, ...]) -> CellLabels:
    """The same, with the places that the classes have among more of them."""
    place = np.array([classes.index(name) for name in labels.classes], np.int32)
    fractions = np.zeros((len(labels), len(classes)), np.float32)
    fractions[:, place] = labels.fractions
    return CellLabels(
        classes=classes, cell_id=labels.cell_id, code=place[labels.code], instance=labels.instance,
        fraction=labels.fraction, fractions=fractions,
    )  # fmt: skip


def _last_word(said: Sequence[CellLabels]) -> CellLabels:
    """Of each cell what the last one that has it says."""
    cell_id = np.unique(np.concatenate([labels.cell_id for labels in said]))
    start, row_of = 0, np.zeros(len(cell_id), np.intp)
    for labels in said:
        row, known = locate(labels.cell_id, cell_id)
        row_of[known] = start + row[known]
        start += len(labels)

    def column(name: str) -> NDArray[Any]:
        joined: NDArray[Any] = np.concatenate([getattr(labels, name) for labels in said])[row_of]
        return joined

    return CellLabels(
        classes=said[0].classes, cell_id=cell_id,
        **{name: column(name) for name in ("code", "instance", "fraction", "fractions")},
    )  # fmt: skip
