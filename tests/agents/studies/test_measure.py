"""Measures over scores by sweep, against what can be counted by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from agents.studies.measure import common, excess, mean, smooth, time_to_recover

NAN = float("nan")


def test_means_skip_what_is_not_known() -> None:
    values = np.array([1.0, NAN, 3.0, 5.0])
    assert mean(values) == 3
    assert mean(values, 1, 3) == 3
    assert math.isnan(mean(values, 1, 2))


def test_comparisons_are_of_sweeps_that_both_have() -> None:
    values, reference = np.array([9.0, 2.0, 3.0]), np.array([NAN, 1.0, 2.0])
    own, other = common(values, reference)
    assert np.isnan(own[0])
    assert np.isnan(other[0])
    assert excess(values, reference) == pytest.approx(2.5 / 1.5 - 1)
    assert excess(values, reference, 2) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([1.0] * 30, 0),
        ([1.04] * 30, 0),
        ([1.06] * 30, None),
        ([2.0] * 12 + [1.0] * 18, 12),
        ([2.0] * 27 + [1.0] * 3, None),
        ([2.0] * 11 + [1.3] + [1.0] * 18, 12),
    ],
)
def test_recovered_is_the_first_window_within_the_margin(values: list[float], expected: int | None) -> None:
    reference = np.ones(30)
    assert time_to_recover(np.array(values), reference, 0, within=0.05, window=5) == expected


def test_recovery_counts_from_the_change() -> None:
    values = np.array([1.0] * 10 + [2.0] * 10 + [1.0] * 10)
    assert time_to_recover(values, np.ones(30), 10, window=5) == 10


def test_smoothing_looks_back() -> None:
    values = np.array([1.0, 2.0, NAN, 6.0])
    assert smooth(values, 2).tolist() == [1.0, 1.5, 2.0, 6.0]
