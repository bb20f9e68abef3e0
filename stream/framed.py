"""Containers in a frame: fed with sweeps, at rest in the map or following a robot or an object."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from native.binning import Binner
from native.cells import Rows
from native.container import Container, ContainerOptions, Counts, RecordKey
from native.freecells import FreeCellFinder, FreeCells
from native.points import PointMap, point_map
from stream.config import Config
from stream.container import grid_of
from stream.deskew import Motion, motion_of
from stream.frames import FrameRegistry
from stream.mask import Mask, Unmasked
from stream.records import Binned
from stream.sweep import Sweep

Pose = NDArray[np.float64]
Floats = NDArray[np.float32]


def source_of(stream_id: str) -> int:
    """A stream's number in the keys of records: the first eight bytes of the sha256 of its id."""
    return int.from_bytes(hashlib.sha256(stream_id.encode()).digest()[:8], "little")


def key_of(record: Sweep | Binned) -> RecordKey:
    """The key of a sweep's record: equal for equal stamp, stream and part, wherever it is made."""
    return RecordKey(record.stamp_ns, source_of(record.stream_id), record.part)


def rows_of(record: Binned) -> Rows:
    """What a binned record says about cells, so that the records of several robots merge into one map."""
    return Rows.of(record.cell_id, record.hits, record.sums, passes=record.passes)


def united(parts: Sequence[FreeCells]) -> FreeCells:
    """Cells of rays that were followed in several parts: their counts add up."""
    if len(parts) == 1:
        return parts[0]
    cell_id, at = np.unique(np.concatenate([part.cell_id for part in parts]), return_inverse=True)
    counts = np.zeros((2, len(cell_id)), np.uint32)
    np.add.at(counts[0], at, np.concatenate([part.passes for part in parts]))
    np.add.at(counts[1], at, np.concatenate([part.misses for part in parts]))
    return FreeCells(cell_id=cell_id, passes=counts[0], misses=counts[1])


class FramedContainer:
    """A container whose lattice is fixed in one frame of a robot's transforms.

    frame : the map frame of the configuration unless named; that of an object makes the lattice the object's
        own. It needs an id in ``grid.frame_ids``
    center : frame that the extent follows, such as base_link or a tracked object; None leaves it at rest
    Raises ConfigError (a frame without an id), ValueError (a center without an extent), and as ``Container``
    """

    def __init__(
        self,
        config: Config,
        options: ContainerOptions,
        *,
        frame: str | None = None,
        center: str | None = None,
    ) -> None:
        if center is not None and options.extent is None:
            raise ValueError(f"center: {center!r} cannot be followed by a container without an extent")
        self.frame = frame or config.grid.map_frame
        self.center = center
        grid = grid_of(
            dataclasses.replace(config, grid=dataclasses.replace(config.grid, map_frame=self.frame))
        )
        self.container = Container(grid, options)
        self._config = config
        self._mask, self._binner = Mask(config.mask), Binner(grid)
        self._finder = FreeCellFinder(grid, options.free_level, config.grid.miss_range_m)
        self._newest_ns = -1
        self._last_cells = 0

    def add(
        self,
        sweep: Sweep,
        frames: FrameRegistry,
        labels: Mapping[str, NDArray[np.integer]] | None = None,
    ) -> Counts:
        """Mask, deskew, bin and add one sweep or part, with the cells that its rays saw through.

        frames : transforms of the sweep's robot: from the sensor to the container's frame, and to its center
        labels : by name of a column of categories, integers (N,): the place of each point's category, -1 for
            none. Not with a mask that drops points
        Raises FrameError where a pose is missing, RangeError (off the map), KeyError (no such column),
        ValueError (labels of other points), and as ``Container.add``; the container is unchanged then
        """
        pose = frames.look_up(self.frame, sweep.frame, sweep.stamp_ns)
        place = None if self.center is None else frames.look_up(self.frame, self.center, sweep.stamp_ns)
        motion = self._motion(sweep, frames, pose)
        left = self._left(sweep, frames, motion)
        points = left.points
        if motion is not None and left.time_offset_ns is not None:
            points = motion.undo(points, left.time_offset_ns[: len(points)])
        bins = self._binner.run(points, left.intensity, pose)
        self._last_cells = len(bins.cell_id)
        values = {name: self._counts(name, label) for name, label in (labels or {}).items()}
        free = None if sweep.hits_only else self._free(left, points, pose, motion)
        rows = Rows.of(bins.cell_id, bins.hits, bins.sums, free=free, values=values)
        counts = self.container.add(key_of(sweep), rows)
        if place is not None and sweep.stamp_ns >= self._newest_ns:
            self.container.center(place[[3, 7, 11]])
        self._newest_ns = max(self._newest_ns, sweep.stamp_ns)
        return counts

    def point_map(self) -> PointMap:
        """Which cells the points of the last sweep are in; points are those that the mask left."""
        return point_map(self._binner.point_rows(), self._last_cells)

    def _motion(self, sweep: Sweep, frames: FrameRegistry, pose: Pose) -> Motion | None:
        if self._config.sweep.deskew == "off":
            return None
        return motion_of(sweep, pose, lambda stamp_ns: frames.look_up(self.frame, sweep.frame, stamp_ns))

    def _left(self, sweep: Sweep, frames: FrameRegistry, motion: Motion | None) -> Unmasked:
        """What the mask leaves; where the sensor moved, rays without return do not say where they began."""
        if motion is not None and len(sweep.misses):
            sweep = dataclasses.replace(sweep, misses=sweep.misses[:0])
        mask_pose = None
        if self._mask.frame is not None:
            mask_pose = frames.look_up(self._mask.frame, sweep.frame, sweep.stamp_ns)
        return self._mask.apply(sweep, mask_pose)

    def _free(self, left: Unmasked, points: Floats, pose: Pose, motion: Motion | None) -> FreeCells:
        if motion is None or left.time_offset_ns is None:
            return self._finder.run(points, pose, left.misses)
        times = left.time_offset_ns[: len(points)]
        bundles = motion.bundles(points, times, pose, self._config.grid.half_edge_m)
        return united([self._finder.run(bundle.ends, bundle.pose) for bundle in bundles])

    def _counts(self, name: str, label: NDArray[np.integer]) -> NDArray[np.int64]:
        """Labels of points as counts of cells."""
        column = next((c for c in self.container.options.columns if c.name == name and c.categories), None)
        if column is None:
            raise KeyError(f"labels: no column of categories {name!r}")
        return self.point_map().count_labels(label, len(column.categories))
