"""The cell of every raw point of a sweep, be it evidence or not: near, far, of the robot's own body."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.binning import MAX_POINTS, Binner
from native.points import PointMap, point_map
from stream.config import Config
from stream.container import grid_of
from stream.deskew import Motion, motion_of
from stream.frames import FrameError, FrameRegistry, NotYet
from stream.sweep import Sweep

FARTHEST_M = 1e6
"""Of returns that lie in a cell, from the sensor: the C core's own limit."""

Pose = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PointCells:
    """The cells that a sweep's points lie in.

    cell_id : uint64 (M,), ascending
    map : which of them each of the N points is in, and which points each holds
    """

    cell_id: NDArray[np.uint64]
    map: PointMap

    def __len__(self) -> int:
        return len(self.cell_id)


class PointLocator:
    """Finds the cells of points, on the grid and with the deskewing of a configuration. One owner at a time.

    A point that Perceive bins is found in the very cell that it is binned to, unless localisation jumps
    within its sweep. So are points outside ``grid.range_min_m..range_max_m``, and those that ``mask`` drops.
    Raises ConfigError when the map frame is not resolved or has no id
    """

    def __init__(self, config: Config) -> None:
        self.map_frame = config.grid.map_frame
        self.grid = dataclasses.replace(grid_of(config), range_min_m=0.0, range_max_m=FARTHEST_M)
        self._deskew = config.sweep.deskew != "off"
        self._binner = Binner(self.grid)

    def locate(self, sweep: Sweep, frames: FrameRegistry, *, waited: bool = False) -> PointCells:
        """Cells of the points of one sweep, or of one part of it.

        waited : long enough for transforms: one whose end has no pose is taken as measured at its stamp
        Points that are not finite, or off the map, are in no cell
        Raises FrameError (no pose; NotYet while waiting helps), RangeError (the sensor is off the map),
        ValueError for a part of more than ``native.binning.MAX_POINTS`` points
        """
        if len(sweep.points) > MAX_POINTS:
            raise ValueError(
                f"{sweep.prediction_id}: {len(sweep.points)} points, at most {MAX_POINTS} in one part"
            )
        pose = frames.look_up(self.map_frame, sweep.frame, sweep.stamp_ns)
        motion = self._motion(sweep, frames, pose, waited)
        points = sweep.points
        if motion is not None and sweep.time_offset_ns is not None:
            points = motion.undo(points, sweep.time_offset_ns)
        bins = self._binner.run(points, sweep.intensity, pose)
        return PointCells(cell_id=bins.cell_id, map=point_map(self._binner.point_rows(), len(bins.cell_id)))

    def _motion(self, sweep: Sweep, frames: FrameRegistry, pose: Pose, waited: bool) -> Motion | None:
        if not self._deskew:
            return None
        try:
            return motion_of(sweep, pose, lambda at: frames.look_up(self.map_frame, sweep.frame, at))
        except NotYet:
            if not waited:
                raise
            return None
        except FrameError:  # as Perceive does: a sweep that reaches over a gap is taken as of its stamp
            return None
