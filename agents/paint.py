"""Labels of cells back to the raw points of a log, as labelled PCD files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import quote

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pypcd4.pypcd4 import Encoding, PointCloud

from agents.labels.give import defaults_for
from models.datasets.labelled import LabelContainer
from models.datasets.place import Place
from native.grid import Grid
from stream.annotations.cell_labels import NO_CLASS, NO_INSTANCE
from stream.cell_rows import locate
from stream.config import Config
from stream.framed import source_of
from stream.label_files import read_label_file
from stream.labels import Labels, merge_labels, read_labels
from stream.point_cells import PointCells, PointLocator
from stream.posed import LeftOut, posed_sweeps
from stream.progress import Progress
from stream.run_folder import LABELS
from stream.sources.base import Source
from stream.sweep import Sweep
from stream.tables import LABEL_SCHEMA, label_table

Said = tuple[NDArray[np.int32], NDArray[np.uint32]]
"""Class of every cell, its place among the classes, -1 for none; and instance, 0 for none."""

CLASSES_FILE = "classes.json"
FIELDS = ("x", "y", "z", "intensity", "label", "instance", "cell_high", "cell_low")
TYPES = (*[np.float32] * 4, *[np.uint32] * 4)
NO_CELL = 0


class Speaker(Protocol):
    """Who says what cells are.  classes : names"""

    @property
    def classes(self) -> tuple[str, ...]: ...

    def of_cells(self, sweep: Sweep, cell_id: NDArray[np.uint64]) -> Said:
        """What is said of cells in one sweep."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """What came of a log.

    points : all raw points of the sweeps painted; in_cells : those in a cell; labelled : those with a label
    by_class : points by class
    """

    sweeps: int
    points: int
    in_cells: int
    labelled: int
    by_class: dict[str, int]
    left_out: LeftOut


def open_speaker(path: Path, grid: Grid, min_fraction: float) -> Speaker:
    """What stands in a label container, a file of labels, or the labels of a run folder.

    min_fraction : of a label container, cells with a smaller share of their class count as unlabelled
    Raises StoredError, MismatchError, LabelFileError, TableError
    """
    if path.is_dir() and (path / LABELS).is_dir():
        return WordsSpeaker(read_labels(path))
    if path.is_dir() or path.suffix == ".arrow":
        return ContainerSpeaker(LabelContainer(path, grid.frame, grid.lod), min_fraction)
    words, _ = read_label_file(path, defaults_for(path, "", None, None), grid.lod)
    return WordsSpeaker(
        merge_labels(pa.concat_tables([LABEL_SCHEMA.empty_table(), *map(label_table, words)]))
    )


def paint(source: Source, speaker: Speaker, config: Config, out: Path, progress: Progress) -> Painted:
    """Write ``out``, a new folder: a PCD file a sweep with every raw point, and the names of the classes.

    ``ROBOT/SENSOR/STAMP_NS.pcd`` has the points as the log has them, in their order, and of each its
    ``label``, 0 for none, else 1 + the place in ``classes.json``, its ``instance``, and the id of its cell in
    two halves, 0 for points in no cell. Deterministic. Raises FileExistsError
    """
    if not Place(out).is_empty():
        raise FileExistsError(f"{out}: is not an empty folder; name another one")
    out.mkdir(parents=True, exist_ok=True)
    names = list(speaker.classes)
    (out / CLASSES_FILE).write_text(json.dumps({"classes": names}, indent=1) + "\n", encoding="utf-8")
    locator, left_out = PointLocator(config), LeftOut()
    total = source.info().sweeps
    sweeps = points = in_cells = 0
    by_label = np.zeros(len(names) + 1, np.int64)
    for posed in posed_sweeps(
        source, locator, left_out, max_gap_ns=config.pose.max_gap_ns, max_held=config.pose.max_held_sweeps
    ):
        sweep = posed.sweep
        progress(sweeps + 1, total, sweep.stream_id)
        code, instance = speaker.of_cells(sweep, posed.cells.cell_id)
        label = posed.cells.map.to_points((code + 1).astype(np.uint32), np.uint32(0))
        _write(out, sweep, posed.cells, label, posed.cells.map.to_points(instance, np.uint32(NO_INSTANCE)))
        sweeps += 1
        points += len(label)
        in_cells += int((posed.cells.map.rows >= 0).sum())
        by_label += np.bincount(label, minlength=len(by_label))
    return Painted(
        sweeps=sweeps, points=points, in_cells=in_cells, labelled=int(by_label[1:].sum()),
        by_class={name: count for name, count in zip(names, by_label[1:].tolist(), strict=True) if count},
        left_out=left_out,
    )  # fmt: skip


def _write(
    out: Path, sweep: Sweep, cells: PointCells, label: NDArray[np.uint32], instance: NDArray[np.uint32]
) -> None:
    cell = cells.map.to_points(cells.cell_id, np.uint64(NO_CELL))
    high, low = (cell >> np.uint64(32)).astype(np.uint32), cell.astype(np.uint32)
    columns = [*sweep.points.T, sweep.intensity, label, instance, high, low]
    part = f"-{sweep.part}" if sweep.parts > 1 else ""
    path = out / _folder(sweep.stream_id) / f"{sweep.stamp_ns}{part}.pcd"
    path.parent.mkdir(parents=True, exist_ok=True)
    PointCloud.from_points(columns, FIELDS, TYPES).save(path, Encoding.BINARY)


def _folder(stream_id: str) -> Path:
    """``ROBOT/SENSOR``; what names another place, as two dots do, is written in its code."""
    robot, _, sensor = stream_id.partition("/")
    quoted = (quote(name, safe="") for name in (robot, sensor))
    return Path(*(name.replace(".", "%2E") if not name.strip(".") else name for name in quoted))


# ---- who speaks ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ContainerSpeaker:
    """A label container: what it says of a sweep is of this sweep alone."""

    container: LabelContainer
    min_fraction: float

    @property
    def classes(self) -> tuple[str, ...]:
        return self.container.classes

    def of_cells(self, sweep: Sweep, cell_id: NDArray[np.uint64]) -> Said:
        code = np.full(len(cell_id), NO_CLASS, np.int32)
        instance = np.full(len(cell_id), NO_INSTANCE, np.uint32)
        labels = self.container.labels((sweep.stamp_ns, source_of(sweep.stream_id)))
        if labels is not None and len(labels):
            row, known = locate(labels.cell_id, cell_id)
            share = labels.fractions[row, labels.code[row]]
            known &= share >= self.min_fraction
            code[known], instance[known] = labels.code[row[known]], labels.instance[row[known]]
        return code, instance


@dataclass(frozen=True, slots=True)
class WordsSpeaker:
    """Words on cells: those about the sweep before those about any time."""

    labels: Labels

    @property
    def classes(self) -> tuple[str, ...]:
        return self.labels.classes

    def of_cells(self, sweep: Sweep, cell_id: NDArray[np.uint64]) -> Said:
        code, _ = self.labels.of_cells(cell_id, sweep.stamp_ns)
        return code, np.full(len(cell_id), NO_INSTANCE, np.uint32)
