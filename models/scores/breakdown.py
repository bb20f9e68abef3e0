"""The scores of one predictor seen three more ways: by range, of the last sweeps, and fading."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.scores.coarse import CoarseCounts, CoarseSweep
from models.scores.recent import FadingScores, WindowedScores

RANGE_EDGES_M = (10.0, 20.0, 30.0, 40.0, 60.0)
"""Between bands of range; the last band is open."""
WINDOW_SWEEPS = 50
HALF_LIFE_SWEEPS = 20.0


def band_names() -> list[str]:
    """Bands by their edges, metres: ``0-10``, ..., ``60-``."""
    edges = [f"{edge:g}" for edge in RANGE_EDGES_M]
    return [f"{low}-{high}" for low, high in zip(["0", *edges], [*edges, ""], strict=True)]


class Breakdown:
    """Half a MiB by band, and some 2 MiB for the window, with 10,000 observed cells a sweep."""

    def __init__(self) -> None:
        self._bands: dict[int, CoarseCounts] = {}
        self._windowed = WindowedScores(WINDOW_SWEEPS)
        self._fading = FadingScores(HALF_LIFE_SWEEPS)

    def add(
        self,
        probability: NDArray[np.float32],
        occupied: NDArray[np.bool_],
        before: NDArray[np.uint8],
        range_m: NDArray[np.float64] | None,
    ) -> None:
        """Add the observed cells of one sweep.

        range_m : float64 (M,), metres from the sensor at the time of the forecast; None where that is unknown
        """
        sweep = CoarseSweep(probability, occupied, before)
        rows = sweep.rows()
        self._windowed.add(rows)
        self._fading.add(rows)
        if range_m is None:
            return
        band = np.searchsorted(RANGE_EDGES_M, range_m, side="right")
        for place in np.unique(band).tolist():
            self._bands.setdefault(place, CoarseCounts()).add(sweep.rows(band == place))

    def by_range(self) -> dict[str, dict[str, float | None]]:
        """Scores by band, nearest first; bands without a row are left out."""
        names = band_names()
        return {names[place]: self._bands[place].scores() for place in sorted(self._bands)}

    def windowed(self) -> dict[str, float | None]:
        """Scores of the last sweeps."""
        return self._windowed.scores()

    def fading(self) -> dict[str, float | None]:
        """Scores of all sweeps, old ones fading."""
        return self._fading.scores()

    def state(self) -> dict[str, Any]:
        """Plain values; ``from_state`` is the exact inverse."""
        return {
            "bands": {str(place): counts.state() for place, counts in self._bands.items()},
            "windowed": self._windowed.state(),
            "fading": self._fading.state(),
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Breakdown:
        """Rebuild from ``state``."""
        breakdown = cls()
        breakdown._bands = {int(n): CoarseCounts.from_state(v) for n, v in state["bands"].items()}
        breakdown._windowed = WindowedScores.from_state(state["windowed"])
        breakdown._fading = FadingScores.from_state(state["fading"])
        return breakdown
