"""Baselines stay calibrated, monotone and on the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression

from models.online.baselines import FrequencyBaseline, PersistenceBaseline, pool_adjacent_violators
from models.probability import GRID, quantise


def on_grid(p):
    return p.dtype == np.float32 and np.array_equal(p, quantise(p)) and np.all((p > 0) & (p < 1))


def history(rows, bins=10, seed=0):
    rng = np.random.default_rng(seed)
    seen = rng.integers(0, bins + 1, rows)
    hits = rng.binomial(seen, 0.6)
    return hits, seen, rng.random(rows) < 0.1 + 0.8 * hits / np.maximum(seen, 1)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0.5, 100)), max_size=40))
def test_pav_is_isotonic_regression(pairs):
    value = np.array([v for v, _ in pairs])
    weight = np.array([w for _, w in pairs])
    fit = pool_adjacent_violators(value, weight)
    assert fit.shape == value.shape
    assert np.all(np.diff(fit) >= 0)
    if len(pairs):
        expected = IsotonicRegression().fit_transform(np.arange(len(value)), value, sample_weight=weight)
        np.testing.assert_allclose(fit, expected, atol=1e-9)


def test_persistence_counts_with_laplace_smoothing():
    baseline = PersistenceBaseline()
    hit = np.array([True, True, True, False])
    assert baseline.predict(hit) is None
    baseline.learn(hit[:0], hit[:0])
    assert baseline.predict(hit) is None
    baseline.learn(hit, np.array([True, True, False, False]))
    found = baseline.predict(np.array([True, False]))
    assert on_grid(found)
    np.testing.assert_allclose(found, [3 / 5, 1 / 3], atol=1 / GRID)


def test_persistence_is_calibrated():
    rng = np.random.default_rng(0)
    hit = rng.random(20_000) < 0.5
    occupied = rng.random(20_000) < np.where(hit, 0.9, 0.2)
    baseline = PersistenceBaseline()
    baseline.learn(hit, occupied)
    found = baseline.predict(hit)
    for state in (True, False):
        assert found[hit == state][0] == pytest.approx(occupied[hit == state].mean(), abs=1e-3)


def test_frequency_is_monotone_and_uses_the_exact_ratio():
    baseline = FrequencyBaseline()
    hits, seen, occupied = history(5000)
    assert baseline.predict(hits, seen) is None
    baseline.learn(hits, seen, occupied)
    found = baseline.predict(hits, seen)
    assert on_grid(found)
    known = seen > 0
    ratio = hits[known] / seen[known]
    assert np.all(np.diff(found[known][np.argsort(ratio, kind="stable")]) >= 0)
    same = baseline.predict(np.array([1, 2, 5]), np.array([2, 4, 10]))
    assert len(set(same.tolist())) == 1


def test_frequency_pools_violators_and_interpolates_unseen_ratios():
    baseline = FrequencyBaseline()
    label = np.array([True] * 8 + [False] * 2)
    baseline.learn(np.full(10, 1), np.full(10, 4), label)  # 1/4 -> 9/12
    baseline.learn(np.full(10, 3), np.full(10, 4), ~label)  # 3/4 -> 3/12, a violation
    baseline.learn(np.full(8, 4), np.full(8, 4), np.ones(8, dtype=np.bool_))  # 1 -> 9/10
    found = baseline.predict(np.array([0, 1, 2, 3, 7, 4]), np.array([4, 4, 4, 4, 8, 4]))
    np.testing.assert_allclose(found, [0.5, 0.5, 0.5, 0.5, 0.7, 0.9], atol=1 / GRID)


def test_frequency_pools_by_row_count():
    baseline = FrequencyBaseline()
    one = np.ones(28, dtype=np.int64)
    baseline.learn(one, one * 4, np.ones(28, dtype=np.bool_))  # 1/4 -> 29/30
    baseline.learn(one[:8], one[:8] * 2, np.zeros(8, dtype=np.bool_))  # 1/2 -> 1/10, a violation
    np.testing.assert_allclose(baseline.predict(one[:2], one[:2] * 4), 30 / 40, atol=1 / GRID)


def test_frequency_keeps_never_observed_cells_apart():
    baseline = FrequencyBaseline()
    zero = np.zeros(8, dtype=np.int64)
    baseline.learn(zero + 1, zero + 1, np.ones(8, dtype=np.bool_))
    assert baseline.predict(zero[:1], zero[:1])[0] == pytest.approx(0.9, abs=1 / GRID)  # overall rate
    baseline.learn(zero, zero, np.zeros(8, dtype=np.bool_))
    assert baseline.predict(zero[:1], zero[:1])[0] == pytest.approx(0.1, abs=1 / GRID)
    assert baseline.predict(zero[:1] + 1, zero[:1] + 1)[0] == pytest.approx(0.9, abs=1 / GRID)
    only = FrequencyBaseline()
    only.learn(zero, zero, np.zeros(8, dtype=np.bool_))
    assert only.predict(zero[:1] + 1, zero[:1] + 1)[0] == pytest.approx(0.1, abs=1 / GRID)


def test_frequency_is_calibrated_on_outcomes_to_come():
    baseline = FrequencyBaseline()
    baseline.learn(*history(30_000, seed=1))
    hits, seen, occupied = history(30_000, seed=2)
    found = baseline.predict(hits, seen)
    for low in np.arange(0.1, 0.9, 0.2):
        rows = (found >= low) & (found < low + 0.2)
        assert found[rows].mean() == pytest.approx(occupied[rows].mean(), abs=0.02)


@pytest.mark.parametrize("kind", ["persistence", "frequency"])
def test_order_does_not_matter_and_state_is_exact(kind):
    hits, seen, occupied = history(2000)
    new, inputs = (
        (PersistenceBaseline, (hits > 3,)) if kind == "persistence" else (FrequencyBaseline, (hits, seen))
    )
    forward, backward = new(), new()
    for start in range(0, 2000, 500):
        part = slice(start, start + 500)
        forward.learn(*(column[part] for column in inputs), occupied[part])
    backward.learn(*(column[::-1] for column in inputs), occupied[::-1])
    backward.predict(*inputs)
    expected = forward.predict(*inputs)
    assert np.array_equal(backward.predict(*inputs), expected)
    assert np.array_equal(new.from_state(forward.state()).predict(*inputs), expected)
    backward.learn(*(column[:100] for column in inputs), ~occupied[:100])
    assert not np.array_equal(backward.predict(*inputs), expected)


def test_a_snapshot_is_not_changed_by_later_learning():
    baseline = PersistenceBaseline()
    hit = np.ones(3, dtype=np.bool_)
    baseline.learn(hit, hit)
    state = baseline.state()
    baseline.learn(hit, ~hit)
    assert PersistenceBaseline.from_state(state).predict(hit)[0] == quantise(np.array(0.8))


def test_inputs_that_do_not_fit_are_refused():
    frequency, persistence = FrequencyBaseline(10), PersistenceBaseline()
    one, yes = np.ones(1, dtype=np.int64), np.ones(1, dtype=np.bool_)
    for hits, seen in ((one * 2, one), (-one, one), (one, one * 11)):
        with pytest.raises(ValueError, match="hit_bins: expected 0 <= hit_bins <= observed_bins <= 10"):
            frequency.predict(hits, seen)
    with pytest.raises(ValueError, match="observed_bins"):
        frequency.predict(one, np.ones(2, dtype=np.int64))
    with pytest.raises(ValueError, match="occupied: expected 1 rows"):
        frequency.learn(one, one, np.ones(2, dtype=np.bool_))
    with pytest.raises(ValueError, match="hit: expected bool"):
        persistence.predict(one)
    with pytest.raises(ValueError, match="occupied"):
        persistence.learn(yes, one)
    with pytest.raises(ValueError, match="max_bins"):
        FrequencyBaseline(65)
