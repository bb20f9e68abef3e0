"""The same binning and features in plain numpy: what a user would write instead of the C core.

Everything is vectorised, works on whole sweeps, and gives the same cells, sums, neighbours and features as
the C core, so that times can be compared. Rows are ordered by this module's own key instead of by Index64.
Counts of rays that saw through a cell and the nine columns of beams cast from the forecast pose are not
computed here; they are given.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.binning import FIXED_ONE, SUMS
from native.grid import Grid
from stream.ego import EgoMotion
from tests.bench import numpy_columns
from tests.bench.numpy_columns import History, bias, pack, unpack

OFFSETS = np.array(
    [(x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)]
    + [(2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2)],
    np.int64,
)
"""The 14 neighbours in lattice order."""

STEPS = OFFSETS @ np.array([1 << 32, 1 << 16, 1])
"""What each neighbour adds to a packed key."""

SHIFTS = numpy_columns.moment_shifts(OFFSETS)
"""What makes moments about a neighbour's site moments about the cell's."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Cells:
    """The cells that one sweep hit, ascending by key: key int64 (M,), hits int64 (M,), sums float64 (M, 11)
    holding integers, as in ``native.binning.Bins``."""

    key: NDArray[np.int64]
    hits: NDArray[np.int64]
    sums: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Entry:
    """One sweep of the window: what it hit, and for every tested cell its hits and passes, float32 (T,)."""

    stamp_ns: int
    cells: Cells
    tested: NDArray[np.int64]
    hits: NDArray[np.float32]
    passes: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Features:
    """As ``native.window.CellFeatures``, ascending by key: key int64 (N,), x float32 (N, F), neighbor_index
    int32 (N, 14), before uint8 (N,)."""

    key: NDArray[np.int64]
    x: NDArray[np.float32]
    neighbor_index: NDArray[np.int32]
    before: NDArray[np.uint8]


class NumpyPipeline:
    """Bins sweeps, keeps those of the last ``bins`` time bins, and computes features of their cells."""

    def __init__(self, grid: Grid, bin_ns: int, bins: int) -> None:
        self._grid, self._bin_ns, self._bins = grid, bin_ns, bins
        self._entries: deque[Entry] = deque()

    def bin(
        self, points: NDArray[np.float32], intensity: NDArray[np.float32], pose: NDArray[np.float64]
    ) -> Cells:
        """Transform, snap and aggregate.

        points : float32 (N, 3), metres, sensor frame; intensity : float32 (N,)
        pose : float64 (12,), sensor to map
        """
        x, y, z = points[:, 0], points[:, 1], points[:, 2]
        square = x * x + y * y + z * z
        low, high = np.float32(self._grid.range_min_m), np.float32(self._grid.range_max_m)
        near = (square >= low * low) & (square <= high * high)  # NaN compares false
        site, offset, sensor = self._snap(np.ascontiguousarray(points[near].T), pose)
        key, row = np.unique(pack(site), return_inverse=True)
        share = np.clip(intensity[near] / np.float32(self._grid.intensity_max), 0, 1)
        dx, dy, dz = offset
        terms = (dx, dy, dz, dx * dx, dy * dy, dz * dz, dx * dy, dx * dz, dy * dz, share, share * share)
        sums = np.empty((SUMS, len(key)))
        for place, term in enumerate(terms):
            fixed = np.floor(term * np.float32(FIXED_ONE) + np.float32(0.5))
            sums[place] = np.bincount(row, fixed, len(key))
        return Cells(key=key + pack(sensor) - bias, hits=np.bincount(row), sums=sums.T)

    def _snap(
        self, points: NDArray[np.float32], pose: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]:
        """Sites (3, N) relative to the even site by the sensor, offsets from them (3, N), and that site (3,).

        points : float32 (3, N); float32 is precise enough near the sensor, wherever the map's origin is
        """
        scaled = pose.reshape(3, 4) / self._grid.half_edge_m
        sensor = 2 * np.floor(scaled[:, 3] / 2 + 0.5).astype(np.int64)
        rotation, origin = scaled[:, :3].astype(np.float32), (scaled[:, 3] - sensor).astype(np.float32)
        x, y, z = points
        local = np.empty_like(points)
        for axis, (a, b, c) in enumerate(rotation):
            local[axis] = a * x + b * y + c * z + origin[axis]
        even = 2 * np.floor(local * np.float32(0.5) + np.float32(0.5))
        offset = local - even
        odd = (np.abs(offset).sum(axis=0) > np.float32(1.5)).astype(np.float32)
        step = np.where(offset >= 0, odd, -odd)
        return (even + step).astype(np.int64), offset - step, sensor

    def fold(
        self, stamp_ns: int, cells: Cells, tested: NDArray[np.int64], passes: NDArray[np.uint32]
    ) -> None:
        """Add a sweep to the window and drop what has grown too old.

        tested : int64 (T,), keys, ascending, of at least every cell hit in the window; passes : (T,)
        """
        hits = np.zeros(len(tested), np.float32)
        hits[np.searchsorted(tested, cells.key)] = cells.hits
        self._entries.append(
            Entry(stamp_ns=stamp_ns, cells=cells, tested=tested, hits=hits, passes=passes.astype(np.float32))
        )
        while self._age(self._entries[0]) >= self._bins:
            self._entries.popleft()

    def _age(self, entry: Entry) -> int:
        """Time bins before the newest sweep; half rounds up."""
        elapsed = self._entries[-1].stamp_ns - entry.stamp_ns
        return (2 * elapsed + self._bin_ns) // (2 * self._bin_ns)

    def features(self, ego: EgoMotion, casts: NDArray[np.float32]) -> Features:
        """Features of every cell hit within the window, seen from the newest sweep.

        casts : float32 (N, 9), from ``numpy_columns.casts_by_key``
        """
        key, row = np.unique(
            np.concatenate([entry.cells.key for entry in self._entries]), return_inverse=True
        )
        site, history, neighbors = unpack(key), self._history(key), neighbor_rows(key)
        before = np.where(history.hits[0] > 0, 2, history.passes[0] > 0).astype(np.uint8)
        totals = self._totals(row, len(key))
        past, evidence = numpy_columns.history(history), numpy_columns.evidence(history)
        moments = numpy_columns.moments(*totals)
        geometry = numpy_columns.geometry(site, self._grid.half_edge_m, ego)
        spread = numpy_columns.pooled_covariance(*totals, neighbors, SHIFTS)
        newest = (
            past[0],
            past[len(past) // 2],
            np.where(before == 2, 1.0, -(before == 1).astype(np.float64)),
        )
        columns = (
            *past,
            *evidence.columns,
            *moments,
            *geometry,
            *numpy_columns.shape(spread, site, self._grid.half_edge_m, ego),
            *numpy_columns.neighborhood(neighbors, before, evidence.recent),
            *numpy_columns.coarse(site, (*newest, *evidence.pooled, moments[0], geometry[-1])),
            *casts.T,
            np.full(len(key), ego.speed_mps),
            np.full(len(key), ego.yaw_rate_rps),
        )
        x = np.empty((len(columns), len(key)), np.float32)
        for place, column in enumerate(columns):
            x[place] = column
        return Features(key=key, x=np.ascontiguousarray(x.T), neighbor_index=neighbors, before=before)

    def _totals(self, row: NDArray[np.int64], count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Points (N,) and sums (11, N) over the window."""
        sums = np.concatenate([entry.cells.sums for entry in self._entries])
        hits = np.concatenate([entry.cells.hits for entry in self._entries])
        totals = np.empty((SUMS, count))
        for place in range(SUMS):
            totals[place] = np.bincount(row, sums[:, place], count)
        return np.asarray(np.bincount(row, hits, count), np.float64), totals

    def _history(self, key: NDArray[np.int64]) -> History:
        """Hits and passes of each cell by age."""
        hits = np.zeros((self._bins, len(key)), np.float32)
        passes, sweeps = np.zeros_like(hits), np.zeros(self._bins, np.float32)
        for entry in self._entries:
            age = self._age(entry)
            place, found = look_up(entry.tested, key)
            hits[age] += np.where(found, entry.hits[place], 0)
            passes[age] += np.where(found, entry.passes[place], 0)
            sweeps[age] += 1
        return History(hits=hits, passes=passes, sweeps=sweeps)


def look_up(table: NDArray[np.int64], key: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Place of each key in an ascending table, and whether it is there."""
    place = np.minimum(np.searchsorted(table, key), len(table) - 1)
    return place, table[place] == key


def neighbor_rows(key: NDArray[np.int64]) -> NDArray[np.int32]:
    """Rows of the 14 neighbours of each cell, int32 (N, 14), N where there is none; keys ascend."""
    rows = np.empty((len(key), len(STEPS)), np.int32)
    for column, step in enumerate(STEPS):
        place, found = look_up(key, key + step)
        rows[:, column] = np.where(found, place, len(key))
    return rows
