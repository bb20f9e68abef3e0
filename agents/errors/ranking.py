"""Which regions are the worst, by one measure or another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from models.scores.region_errors import ErrorTable, RegionErrors

By = Literal["loss", "calibration", "coverage", "drift"]

MEASURES: dict[By, Callable[[RegionErrors], float | None]] = {
    "loss": lambda region: region.loss,
    "calibration": lambda region: None if region.gap is None else abs(region.gap),
    "coverage": lambda region: 1 - region.coverage,
    "drift": lambda region: region.drift,
}
"""By name, the more the worse; None where a region has no such value."""

LEAST = 30


def enough(table: ErrorTable) -> float:
    """Forecasts with an outcome that a region needs to be ranked: a tenth of the mean, at least LEAST.

    Below, chance decides: the mean of so few says little.
    """
    counts = [region.observed for region in table.regions if region.observed]
    return max(float(LEAST), 0.1 * float(np.mean(counts))) if counts else float(LEAST)


def ranked(table: ErrorTable, by: By = "loss") -> list[RegionErrors]:
    """All regions, the worst first; those with too few outcomes (for coverage: forecasts) last."""
    bound = enough(table)

    def key(region: RegionErrors) -> tuple[bool, float, int]:
        value = MEASURES[by](region)
        count = region.due if by == "coverage" else region.observed
        return (count < bound or value is None, -(value or 0.0), region.region)

    return sorted(table.regions, key=key)


def worst(table: ErrorTable, count: int, by: By = "loss") -> list[RegionErrors]:
    """The worst ``count`` of the regions that have enough to be ranked and a value above 0."""
    bound = enough(table)
    found = []
    for region in ranked(table, by):
        value = MEASURES[by](region)
        if (region.due if by == "coverage" else region.observed) < bound or value is None or value <= 0:
            break
        found.append(region)
    return found[:count]
