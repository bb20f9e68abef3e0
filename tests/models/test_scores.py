"""Scores from integer histograms against scikit-learn and plain numpy."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, log_loss

from models.probability import GRID, quantise
from models.scores.histogram import ScoreHistogram
from models.scores.prequential import NAMES, PrequentialScores
from models.scores.regions import ErrorMap
from models.scores.series import ScoreSeries
from models.scores.tally import SweepScore, Tally, sweep_score, tally_of
from stream.codecs.state import pack, unpack
from stream.records import HIT, SEEN_THROUGH, UNOBSERVED

HORIZONS = (200, 500)
STATM = Path("/proc/self/statm")


def sample(rows, seed=0, levels=None):
    """Probabilities on the grid and labels that follow them; ``levels`` makes ties heavy."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.7, 0.6, rows)
    if levels:
        p = np.round(p * levels) / levels
    return quantise(p), rng.random(rows) < p


def filled(p, y):
    histogram = ScoreHistogram()
    histogram.add(p, y)
    return histogram


def plain_ece(p, y, bins=15):
    order = np.argsort(p, kind="stable")
    parts = zip(np.array_split(p[order].astype(float), bins), np.array_split(y[order], bins), strict=True)
    return sum(abs(a.mean() - b.mean()) * len(a) for a, b in parts if len(a)) / len(p)


@pytest.mark.parametrize("levels", [None, 2, 7, 40])
@pytest.mark.parametrize("rows", [1, 2, 14, 15, 16, 1000, 20_011])
def test_scores_match_scikit_learn(rows, levels):
    p, y = sample(rows, seed=rows, levels=levels)
    y[0] = True
    histogram, wide = filled(p, y), p.astype(np.float64)
    assert histogram.average_precision() == pytest.approx(average_precision_score(y, wide), abs=1e-12)
    clipped = np.clip(wide, 1e-7, 1 - 1e-7)
    assert histogram.log_loss() == pytest.approx(log_loss(y, clipped, labels=[False, True]), abs=1e-12)
    assert histogram.brier() == pytest.approx(np.mean((wide - y) ** 2), abs=1e-12)
    assert (histogram.n, histogram.positives) == (rows, y.sum())


@pytest.mark.parametrize("rows", [3, 15, 997, 20_000])
def test_ece_is_the_plain_one_without_ties(rows):
    rng = np.random.default_rng(rows)
    p = ((rng.permutation(GRID - 1)[:rows] + 1) / GRID).astype(np.float32)
    y = rng.random(rows) < p**2
    assert filled(p, y).ece() == pytest.approx(plain_ece(p, y), abs=1e-9)


def test_ece_under_heavy_ties_is_the_expectation_over_the_order_of_ties():
    p, y = sample(5000, seed=3, levels=4)
    rng = np.random.default_rng(0)
    table = filled(p, y).reliability()
    shares = []
    for _ in range(400):
        order = rng.permutation(len(p))
        order = order[np.argsort(p[order], kind="stable")]
        shares.append([part.mean() for part in np.array_split(y[order], 15)])
    np.testing.assert_allclose(table.occupied, np.mean(shares, axis=0), atol=0.01)
    assert filled(p, y).ece() == pytest.approx(plain_ece(p, y), abs=0.02)  # one order of ties: noise
    run_mean = np.array([y[p == value].mean() for value in p])
    order = np.argsort(p, kind="stable")
    np.testing.assert_allclose(
        table.occupied, [part.mean() for part in np.array_split(run_mean[order], 15)], atol=1e-12
    )


def test_reliability_bins_hold_all_rows_and_their_means():
    p, y = sample(1003)
    table = filled(p, y).reliability(15)
    assert table.count.tolist() == [67] * 13 + [66] * 2
    assert np.sum(table.count * table.probability) == pytest.approx(p.astype(float).sum(), abs=1e-9)
    assert np.sum(table.count * table.occupied) == pytest.approx(y.sum(), abs=1e-9)
    assert np.all(np.diff(table.probability) >= 0)


def test_known_values():
    p, y = quantise(np.array([0.75, 0.5, 0.25])), np.array([True, False, True])
    histogram = filled(p, y)
    assert histogram.average_precision() == pytest.approx((1 + 2 / 3) / 2)
    assert histogram.log_loss() == pytest.approx(-(np.log(0.75) + np.log(0.5) + np.log(0.25)) / 3)
    assert histogram.brier() == pytest.approx((0.0625 + 0.25 + 0.5625) / 3)
    assert histogram.ece() == pytest.approx((0.25 + 0.5 + 0.75) / 3)


def test_no_support_is_none():
    empty = ScoreHistogram()
    assert [empty.average_precision(), empty.log_loss(), empty.brier(), empty.ece(), empty.n] == [
        None
    ] * 4 + [0]
    assert len(empty.reliability().count) == 0
    assert empty.complement().n == 0
    negatives = filled(quantise(np.array([0.2, 0.9])), np.zeros(2, dtype=np.bool_))
    assert negatives.average_precision() is None
    assert negatives.log_loss() is not None
    assert negatives.complement().average_precision() == 1.0


def test_the_ends_of_the_grid_are_scored():
    p = quantise(np.array([0.0, 1.0]))
    assert filled(p, np.array([True, False])).log_loss() == pytest.approx(np.log(GRID))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(1, GRID - 1), st.booleans()), max_size=60),
    st.integers(0, 60),
    st.randoms(use_true_random=False),
)
def test_order_and_partition_do_not_matter(rows, cut, random):
    def histogram(part):
        k, y = np.array([a for a, _ in part], dtype=np.int64), np.array([b for _, b in part], dtype=np.bool_)
        return filled((k / GRID).astype(np.float32), y)

    whole = histogram(rows)
    shuffled = list(rows)
    random.shuffle(shuffled)
    parts = histogram(shuffled[:cut])
    parts.merge(histogram(shuffled[cut:]))
    for name in ("average_precision", "log_loss", "brier", "ece"):
        assert getattr(parts, name)() == getattr(whole, name)()
    assert_same_rows(ScoreHistogram.from_state(parts.state()), whole)
    assert_same_rows(whole.complement(), histogram([(GRID - k, not y) for k, y in rows]))


def assert_same_rows(one, other):
    for name in ("k", "positives", "negatives"):
        assert getattr(one.tally(), name).tolist() == getattr(other.tally(), name).tolist(), name


@pytest.mark.parametrize(
    ("most", "size"), [(1, 1), (255, 1), (256, 2), (2**16 - 1, 2), (2**16, 4), (2**32 - 1, 4), (2**32, 8)]
)
def test_a_state_is_as_narrow_as_its_counts_and_exact(most, size):
    """Judge writes dozens of them in a snapshot; as int64 they were most of its memory while it wrote."""
    whole = ScoreHistogram()
    k = np.arange(1, 3, dtype=np.int64)
    counts = np.array([most, 0], dtype=np.int64)
    whole.add_tally(Tally(k=k, positives=counts, negatives=counts[::-1]))
    state = unpack(pack(whole.state()))
    assert [state[name].dtype.itemsize for name in ("k", "positives", "negatives")] == [4, size, size]
    assert_same_rows(ScoreHistogram.from_state(state), whole)


HISTOGRAMS = 32
GROWTH = f"""
import mmap
from pathlib import Path
import numpy as np
from models.scores.histogram import FEW, ScoreHistogram
from models.scores.tally import Tally

def resident_bytes():
    return int(Path("{STATM}").read_text().split()[1]) * mmap.PAGESIZE

same = Tally(k=np.array([7]), positives=np.array([FEW]), negatives=np.array([1]))
histograms = [ScoreHistogram() for _ in range({HISTOGRAMS})]
before = resident_bytes()
for histogram in histograms:
    histogram.add_tally(same)
print(resident_bytes() - before)
"""
"""Prints what a fresh process grows by: that of the tests may have memory to spare."""


@pytest.mark.skipif(not STATM.exists(), reason="this system does not say what is resident")
def test_counts_take_all_of_their_memory_at_once():
    """So that a worker's is level from then on, whatever probabilities come later."""
    told = subprocess.run([sys.executable, "-c", GROWTH], check=True, capture_output=True, text=True)
    assert int(told.stdout) > 0.9 * HISTOGRAMS * 2 * 2**20


def test_an_empty_state_is_an_empty_histogram():
    assert ScoreHistogram.from_state(unpack(pack(ScoreHistogram().state()))).n == 0


def test_rows_that_do_not_fit_are_refused():
    p, y = sample(4)
    with pytest.raises(ValueError, match="off the grid"):
        tally_of(np.array([0.3], dtype=np.float32), y[:1])
    with pytest.raises(ValueError, match="occupied: expected bool"):
        tally_of(p, y[:3])
    with pytest.raises(ValueError, match="occupied: expected bool"):
        tally_of(p, y.astype(np.uint8))
    with pytest.raises(ValueError, match="bins"):
        filled(p, y).reliability(0)


def sweeps(count, rows=400):
    """Outcomes of ``count`` sweeps at the primary horizon, as the arguments of ``add``."""
    for index in range(count):
        rng = np.random.default_rng(index)
        probability = {name: sample(rows, seed=10 * index + place)[0] for place, name in enumerate(NAMES)}
        occupied = rng.random(rows) < (0.0 if index == 5 else probability["online"])
        yield {
            "stamp_ns": 1000 + index,
            "horizon_ns": 500,
            "sweep_index": index,
            "cells_predicted": rows + 100,
            "probability": probability,
            "occupied": occupied,
            "before": rng.integers(UNOBSERVED, HIT + 1, rows).astype(np.uint8),
        }


def test_prequential_scores_match_scikit_learn_on_the_scored_sweeps():
    running, outcomes = PrequentialScores(HORIZONS, 500, 3), list(sweeps(9))
    for outcome in outcomes:
        running.add(**outcome)
    scored = outcomes[3:]
    y = np.concatenate([outcome["occupied"] for outcome in scored])
    before = np.concatenate([outcome["before"] for outcome in scored])
    assert list(running.summary()["scores"]) == list(NAMES)
    for name, found in running.summary()["scores"].items():
        p = np.concatenate([outcome["probability"][name] for outcome in scored]).astype(np.float64)
        freed, appeared = before == HIT, before == SEEN_THROUGH
        each = [
            average_precision_score(outcome["occupied"], outcome["probability"][name])
            for outcome in scored
            if outcome["occupied"].any()
        ]
        assert len(each) == 5  # sweep 5 has no positive
        assert found == pytest.approx({
            "average_precision": average_precision_score(y, p),
            "average_precision_per_sweep": np.mean(each),
            "log_loss": log_loss(y, p),
            "brier": np.mean((p - y) ** 2),
            "ece": plain_ece(p, y),
            "freed_average_precision": average_precision_score(~y[freed], 1 - p[freed]),
            "appeared_average_precision": average_precision_score(y[appeared], p[appeared]),
            "n": 2400,
        }, abs=1e-4)  # fmt: skip
        assert found["average_precision"] == pytest.approx(average_precision_score(y, p), abs=1e-12)
    assert (running.cells_due, running.cells_observed) == (4500, 3600)
    assert running.reliability().count.sum() == 2400


def test_summary_shape_without_support():
    summary = PrequentialScores(HORIZONS, 500, 3).summary()
    assert summary["scores_by_horizon"].keys() == {"200", "500"}
    assert list(summary["scores_by_horizon"]["200"]) == ["online"]
    assert summary["scores_by_horizon"]["500"] == summary["scores"]
    for scores in summary["scores"].values():
        assert scores.pop("n") == 0
        assert set(scores.values()) == {None}


def test_other_horizons_score_the_served_forecast_only():
    running = PrequentialScores(HORIZONS, 500, 0)
    outcome = next(sweeps(1)) | {"horizon_ns": 200}
    assert list(running.add(**outcome)) == ["online"]
    summary = running.summary()
    assert summary["scores_by_horizon"]["200"]["online"]["n"] == 400
    assert summary["scores"]["online"]["n"] == 0
    assert (running.cells_due, len(running.series()["stamp_ns"])) == (0, 0)


def test_absent_and_foreign_predictors():
    running, outcome = PrequentialScores(HORIZONS, 500, 0), next(sweeps(1))
    outcome["probability"]["challenger"] = outcome["probability"].pop("frozen")
    assert set(running.add(**outcome)) == set(NAMES) - {"frozen"}
    assert running.summary()["scores"]["frozen"]["n"] == 0
    series = running.series()
    assert np.isnan(series["frozen"]["log_loss"][0])
    assert series["frozen"]["n"][0] == 0
    assert series["online"]["n"][0] == 400
    del outcome["probability"]["online"]
    with pytest.raises(ValueError, match="'online' is missing"):
        running.add(**outcome)


def test_prequential_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="primary_horizon_ns"):
        PrequentialScores(HORIZONS, 300, 0)
    with pytest.raises(ValueError, match="warmup_sweeps"):
        PrequentialScores(HORIZONS, 500, -1)
    running, outcome = PrequentialScores(HORIZONS, 500, 0), next(sweeps(1))
    with pytest.raises(ValueError, match="horizon_ns"):
        running.add(**outcome | {"horizon_ns": 300})
    with pytest.raises(ValueError, match="before"):
        running.add(**outcome | {"before": outcome["before"][1:]})


def test_prequential_state_continues_the_same_run():
    outcomes = list(sweeps(8))
    straight, first = PrequentialScores(HORIZONS, 500, 2), PrequentialScores(HORIZONS, 500, 2)
    for outcome in outcomes:
        straight.add(**outcome)
    for outcome in outcomes[:4]:
        first.add(**outcome)
    second = PrequentialScores.from_state(first.state())
    for outcome in outcomes[4:]:
        second.add(**outcome)
    assert second.summary() == straight.summary()
    assert second.cells_observed == straight.cells_observed
    assert np.array_equal(second.series()["online"]["brier"], straight.series()["online"]["brier"])


@pytest.mark.parametrize("cap", [2, 5, 8])
def test_series_stays_bounded_and_evenly_spaced(cap):
    series = ScoreSeries(("online",), cap)
    for stamp in range(100):
        series.add(stamp, {"online": SweepScore(n=1, average_precision=None, log_loss=stamp / 10, brier=0.0)})
        assert len(series) <= cap
    stamps = series.arrays()["stamp_ns"]
    assert stamps.tolist() == list(range(0, 100, series.stride))
    assert np.array_equal(series.arrays()["online"]["log_loss"], stamps / 10)
    again = ScoreSeries.from_state(series.state())
    again.add(100, {})
    series.add(100, {})
    assert np.array_equal(again.arrays()["stamp_ns"], series.arrays()["stamp_ns"])
    with pytest.raises(ValueError, match="cap"):
        ScoreSeries((), 1)


def test_series_takes_no_memory_with_its_sweeps():
    series = ScoreSeries(("online",), cap=1024)
    score = {"online": SweepScore(n=1, average_precision=None, log_loss=0.5, brier=0.0)}
    tracemalloc.start()
    try:
        series.add(0, score)
        before = tracemalloc.get_traced_memory()[0]
        for stamp in range(1, 3000):
            series.add(stamp, score)
        assert tracemalloc.get_traced_memory()[0] - before < 1024
    finally:
        tracemalloc.stop()


def test_sweep_score_without_rows():
    empty = tally_of(np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.bool_))
    assert sweep_score(empty) == SweepScore(n=0, average_precision=None, log_loss=None, brier=None)


def region_rows(rows=3000, regions=20, seed=0):
    p, y = sample(rows, seed)
    ids = np.random.default_rng(seed).integers(2**63, 2**63 + regions, rows, dtype=np.uint64)
    return ids, p, y


def test_error_map_means_match_plain_numpy():
    ids, p, y = region_rows()
    errors = ErrorMap()
    errors.add(ids, p, y)
    table = errors.arrays()
    assert table["region"].tolist() == sorted(set(ids.tolist()))
    for row, region in enumerate(table["region"]):
        q, z = p[ids == region].astype(np.float64), y[ids == region]
        assert table["n"][row] == len(q)
        assert table["log_loss"][row] == pytest.approx(-np.mean(np.log(np.where(z, q, 1 - q))), abs=1e-7)
        assert table["brier"][row] == pytest.approx(np.mean((q - z) ** 2), abs=1e-7)
        assert table["probability"][row] == pytest.approx(q.mean(), abs=1e-7)
        assert table["occupied"][row] == z.mean()
    worst = errors.worst(3)
    assert [error.log_loss for error in worst] == sorted(table["log_loss"], reverse=True)[:3]
    assert errors.worst(3, min_rows=10**6) == []


def test_error_map_does_not_depend_on_order_or_partition():
    ids, p, y = region_rows()
    whole, left, right = ErrorMap(), ErrorMap(), ErrorMap()
    whole.add(ids, p, y)
    order = np.random.default_rng(1).permutation(len(ids))
    left.add(ids[order][:1000], p[order][:1000], y[order][:1000])
    right.add(ids[order][1000:], p[order][1000:], y[order][1000:])
    right.merge(left)
    restored = ErrorMap.from_state(right.state())
    for name, column in whole.arrays().items():
        assert np.array_equal(column, restored.arrays()[name]), name


def test_error_map_evicts_the_smallest_but_lets_new_terrain_in():
    errors = ErrorMap(max_regions=2)
    half = quantise(np.full(9, 0.5))
    yes = np.ones(9, dtype=np.bool_)
    errors.add(np.array([1] * 5 + [2] * 4, dtype=np.uint64), half, yes)
    errors.add(np.array([3], dtype=np.uint64), half[:1], yes[:1])
    assert errors.arrays()["region"].tolist() == [1, 3]
    assert (errors.evicted_regions, errors.evicted_rows, len(errors)) == (1, 4, 2)
    errors.add(np.array([7, 8, 8, 9, 9], dtype=np.uint64), half[:5], yes[:5])
    assert errors.arrays()["region"].tolist() == [8, 9]
    assert errors.evicted_regions == 4
    assert ErrorMap.from_state(errors.state()).evicted_rows == errors.evicted_rows == 11


def test_error_map_refuses_what_does_not_fit():
    ids, p, y = region_rows(5)
    errors = ErrorMap()
    errors.add(ids[:0], p[:0], y[:0])
    assert (len(errors), errors.worst(5)) == (0, [])
    with pytest.raises(ValueError, match="lengths differ"):
        errors.add(ids[:2], p, y)
    with pytest.raises(ValueError, match="strictly between"):
        errors.add(ids[:1], np.ones(1, dtype=np.float32), y[:1])
    with pytest.raises(ValueError, match="max_regions"):
        ErrorMap(0)


@pytest.mark.parametrize("bins", [1, 15])
def test_decomposition_matches_plain_numpy(bins):
    p, y = sample(5_000, seed=3)
    order = np.argsort(p, kind="stable")
    groups = np.array_split(order, bins)
    share = y.mean()
    reliability = sum(len(g) * (p[g].astype(float).mean() - y[g].mean()) ** 2 for g in groups) / len(p)
    resolution = sum(len(g) * (y[g].mean() - share) ** 2 for g in groups) / len(p)
    tally = filled(p, y).tally()
    parts = tally.decomposition(bins)
    assert len(np.unique(p)) > 0.97 * len(p)  # few ties: their share-out moves a bin by a row or two
    assert parts.reliability == pytest.approx(reliability, abs=2e-5)
    assert parts.resolution == pytest.approx(resolution, abs=2e-4)
    assert parts.uncertainty == pytest.approx(share * (1 - share))
    total = parts.reliability - parts.resolution + parts.uncertainty + parts.within
    assert total == pytest.approx(tally.brier(), abs=1e-12)


def test_forecasts_of_one_value_a_bin_have_nothing_within():
    p = np.repeat(quantise(np.array([0.125, 0.5, 0.875])), 200)
    y = np.concatenate([np.arange(200) < n for n in (40, 100, 150)])
    parts = filled(p, y).tally().decomposition(3)
    assert parts.within == pytest.approx(0, abs=1e-12)
    assert parts.reliability == pytest.approx(np.mean([(0.125 - 0.2) ** 2, 0, (0.875 - 0.75) ** 2]))


def test_entropy_is_the_loss_that_a_forecast_expects():
    p, y = sample(3_000, seed=5)
    q = p.astype(float)
    assert filled(p, y).tally().entropy() == pytest.approx(-np.mean(q * np.log(q) + (1 - q) * np.log(1 - q)))
    empty = ScoreHistogram().tally()
    assert (empty.entropy(), empty.decomposition()) == (None, None)


def test_a_weight_of_two_is_a_row_twice():
    p, y = sample(3_000, seed=7)  # a multiple of 15: bins of rows are bins of weight
    tally, twice = filled(p, y).tally(), filled(np.tile(p, 2), np.tile(y, 2)).tally()
    weighted = Tally(k=tally.k, positives=2.0 * tally.positives, negatives=2.0 * tally.negatives)
    assert weighted.n == twice.n
    for name in ("average_precision", "log_loss", "brier", "entropy"):
        assert getattr(weighted, name)() == pytest.approx(getattr(twice, name)())
    assert weighted.ece() == pytest.approx(twice.ece())
