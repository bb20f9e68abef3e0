"""Azimuths within a range, however many turns lie between."""

from __future__ import annotations

import numpy as np
import pytest

from models.training.sector import within


@pytest.mark.parametrize("turns", [0, 1, 10_000_000])
def test_a_range_is_found_after_any_number_of_turns(turns: int) -> None:
    """The guard turns its sector with each comparison, for months: float32 does not hold that many turns."""
    azimuth = np.linspace(-np.pi, np.pi, 1001, dtype=np.float32)
    centre = 2.0 + 2 * np.pi * turns
    inside = within(azimuth, centre, 0.5)
    assert np.abs(azimuth[inside] - 2.0).max() <= 0.2501
    assert inside.sum() == pytest.approx(1000 * 0.5 / (2 * np.pi), abs=2)
