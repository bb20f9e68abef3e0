"""What the report keeps of a run while its sweeps pass by: curves, calibration, loss by cell and region."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from agents.report.scored import ONLINE, ScoredSweep
from models.probability import quantise
from models.scores.histogram import ScoreHistogram
from models.scores.regions import ErrorMap
from models.scores.tally import sweep_score, tally_of
from native.index64 import ancestor, decode

MAX_CELLS = 100_000


@dataclass(slots=True)
class Curve:
    """Scores by sweep of one name: ``index`` of the sweep, average precision (NaN without one), log loss."""

    index: list[int] = field(default_factory=list)
    average_precision: list[float] = field(default_factory=list)
    log_loss: list[float] = field(default_factory=list)


class CellLosses:
    """Loss of the served model by cell over the run, in bounded memory.

    Above ``max_cells`` a growing share of the cells, picked by a hash of the id, is dropped; ``kept`` says
    what share is left. ``cell_id`` is uint64 (N,), ascending; ``sums`` float64 (N, 2) holds the number of
    outcomes and the summed loss in nats.
    """

    def __init__(self, max_cells: int = MAX_CELLS) -> None:
        self._max_cells = max_cells
        self._halvings = 0
        self.cell_id = np.zeros(0, np.uint64)
        self.sums = np.zeros((0, 2))

    @property
    def kept(self) -> float:
        """Share of the run's cells that is kept, 0..1."""
        return 0.5**self._halvings

    @property
    def mean(self) -> NDArray[np.float32]:
        """Mean loss by cell, nats, float32 (N,)."""
        return (self.sums[:, 1] / self.sums[:, 0]).astype(np.float32)

    def add(self, cell_id: NDArray[np.uint64], loss: NDArray[np.float64]) -> None:
        """Add one sweep's observed cells; loss in nats, float64 (M,)."""
        keep = self._chosen(cell_id)
        rows = np.column_stack([np.ones(int(keep.sum())), loss[keep]])
        ids, inverse = np.unique(np.concatenate([self.cell_id, cell_id[keep]]), return_inverse=True)
        merged = np.concatenate([self.sums, rows])
        self.sums = np.stack([np.bincount(inverse, merged[:, i], len(ids)) for i in range(2)], 1)
        self.cell_id = ids
        while len(self.cell_id) > self._max_cells:
            self._halvings += 1
            keep = self._chosen(self.cell_id)
            self.cell_id, self.sums = self.cell_id[keep], self.sums[keep]

    def _chosen(self, cell_id: NDArray[np.uint64]) -> NDArray[np.bool_]:
        mixed = (cell_id * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(40)
        chosen: NDArray[np.bool_] = mixed % np.uint64(1 << self._halvings) == 0
        return chosen


@dataclass(slots=True)
class RunTally:
    """Everything that needs outcomes.

    region_levels : regions are ancestors so many LODs coarser than cells
    curves : by name, warm-up included; scores, cells, regions : after the warm-up
    last : the newest sweep with outcomes
    """

    region_levels: int
    curves: dict[str, Curve] = field(default_factory=dict)
    scores: dict[str, ScoreHistogram] = field(default_factory=dict)
    cells: CellLosses = field(default_factory=CellLosses)
    regions: ErrorMap = field(default_factory=ErrorMap)
    last: ScoredSweep | None = None

    def add(self, sweep: ScoredSweep, *, counts: bool) -> None:
        """Fold one sweep; ``counts`` where it is past the warm-up.

        Raises IdError where a cell id is none.
        """
        self.last = sweep
        for name, values in sweep.probability.items():
            given = sweep.observed & np.isfinite(values)
            if not given.any():
                continue
            occupied, probability = sweep.occupied[given], quantise(values[given])
            self._fold(name, sweep.index, probability, occupied, counts=counts)
            if name == ONLINE and counts:
                self._place(sweep.cell_id[given], probability, occupied)

    def _fold(self, name: str, index: int, probability: NDArray[np.float32], occupied: NDArray[np.bool_], *,
              counts: bool) -> None:  # fmt: skip
        tally = tally_of(probability, occupied)
        score, curve = sweep_score(tally), self.curves.setdefault(name, Curve())
        curve.index.append(index)
        for values, part in (
            (curve.average_precision, score.average_precision),
            (curve.log_loss, score.log_loss),
        ):
            values.append(float("nan") if part is None else part)
        if counts:
            self.scores.setdefault(name, ScoreHistogram()).add_tally(tally)

    def _place(self, cell_id: NDArray[np.uint64], probability: NDArray[np.float32],
               occupied: NDArray[np.bool_]) -> None:  # fmt: skip
        self.cells.add(cell_id, log_losses(occupied, probability))
        lod = max(0, int(decode(cell_id[:1]).lod[0]) - self.region_levels)
        self.regions.add(ancestor(cell_id, lod), probability, occupied)


def log_losses(occupied: NDArray[np.bool_], probability: NDArray[np.float32]) -> NDArray[np.float64]:
    """Log loss by row in nats; probability strictly inside 0..1; float64 (N,)."""
    p = probability.astype(np.float64)
    loss: NDArray[np.float64] = -np.log(np.where(occupied, p, 1 - p))
    return loss
