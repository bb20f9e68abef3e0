"""Scores by range, windowed and fading, against scikit-learn and numpy on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

from models.probability import quantise
from models.scores.breakdown import RANGE_EDGES_M, WINDOW_SWEEPS, Breakdown, band_names
from models.scores.coarse import BINS, CoarseCounts, CoarseSweep
from models.scores.prequential import PrequentialScores
from models.scores.recent import RESCALE, FadingScores, WindowedScores
from stream.codecs.state import pack, unpack
from stream.records import HIT, SEEN_THROUGH

FINE = 1e-9
"""Of average precision of forecasts as they are counted, in bins of 1 / 2048; losses, of forecasts as they
were, are exact to 1e-6."""


def sweep(seed: int, rows: int = 800, skill: float = 1.0):
    """Forecasts, outcomes, states before and ranges of one sweep; later sweeps may be harder."""
    rng = np.random.default_rng(seed)
    p = rng.beta(0.6, 0.7, rows)
    y = rng.random(rows) < skill * p + (1 - skill) * rng.random(rows)
    return quantise(p), y, rng.integers(0, 3, rows).astype(np.uint8), rng.uniform(0, 80, rows)


def rows_of(given) -> object:
    return CoarseSweep(*given[:3]).rows()


def expected(sweeps, weights=None) -> dict[str, float]:
    """By scikit-learn, a weight a sweep."""
    p, y, before = (np.concatenate([s[i] for s in sweeps]) for i in range(3))
    weights = np.ones(len(sweeps)) if weights is None else weights
    w = np.concatenate([np.full(len(s[0]), weights[i]) for i, s in enumerate(sweeps)])
    hit, through = before == HIT, before == SEEN_THROUGH
    q = np.floor(p.astype(float) * BINS) / BINS
    return {
        "average_precision": average_precision_score(y, q, sample_weight=w),
        "log_loss": log_loss(y, p.astype(float), sample_weight=w),
        "brier": brier_score_loss(y, p.astype(float), sample_weight=w),
        "freed_average_precision": average_precision_score(~y[hit], 1 - q[hit], sample_weight=w[hit]),
        "appeared_average_precision": average_precision_score(
            y[through], q[through], sample_weight=w[through]
        ),
        "n": w.sum(),
    }


def agree(scores, wanted) -> None:
    for key, value in wanted.items():
        fine = FINE if key.endswith("precision") else 1e-6 * max(1.0, value)
        assert scores[key] == pytest.approx(value, abs=fine), key


def weighted_parts(sweeps, weights, bins=15):
    """ECE, reliability and resolution of weighted rows, in bins of equal weight; rows at edges are shared."""
    p, y = (np.concatenate([s[i] for s in sweeps]).astype(float) for i in range(2))
    w = np.concatenate([np.full(len(s[0]), weights[i]) for i, s in enumerate(sweeps)])
    order = np.argsort(p, kind="stable")
    p, y, w = p[order], y[order], w[order]
    reached = np.concatenate([[0], np.cumsum(w)])
    edges = np.linspace(0, reached[-1], bins + 1)
    cut = lambda values: np.diff(np.interp(edges, reached, np.concatenate([[0], np.cumsum(values * w)])))  # noqa: E731
    mass = reached[-1] / bins
    forecast, share = cut(p) / mass, cut(y) / mass
    total = np.sum(y * w) / reached[-1]
    return np.abs(forecast - share).mean(), np.mean((forecast - share) ** 2), np.mean((share - total) ** 2)


def test_coarse_counts_score_as_scikit_learn() -> None:
    given = [sweep(seed) for seed in range(5)]
    counts = CoarseCounts()
    for one in given:
        counts.add(rows_of(one))
    agree(counts.scores(), expected(given))
    ece, reliability, resolution = weighted_parts(given, np.ones(5))
    assert counts.scores()["ece"] == pytest.approx(ece, abs=1e-3)
    assert counts.scores()["brier_reliability"] == pytest.approx(reliability, abs=1e-4)
    assert counts.scores()["brier_resolution"] == pytest.approx(resolution, abs=1e-3)


def test_bins_cost_average_precision_little() -> None:
    one, counts = sweep(0, 40_000), CoarseCounts()
    counts.add(rows_of(one))
    exact = average_precision_score(one[1], one[0].astype(float))
    assert counts.scores()["average_precision"] == pytest.approx(exact, abs=1e-3)


def test_a_window_holds_the_last_sweeps_and_no_other() -> None:
    window, given = WindowedScores(4), [sweep(seed, skill=1 - 0.08 * seed) for seed in range(11)]
    for i, one in enumerate(given, 1):
        window.add(rows_of(one))
        if i in (1, 4, 5, 11):
            agree(window.scores(), expected(given[max(0, i - 4) : i]))
    other = WindowedScores(4)
    for one in given[-4:]:
        other.add(rows_of(one))
    assert window.scores() == other.scores(), "what has left leaves no trace"


@pytest.mark.parametrize("half_life", [0.5, 3.0, 20.0])
def test_old_sweeps_fade_by_half_in_a_half_life(half_life: float) -> None:
    given = [sweep(seed, skill=1 - 0.02 * seed) for seed in range(40)]
    fading = FadingScores(half_life)
    for one in given:
        fading.add(rows_of(one))
    weights = 0.5 ** (np.arange(39, -1, -1) / half_life)
    scores = fading.scores()
    agree(scores, expected(given, weights))
    ece, reliability, resolution = weighted_parts(given, weights)
    assert scores["ece"] == pytest.approx(ece, abs=2e-3)
    assert scores["brier_reliability"] == pytest.approx(reliability, abs=2e-4)
    assert scores["brier_resolution"] == pytest.approx(resolution, abs=2e-3)


def test_weights_never_grow_without_bound() -> None:
    fading, one = FadingScores(1.0), sweep(0, 200)
    for _ in range(300):  # 2^300 without a rescale
        fading.add(rows_of(one))
    assert fading._weight <= RESCALE
    assert fading.scores()["n"] == pytest.approx(2 * 200, rel=1e-9)
    assert fading.scores()["log_loss"] == pytest.approx(log_loss(one[1], one[0].astype(float)), abs=1e-6)


def test_bands_part_the_rows_by_range() -> None:
    breakdown, given = Breakdown(), [sweep(seed) for seed in range(6)]
    for one in given:
        breakdown.add(*one)
    found = breakdown.by_range()
    assert list(found) == band_names()
    edges = [0, *RANGE_EDGES_M, np.inf]
    for name, low, high in zip(band_names(), edges, edges[1:], strict=False):
        parts = [[column[(one[3] >= low) & (one[3] < high)] for column in one] for one in given]
        agree(found[name], expected(parts))
    assert sum(scores["n"] for scores in found.values()) == 6 * 800


def test_without_ranges_nothing_is_put_into_a_band() -> None:
    breakdown = Breakdown()
    breakdown.add(*sweep(0)[:3], None)
    assert breakdown.by_range() == {}
    assert breakdown.windowed()["n"] == 800


def test_no_rows_are_no_scores() -> None:
    scores = CoarseCounts().scores()
    assert scores.pop("n") == 0
    assert set(scores.values()) == {None}


def test_a_breakdown_goes_on_from_its_state() -> None:
    one, two = Breakdown(), Breakdown()
    for seed in range(WINDOW_SWEEPS + 5):
        one.add(*sweep(seed, 60))
    two = Breakdown.from_state(unpack(pack(one.state())))
    for seed in range(100, 110):
        one.add(*sweep(seed, 60))
        two.add(*sweep(seed, 60))
    assert two.by_range() == one.by_range()
    assert two.windowed() == one.windowed()
    assert two.fading() == one.fading()
    assert pack(two.state()) == pack(one.state())


def test_memory_does_not_grow_with_the_run() -> None:
    """The same rows again and again: no bin is new, so whatever grows is kept for each sweep."""
    breakdown, one, sizes = Breakdown(), sweep(0, 300), []
    for number in range(3 * WINDOW_SWEEPS):
        breakdown.add(*one)
        if number >= WINDOW_SWEEPS:
            sizes.append(len(pack(breakdown.state())))
    assert max(sizes) - min(sizes) < 100  # bytes; a row takes two
    assert BINS * 3 * 2 <= 2**16, "a key fits uint16"


def test_the_summary_has_all_of_it_for_every_predictor() -> None:
    running = PrequentialScores((200, 500), 500, 1)
    for i in range(4):
        p, y, before, ranges = sweep(i)
        running.add(
            stamp_ns=i, horizon_ns=500, sweep_index=i, cells_predicted=900,
            probability={"online": p, "linear": quantise(0.5 * p + 0.25)}, occupied=y, before=before,
            range_m=ranges,
        )  # fmt: skip
    summary = running.summary()
    assert list(summary["scores_by_range"]) == band_names()
    assert set(summary["scores_by_range"]["0-10"]) == {"online", "linear"}
    for name in ("online", "linear"):
        for late in ("scores_windowed", "scores_fading"):
            assert summary[late]["scores"][name]["log_loss"] == pytest.approx(
                summary["scores"][name]["log_loss"], abs=0.05
            )
        windowed, cumulative = summary["scores_windowed"]["scores"][name], summary["scores"][name]
        assert windowed["n"] == cumulative["n"] == 3 * 800, "warm-up does not count"
        for key in ("log_loss", "brier", "average_precision"):
            assert windowed[key] == pytest.approx(cumulative[key], abs=1e-3)
        parts = summary["brier_parts"]["500"][name]
        for key in ("reliability", "resolution"):
            assert windowed[f"brier_{key}"] == pytest.approx(parts[key], abs=1e-3)
        total = parts["reliability"] - parts["resolution"] + parts["uncertainty"] + parts["within"]
        assert total == pytest.approx(cumulative["brier"], abs=1e-12)
    assert summary["scores_windowed"]["scores"]["frozen"]["average_precision"] is None
    assert summary["brier_parts"]["500"]["frozen"] is None
