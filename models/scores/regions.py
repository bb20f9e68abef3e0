"""Where the forecasts go wrong: scores summed by region of the map."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SCALE = 2**24
"""Sums are integers in units of 2^-24, so that they do not depend on order: 3e-8 of rounding a row,
and at the largest loss of a grid probability (11.8 nats) room for 4e10 rows in one region."""

_COLUMNS = ("n", "log_loss", "brier", "probability", "occupied")
_N, _LOSS = 0, 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionError:
    """Means over the scored rows of one region.

    region : coarse cell id; n : rows; log_loss : nats; brier; probability : mean forecast;
    occupied : share that came true
    """

    region: int
    n: int
    log_loss: float
    brier: float
    probability: float
    occupied: float


class ErrorMap:
    """Sums of errors by region id, bounded.

    max_regions : regions held at most, >= 1. When full, the regions with the fewest rows go first, but those
        touched by the newest addition go last, so that a robot that drives into new terrain is not shut out
    ``evicted_regions`` and ``evicted_rows`` count what was dropped. Until something is evicted the map does
    not depend on the order of additions and merges.
    """

    def __init__(self, max_regions: int = 65_536) -> None:
        if max_regions < 1:
            raise ValueError(f"max_regions: must be >= 1, got {max_regions}")
        self._max = max_regions
        self._region: NDArray[np.uint64] = np.zeros(0, dtype=np.uint64)  # ascending
        self._sums: NDArray[np.int64] = np.zeros((0, len(_COLUMNS)), dtype=np.int64)
        self.evicted_regions = 0
        self.evicted_rows = 0

    def __len__(self) -> int:
        return len(self._region)

    def add(
        self, region: NDArray[np.uint64], probability: NDArray[np.float32], occupied: NDArray[np.bool_]
    ) -> None:
        """Add scored rows.

        region : uint64 (M,), any order, repeats allowed; probability : float32 (M,), strictly inside 0..1
        occupied : bool (M,)
        Raises ValueError when lengths differ or a probability is not strictly between 0 and 1
        """
        if not region.shape == probability.shape == occupied.shape:
            raise ValueError(
                f"region: lengths differ: region {region.shape}, probability {probability.shape}, "
                f"occupied {occupied.shape}"
            )
        p = probability.astype(np.float64)
        if not np.all((p > 0) & (p < 1)):
            raise ValueError("probability: must lie strictly between 0 and 1; pass it through quantise()")
        loss = -np.log(np.where(occupied, p, 1.0 - p))
        rows = np.empty((len(p), len(_COLUMNS)), dtype=np.int64)
        rows[:, _N] = 1
        for column, values in enumerate((loss, np.square(p - occupied), p), start=_LOSS):
            rows[:, column] = np.rint(values * SCALE)
        rows[:, 4] = occupied
        names, inverse = np.unique(region, return_inverse=True)
        sums = np.zeros((len(names), len(_COLUMNS)), dtype=np.int64)
        np.add.at(sums, inverse, rows)
        self._fold(names, sums)

    def merge(self, other: ErrorMap) -> None:
        """Add all regions of another map, and its eviction counts."""
        self._fold(other._region, other._sums)
        self.evicted_regions += other.evicted_regions
        self.evicted_rows += other.evicted_rows

    def _fold(self, region: NDArray[np.uint64], sums: NDArray[np.int64]) -> None:
        """Add sums by region (ascending, unique) and evict what is too much."""
        union = np.union1d(self._region, region)
        total = np.zeros((len(union), len(_COLUMNS)), dtype=np.int64)
        total[np.searchsorted(union, self._region)] = self._sums
        touched = np.searchsorted(union, region)
        total[touched] += sums
        self._region, self._sums = union, total
        if len(union) > self._max:
            fresh = np.zeros(len(union), dtype=np.bool_)
            fresh[touched] = True
            self._evict(fresh)

    def _evict(self, fresh: NDArray[np.bool_]) -> None:
        order = np.lexsort((self._region, self._sums[:, _N], fresh))
        gone = order[: len(order) - self._max]
        self.evicted_regions += len(gone)
        self.evicted_rows += int(self._sums[gone, _N].sum())
        kept = np.sort(order[len(gone) :])
        self._region, self._sums = self._region[kept], self._sums[kept]

    def arrays(self) -> dict[str, NDArray[Any]]:
        """One row a region, ascending: ``region`` uint64, ``n`` int64, and the means of ``RegionError``."""
        n = self._sums[:, _N]
        table: dict[str, NDArray[Any]] = {"region": self._region.copy(), "n": n.copy()}
        for column, name in enumerate(_COLUMNS[1:], start=_LOSS):
            table[name] = self._sums[:, column] / (n if name == "occupied" else n * float(SCALE))
        return table

    def worst(self, count: int, min_rows: int = 1) -> list[RegionError]:
        """The regions with the highest mean log loss among those with at least ``min_rows`` rows.

        Highest first; equal losses in order of region id. At most ``count``.
        """
        table = self.arrays()
        order = np.lexsort((table["region"], -table["log_loss"]))
        order = order[table["n"][order] >= min_rows][: max(count, 0)]
        return [
            RegionError(
                region=int(table["region"][row]),
                n=int(table["n"][row]),
                log_loss=float(table["log_loss"][row]),
                brier=float(table["brier"][row]),
                probability=float(table["probability"][row]),
                occupied=float(table["occupied"][row]),
            )
            for row in order
        ]

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "max_regions": self._max,
            "region": self._region.copy(),
            "sums": self._sums.copy(),
            "evicted_regions": self.evicted_regions,
            "evicted_rows": self.evicted_rows,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> ErrorMap:
        """Rebuild from ``state``."""
        errors = cls(int(state["max_regions"]))
        errors._region = np.array(state["region"], dtype=np.uint64)
        errors._sums = np.array(state["sums"], dtype=np.int64).reshape(-1, len(_COLUMNS))
        errors.evicted_regions = int(state["evicted_regions"])
        errors.evicted_rows = int(state["evicted_rows"])
        return errors
