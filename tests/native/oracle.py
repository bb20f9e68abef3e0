"""Readable, slow oracles of the C core's data path; the tests compare the core with them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from native import index64
from native.binning import Bins
from native.grid import Grid
from native.window import WindowOptions

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
Sums = tuple[int, ...]
NO_SUMS: Sums = (0,) * 11
MAX_COORDINATE_M = 10_000


def matrix_of(translation: tuple[float, float, float] = (0, 0, 0), yaw: float = 0, pitch: float = 0) -> F64:
    """Pose matrix of a translation and a rotation about z, then y."""
    c, s, cp, sp = math.cos(yaw), math.sin(yaw), math.cos(pitch), math.sin(pitch)
    rotation = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]) @ np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
    return np.column_stack([rotation, np.array(translation, np.float64)]).reshape(12)


def ids_of(grid: Grid, sites: list[list[int]] | NDArray[np.int32]) -> NDArray[np.uint64]:
    """Cell ids of sites on the grid."""
    return index64.encode(np.array(sites, np.int32), frame=grid.frame, tier=grid.tier, lod=grid.lod)


def nearest_site(point: F64) -> list[int]:
    """Nearest site by exact arithmetic; even wins a tie, half rounds up."""
    exact, half = [Fraction(float(v)) for v in point], Fraction(1, 2)
    even = [2 * math.floor(v / 2 + half) for v in exact]
    odd = [2 * math.floor((v - 1) / 2 + half) + 1 for v in exact]
    squares = [sum((v - s) ** 2 for v, s in zip(exact, site, strict=True)) for site in (even, odd)]
    return even if squares[0] <= squares[1] else odd


# ---- binning: float32, in the core's order of operations


@dataclass(frozen=True, slots=True, kw_only=True)
class BinnedOracle:
    """What ``Binner.run`` must return, and the row of each point."""

    bins: Bins
    rows: NDArray[np.int32]


def usable(points: F32) -> NDArray[np.bool_]:
    """Finite and within 10 km on each axis."""
    near: NDArray[np.bool_] = np.abs(points).max(axis=1, initial=0) <= MAX_COORDINATE_M
    return near


def round_half_up(x: F32) -> F32:
    """By comparison; ``floor(x + 1/2)`` is wrong just below one half."""
    whole = np.floor(x)
    return np.where(x - whole >= np.float32(0.5), whole + np.float32(1), whole)


def fixed(x: F32) -> NDArray[np.int64]:
    """In units of 1/4096."""
    return round_half_up(x * np.float32(4096)).astype(np.int64)


def snap_about(local: list[F32]) -> tuple[list[F32], list[F32]]:
    """Sites and offsets of points about the sensor's site."""
    even = [np.float32(2) * round_half_up(np.float32(0.5) * v) for v in local]
    offset = [v - e for v, e in zip(local, even, strict=True)]
    odd = np.abs(offset[0]) + np.abs(offset[1]) + np.abs(offset[2]) > np.float32(1.5)
    step = [np.where(o >= 0, odd, -odd.astype(np.int8)).astype(np.float32) for o in offset]
    return [e + s for e, s in zip(even, step, strict=True)], [
        o - s for o, s in zip(offset, step, strict=True)
    ]


def sums_of(offset: list[F32], share: F32) -> NDArray[np.int64]:
    """Columns x y z xx yy zz xy xz yz, intensity and its square."""
    x, y, z = offset
    columns = [x, y, z, x * x, y * y, z * z, x * y, x * z, y * z, share, share * share]
    return np.column_stack([fixed(column) for column in columns])


def bin_points(grid: Grid, points: F32, intensity: F32, pose: F64) -> BinnedOracle:
    """Transform relative to an even site by the sensor, snap, aggregate."""
    matrix = pose.reshape(3, 4)
    origin = matrix[:, 3] / grid.half_edge_m
    site = 2 * np.floor(origin / 2 + 0.5).astype(np.int64)
    start, turn = (origin - site).astype(np.float32), (matrix[:, :3] / grid.half_edge_m).astype(np.float32)
    finite = usable(points)
    x, y, z = np.where(finite[:, None], points, np.float32(0)).T
    square = x * x + y * y + z * z
    low, high = np.float32(grid.range_min_m), np.float32(grid.range_max_m)
    in_range = finite & (square > 0) & (square >= low * low) & (square <= high * high)
    cells, offset = snap_about(
        [turn[i, 0] * x + turn[i, 1] * y + turn[i, 2] * z + start[i] for i in range(3)]
    )
    sites = np.column_stack(cells).astype(np.int64) + site
    binned = in_range & ((sites >= -32768) & (sites <= 32767)).all(axis=1)
    with np.errstate(invalid="ignore"):
        raw = intensity / np.float32(grid.intensity_max)
        share = np.minimum(np.where(raw > 0, raw, np.float32(0)), np.float32(1))
        clamped = share != raw
    ids, inverse, hits = np.unique(
        ids_of(grid, sites[binned].astype(np.int32)), return_inverse=True, return_counts=True
    )
    sums, rows = np.zeros((len(ids), 11), np.int64), np.full(len(points), -1, np.int32)
    np.add.at(sums, inverse, sums_of(offset, share)[binned])
    rows[binned] = inverse
    return BinnedOracle(
        bins=Bins(
            cell_id=ids, hits=hits.astype(np.uint32), sums=sums.astype(np.int32),
            points=len(points), rays=int((finite & (points != 0).any(axis=1)).sum()),
            binned=int(binned.sum()), not_finite=int((~finite).sum()),
            out_of_range=int((finite & ~in_range).sum()),
            off_map=int((in_range & ~binned).sum()), intensity_clamped=int((clamped & binned).sum()),
        ),
        rows=rows,
    )  # fmt: skip


# ---- visibility: every ray against the seven slabs, float64

NORMALS = np.array(
    [[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1], [1, 1, -1], [1, -1, 1], [-1, 1, 1]], np.float64
)
BOUNDS = np.array([1, 1, 1, 1.5, 1.5, 1.5, 1.5])
CIRCUMRADIUS = math.sqrt(1.25)


def crossings(rays: F64, center: F64, slack: float) -> tuple[F64, F64]:
    """Shares of each ray (0 sensor, 1 return) at which it enters and leaves a cell grown by the slack.

    rays : (N, 3), from the sensor to the return, half edges; center : (3,), of the cell from the sensor
    A ray that misses the cell leaves before it enters
    """
    along, middle, bound = rays @ NORMALS.T, NORMALS @ center, BOUNDS + slack  # (N, 7), (7,), (7,)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        one, two = (middle - bound) / along, (middle + bound) / along
    inside = np.abs(middle) < bound
    near = np.where(along == 0, np.where(inside, -np.inf, np.inf), np.minimum(one, two))
    far = np.where(along == 0, np.where(inside, np.inf, -np.inf), np.maximum(one, two))
    return near.max(axis=1), far.min(axis=1)


def rays_of(grid: Grid, points: F32, pose: F64) -> F64:
    """Vectors from the sensor to its finite returns, half edges, map axes, float64 (N, 3)."""
    returns = points[usable(points) & (points != 0).any(axis=1)].astype(np.float64)
    turn: F64 = pose.reshape(3, 4)[:, :3]
    rays: F64 = returns @ turn.T / grid.half_edge_m
    return rays


def pass_bounds(
    grid: Grid, points: F32, pose: F64, cell_id: NDArray[np.uint64], tolerance: float = 1e-6
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Fewest and most passes of each cell, when faces may be off by the tolerance times the distance.

    Where the two agree no ray grazes an edge of the cell, and the count is certain.
    """
    rays = rays_of(grid, points, pose)
    units = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    centers = index64.decode(cell_id).sites - pose.reshape(3, 4)[:, 3] / grid.half_edge_m
    low, high = np.zeros(len(cell_id), np.int64), np.zeros(len(cell_id), np.int64)
    for i, center in enumerate(centers):
        depth, distance = units @ center, float(np.linalg.norm(center))
        reach = CIRCUMRADIUS + 0.1  # of the axis of a ray that may cross; wide enough for any slack
        near = rays[(depth > -reach) & (distance**2 - depth**2 < reach**2)]
        inner_enter, inner_leave = crossings(near, center, -tolerance * (1 + distance))
        outer_enter, outer_leave = crossings(near, center, tolerance * (1 + distance))
        low[i] = ((inner_enter < inner_leave) & (inner_leave > 0) & (outer_leave < 1)).sum()
        high[i] = ((outer_enter < outer_leave) & (outer_leave > 0) & (inner_leave < 1)).sum()
    return low, high


# ---- the rolling window: a list of records


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One binned sweep; hits, passes and sums by cell id (sums are zero where there is no hit)."""

    stamp_ns: int
    cells: dict[int, tuple[int, int, Sums]]

    def arrays(self) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.int32]]:
        """What ``Window.push`` takes after the stamp."""
        ids = sorted(self.cells)
        rows = [self.cells[cell] for cell in ids]
        return (
            np.array(ids, np.uint64),
            np.array([row[0] for row in rows], np.uint32),
            np.array([row[1] for row in rows], np.uint32),
            np.array([row[2] for row in rows if row[0]], np.int32).reshape(-1, 11),
        )


class WindowModel:
    """The window as the list of its records, in the order of folding."""

    def __init__(self, options: WindowOptions) -> None:
        self.options = options
        self.now: int | None = None
        self.records: list[Record] = []

    def age(self, stamp_ns: int, now: int | None = None) -> int:
        """Time bins before now, half rounds up."""
        now = self.now if now is None else now
        assert now is not None
        return math.floor(Fraction(now - stamp_ns, self.options.bin_ns) + Fraction(1, 2))

    @property
    def oldest_age(self) -> int:
        return self.options.bins - 1 + self.options.keep_bins

    def refuses(self, record: Record) -> bool:
        """The record is too old to keep."""
        return self.age(record.stamp_ns, max(record.stamp_ns, self.now or 0)) > self.oldest_age

    def advance(self, stamp_ns: int) -> None:
        if self.now is None or stamp_ns > self.now:
            self.now = stamp_ns
        self.records = [r for r in self.records if self.age(r.stamp_ns) <= self.oldest_age]

    def listed(self) -> set[int]:
        """Cells that any record lists."""
        return {cell for record in self.records for cell in record.cells}

    def push(self, record: Record) -> int:
        """Fold one record; returns the number of cells that the caps cost."""
        self.advance(record.stamp_ns)
        before = len(self.listed())
        while self.records and (
            len(self.records) >= self.options.max_records
            or len(self.listed() | record.cells.keys()) > self.options.max_cells
        ):
            self.records.remove(min(self.records, key=lambda r: r.stamp_ns))
        evicted = before - len(self.listed())
        self.records.append(record)
        return evicted

    def in_window(self) -> list[Record]:
        return [r for r in self.records if self.age(r.stamp_ns) < self.options.bins]

    def totals(self) -> dict[int, tuple[int, int, Sums]]:
        """In-window hits, passes and sums of each cell that a retained record hit."""
        hit = {cell for record in self.records for cell, row in record.cells.items() if row[0]}
        totals: dict[int, tuple[int, int, Sums]] = dict.fromkeys(sorted(hit), (0, 0, NO_SUMS))
        for record in self.in_window():
            for cell in record.cells.keys() & hit:
                (hits, passes, sums), more = totals[cell], record.cells[cell]
                added = tuple(a + b for a, b in zip(sums, more[2], strict=True))
                totals[cell] = (hits + more[0], passes + more[1], added)
        return totals

    def active(self) -> list[int]:
        """Cells hit in the window, ascending."""
        return [cell for cell, row in self.totals().items() if row[0]]
