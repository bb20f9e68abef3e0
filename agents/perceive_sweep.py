"""One sweep as Perceive sees it: placed, masked, binned, and folded into its robot's container."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.perceive_robot import RobotState
from agents.stopwatch import Stopwatch
from native.beams import sample
from native.binning import Binner, Bins
from native.errors import OctaError
from native.visibility import Rays
from stream.config import Config
from stream.container import grid_of
from stream.frames import FrameError
from stream.mask import Mask, Unmasked
from stream.records import Binned
from stream.sweep import Sweep

Pose = NDArray[np.float64]


class Unusable(Exception):
    """A sweep that cannot become evidence: the reason of its dead letter, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placed:
    """A sweep whose pose is known: float64 (12,), sensor to map; ``mask_pose`` is what the mask needs."""

    sweep: Sweep
    pose: Pose
    mask_pose: Pose | None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seen:
    """A sweep that became evidence, and is not yet folded."""

    placed: Placed
    left: Unmasked
    bins: Bins


class Evidence:
    """Makes binned records of sweeps. One owner at a time."""

    def __init__(self, config: Config, stopwatch: Stopwatch) -> None:
        self._config = config
        self._stopwatch = stopwatch
        grid = grid_of(config)
        self._mask, self._binner, self._rays = Mask(config.mask), Binner(grid), Rays(grid)

    def place(self, robot: RobotState, sweep: Sweep) -> Placed:
        """Look up where the sensor was; raises FrameError."""
        pose = self._pose(robot, sweep, sweep.stamp_ns)
        frame = self._mask.frame
        mask_pose = None if frame is None else robot.frames.look_up(frame, sweep.frame, sweep.stamp_ns)
        return Placed(sweep=sweep, pose=pose, mask_pose=mask_pose)

    def _pose(self, robot: RobotState, sweep: Sweep, stamp_ns: int) -> Pose:
        return robot.frames.look_up(self._config.grid.map_frame, sweep.frame, stamp_ns)

    def bin(self, placed: Placed) -> Seen:
        """Mask and bin a sweep; raises Unusable."""
        sweep = placed.sweep
        try:
            with self._stopwatch.stage("bin"):
                left = self._mask.apply(sweep, placed.mask_pose)
                bins = self._binner.run(left.points, left.intensity, placed.pose)
        except OctaError as error:
            raise Unusable("off_map", str(error)) from error
        count, cap = len(sweep.points), self._config.window.max_cells
        if bins.not_finite > self._config.grid.max_not_finite_share * max(count, 1):
            raise Unusable("bad_points", f"{bins.not_finite} of {count} are not finite")
        if len(bins.cell_id) > cap:
            raise Unusable(
                "too_many", f"{len(bins.cell_id)} cells in one sweep; window.max_cells allows {cap}"
            )
        return Seen(placed=placed, left=left, bins=bins)

    def fold(self, robot: RobotState, seen: Seen, late: bool) -> Binned:
        """See through the robot's cells, and fold the record."""
        placed, bins, stage = seen.placed, seen.bins, self._stopwatch.stage
        sweep = placed.sweep
        with stage("bin"):
            tested = robot.container.tested(sweep.stamp_ns, bins.cell_id)
            hits = np.zeros(len(tested), np.uint32)
            hits[np.searchsorted(tested, bins.cell_id)] = bins.hits
        with stage("visibility"):
            ray_ends = seen.left.ray_ends(self._config.grid.miss_range_m)
            self._rays.load(ray_ends, placed.pose)
            passes = self._rays.passes(tested)
        with stage("features"):
            beams = sample(ray_ends, self._config.window.max_beams)
        record = Binned(
            robot_id=sweep.robot_id,
            seq=robot.seq,
            stream_id=sweep.stream_id,
            stamp_ns=sweep.stamp_ns,
            part=sweep.part,
            parts=sweep.parts,
            late=late,
            pose=placed.pose,
            pose_history=self._pose_history(robot, sweep),
            cell_id=tested,
            hits=hits,
            passes=passes,
            sums=bins.sums,
            beams=beams,
            points=len(sweep.points),
            rays=bins.rays + len(seen.left.misses),
            binned=bins.binned,
            misses=len(seen.left.misses),
            masked=seen.left.masked,
        )
        with stage("bin"):
            evicted = robot.container.fold(record)
        return dataclasses.replace(record, evicted=evicted) if evicted else record

    def _pose_history(self, robot: RobotState, sweep: Sweep) -> Pose:
        poses: list[Pose] = []
        for age in range(1, self._config.pose.history + 1):
            try:
                poses.append(self._pose(robot, sweep, sweep.stamp_ns - age * self._config.window.bin_ns))
            except FrameError:
                break  # the log starts here
        return np.array(poses, np.float64).reshape(-1, 12)
