"""Slopes and their intervals, of series whose growth is known."""

from __future__ import annotations

import numpy as np
import pytest

from tests.soak.slope import BATCHES, slope_of

AT_S = np.arange(0.0, 3600.0, 5.0)


def test_a_line_has_its_slope_and_no_width() -> None:
    found = slope_of(AT_S, 100.0 + 7.0 * AT_S / 3600)
    assert found is not None
    assert (found.per_hour, found.low, found.high) == pytest.approx((7.0, 7.0, 7.0))


def test_what_stays_as_it_is_grows_by_nothing() -> None:
    found = slope_of(AT_S, np.full(len(AT_S), 22.0))
    assert found is not None
    assert (found.per_hour, found.low, found.high) == (0.0, 0.0, 0.0)


def test_intervals_hold_the_truth_as_often_as_they_say_where_neighbours_resemble_each_other() -> None:
    """Readings that wander for a minute; a line through all of them would be far too sure."""
    random = np.random.default_rng(5)
    held = 0
    for _ in range(400):
        noise = np.zeros(len(AT_S))
        for place, step in enumerate(random.normal(size=len(AT_S) - 1), start=1):
            noise[place] = 0.92 * noise[place - 1] + step
        found = slope_of(AT_S, 50.0 + 3.0 * AT_S / 3600 + noise)
        assert found is not None
        held += found.low <= 3.0 <= found.high
    assert 0.92 <= held / 400 <= 0.98


def test_a_leak_is_told_from_a_sawtooth() -> None:
    sawtooth = 20.0 * ((AT_S % 97) / 97)
    still, leaking = slope_of(AT_S, sawtooth), slope_of(AT_S, sawtooth + 30.0 * AT_S / 3600)
    assert still is not None
    assert leaking is not None
    assert still.low <= 0 <= still.high
    assert leaking.low > 0


@pytest.mark.parametrize("count", [0, 1, 2 * BATCHES - 1])
def test_too_few_readings_have_no_slope(count: int) -> None:
    assert slope_of(AT_S[:count], AT_S[:count]) is None


def test_a_batch_without_readings_leaves_no_slope() -> None:
    at_s = np.concatenate([AT_S[:50], AT_S[-50:]])
    assert slope_of(at_s, at_s) is None
