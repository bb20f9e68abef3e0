"""What is known of the forecasts in one region of the map, over a whole run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.probability import GRID
from models.scores.tally import Decomposition, Tally


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Course:
    """Loss of one region over its sweeps: place float64 (S,), rows int64 (S,), mean loss float64 (S,), nats.

    place : of the sweep among the scored ones of the run, from 1
    """

    place: NDArray[np.int64]
    rows: NDArray[np.int64]
    loss: NDArray[np.float64]

    @property
    def drift(self) -> float | None:
        """Mean loss in the later half of the region's sweeps minus the earlier half; None below four sweeps.

        The mean is over sweeps, so that one in which much was seen does not decide alone.
        """
        half = len(self.loss) // 2
        return float(self.loss[half:].mean() - self.loss[:half].mean()) if half >= 2 else None

    def binned(self, bins: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Place and mean loss over rows of at most ``bins`` equal stretches; float64 (B,) each."""
        group = np.arange(len(self.loss)) * min(bins, len(self.loss)) // max(len(self.loss), 1)
        rows = np.bincount(group, self.rows)
        loss = np.bincount(group, self.loss * self.rows) / rows
        return np.bincount(group, self.place) / np.bincount(group), loss


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RegionErrors:
    """What is known of the forecasts in one region, over predictions whose outcome sweep came.

    region : coarse cell id; x, y, z : mean position of what was forecast, metres
    cells : different ones; due : forecasts; observed : of these, those whose cell the later sweep observed
    sweeps : with an observed cell; first, last : place of its first and last sweep among the scored ones
    tally : the observed forecasts; parts : of their Brier score; flips : share of observations of a cell that
        contradict the one before; None where no cell was observed twice
    """

    region: int
    x: float
    y: float
    z: float
    cells: int
    due: int
    first: int
    last: int
    tally: Tally
    course: Course
    flips: float | None

    @property
    def observed(self) -> int:
        """Forecasts with an outcome."""
        return self.tally.n

    @property
    def sweeps(self) -> int:
        """Sweeps in which a forecast has an outcome."""
        return len(self.course.place)

    @property
    def coverage(self) -> float:
        """Share of forecasts that have an outcome, 0..1."""
        return self.observed / self.due

    @property
    def loss(self) -> float | None:
        """Mean log loss, nats."""
        return self.tally.log_loss()

    @property
    def excess(self) -> float | None:
        """Loss beyond what the forecasts expected of themselves: above 0 they were too sure."""
        loss, entropy = self.tally.log_loss(), self.tally.entropy()
        return None if loss is None or entropy is None else loss - entropy

    @property
    def forecast(self) -> float | None:
        """Mean probability of the observed forecasts."""
        rows = self.tally.positives + self.tally.negatives
        return float(np.sum(self.tally.k * rows) / (GRID * self.observed)) if self.observed else None

    @property
    def occupied(self) -> float | None:
        """Share of the observed forecasts that came true."""
        return float(self.tally.positives.sum() / self.observed) if self.observed else None

    @property
    def gap(self) -> float | None:
        """Mean forecast minus share that came true: above 0 too much was forecast."""
        forecast, occupied = self.forecast, self.occupied
        return None if forecast is None or occupied is None else forecast - occupied

    @property
    def parts(self) -> Decomposition | None:
        """Brier score by reliability and resolution."""
        return self.tally.decomposition()

    @property
    def drift(self) -> float | None:
        """See ``Course.drift``."""
        return self.course.drift


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellErrors:
    """The cells of one region over a run.

    cell_id : uint64 (N,), ascending; position : float64 (N, 3), metres
    due, observed : int64 (N,), forecasts, and those with an outcome
    occupied, forecast, loss : float64 (N,), means over these, NaN without any
    """

    cell_id: NDArray[np.uint64]
    position: NDArray[np.float64]
    due: NDArray[np.int64]
    observed: NDArray[np.int64]
    occupied: NDArray[np.float64]
    forecast: NDArray[np.float64]
    loss: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Pixels:
    """The map from above: squares of ``side_m`` metres, columns of cells summed.

    x, y : float64 (P,), centre, metres; due, observed, occupied : int64 (P,), counts
    loss, forecast : float64 (P,), means over observed forecasts, NaN without any
    """

    side_m: float
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    due: NDArray[np.int64]
    observed: NDArray[np.int64]
    occupied: NDArray[np.int64]
    loss: NDArray[np.float64]
    forecast: NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ErrorTable:
    """The error map of a run at one horizon.

    regions : ascending by id; lod : theirs; half_edge_m : of a region
    stamp_ns : int64 (S,), of the predictions after the warm-up that have outcomes, in order of their place
    unjudged : predictions without, because the log ended or sweeps are missing; these count nowhere
    """

    horizon_ns: int
    lod: int
    half_edge_m: float
    stamp_ns: NDArray[np.int64]
    unjudged: int
    regions: list[RegionErrors]
    pixels: Pixels
