"""What a simulator knows of objects, in the form in which they are found."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.objects.boxes import Boxes, inside
from models.objects.cells import SweepCells
from models.objects.kinds import KINDS
from stream.sources.simulator import Simulator

_KIND_OF: dict[str, int] = {**{name: code for code, name in enumerate(KINDS)}, "robot": KINDS.index("car")}

MOVING_MPS = 0.3
"""Whatever is faster moves."""
VISIBLE_RETURNS = 5
"""Objects with fewer returns of a sweep need not be found in it."""
MARGIN_M = 0.2
"""Noise, and what the mean of a cell's returns blurs, carry cells out of their box."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Truth:
    """Objects around a robot at one stamp.

    ids : names, in the order of the boxes
    """

    ids: tuple[str, ...]
    boxes: Boxes


def truth_at(simulator: Simulator, robot_id: str, stamp_ns: int) -> Truth:
    """Objects of KINDS, the other robots among the cars, within 80 m of any robot."""
    found = [b for b in simulator.boxes(stamp_ns) if b.label in _KIND_OF and b.id != robot_id]
    boxes = Boxes.of(
        np.array([box.centre for box in found]).reshape(-1, 3),
        np.array([box.size for box in found]).reshape(-1, 3),
        np.array([box.yaw for box in found]),
        np.array([box.velocity[:2] for box in found]).reshape(-1, 2),
        np.array([_KIND_OF[box.label] for box in found], np.int32),
    )
    return Truth(ids=tuple(box.id for box in found), boxes=boxes)


def instances(cells: SweepCells, truth: Truth) -> NDArray[np.int32]:
    """Object that each cell of a sweep lies on, int32 (N,), -1 for none."""
    return inside(cells.centroid, truth.boxes, MARGIN_M)


def visible(cells: SweepCells, truth: Truth) -> NDArray[np.bool_]:
    """Objects with enough returns to be found in a sweep, bool (N,)."""
    row = instances(cells, truth)
    returns = np.bincount(row[row >= 0], cells.hits[row >= 0], len(truth.ids))
    return returns >= VISIBLE_RETURNS
