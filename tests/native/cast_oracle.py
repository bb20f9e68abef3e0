"""Beams cast through cells one cell at a time, every beam against every cell, in the core's precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.grid import Grid
from tests.native.oracle import BOUNDS, F32, F64

WHOLE = 32768
NOISE = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Beams that reach each cell and that end in it, in shares of 1/32768; then, in beams, the sums of their
    overlaps with its returns, by what is left of them and whole, and the largest overlap."""

    reached: list[int]
    ended: list[int]
    surface: list[float]
    overlap: list[float]
    best: list[float]


def slabs(v: F32) -> F32:
    """Products with the slab normals, (..., 3) to (..., 7)."""
    x, y, z = v[..., 0], v[..., 1], v[..., 2]
    return np.stack([x, y, z, x + y + z, x + y - z, x - y + z, -x + y + z], axis=-1)


def directions(grid: Grid, beams: NDArray[np.int16], pose: F64) -> F32:
    """Beams other than 0 in half edges and map axes, (B, 3)."""
    turn = (pose.reshape(3, 4)[:, :3] / grid.half_edge_m).astype(np.float32)
    b = beams.astype(np.float32)
    columns = [turn[i, 0] * b[:, 0] + turn[i, 1] * b[:, 1] + turn[i, 2] * b[:, 2] for i in range(3)]
    turned: F32 = np.column_stack(columns)
    some: F32 = turned[(turned != 0).any(axis=1)]
    return some


def crossed(along: F32, center: F32) -> NDArray[np.bool_]:
    """Beams that cross the cell at center ahead of the sensor; along (B, 7) from ``slabs``."""
    bound, middle = BOUNDS.astype(np.float32), slabs(center)
    flat = np.abs(along) < np.float32(1e-30)
    inverse = np.where(flat, np.float32(1e30), np.float32(1) / np.where(flat, np.float32(1), along))
    one, two = (middle - bound) * inverse, (middle + bound) * inverse
    enter, leave = np.minimum(one, two).max(axis=1), np.maximum(one, two).min(axis=1)
    ahead: NDArray[np.bool_] = (enter < leave) & (leave > 0)
    return ahead


def overlaps(beams: F64, mean: F64, returns: F64) -> F64:
    """Density of a cell's returns where each beam (B, 3) comes nearest to their mean (from the sensor),
    relative to that at the mean, NaN if there can be no such returns.

    returns : (10,), count, offset, covariance (xx yy zz xy xz yz)
    """
    n, (xx, yy, zz, xy, xz, yz) = returns[0], returns[4:]
    covariance = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    drawn = (n * covariance + 2 * 0.08 * np.eye(3)) / (n + 2) + NOISE * np.eye(3)
    if np.linalg.eigvalsh(drawn)[0] < NOISE / 2:  # sums that no returns have
        return np.full(len(beams), np.nan)
    whitens = np.linalg.inv(np.linalg.cholesky(drawn))
    sent, middle = beams @ whitens.T, whitens @ mean
    away = middle - ((sent @ middle) / (sent * sent).sum(axis=1))[:, None] * sent
    found: F64 = np.exp(-0.5 * (away * away).sum(axis=1))
    return found


def cast(
    grid: Grid,
    sites: NDArray[np.int32],
    stop: F32,
    returns: F64,
    beams: NDArray[np.int16],
    forecast_pose: F64,
) -> Cast:
    """Cast the beams through the cells in order of range, then of row.

    sites : (N, 3), by row; stop : (N,), share of the beams crossing a cell that end in it
    returns : (N, 10), count, mean offset from the site and covariance of each cell's returns
    """
    reached, ended = [0] * len(sites), [0] * len(sites)
    surface, overlap, best = [0.0] * len(sites), [0.0] * len(sites), [0.0] * len(sites)
    origin = forecast_pose.reshape(3, 4)[:, 3] / grid.half_edge_m
    if not ((origin >= -32768) & (origin <= 32767)).all():
        return Cast(reached=reached, ended=ended, surface=surface, overlap=overlap, best=best)
    home = 2 * np.floor(origin / 2 + 0.5).astype(np.int64)
    start = (origin - home).astype(np.float32)
    away = (sites - home).astype(np.float64) - start.astype(np.float64)
    order = sorted(range(len(sites)), key=lambda i: int((away[i] ** 2).cumsum()[-1] * 1024))
    turned = directions(grid, beams, forecast_pose)
    along = slabs(turned)
    left = np.full(len(along), WHOLE, np.int64)
    for i in order:
        center = (sites[i] - home).astype(np.float32) - start
        crosses = crossed(along, center)
        share = np.where(crosses, left, 0)
        if crosses.any():
            near = overlaps(turned[crosses].astype(np.float64), away[i] + returns[i, 1:4], returns[i])
            surface[i] = float(near @ left[crosses]) / WHOLE
            overlap[i], best[i] = float(near.sum()), float(near.max())
        ends = share * int(stop[i] * np.float32(WHOLE - 1)) >> 15
        left -= ends
        reached[i], ended[i] = int(share.sum()), int(ends.sum())
    return Cast(reached=reached, ended=ended, surface=surface, overlap=overlap, best=best)
