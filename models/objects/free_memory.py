"""Which cells rays went through lately, and which were hit: a map of counts that fade."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from stream.cell_rows import locate

Ids = NDArray[np.uint64]


class FreeMemory:
    """Sweeps that saw through each cell, and sweeps that hit it, with weights that halve.

    half_life_s : after so long a sweep counts half
    least : cells with less weight in all are forgotten
    A function of what is told, in order; a cell costs 16 bytes.
    """

    def __init__(self, half_life_s: float = 2.0, least: float = 0.2) -> None:
        self._half_life_s, self._least = half_life_s, least
        self._cell_id = np.zeros(0, np.uint64)
        self._free, self._hit = np.zeros(0, np.float32), np.zeros(0, np.float32)
        self._stamp_ns: int | None = None

    def __len__(self) -> int:
        return len(self._cell_id)

    def share_free(self, cell_id: Ids, least: float) -> NDArray[np.float32]:
        """Share of the sweeps that saw through a cell, of those that saw it, float32 (N,).

        cell_id : uint64 (N,), in any order; least : cells with less weight in all have 0
        """
        row, known = locate(self._cell_id, cell_id)
        share = np.zeros(len(cell_id), np.float32)
        free, seen = self._free[row[known]], (self._free + self._hit)[row[known]]
        share[known] = np.where(seen >= least, free / np.maximum(seen, 1e-6), 0.0)
        return share

    def see(self, stamp_ns: int, hit: Ids, free: Ids) -> None:
        """Count one sweep. hit, free : uint64, ascending; a cell that is hit is not seen through"""
        fade = 1.0
        if self._stamp_ns is not None:
            fade = 0.5 ** (max(stamp_ns - self._stamp_ns, 0) * 1e-9 / self._half_life_s)
        self._stamp_ns = stamp_ns
        cells = _union(_union(self._cell_id, hit), free)
        counts = np.zeros((2, len(cells)), np.float32)
        old = np.searchsorted(cells, self._cell_id)
        counts[0, old], counts[1, old] = self._free * np.float32(fade), self._hit * np.float32(fade)
        _, is_hit = locate(hit, free)
        counts[0, np.searchsorted(cells, free[~is_hit])] += 1
        counts[1, np.searchsorted(cells, hit)] += 1
        kept = counts.sum(0) >= self._least
        self._cell_id, self._free, self._hit = cells[kept], counts[0, kept], counts[1, kept]


def _union(a: Ids, b: Ids) -> Ids:
    """Union of two ascending arrays without repeats."""
    _, known = locate(a, b)
    union = np.concatenate([a, b[~known]])
    union.sort(kind="stable")  # two runs: a merge
    return union
