"""Boxes around things, each in a frame at its own stamp, and the cells that they cover."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native import pose
from native.grid import Grid
from native.regions import oriented_boxes
from stream.annotations.cell_labels import CellLabels, labels_of_shares
from stream.frames import FrameError, FrameRegistry

MAX_BOXES = 1_000_000
"""Of one file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A box around one thing.

    label : its class; instance : its number, > 0, the same at every stamp
    frame, stamp_ns : where and when it is said to be there
    pose : float64 (7,), of its middle in the frame: metres, unit quaternion x y z w
    size_m : along its own x, y and z, > 0
    """

    label: str
    instance: int
    frame: str
    stamp_ns: int
    pose: tuple[float, float, float, float, float, float, float]
    size_m: tuple[float, float, float]


def labels_of_boxes(
    classes: Sequence[str],
    grid: Grid,
    map_frame: str,
    boxes: Sequence[Box],
    frames: FrameRegistry,
    unposed: Callable[[str], None] | None = None,
) -> CellLabels:
    """Labels of all cells that boxes meet: the share of a cell is the volume of it that lies in the box.

    classes : holds the class of every box; frames : where each box's frame was at its own stamp
    unposed : is told of boxes whose frame has no pose then, which are left out; None raises FrameError
    Raises PoseError for a box without a rotation, RangeError for one beyond the map, CapacityError for more
    cells than ``native.regions.MAX_CELLS``
    """
    place = {name: code for code, name in enumerate(classes)}
    placed: list[tuple[Box, NDArray[np.float64]]] = []
    for box in boxes:
        try:
            placed.append((box, in_map(box, map_frame, frames)))
        except FrameError as error:
            if unposed is None:
                raise
            unposed(f"{box.label} {box.instance} at {box.stamp_ns}: {error}")
    boxes = [box for box, _ in placed]
    poses = np.array([matrix for _, matrix in placed], np.float64).reshape(-1, 12)
    half_size = np.array([box.size_m for box in boxes], np.float64).reshape(-1, 3) / 2.0
    covered = oriented_boxes(grid, poses, half_size, coverage=True)
    assert covered.coverage is not None
    of_box = np.repeat(np.arange(len(boxes)), np.diff(covered.offsets))
    code = np.array([place[box.label] for box in boxes], np.int64)
    instance = np.array([box.instance for box in boxes], np.int64)
    inside = np.flatnonzero(covered.coverage > 0)  # a cell that a box only touches is none of its own
    return labels_of_shares(
        classes, covered.cell_id[inside], code[of_box[inside]], instance[of_box[inside]],
        covered.coverage[inside],
    )  # fmt: skip


def in_map(box: Box, map_frame: str, frames: FrameRegistry) -> NDArray[np.float64]:
    """Pose matrix of a box in the map, float64 (12,), by where its frame was at its stamp.

    Raises FrameError, PoseError
    """
    own = pose.matrix(np.array(box.pose, np.float64))
    if box.frame == map_frame:
        return own
    return pose.compose(frames.look_up(map_frame, box.frame, box.stamp_ns), own)
