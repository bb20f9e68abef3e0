"""Beams cast through cells one cell at a time, every beam against every cell, in the core's precision."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.grid import Grid
from tests.native.oracle import BOUNDS, F32, F64

WHOLE = 32768


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Beams that reach each cell and that end in it, in shares of 1/32768."""

    reached: list[int]
    ended: list[int]


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


def cast(
    grid: Grid, sites: NDArray[np.int32], stop: F32, beams: NDArray[np.int16], forecast_pose: F64
) -> Cast:
    """Cast the beams through the cells in order of range, then of row.

    sites : (N, 3), by row; stop : (N,), share of the beams crossing a cell that end in it
    """
    reached, ended = [0] * len(sites), [0] * len(sites)
    origin = forecast_pose.reshape(3, 4)[:, 3] / grid.half_edge_m
    if not ((origin >= -32768) & (origin <= 32767)).all():
        return Cast(reached=reached, ended=ended)
    home = 2 * np.floor(origin / 2 + 0.5).astype(np.int64)
    start = (origin - home).astype(np.float32)
    away = (sites - home).astype(np.float64) - start.astype(np.float64)
    order = sorted(range(len(sites)), key=lambda i: int((away[i] ** 2).cumsum()[-1] * 1024))
    along = slabs(directions(grid, beams, forecast_pose))
    left = np.full(len(along), WHOLE, np.int64)
    for i in order:
        center = (sites[i] - home).astype(np.float32) - start
        share = np.where(crossed(along, center), left, 0)
        ends = share * int(stop[i] * np.float32(WHOLE - 1)) >> 15
        left -= ends
        reached[i], ended[i] = int(share.sum()), int(ends.sum())
    return Cast(reached=reached, ended=ended)
