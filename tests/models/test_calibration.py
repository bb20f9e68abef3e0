"""Online recalibration against scikit-learn's logistic regression on the same rows."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from models.online.calibration import OnlinePlatt
from stream.codecs.state import pack, unpack


def sweep(seed: int, scale: float, shift: float, rows: int = 4_000):
    """Logits of a forecast that is off: the truth has ``scale * logit + shift``."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(0.3, 1.8, rows).astype(np.float32)
    return logit, rng.random(rows) < 1 / (1 + np.exp(-(scale * logit + shift)))


def fitted(sweeps, weights) -> tuple[float, float]:
    """Scale and shift by scikit-learn, without a prior."""
    logit, y = (np.concatenate([s[i] for s in sweeps]) for i in range(2))
    w = np.concatenate([np.full(len(s[0]), weight) for s, weight in zip(sweeps, weights, strict=True)])
    model = LogisticRegression(C=np.inf, tol=1e-10, max_iter=500)
    model.fit(logit[:, None].astype(float), y, sample_weight=w)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.6, 0.4), (1.7, -0.8)])
def test_the_fit_is_that_of_scikit_learn(scale: float, shift: float) -> None:
    platt, given = OnlinePlatt(half_life=5.0, caution=1e-6), [sweep(i, scale, shift) for i in range(12)]
    for one in given:
        platt.learn(*one)
    weights = 0.5 ** (np.arange(11, -1, -1) / 5.0)
    wanted = fitted(given, weights)
    assert (platt.scale, platt.shift) == pytest.approx(wanted, abs=2e-3)  # bins of 0.047
    assert (platt.scale, platt.shift) == pytest.approx((scale, shift), abs=0.05)


def test_caution_holds_it_where_little_is_known() -> None:
    few = sweep(0, 0.5, 1.0, rows=200)
    bold, careful = OnlinePlatt(5.0, 1e-6), OnlinePlatt(5.0, 2_000.0)
    bold.learn(*few)
    careful.learn(*few)
    assert abs(careful.scale - 1) < 0.2 * abs(bold.scale - 1)
    assert abs(careful.shift) < 0.2 * abs(bold.shift)
    for seed in range(1, 60):
        careful.learn(*sweep(seed, 0.5, 1.0))
    assert (careful.scale, careful.shift) == pytest.approx((0.5, 1.0), abs=0.1)


def test_it_follows_a_change_and_mends_the_loss() -> None:
    platt, before, after = OnlinePlatt(3.0, 50.0), [], []
    for seed in range(40):
        logit, y = sweep(seed, *((1.0, 0.0) if seed < 20 else (0.5, -1.0)))
        if seed >= 30:
            for losses, values in ((before, logit), (after, platt.apply(logit))):
                losses.append(np.mean(np.logaddexp(0, np.where(y, -values, values))))
        platt.learn(logit, y)
    assert np.mean(after) < np.mean(before) - 0.05


def test_a_forecast_that_is_right_is_left_alone() -> None:
    platt = OnlinePlatt(10.0, 500.0)
    for seed in range(30):
        platt.learn(*sweep(seed, 1.0, 0.0))
    assert (platt.scale, platt.shift) == pytest.approx((1.0, 0.0), abs=0.03)


def test_one_sided_outcomes_do_not_run_away() -> None:
    platt = OnlinePlatt(5.0, 100.0)
    for _ in range(50):
        platt.learn(np.full(100, 3.0), np.ones(100, np.bool_))
    assert 0 < platt.scale < 5
    assert abs(platt.shift) < 5
    platt.learn(np.zeros(0), np.zeros(0, np.bool_))


def test_state_and_errors() -> None:
    one, two = OnlinePlatt(4.0, 10.0), OnlinePlatt(4.0, 10.0)
    one.learn(*sweep(1, 0.7, 0.2))
    two.restore(unpack(pack(one.state())))
    for platt in (one, two):
        platt.learn(*sweep(2, 0.7, 0.2))
    assert (one.scale, one.shift) == (two.scale, two.shift)
    with pytest.raises(ValueError, match="logit: expected"):
        one.learn(np.array([np.nan]), np.array([True]))
    with pytest.raises(ValueError, match="half_life: must be > 0"):
        OnlinePlatt(0.0, 1.0)
    with pytest.raises(ValueError, match="caution: must be > 0"):
        OnlinePlatt(1.0, np.inf)
