"""A test that may be looked at after every observation, and is wrong no more often for it."""

from __future__ import annotations

import numpy as np
import pytest

from models.scores.sequential import FIRST, MeanOverTime

RUNS, LENGTH = 400, 600


def looked_at_all_the_time(shift: float, seed: int) -> list[int | None]:
    """When each run was called different from 0 first, looked at after each observation; skewed noise."""
    found: list[int | None] = []
    noise = np.random.default_rng(seed).exponential(1.0, (RUNS, LENGTH)) - 1.0
    for run in noise + shift:
        own, first = MeanOverTime(alpha=0.05), None
        for value in run.tolist():
            own.add(value)
            if own.p_value <= 0.05:
                first = own.n
                break
        found.append(first)
    return found


def test_no_difference_is_found_in_at_most_one_of_twenty_runs_however_often_one_looks() -> None:
    wrong = sum(first is not None for first in looked_at_all_the_time(0.0, seed=1))
    assert wrong / RUNS <= 0.07, "0.05, and two standard errors of 400 runs"


def test_a_z_test_that_is_looked_at_all_the_time_is_wrong_much_more_often() -> None:
    """What this is there to avoid."""
    values = np.random.default_rng(1).normal(size=(RUNS, LENGTH))
    n = np.arange(1, LENGTH + 1)
    z = np.abs(values.cumsum(axis=1)) / np.sqrt(n)
    assert (z[:, FIRST:] > 1.96).any(axis=1).mean() > 0.2


def test_a_difference_is_found_and_sooner_the_larger_it_is() -> None:
    small, large = looked_at_all_the_time(0.25, seed=2), looked_at_all_the_time(0.6, seed=2)
    assert sum(first is not None for first in small) > 0.95 * RUNS
    assert all(first is not None for first in large)
    assert np.mean([first for first in large if first]) < np.mean([first for first in small if first]) / 2


def test_the_interval_and_the_p_value_say_the_same() -> None:
    own = MeanOverTime()
    lowest = 1.0
    for value in np.random.default_rng(3).normal(0.3, 1.0, 500).tolist():
        own.add(value)
        interval = own.interval()
        if own.n < FIRST:
            assert interval is None and own.p_value == 1.0
            continue
        assert interval is not None and interval.low < own.mean < interval.high
        lowest = min(lowest, own.p_value)
        if not interval.low <= 0.0 <= interval.high:
            assert own.p_value <= 0.05
    assert own.p_value == lowest < 0.05
    assert own.mean == pytest.approx(np.random.default_rng(3).normal(0.3, 1.0, 500).mean())
    assert own.deviation == pytest.approx(np.random.default_rng(3).normal(0.3, 1.0, 500).std(ddof=1))


def test_what_never_varies_is_no_difference_unless_it_is_one() -> None:
    same, other = MeanOverTime(), MeanOverTime()
    for _ in range(FIRST):
        same.add(0.0)
        other.add(0.1)
    assert same.p_value == 1.0
    assert other.p_value < 1e-9
