"""The online linear baseline."""

from __future__ import annotations

import numpy as np
import pytest

from models.online.linear import BATCHES, OnlineLinear
from models.probability import GRID

pytestmark = pytest.mark.learn


def sweep(seed: int, rows: int = 800) -> tuple[np.ndarray, np.ndarray]:
    """Two informative features of odd scale, one constant, one noise; the linear rule is known."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 4))
    occupied = rng.random(rows) < 1 / (1 + np.exp(-(1.5 * z[:, 0] - z[:, 1] + 0.5)))
    x = z * [0.01, 30.0, 0.0, 1.0] + [5.0, -200.0, 7.0, 0.0]
    return x.astype(np.float32), occupied


def log_loss(p: np.ndarray, occupied: np.ndarray) -> float:
    return float(-np.log(np.where(occupied, p, 1 - p)).mean())


def test_learns_a_linear_rule() -> None:
    model = OnlineLinear(4)
    for seed in range(30):
        model.learn(*sweep(seed))
    x, occupied = sweep(1000, 4000)
    probability = model.predict(x)
    assert probability is not None
    z = (x - [5.0, -200.0, 7.0, 0.0]) / [0.01, 30.0, 1.0, 1.0]
    best = 1 / (1 + np.exp(-(1.5 * z[:, 0] - z[:, 1] + 0.5)))
    assert log_loss(probability, occupied) < log_loss(best, occupied) + 0.01
    assert log_loss(best, occupied) < log_loss(np.full(4000, occupied.mean()), occupied) - 0.1


def test_says_nothing_before_the_first_outcome() -> None:
    model = OnlineLinear(4)
    x, occupied = sweep(0)
    assert model.predict(x) is None
    model.learn(x[:0], occupied[:0])
    assert model.predict(x) is None
    model.learn(x[:3], occupied[:3])  # fewer rows than batches
    probability = model.predict(x)
    assert probability is not None
    assert probability.dtype == np.float32
    k = probability.astype(np.float64) * GRID
    assert np.array_equal(k, np.rint(k))
    assert model.predict(x[:0]).shape == (0,)


def test_deterministic_and_seeded() -> None:
    models = [OnlineLinear(4, seed=seed) for seed in (1, 1, 2)]
    for model in models:
        for seed in range(3):
            model.learn(*sweep(seed))
    x, _ = sweep(9)
    first, again, other = (model.predict(x) for model in models)
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_state_goes_on_bit_for_bit() -> None:
    model, copy = OnlineLinear(4, seed=1), OnlineLinear(4, seed=1)
    copy.restore(OnlineLinear(4).state())
    for seed in range(3):
        model.learn(*sweep(seed))
    copy.restore(model.state())
    for learner in (model, copy):
        learner.learn(*sweep(3))
    for name, value in model.state().items():
        np.testing.assert_equal(copy.state()[name], value)
    assert model.state()["steps"] == 4 * BATCHES


def test_refuses_other_shapes() -> None:
    model = OnlineLinear(4)
    x, occupied = sweep(0)
    with pytest.raises(ValueError, match=r"x: expected float32 \(N, 4\)"):
        model.learn(x[:, :3], occupied)
    with pytest.raises(ValueError, match="float64"):
        model.predict(x.astype(np.float64))
    with pytest.raises(ValueError, match="occupied"):
        model.learn(x, occupied[:-1])
    with pytest.raises(ValueError, match="state: has 4 features, this model 5"):
        OnlineLinear(5).restore(model.state())
