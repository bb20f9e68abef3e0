"""Poses by odometry, for logs that have none: each sweep is registered to those before it (KISS-ICP).

The poses drift, as nothing ties them to a map. A sweep that does not fit those before it has no pose, since a
guess would smear the map: it is a dead letter. Where none fits for a while, odometry begins a new map.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from native import pose
from stream.deskew import Motion
from stream.records import SweepRejected
from stream.sources.base import Item, Source, SourceError, SourceInfo
from stream.sources.pose_file import MAP_FRAME, to_transform
from stream.sweep import Sweep
from stream.transform import Transform

if TYPE_CHECKING:
    from kiss_icp.kiss_icp import KissICP

MAX_RANGE_M = 100.0
"""Farther points are not registered."""

VOXEL_M = 1.0
"""Edge of the voxels of the local map: a hundredth of the range, as KISS-ICP takes it."""

ENOUGH_POINTS = 100
"""Voxels with a point that a sweep must have to be registered."""

CELL_M = 2.0
ENOUGH_OVERLAP = 0.5
"""Share of a sweep's voxels that must lie in a cell, so large, where those before it saw something."""

SHIFT_M = 1.0
SAME_M = 0.25
"""Registered again from so far ahead and behind, a sweep must come to the same place within so much. Between
walls or rails that look alike all along, as on a motorway, it does not: any place on the way fits."""

FASTEST_MPS = 60.0
"""No robot is faster: a motion beyond is a wrong registration."""

PAUSE_NS = 2_000_000_000
"""Where no sweep has fitted for so long, odometry begins anew, and its poses are of another map."""

Matrix = NDArray[np.float64]


class Odometry:
    """A source whose sweeps are each preceded by their pose in ``odom``, from the sweeps alone.

    source : its transforms are left out; it has one sensor a robot

    Where points have times of their own, the motion within a sweep is undone as the sweep before it predicts.
    Deterministic on one machine type.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._version = _require()

    def info(self) -> SourceInfo:
        """What the source says of itself, with ``odom`` for a root."""
        info = self._source.info()
        return replace(
            info, root_frame=MAP_FRAME, origin=None, crs=None, odometry=f"kiss-icp {self._version}"
        )

    def __iter__(self) -> Iterator[Item]:
        """Items from the start; raises SourceError for a second sensor of a robot, or for points of a map."""
        tracks: dict[str, Track] = {}
        for item in self._source:
            if isinstance(item, Sweep):
                if item.hits_only:
                    raise SourceError("odometry: these points lie in a map already; leave --odometry out")
                track = tracks.setdefault(item.robot_id, Track(item.stream_id))
                if track.stream_id != item.stream_id:
                    raise SourceError(
                        f"odometry: robot {item.robot_id} has two sensors, {track.stream_id} and "
                        f"{item.stream_id}, and where one is to the other is not known; pick one with --topic"
                    )
                yield from track.follow(item)
            elif not isinstance(item, Transform):
                yield item


class Track:
    """The way of one sensor: KISS-ICP's recipe, with a check before a sweep enters the local map."""

    def __init__(self, stream_id: str) -> None:
        self.stream_id = stream_id
        self._icp = _icp()
        self._newest_ns = self._period_ns = 0
        self._delta = self._pose = self._at_stamp = np.eye(4)

    def follow(self, sweep: Sweep) -> Iterator[Item]:
        """The sweep after its pose; one that is not newer than those before needs none, as they have theirs.

        A sweep that does not fit those before becomes a SweepRejected, ``no_pose``
        """
        if sweep.stamp_ns <= self._newest_ns:
            yield sweep
            return
        passed_ns = sweep.stamp_ns - self._newest_ns if self._newest_ns else 0
        anew = passed_ns > PAUSE_NS
        if anew:
            self._icp, self._delta = _icp(), np.eye(4)
            passed_ns = self._period_ns = 0
        why = self._register(sweep, passed_ns)
        if why:
            yield _rejected(sweep, why)
            return
        self._newest_ns = sweep.stamp_ns
        self._period_ns = passed_ns or self._period_ns
        transform = to_transform(
            _vector(self._at_stamp), robot_id=sweep.robot_id, stamp_ns=sweep.stamp_ns, child=sweep.frame
        )
        yield replace(transform, resets_map=anew)
        yield sweep

    def _register(self, sweep: Sweep, passed_ns: int) -> str:
        """Move on to a sweep; where it does not fit, nothing moves.  Returns why, empty when it fits"""
        icp, delta = self._icp, self._delta
        if self._period_ns and passed_ns > 1.5 * self._period_ns:  # sweeps are missing
            delta = _scaled(delta, passed_ns / self._period_ns)
        middle_ns = _middle_ns(sweep) if passed_ns else 0
        points = _deskewed(sweep, delta, middle_ns, passed_ns) if middle_ns else sweep.points
        frame = icp.preprocessor.preprocess(points.astype(np.float64), np.empty(0), delta)
        source, downsampled = icp.voxelize(frame)
        if len(source) < ENOUGH_POINTS:
            few = f"only {len(source)} voxels of it hold points within {MAX_RANGE_M:g} m"
            return f"{few}, {ENOUGH_POINTS} are needed"
        sigma = icp.adaptive_threshold.get_threshold()
        guess = self._pose @ delta

        def align(start: Matrix) -> Matrix:
            aligned: Matrix = icp.registration.align_points_to_map(
                points=source, voxel_map=icp.local_map, initial_guess=start,
                max_correspondance_distance=3 * sigma, kernel=sigma,
            )  # fmt: skip
            return aligned

        found = align(guess)
        if passed_ns and (why := self._misfit(source, found, align, passed_ns)):
            return why
        icp.adaptive_threshold.update_model_deviation(np.linalg.inv(guess) @ found)
        icp.local_map.update(downsampled, found)
        self._delta, self._pose = np.linalg.inv(self._pose) @ found, found
        self._at_stamp = found @ _scaled(self._delta, -middle_ns / passed_ns) if middle_ns else found
        return ""

    def _misfit(
        self, source: Matrix, found: Matrix, align: Callable[[Matrix], Matrix], passed_ns: int
    ) -> str:
        """Why a registration cannot be right, empty where it may be."""
        speed = _apart_m(found, self._pose) / (passed_ns * 1e-9)
        if speed > FASTEST_MPS:
            return f"the way to it would be at {speed:.0f} m/s, {FASTEST_MPS:g} are possible"
        overlap = _overlap(source @ found[:3, :3].T + found[:3, 3], self._icp.local_map.point_cloud())
        if overlap < ENOUGH_OVERLAP:
            return (
                f"{overlap:.0%} of it lies where those before saw something, {ENOUGH_OVERLAP:.0%} are needed"
            )
        starts = (_shifted(found, self._pose, shift_m) for shift_m in (SHIFT_M, -SHIFT_M))
        apart_m = max(_apart_m(found, align(start)) for start in starts)
        if apart_m > SAME_M:
            return f"how far along its way it was taken cannot be told: {apart_m:.1f} m off it fits as well"
        return ""


def _middle_ns(sweep: Sweep) -> int:
    """The middle of the points' times, from the stamp."""
    times = sweep.time_offset_ns
    return 0 if times is None or not len(times) else (int(times.min()) + int(times.max())) // 2


def _deskewed(sweep: Sweep, delta: Matrix, middle_ns: int, passed_ns: int) -> NDArray[np.float32]:
    """Points as seen at the middle of the sweep, if the sensor goes on as it came.

    Seen from its beginning, too fast a prediction would make the next one too slow, and so on without end.
    """
    times = sweep.time_offset_ns
    if times is None:
        return sweep.points
    first, last = int(times.min()), int(times.max())
    knots = sorted({first, middle_ns, last})
    poses = np.stack([_vector(_scaled(delta, (knot - middle_ns) / passed_ns)) for knot in knots])
    return Motion(knot_ns=np.array(knots, np.int32), poses=poses).undo(sweep.points, times)


def _apart_m(one: Matrix, other: Matrix) -> float:
    way = one[:3, 3] - other[:3, 3]
    return float(np.sqrt(way @ way))


def _shifted(found: Matrix, before: Matrix, shift_m: float) -> Matrix:
    """A pose farther on its way, or along the sensor's x axis where it hardly moved."""
    way, step = found[:3, 3] - before[:3, 3], _apart_m(found, before)
    along = way / step if step > 0.1 else found[:3, 0]
    moved = found.copy()
    moved[:3, 3] += shift_m * along
    return moved


def _overlap(points: Matrix, map_points: Matrix) -> float:
    """Share of the points in a cell of the map, both float64 (N, 3)."""
    if not len(map_points):
        return 0.0
    cells, known = (_cells(each) for each in (points, map_points))
    return float(np.isin(cells, known).mean())


def _cells(points: Matrix) -> NDArray[np.int64]:
    x, y, z = np.floor(points / CELL_M).astype(np.int64).T + 2**20
    cells: NDArray[np.int64] = (x << 42) | (y << 21) | z
    return cells


def _vector(matrix: Matrix) -> Matrix:
    """Pose vector, float64 (7,), of a 4 x 4 matrix."""
    return pose.vector(np.ascontiguousarray(matrix[:3]).reshape(12))


def _scaled(delta: Matrix, share: float) -> Matrix:
    """A motion, 4 x 4, that goes on at its pace for ``share`` of its time, before it where negative."""
    x, y, z, w = _vector(delta)[3:].tolist()
    size = float(np.sqrt(x * x + y * y + z * z))
    half = share * float(np.arctan2(size, w))
    axis = np.array([x, y, z]) * (np.sin(half) / size if size else 0.0)
    turned = pose.matrix(np.array([*(share * delta[:3, 3]), *axis, np.cos(half)]))
    return np.vstack([turned.reshape(3, 4), [0.0, 0.0, 0.0, 1.0]])


def _rejected(sweep: Sweep, why: str) -> SweepRejected:
    return SweepRejected(
        robot_id=sweep.robot_id,
        stream_id=sweep.stream_id,
        stamp_ns=sweep.stamp_ns,
        part=sweep.part,
        reason="no_pose",
        detail=f"odometry: {why}",
    )


def _require() -> str:
    """Version of KISS-ICP; raises SourceError that says what to install."""
    try:
        import kiss_icp
    except ModuleNotFoundError as error:
        raise SourceError(
            f"--odometry needs {error.name}: pip install 'octastream[odometry]', or give --poses FILE"
        ) from error
    return str(kiss_icp.__version__)


def _icp() -> KissICP:
    """Registration with an empty map.

    Everything is set, since what is not would be read from the environment; one thread, since of several the
    order of sums is not fixed.
    """
    from kiss_icp.config import KISSConfig
    from kiss_icp.config.config import (
        AdaptiveThresholdConfig,
        DataConfig,
        MappingConfig,
        RegistrationConfig,
    )
    from kiss_icp.kiss_icp import KissICP

    config = KISSConfig(
        data=DataConfig(max_range=MAX_RANGE_M, min_range=0.0, deskew=False),
        registration=RegistrationConfig(max_num_threads=1),
        mapping=MappingConfig(voxel_size=VOXEL_M),
        adaptive_threshold=AdaptiveThresholdConfig(),
    )
    return KissICP(config)
