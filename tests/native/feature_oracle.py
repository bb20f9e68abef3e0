"""Every feature of every window cell from the records alone, one cell and one column at a time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from native import index64, lattice
from native.grid import Grid
from tests.native.cast_oracle import WHOLE, cast
from tests.native.oracle import F32, F64, WindowModel, ids_of

DECAY = 0.7
Site = tuple[int, int, int]
OFFSETS: list[Site] = [
    *((x, y, z) for x in (1, -1) for y in (1, -1) for z in (1, -1)),
    *((2, 0, 0), (-2, 0, 0), (0, 2, 0), (0, -2, 0), (0, 0, 2), (0, 0, -2)),
]
MOMENTS = ("offset_x", "offset_y", "offset_z")
SECONDS = {
    "xx": (3, 0, 0),
    "yy": (4, 1, 1),
    "zz": (5, 2, 2),
    "xy": (6, 0, 1),
    "xz": (7, 0, 2),
    "yz": (8, 1, 2),
}
RETURNS = (*MOMENTS, *(f"spread_{name}" for name in SECONDS))
HISTORY_BINS = 3
STATES = (0, -1, 1)
"""Unobserved, seen through, hit."""
POOLED = (
    "hits_0", "passes_0", "state_0", "hit_share", "evidence_recent", "observed_bins", "log_points",
    "height_in_block",
)  # fmt: skip
NORMALS = ("normal_z", "view_cosine", "forecast_view_cosine")
AXES = ("planarity", "linearity", "curvature")
NORMAL_GAP = 0.05
"""Of the largest eigenvalue; with the two least closer than this the normal is decided by rounding."""
FLAT = 0.1
"""Of the magnitude of the eigenvalues; with none above this (they may be negative) ratios mean nothing."""
NO_BEAMS = np.empty((0, 3), np.int16)


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """Arguments of ``Window.features``."""

    pose: NDArray[np.float64]
    forecast_pose: NDArray[np.float64]
    speed_mps: float = 0.0
    yaw_rate_rps: float = 0.0
    beams: NDArray[np.int16] = field(default_factory=NO_BEAMS.copy)
    beam_weight: float = 1.0

    def arguments(self) -> tuple[F64, F64, float, float, NDArray[np.int16], float]:
        return (
            self.pose,
            self.forecast_pose,
            self.speed_mps,
            self.yaw_rate_rps,
            self.beams,
            self.beam_weight,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureRows:
    """Columns by name for each window cell, its neighbours' rows and its state in the newest bin.

    A column is NaN where only rounding decides it.
    """

    cell_id: list[int]
    columns: list[dict[str, float]]
    neighbors: list[list[int]]
    before: list[int]


Bins = tuple[list[int], list[int]]


def bins_of(model: WindowModel) -> dict[int, Bins]:
    """Hits and passes by age of every listed cell."""
    k = model.options.bins
    bins: dict[int, Bins] = {}
    for record in model.in_window():
        age = model.age(record.stamp_ns)
        for cell, (hits, passes, _) in record.cells.items():
            row = bins.setdefault(cell, ([0] * k, [0] * k))
            row[0][age] += hits
            row[1][age] += passes
    return bins


def history(bins: Bins, sweeps: list[int]) -> dict[str, float]:
    columns: dict[str, float] = {}
    for age, (hits, passes, n) in list(enumerate(zip(*bins, sweeps, strict=True)))[:HISTORY_BINS]:
        columns[f"hits_{age}"] = math.log1p(hits / max(n, 1))
        columns[f"passes_{age}"] = math.log1p(passes / max(n, 1))
    return columns


def evidence(bins: Bins) -> dict[str, float]:
    hits, passes = bins
    observed = [age for age, (h, p) in enumerate(zip(hits, passes, strict=True)) if h or p]
    hit = [age for age in observed if hits[age]]
    free = [age for age in observed if not hits[age]]
    weights = [DECAY**age for age in range(len(hits))]
    recent = sum(w * h for w, h in zip(weights, hits, strict=True))
    return {
        "hit_bins": len(hit),
        "observed_bins": len(observed),
        "hit_share": len(hit) / len(observed),
        "evidence": sum(hits) / (sum(hits) + sum(passes)),
        "evidence_recent": recent / (recent + sum(w * p for w, p in zip(weights, passes, strict=True))),
        "hit_age": min(hit),
        "pass_age": min(free, default=len(hits)),
        "hit_run": sum(age < min(free, default=len(hits)) for age in hit),
    }


def stop_share(bins: Bins) -> np.float32:
    """``evidence_recent`` in the core's float32: casts round it to a fixed point, so its last bit counts."""
    recent, everything, weight = np.float32(0), np.float32(0), np.float32(1)
    for h, p in zip(*(np.array(counts, np.float32) for counts in bins), strict=True):
        recent, everything = recent + weight * h, everything + weight * (h + p)
        weight *= np.float32(DECAY)
    return np.float32(recent / everything)


def moments(hits: int, sums: tuple[int, ...]) -> dict[str, float]:
    mean = [s / (4096 * hits) for s in sums]
    return {
        "log_points": math.log1p(hits),
        **dict(zip(MOMENTS, mean[:3], strict=True)),
        **{f"spread_{name}": mean[at] - mean[i] * mean[j] for name, (at, i, j) in SECONDS.items()},
        "intensity_mean": mean[9],
        "intensity_variance": mean[10] - mean[9] ** 2,
    }


def place(prefix: str, site: Site, half_edge_m: float, pose: NDArray[np.float64]) -> dict[str, float]:
    """Position of a site in the frame of a sensor pose."""
    matrix = pose.reshape(3, 4)
    local = matrix[:, :3].T @ (np.array(site) * half_edge_m - matrix[:, 3])
    reach = math.sqrt(float(local @ local))
    values = [*local.tolist(), reach, local[2] / reach if reach else 0.0]
    return {prefix + name: v for name, v in zip(("x", "y", "z", "range", "elevation"), values, strict=True)}


def heights(site: Site, lowest: dict[tuple[int, int], int]) -> dict[str, float]:
    column = (site[0] // 2, site[1] // 2)
    around = [(column[0] + dx, column[1] + dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)]
    return {
        "height_in_column": site[2] - lowest[column],
        "height_in_block": site[2] - min(lowest[c] for c in around if c in lowest),
    }


def homogeneous(totals: list[tuple[int, int, tuple[int, ...]]]) -> F64:
    """Sum of (1, p) (1, p)^T over the returns p of each cell, from its site; a last cell has none.

    Returns (N + 1, 4, 4)
    """
    out = np.zeros((len(totals) + 1, 4, 4))
    for matrix, (hits, _, sums) in zip(out, totals, strict=False):
        matrix[0, 0] = hits
        matrix[0, 1:] = matrix[1:, 0] = np.array(sums[:3]) / 4096
        for at, i, j in SECONDS.values():
            matrix[1 + i, 1 + j] = matrix[1 + j, 1 + i] = sums[at] / 4096
    return out


def covariances(totals: list[tuple[int, int, tuple[int, ...]]], neighbors: list[list[int]]) -> F64:
    """Covariance of the returns of each cell and its neighbours, (N, 3, 3)."""
    single = homogeneous(totals)
    pooled = single[:-1].copy()
    for offset, rows in zip(OFFSETS, np.array(neighbors, np.intp).reshape(-1, 14).T, strict=True):
        shift = np.eye(4)
        shift[1:, 0] = offset
        pooled += shift @ single[rows] @ shift.T
    mean = pooled[:, 1:, 0] / pooled[:, :1, 0]
    spread: F64 = pooled[:, 1:, 1:] / pooled[:, :1, :1] - mean[:, :, None] * mean[:, None, :]
    return spread


def shapes(grid: Grid, sites: list[Site], spread: F64, view: View) -> list[dict[str, float]]:
    """Columns of the principal axes."""
    columns = []
    for site, values, vectors in zip(sites, *np.linalg.eigh(spread), strict=True):
        scale = max(float(np.abs(values).max()), 1e-9)
        least, middle, most = np.maximum(values, 0).tolist()
        row = dict.fromkeys((*NORMALS, *AXES), math.nan)
        if most > FLAT * scale:
            ratios = ((middle - least) / most, (most - middle) / most, least / (least + middle + most))
            row.update(zip(AXES, ratios, strict=True))
        normal = vectors[:, 0] if values[1] - values[0] > NORMAL_GAP * scale else np.full(3, math.nan)
        row["normal_z"] = abs(float(normal[2]))
        for name, pose in zip(NORMALS[1:], (view.pose, view.forecast_pose), strict=True):
            line = np.array(site) * grid.half_edge_m - pose[3::4]
            reach = float(np.linalg.norm(line))
            row[name] = abs(float(line @ normal)) / reach if reach else 0.0
        columns.append(row)
    return columns


def coarse(sites: list[Site], columns: list[dict[str, float]]) -> list[dict[str, float]]:
    """Means over the cells with the same parent, and with the same grandparent."""
    out: list[dict[str, float]] = [{} for _ in sites]
    parents = np.array(sites, np.int32).reshape(-1, 3)
    for level in (1, 2):
        parents = lattice.parent(parents)
        groups: dict[tuple[int, ...], list[int]] = {}
        for row, parent in enumerate(parents.tolist()):
            groups.setdefault(tuple(parent), []).append(row)
        for rows in groups.values():
            mean = {name: sum(columns[row][name] for row in rows) / len(rows) for name in POOLED}
            for row in rows:
                out[row].update({f"coarse{level}_{name}": value for name, value in mean.items()})
    return out


def surface_share(surface: float, reached: int) -> float:
    """NaN where so little reaches the cell that fixed point decides the share."""
    if reached > WHOLE // 10:
        return surface * WHOLE / reached
    return math.nan if reached else 0.0


def casts(grid: Grid, sites: list[Site], stop: F32, returns: F64, view: View) -> list[dict[str, float]]:
    """Columns of the beams cast from the forecast pose."""
    done = cast(grid, np.array(sites, np.int32).reshape(-1, 3), stop, returns, view.beams, view.forecast_pose)
    columns, weight, whole = [], np.float32(view.beam_weight), np.float32(WHOLE)
    for row, (reached, ended) in enumerate(zip(done.reached, done.ended, strict=True)):
        hits, reach = weight * (np.float32(ended) / whole), weight * (np.float32(reached) / whole)
        columns.append(
            {
                "cast_hits": math.log1p(hits),
                "cast_reach": math.log1p(reach),
                "cast_share": float(hits / reach) if reach > 0 else 0.0,
                "cast_seen": -math.expm1(-hits),
                "cast_reached": float(reached > 0),
                "surface_hits": math.log1p(weight * done.surface[row]),
                "surface_share": surface_share(done.surface[row], reached if weight else 0),
                "surface_overlap": math.log1p(weight * done.overlap[row]),
                "surface_best": done.best[row],
            }
        )
    return columns


def features(grid: Grid, model: WindowModel, view: View) -> FeatureRows:
    """All columns of all window cells."""
    totals, bins, cells = model.totals(), bins_of(model), model.active()
    sweeps = [0] * model.options.bins
    for record in model.in_window():
        sweeps[model.age(record.stamp_ns)] += 1
    decoded = index64.decode(np.array(cells, np.uint64)).sites.tolist()
    sites: list[Site] = [(x, y, z) for x, y, z in decoded]
    assert ids_of(grid, np.array(sites, np.int32).reshape(-1, 3)).tolist() == cells
    row_of = {site: row for row, site in enumerate(sites)}
    lowest: dict[tuple[int, int], int] = {}
    for x, y, z in sites:
        lowest[x // 2, y // 2] = min(z, lowest.get((x // 2, y // 2), z))
    neighbors = [
        [row_of.get((x + dx, y + dy, z + dz), len(cells)) for dx, dy, dz in OFFSETS] for x, y, z in sites
    ]
    before = [2 if bins[cell][0][0] else 1 if bins[cell][1][0] else 0 for cell in cells]
    columns = [
        {
            **history(bins[cell], sweeps),
            **evidence(bins[cell]),
            **moments(totals[cell][0], totals[cell][2]),
            **heights(site, lowest),
            **place("", site, grid.half_edge_m, view.pose),
            **place("forecast_", site, grid.half_edge_m, view.forecast_pose),
            "speed": view.speed_mps,
            "yaw_rate": view.yaw_rate_rps,
        }
        for cell, site in zip(cells, sites, strict=True)
    ]
    for row, around in zip(columns, neighbors, strict=True):
        present = [n for n in around if n < len(cells)]
        row["neighbors"] = len(present) / 14
        row["neighbors_hit"] = sum(before[n] == 2 for n in present) / 14
        recent = [columns[n]["evidence_recent"] for n in present]
        row["neighbors_evidence"] = sum(recent) / len(recent) if recent else 0
    stop = np.array([stop_share(bins[cell]) for cell in cells], np.float32)
    counts = [totals[cell][0] for cell in cells]
    returns = np.array([[n, *(row[m] for m in RETURNS)] for n, row in zip(counts, columns, strict=True)])
    returns = returns.reshape(-1, 10)
    more = (
        shapes(grid, sites, covariances([totals[cell] for cell in cells], neighbors), view),
        coarse(
            sites, [{**row, "state_0": STATES[state]} for row, state in zip(columns, before, strict=True)]
        ),
        casts(grid, sites, stop, returns, view),
    )
    columns = [{**row, **a, **b, **c} for row, a, b, c in zip(columns, *more, strict=True)]
    return FeatureRows(cell_id=cells, columns=columns, neighbors=neighbors, before=before)
