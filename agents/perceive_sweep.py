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
from native.errors import OctaError, RangeError
from native.visibility import Rays
from stream.config import Config
from stream.container import grid_of
from stream.deskew import Bundle, Motion, motion_of
from stream.frames import FrameError, JumpError, NotYet
from stream.jumps import Jump
from stream.mask import Mask, Unmasked
from stream.records import Binned, Event
from stream.sweep import Sweep

Pose = NDArray[np.float64]

NO_RAYS = np.empty((0, 3), np.float32)
"""Of a sweep of hits only: from where it was seen is not known, so nothing was seen through."""


class Unusable(Exception):
    """A sweep that cannot become evidence: the reason of its dead letter, and the detail."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Placed:
    """A sweep whose pose is known.

    pose : float64 (12,), sensor to map at the stamp; mask_pose : what the mask needs
    motion : of the sensor within the sweep; None for a sweep that is taken as measured at the stamp
    skewed : why, where its points have times of their own
    jump : by which the map begins that the pose is of; None where that goes on
    """

    sweep: Sweep
    pose: Pose
    mask_pose: Pose | None
    motion: Motion | None = None
    skewed: str = ""
    jump: Jump | None = None


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seen:
    """A sweep that became evidence, and is not yet folded.

    ray_ends : float32 (N + M, 3), as seen at the stamp, of the N points and M misses that are ``left``
    """

    placed: Placed
    left: Unmasked
    ray_ends: NDArray[np.float32]
    bins: Bins


class Evidence:
    """Makes binned records of sweeps. One owner at a time."""

    def __init__(self, config: Config, stopwatch: Stopwatch) -> None:
        self._config = config
        self._stopwatch = stopwatch
        grid = grid_of(config)
        self._mask, self._binner, self._rays = Mask(config.mask), Binner(grid), Rays(grid)

    def place(self, robot: RobotState, sweep: Sweep, *, waited: bool) -> Placed:
        """Look up where the sensor was, until the end of the sweep; raises FrameError.

        waited : long enough for the end: a sweep whose end has no pose yet is taken as measured at the stamp
        """
        pose = self._pose(robot, sweep, sweep.stamp_ns)
        frame = self._mask.frame
        mask_pose = None if frame is None else robot.frames.look_up(frame, sweep.frame, sweep.stamp_ns)
        jumps = self._jumps(robot, sweep)
        motion, skewed = self._motion(robot, sweep, pose, jumps, waited)
        jump = next((jump for jump in reversed(jumps) if jump.at_ns <= sweep.stamp_ns), None)
        return Placed(sweep=sweep, pose=pose, mask_pose=mask_pose, motion=motion, skewed=skewed, jump=jump)

    def _jumps(self, robot: RobotState, sweep: Sweep) -> list[Jump]:
        """Jumps since the stream's last sweep; before its first one, since the newest evidence there is."""
        stream, times = robot.streams.get(sweep.stream_id), sweep.time_offset_ns
        last = 0 if times is None or not len(times) else max(int(times.max()), 0)
        after_ns = sweep.stamp_ns - self._config.pose.history * self._config.window.bin_ns
        if stream is not None and 0 <= stream.newest_ns < sweep.stamp_ns:
            after_ns = stream.newest_ns
        elif robot.container.newest_ns:
            after_ns = min(after_ns, robot.container.newest_ns)
        return robot.localisation.jumps(robot.frames, sweep, after_ns, sweep.stamp_ns + last)

    def _motion(
        self, robot: RobotState, sweep: Sweep, pose: Pose, jumps: list[Jump], waited: bool
    ) -> tuple[Motion | None, str]:
        """The motion within the sweep, or why it is not known."""
        if self._config.sweep.deskew == "off":
            return None, ""

        def look_up(stamp_ns: int) -> Pose:
            found = self._pose(robot, sweep, stamp_ns)
            first_ns, last_ns = sorted((stamp_ns, sweep.stamp_ns))
            for jump in jumps:
                if jump.before_ns < last_ns and jump.at_ns > first_ns:
                    raise JumpError(f"{jump} within the sweep")
            return found

        try:
            return motion_of(sweep, pose, look_up), ""
        except NotYet as error:
            if not waited:
                raise
            return None, str(error)
        except FrameError as error:  # before the first transform, or over a gap: waiting does not help
            return None, str(error)

    def _pose(self, robot: RobotState, sweep: Sweep, stamp_ns: int) -> Pose:
        return robot.frames.look_up(self._config.grid.map_frame, sweep.frame, stamp_ns)

    def bin(self, placed: Placed) -> Seen:
        """Mask and bin a sweep; raises Unusable."""
        sweep = placed.sweep
        try:
            with self._stopwatch.stage("bin"):
                left, ray_ends = self._unmask(placed)
                bins = self._binner.run(ray_ends[: len(left.points)], left.intensity, placed.pose)
        except OctaError as error:
            raise Unusable("off_map", str(error)) from error
        count, cap = len(sweep.points), self._config.window.max_cells
        if bins.not_finite > self._config.grid.max_not_finite_share * max(count, 1):
            raise Unusable("bad_points", f"{bins.not_finite} of {count} are not finite")
        if len(bins.cell_id) > cap:
            raise Unusable(
                "too_many", f"{len(bins.cell_id)} cells in one sweep; window.max_cells allows {cap}"
            )
        return Seen(placed=placed, left=left, ray_ends=ray_ends, bins=bins)

    def _unmask(self, placed: Placed) -> tuple[Unmasked, NDArray[np.float32]]:
        """What the mask leaves, and where its rays end, as seen at the stamp.

        The robot's body moves with the sensor, so the mask comes first. Rays that came without a return do
        not say when they were fired: where the sensor moved they cannot be placed, and are left out.
        """
        sweep, motion = placed.sweep, placed.motion
        if motion is not None and len(sweep.misses):
            sweep = dataclasses.replace(sweep, misses=sweep.misses[:0])
        left = self._mask.apply(sweep, placed.mask_pose)
        ray_ends = left.ray_ends(self._config.grid.miss_range_m)
        if motion is None or left.time_offset_ns is None:
            return left, ray_ends
        return left, motion.undo(ray_ends, left.time_offset_ns)

    def fold(self, robot: RobotState, seen: Seen, late: bool) -> Binned:
        """See through the robot's cells, and fold the record."""
        placed, bins, stage = seen.placed, seen.bins, self._stopwatch.stage
        sweep = placed.sweep
        with stage("bin"):
            tested = robot.container.tested(sweep.stamp_ns, bins.cell_id)
            hits = np.zeros(len(tested), np.uint32)
            hits[np.searchsorted(tested, bins.cell_id)] = bins.hits
        misses = 0 if sweep.hits_only else len(seen.left.misses)
        with stage("visibility"):
            bundles = self._bundles(seen)
            passes = self._passes(bundles, tested)
        with stage("features"):
            beams = sample(_joined(bundles), self._config.window.max_beams)
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
            rays=0 if sweep.hits_only else bins.rays + misses,
            binned=bins.binned,
            misses=misses,
            masked=seen.left.masked,
        )
        with stage("bin"):
            evicted = robot.container.fold(record)
        return dataclasses.replace(record, evicted=evicted) if evicted else record

    def _bundles(self, seen: Seen) -> list[Bundle]:
        placed, times = seen.placed, seen.left.time_offset_ns
        if placed.motion is None or times is None:
            ends = NO_RAYS if placed.sweep.hits_only else seen.ray_ends
            return [Bundle(pose=placed.pose, ends=ends)]
        apart_m = self._config.grid.half_edge_m
        return list(placed.motion.bundles(seen.ray_ends, times, placed.pose, apart_m))

    def _passes(self, bundles: list[Bundle], tested: NDArray[np.uint64]) -> NDArray[np.uint32]:
        passes = np.zeros(len(tested), np.uint32)
        for bundle in bundles:
            try:
                self._rays.load(bundle.ends, bundle.pose)
            except RangeError:  # the sensor left the map within the sweep: these rays say nothing
                continue
            passes += self._rays.passes(tested)
        return passes

    def _pose_history(self, robot: RobotState, sweep: Sweep) -> Pose:
        poses: list[Pose] = []
        for age in range(1, self._config.pose.history + 1):
            stamp_ns = sweep.stamp_ns - age * self._config.window.bin_ns
            if stamp_ns < robot.localisation.since_ns:
                break  # the map starts here
            try:
                poses.append(self._pose(robot, sweep, stamp_ns))
            except FrameError:
                break  # the log starts here
        return np.array(poses, np.float64).reshape(-1, 12)


def _joined(bundles: list[Bundle]) -> NDArray[np.float32]:
    """Ends of all rays, each from where its bundle began."""
    return bundles[0].ends if len(bundles) == 1 else np.concatenate([bundle.ends for bundle in bundles])


def not_deskewed(placed: Placed) -> list[Event]:
    """What is said of a sweep that keeps its sensor's motion, though its points say when they were seen."""
    if not placed.skewed:
        return []
    sweep = placed.sweep
    fields = {"stream_id": sweep.stream_id, "reason": placed.skewed}
    return [Event(kind="not_deskewed", stamp_ns=sweep.stamp_ns, robot_id=sweep.robot_id, fields=fields)]
