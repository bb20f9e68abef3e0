"""Feature columns of the numpy pipeline, in the order of the schema; each is an array (N,)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native import index64, lattice
from native.binning import FIXED_ONE
from native.window import CellFeatures
from stream.ego import EgoMotion
from stream.records import Binned

BIAS = 1 << 15
RECENT_DECAY = 0.7
HISTORY_BINS = 3
COARSER = 2
"""Levels above the cells that are pooled."""

CASTS = (
    "cast_hits", "cast_reach", "cast_share", "cast_seen", "cast_reached",
    "surface_hits", "surface_share", "surface_overlap", "surface_best",
)  # fmt: skip
"""Columns of the beams cast from the forecast pose."""

PAIRS = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
"""Axes of the second moments, in the order of the sums."""

bias = np.int64((BIAS << 32) + (BIAS << 16) + BIAS)
"""The key of the site (0, 0, 0)."""

Column = NDArray[np.float32] | NDArray[np.float64]


def pack(site: NDArray[np.int64]) -> NDArray[np.int64]:
    """Keys of sites int64 (3, ...), -32768..32767: x, y, z in 16 bits each, ascending in that order."""
    x, y, z = site
    return np.asarray((x << 32) + (y << 16) + z + bias)


def unpack(key: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sites of keys, int64 (3, N)."""
    return np.stack((key >> 32, key >> 16 & 0xFFFF, key & 0xFFFF)) - BIAS


def keys_of(cell_id: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Keys of the C core's ids, in their order."""
    return pack(index64.decode(cell_id).sites.T.astype(np.int64))


def passes_by_key(record: Binned) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
    """Tested cells of a record and the rays that saw through them, ascending by key: what is given."""
    key = keys_of(record.cell_id)
    order = np.argsort(key)
    return key[order], record.passes[order]


def casts_by_key(features: CellFeatures, names: tuple[str, ...]) -> NDArray[np.float32]:
    """Cast columns of the C core's features, float32 (N, 9), ascending by key: what is given.

    names : the columns of the schema
    """
    order = np.argsort(keys_of(features.cell_id))
    return features.x[np.ix_(order, [names.index(name) for name in CASTS])]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class History:
    """Hits and passes of N cells by age, float32 (K, N); sweeps float32 (K,), how many have that age."""

    hits: NDArray[np.float32]
    passes: NDArray[np.float32]
    sweeps: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """The columns, and among them the decayed evidence that neighbours read and the three that are pooled."""

    columns: tuple[Column, ...]
    recent: Column
    pooled: tuple[Column, Column, Column]


def history(cells: History) -> tuple[Column, ...]:
    """Logarithms of hits and of passes a sweep, of the newest bins."""
    sweeps = np.maximum(cells.sweeps, 1)[:HISTORY_BINS, None]
    # log(1 + x) of counts: as exact as log1p here, and vectorised
    hits, passes = cells.hits[:HISTORY_BINS] / sweeps, cells.passes[:HISTORY_BINS] / sweeps
    return (*np.log(1 + hits), *np.log(1 + passes))


def evidence(cells: History) -> Evidence:
    """How often and how recently each cell was hit and seen through."""
    bins = len(cells.hits)
    hit = cells.hits > 0
    observed = hit | (cells.passes > 0)
    passed = observed & ~hit
    weight = np.float32(RECENT_DECAY) ** np.arange(bins, dtype=np.float32)
    recent_hits, recent_passes = weight @ cells.hits, weight @ cells.passes
    recent = recent_hits / (recent_hits + recent_passes)
    hits, passes = cells.hits.sum(axis=0), cells.passes.sum(axis=0)
    hit_bins, observed_bins = hit.sum(axis=0), observed.sum(axis=0)
    hit_age = np.where(hit.any(axis=0), hit.argmax(axis=0), bins)
    pass_age = np.where(passed.any(axis=0), passed.argmax(axis=0), bins)
    run = (np.logical_and.accumulate(~passed) & hit).sum(axis=0)
    share = hit_bins / observed_bins
    columns = (hit_bins, observed_bins, share, hits / (hits + passes), recent, hit_age, pass_age, run)
    return Evidence(columns=columns, recent=recent, pooled=(share, recent, observed_bins))


def moments(points: NDArray[np.float64], sums: NDArray[np.float64]) -> tuple[Column, ...]:
    """Mean and covariance of the returns, mean and variance of their intensity.

    points : (N,); sums : (11, N), in units of 1/4096
    """
    mean = sums / (FIXED_ONE * points)
    x, y, z, xx, yy, zz, xy, xz, yz, intensity, square = mean
    spread = (xx - x * x, yy - y * y, zz - z * z, xy - x * y, xz - x * z, yz - y * z)
    return np.log1p(points), x, y, z, *spread, intensity, square - intensity * intensity


def geometry(site: NDArray[np.int64], half_edge_m: float, ego: EgoMotion) -> tuple[Column, ...]:
    """Position seen from the pose now and as forecast, and height above the lowest cell around."""
    point = np.asarray(site * half_edge_m, np.float64)
    return (*_place(ego.pose, point), *_place(ego.forecast_pose, point), *_heights(site))


def _heights(site: NDArray[np.int64]) -> tuple[Column, Column]:
    """Half edges above the lowest cell of the same column, and of the 3 x 3 columns around."""
    x, y, z = site
    column, row = np.unique(((x >> 1) << 32) + (y >> 1), return_inverse=True)
    lowest = np.full(len(column), BIAS, np.int64)
    np.minimum.at(lowest, row, z)
    around = lowest.copy()
    for dx in (-1, 0, 1):
        for dy in (-1, 0, 1):
            other = column + (dx << 32) + dy
            place = np.minimum(np.searchsorted(column, other), len(column) - 1)
            np.minimum(around, np.where(column[place] == other, lowest[place], BIAS), out=around)
    return z - lowest[row], z - around[row]


def _place(pose: NDArray[np.float64], point: NDArray[np.float64]) -> tuple[Column, ...]:
    """Points in the sensor frame, metres, then range and the sine of the elevation."""
    matrix = pose.reshape(3, 4)
    local = matrix[:, :3].T @ (point - matrix[:, 3:])
    reach = np.sqrt((local * local).sum(axis=0))
    return *local, reach, local[2] / np.maximum(reach, 1e-12)


def neighborhood(
    neighbors: NDArray[np.int32], before: NDArray[np.uint8], recent: Column
) -> tuple[Column, ...]:
    """Share of neighbours in the window, share of them hit in the newest bin, and their mean evidence."""
    count = neighbors.shape[1]
    present = (neighbors < len(before)).sum(axis=1)
    hit = np.append(before == 2, False)[neighbors].sum(axis=1)
    total = np.append(recent, np.float32(0))[neighbors].sum(axis=1)
    return present / count, hit / count, total / np.maximum(present, 1)


def shape(
    spread: NDArray[np.float64], site: NDArray[np.int64], half_edge_m: float, ego: EgoMotion
) -> tuple[Column, ...]:
    """Normal of the local surface against up and both lines of sight, then ratios of its eigenvalues.

    spread : (N, 3, 3), from ``pooled_covariance``; site : (3, N). The batched eigh is what one would write;
    it takes about a third of the time of all columns.
    """
    values, vectors = np.linalg.eigh(spread)
    normal = np.ascontiguousarray(vectors[:, :, 0].T)
    point = np.asarray(site * half_edge_m, np.float64)
    least, middle, most = np.maximum(values.T, 0)
    largest, total = np.where(most > 0, most, 1), least + middle + most
    return (
        np.abs(normal[2]),
        _view_cosine(ego.pose, point, normal),
        _view_cosine(ego.forecast_pose, point, normal),
        (middle - least) / largest,
        (most - middle) / largest,
        least / np.where(total > 0, total, 1),
    )


def _view_cosine(
    pose: NDArray[np.float64], point: NDArray[np.float64], normal: NDArray[np.float64]
) -> Column:
    """Cosine between the normals (3, N) and the lines from a pose's origin to the points (3, N)."""
    line = point - pose.reshape(3, 4)[:, 3:]
    reach = np.sqrt((line * line).sum(axis=0))
    return np.abs((line * normal).sum(axis=0)) / np.where(reach > 0, reach, 1)


def pooled_covariance(
    points: NDArray[np.float64],
    sums: NDArray[np.float64],
    neighbors: NDArray[np.int32],
    shifts: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Covariance of the returns of each cell and its neighbours, (N, 3, 3), square half edges.

    points, sums : as for ``moments``; neighbors : (N, 14); shifts : (14, 10, 10), from ``moment_shifts``
    """
    table = np.zeros((len(points) + 1, 10))  # the last row is that of absent neighbours
    table[:-1, 0] = points
    table[:-1, 1:] = sums[:9].T / FIXED_ONE
    pooled = table[:-1].copy()
    for place, shift in enumerate(shifts):
        pooled += np.take(table, neighbors[:, place], axis=0) @ shift
    mean = pooled[:, 1:4] / pooled[:, :1]
    spread = np.empty((len(points), 3, 3))
    for place, (a, b) in enumerate(PAIRS, start=4):
        spread[:, a, b] = spread[:, b, a] = pooled[:, place] / pooled[:, 0] - mean[:, a] * mean[:, b]
    return spread


def moment_shifts(offsets: NDArray[np.int64]) -> NDArray[np.float64]:
    """What moves moments about one site to another, (M, 10, 10): rows of moments are multiplied by it.

    offsets : (M, 3), of the site the moments are about from the one they shall be about
    """
    shifts = np.tile(np.eye(10), (len(offsets), 1, 1))
    shifts[:, 0, 1:4] = offsets
    for place, (a, b) in enumerate(PAIRS, start=4):
        shifts[:, 0, place] = offsets[:, a] * offsets[:, b]
        shifts[:, 1 + b, place] += offsets[:, a]
        shifts[:, 1 + a, place] += offsets[:, b]
    return shifts


def coarse(site: NDArray[np.int64], sources: tuple[Column, ...]) -> tuple[Column, ...]:
    """Means of the sources over the cells with the same parent, then over those with the same grandparent.

    site : (3, N). The second level pools what the first has summed.
    """
    columns: list[Column] = []
    totals = np.array((*sources, np.ones_like(sources[0])), np.float64)
    group = np.arange(site.shape[1])
    for _ in range(COARSER):
        parent = lattice.parent(np.ascontiguousarray(site.T, np.int32)).T.astype(np.int64)
        key, row = np.unique(pack(parent), return_inverse=True)
        totals = np.stack([np.bincount(row, total, len(key)) for total in totals])
        group, site = row[group], unpack(key)
        columns += list((totals[:-1] / totals[-1])[:, group])
    return tuple(columns)
