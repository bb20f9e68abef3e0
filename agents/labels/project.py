"""From labels of points and boxes to labels of the cells of a log."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from models.datasets.labelled import LabelContainer, merged, window_of_labels
from models.datasets.stored import grids_of
from models.datasets.writer import ContainerWriter
from native.grid import Grid
from native.schema import MismatchError
from stream.annotations.base import AnnotationError
from stream.annotations.between import BoxTimes
from stream.annotations.boxes import labels_of_boxes
from stream.annotations.cell_labels import CellLabels, labels_of_points
from stream.annotations.scene import Scene, read_scene
from stream.annotations.semantic_kitti import NAMES, SUFFIX, LabelFolder, open_label_folder, read_names
from stream.annotations.tracklets import Tracklets, read_tracklets
from stream.config import Config
from stream.framed import source_of
from stream.point_cells import PointLocator
from stream.posed import LeftOut, PosedSweep, posed_sweeps
from stream.progress import Progress
from stream.sources.base import Source
from stream.sources.sweep_files import SweepFiles

KINDS = (
    f"a folder of SemanticKITTI {SUFFIX} files, a KITTI tracklet_labels.xml, or an MCAP file with SceneUpdate"
)


class Annotations(Protocol):
    """What somebody said about a log.  classes : names"""

    @property
    def classes(self) -> tuple[str, ...]: ...

    @property
    def ahead_ns(self) -> int:
        """How much later than a sweep may be said where something was."""
        ...

    def labels(self, posed: PosedSweep, grid: Grid, map_frame: str, left_out: LeftOut) -> CellLabels | None:
        """What is said of the cells of one sweep, None for nothing.

        left_out : is told of boxes without a pose
        """
        ...

    def lines(self) -> list[str]:
        """How what was said was come by, in words, a line each."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """What came of a log.

    sweeps : with labels; silent : without; cells : labelled ones, of all sweeps together
    by_class : cells by class; lines : how boxes were come by, in words
    """

    sweeps: int
    silent: int
    cells: int
    by_class: dict[str, int]
    lines: list[str]
    left_out: LeftOut


def open_annotations(
    path: Path,
    source: Source,
    *,
    names: Path | None = None,
    times: BoxTimes | None = None,
) -> Annotations:
    """What a file or folder says about a log.

    source : the log; frames of KITTI are its files by number, or its sweeps from 0
    names : YAML file with the classes of ``.label`` files
    times : which boxes of scenes are of a sweep, None for those drawn at the very stamp
    Raises AnnotationError, SourceError, OSError
    """
    numbers = _file_numbers(source)
    if path.is_dir():
        folder = open_label_folder(path, NAMES if names is None else read_names(names))
        return PointAnnotations(folder, _by_number(folder.paths, numbers), numbers)
    if names is not None:
        raise AnnotationError(f"--names {names}: only for {SUFFIX} files; leave it out")
    if path.suffix.lower() == ".xml":
        return TrackletAnnotations(read_tracklets(path), numbers)
    if path.suffix.lower() == ".mcap":
        return SceneAnnotations(read_scene(path), times or BoxTimes(between_ns=0, within_ns=0))
    if not path.exists():
        raise AnnotationError(f"{path}: no such file or folder")
    raise AnnotationError(f"{path}: unknown kind of labels; expected {KINDS}")


def project(
    source: Source, annotations: Annotations, config: Config, out: Path, progress: Progress
) -> Projected:
    """Write a label container of a log: a window a sweep that is spoken of.

    config : with its map frame resolved. Deterministic.
    Boxes whose frame has no pose at their stamp are left out. Raises FileExistsError, AnnotationError
    """
    locator, left_out = PointLocator(config), LeftOut()
    total = source.info().sweeps
    silent = 0
    by_class = np.zeros(len(annotations.classes), np.int64)
    posed_all = posed_sweeps(
        source,
        locator,
        left_out,
        max_gap_ns=config.pose.max_gap_ns,
        max_held=config.pose.max_held_sweeps,
        ahead_ns=annotations.ahead_ns,
    )
    with ContainerWriter(out) as writer:
        for done, posed in enumerate(posed_all, 1):
            progress(done, total, posed.sweep.stream_id)
            labels = annotations.labels(posed, locator.grid, locator.map_frame, left_out)
            if labels is None or not len(labels):
                silent += 1
                continue
            by_class += np.bincount(labels.code, minlength=len(by_class))
            sweep = posed.sweep
            writer.write(window_of_labels(locator.grid, labels, sweep.stamp_ns, source_of(sweep.stream_id)))
        written = writer.windows, writer.rows
    return Projected(
        sweeps=written[0],
        silent=silent,
        cells=written[1],
        by_class={
            name: count for name, count in zip(annotations.classes, by_class.tolist(), strict=True) if count
        },
        lines=annotations.lines(),
        left_out=left_out,
    )


def merge_containers(paths: Sequence[Path], out: Path, progress: Progress) -> tuple[int, int]:
    """Write what several label containers say as one; returns windows and cells.

    Of a cell and sweep that several speak of the last named counts.
    Raises StoredError, FileExistsError, MismatchError for containers of different lattices, or of several
    """
    grids = grids_of(paths[0])
    if len(grids) != 1:
        raise MismatchError(f"{paths[0]}: has cells of {len(grids)} lattices; labels are of one")
    (grid,) = grids
    containers = [LabelContainer(path, grid.frame, grid.lod) for path in paths]
    total = len({key for container in containers for key in container})
    with ContainerWriter(out) as writer:
        for done, ((stamp_ns, source), labels) in enumerate(merged(containers), 1):
            progress(done, total, "")
            writer.write(window_of_labels(grid, labels, stamp_ns, source))
        return writer.windows, writer.rows


# ---- kinds of annotations --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PointAnnotations:
    """Labels of points: a file a sweep, found by the number in its name where the log is files, too."""

    folder: LabelFolder
    paths: Mapping[int, Path]
    numbers: Sequence[int] | None
    ahead_ns: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return self.folder.classes

    def labels(self, posed: PosedSweep, grid: Grid, map_frame: str, left_out: LeftOut) -> CellLabels | None:
        path = self.paths.get(_number_of(posed, self.numbers))
        if path is None:
            return None
        code, instance = self.folder.read(path)
        try:
            return labels_of_points(self.classes, posed.cells, code, instance)
        except ValueError as error:
            raise AnnotationError(f"{path}: {posed.sweep.prediction_id}: {error}") from error

    def lines(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class TrackletAnnotations:
    """Boxes by frame."""

    tracklets: Tracklets
    numbers: Sequence[int] | None
    ahead_ns: int = 0

    @property
    def classes(self) -> tuple[str, ...]:
        return self.tracklets.classes

    def labels(self, posed: PosedSweep, grid: Grid, map_frame: str, left_out: LeftOut) -> CellLabels | None:
        sweep = posed.sweep
        if sweep.part > 0:  # the boxes are of the whole sweep
            return None
        told = partial(left_out.refuse, "boxes")
        boxes = self.tracklets.boxes_at(_number_of(posed, self.numbers), sweep.frame, sweep.stamp_ns)
        return labels_of_boxes(self.classes, grid, map_frame, boxes, posed.frames, told) if boxes else None

    def lines(self) -> list[str]:
        return []


@dataclass(frozen=True, slots=True)
class SceneAnnotations:
    """Boxes with stamps of their own."""

    scene: Scene
    times: BoxTimes

    @property
    def classes(self) -> tuple[str, ...]:
        return self.scene.classes

    @property
    def ahead_ns(self) -> int:
        return self.times.reach_ns

    def labels(self, posed: PosedSweep, grid: Grid, map_frame: str, left_out: LeftOut) -> CellLabels | None:
        if posed.sweep.part > 0:
            return None
        told = partial(left_out.refuse, "boxes")
        boxes = self.times.boxes_at(self.scene.boxes, posed.sweep.stamp_ns, map_frame, posed.frames)
        return labels_of_boxes(self.classes, grid, map_frame, boxes, posed.frames, told) if boxes else None

    def lines(self) -> list[str]:
        return self.times.lines()


def _file_numbers(source: Source) -> list[int] | None:
    """The numbers that a log's files are named by, None for other logs."""
    if not isinstance(source, SweepFiles) or not all(path.stem.isdecimal() for path in source.paths):
        return None
    return [int(path.stem) for path in source.paths]


def _number_of(posed: PosedSweep, numbers: Sequence[int] | None) -> int:
    """The number of a sweep's file, or its place in the log where that is no files."""
    return posed.number if numbers is None else numbers[posed.number]


def _by_number(paths: Sequence[Path], numbers: Sequence[int] | None) -> dict[int, Path]:
    """Label files by the number in their name, or by their place where the log is no files."""
    if numbers is None:
        return dict(enumerate(paths))
    return {int(path.stem): path for path in paths if path.stem.isdecimal()}
