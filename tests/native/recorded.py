"""Recorded sweeps as arrays, read without the code under test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.binning import Binner, Bins
from native.grid import Grid
from native.visibility import Rays
from tests.data import data_path
from tests.native.oracle import F32, F64, NO_SUMS, Record

FIELDS = "x y z intensity"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """One KITTI sweep: points (N, 3) m, intensity (N,) 0..1, pose matrix (12,)."""

    points: F32
    intensity: F32
    pose: F64


def sweep(number: int) -> Sweep:
    """A sweep of ``kitti_pcd``; the payload is followed by padding, so POINTS decides."""
    content = data_path(f"kitti_pcd/{number:010}.pcd").read_bytes()
    start = content.index(b"DATA binary\n") + len(b"DATA binary\n")
    header = dict(
        line.split(" ", 1) for line in content[:start].decode().splitlines() if not line.startswith("#")
    )
    assert header["FIELDS"] == FIELDS and header["SIZE"] == "4 4 4 4", header
    table = np.frombuffer(content, "<f4", 4 * int(header["POINTS"]), start).reshape(-1, 4)
    lines = data_path("kitti_pcd/poses.txt").read_text().splitlines()
    return Sweep(
        points=np.ascontiguousarray(table[:, :3]),
        intensity=np.ascontiguousarray(table[:, 3]),
        pose=np.array(lines[number].split(), np.float64),
    )


def record_of(bins: Bins, passes: NDArray[np.uint32], cell_id: NDArray[np.uint64], stamp_ns: int) -> Record:
    """A record of the tested cells; every cell of the bins is among them."""
    hit = dict(
        zip(bins.cell_id.tolist(), zip(bins.hits.tolist(), bins.sums.tolist(), strict=True), strict=True)
    )
    assert hit.keys() <= set(cell_id.tolist())
    cells = {
        cell: (hit[cell][0], p, tuple(hit[cell][1])) if cell in hit else (0, p, NO_SUMS)
        for cell, p in zip(cell_id.tolist(), passes.tolist(), strict=True)
    }
    return Record(stamp_ns=stamp_ns, cells=cells)


def records(grid: Grid, numbers: range, period_ns: int = 100_000_000) -> list[Record]:
    """Records of consecutive sweeps; tested are all cells hit so far."""
    binner, rays = Binner(grid), Rays(grid)
    known, out = np.empty(0, np.uint64), []
    for number in numbers:
        s = sweep(number)
        bins = binner.run(s.points, s.intensity, s.pose)
        rays.load(s.points, s.pose)
        known = np.union1d(known, bins.cell_id)
        out.append(record_of(bins, rays.passes(known), known, number * period_ns))
    return out
