"""The rolling container of one robot: folds binned records and gives features; a function of the records."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from native.coarse import Level, coarser, finest
from native.grid import Grid
from native.window import CellFeatures, Window, WindowOptions
from stream.cell_rows import locate
from stream.config import Config, ConfigError
from stream.ego import forecast
from stream.features import checksum_arrays
from stream.records import Binned


def grid_of(config: Config) -> Grid:
    """The C core's grid; raises ConfigError when the map frame is not resolved or has no id."""
    frame = config.grid.map_frame
    if frame not in config.grid.frame_ids:
        raise ConfigError(
            f"grid.map_frame: {frame!r} has no 8-bit id; add it with --set grid.frame_ids.{frame}=5"
        )
    return Grid(
        half_edge_m=config.grid.half_edge_m,
        frame=config.grid.frame_ids[frame],
        tier=config.grid.tier,
        lod=config.grid.lod,
        range_min_m=config.grid.range_min_m,
        range_max_m=config.grid.range_max_m,
        intensity_max=config.grid.intensity_max,
    )


class RollingContainer:
    """Binned records of the last time bins.

    keep_ns : age beyond which a sweep is too late to be folded

    Perceive and Learn fold the same records through this class, which is why their features are equal.
    """

    def __init__(self, config: Config) -> None:
        self.keep_ns, self._reach_ns = config.keep_ns, config.reach_ns
        self._bin_ns = config.window.bin_ns
        self._horizon_ns = config.task.primary_horizon_ns
        self._max_cells = config.window.max_cells
        self._window = Window(
            grid_of(config),
            WindowOptions(
                bin_ns=config.window.bin_ns,
                bins=config.window.bins,
                keep_bins=config.keep_bins,
                max_records=config.window.max_records,
                max_cells=config.window.max_cells,
            ),
        )
        self._records: deque[Binned] = deque()
        self.newest_ns = 0

    def tested(self, stamp_ns: int, hit: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Cells a sweep must report on: those it hit and every retained one, ascending, uint64 (N,).

        Where these exceed ``window.max_cells``, retained cells with the largest ids are left out: they stay
        unobserved by this sweep. Its own cells are never left out.
        """
        self._window.advance(stamp_ns)
        retained = self._window.cell_ids()
        tested = _union(retained, hit)
        if len(tested) <= self._max_cells:
            return tested
        return _union(np.setdiff1d(retained, hit)[: self._max_cells - len(hit)], hit)

    def fold(self, record: Binned) -> int:
        """Add one record; returns the number of cells evicted by the caps."""
        evicted = self._window.push(record.stamp_ns, record.cell_id, record.hits, record.passes, record.sums)
        self.newest_ns = max(self.newest_ns, record.stamp_ns)
        self._records.append(record)
        while self._records and self._records[0].stamp_ns < self.newest_ns - self._reach_ns:
            self._records.popleft()
        return evicted

    def features(self, record: Binned) -> CellFeatures:
        """Features of every window cell, seen from the pose of the last record folded."""
        ego = forecast(record.pose, record.pose_history, self._bin_ns, self._horizon_ns)
        parts = [part for part in self._records if _same_sweep(part, record)]
        beams = np.concatenate([part.beams for part in parts])
        rays = sum(part.rays for part in parts)
        return self._window.features(
            ego.pose,
            ego.forecast_pose,
            ego.speed_mps,
            ego.yaw_rate_rps,
            beams,
            rays / len(beams) if len(beams) else 0.0,
        )

    def record_of(self, stream_id: str, stamp_ns: int) -> Binned | None:
        """The last record folded of a sweep that came in time: the one it is predicted from."""
        for record in reversed(self._records):
            if record.stream_id == stream_id and record.stamp_ns == stamp_ns and not record.late:
                return record
        return None

    def knows(self, record: Binned) -> bool:
        """Whether a record was folded already, or is too old to be: folding it again would be wrong."""
        if record.stamp_ns < self.newest_ns - self.keep_ns:
            return True
        key = (record.stream_id, record.stamp_ns, record.part)
        return any((known.stream_id, known.stamp_ns, known.part) == key for known in self._records)

    def digest(self) -> str:
        """Checksum of the retained cells and their exact in-window totals."""
        cells = self._window.cells()
        return checksum_arrays(cells.cell_id, cells.hits, cells.passes, cells.sums)

    def evidence(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64], NDArray[np.uint64]]:
        """Retained cells, ascending, with their in-window hits and passes, each uint64 (N,)."""
        return self._window.evidence()

    def coarser(self, levels: int) -> Level:
        """The retained cells so many levels coarser, 0 for themselves: exact sums of their in-window returns.

        Passes of coarse cells are no sums; ``native.visibility.Rays.coarse_passes`` counts those of a sweep.
        Raises LodError where that is above LOD 0
        """
        cells = self._window.cells()
        level = finest(cells.cell_id, cells.hits, cells.sums)
        for _ in range(levels):
            level, _ = coarser(level)
        return level

    def records(self) -> list[Binned]:
        """The records that make up the state, oldest first: folding them again gives the same container."""
        return list(self._records)


def _same_sweep(a: Binned, b: Binned) -> bool:
    return a.stream_id == b.stream_id and a.stamp_ns == b.stamp_ns


def _union(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Union of two ascending arrays without repeats; a tenth of the time of numpy.union1d."""
    if len(a) == 0:
        return b
    _, known = locate(a, b)
    union = np.concatenate([a, b[~known]])
    union.sort(kind="stable")  # two runs: a merge
    return union
