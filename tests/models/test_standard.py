"""How features are normalised: by moments, by bounds or not at all, settled, and there and back."""

from __future__ import annotations

import numpy as np
import pytest

from models.training.standard import RunningStandard, normalisers_of
from stream.codecs.state import pack, unpack
from stream.config import ConfigError, Normaliser

NAMES = ("x", "hits_0", "hits_1", "range")
MIXED: tuple[Normaliser, ...] = ("min_max", "standardised", "min_max", "raw")


def sweep(seed: int, rows: int = 800) -> np.ndarray:
    """Two features of odd scale, one constant, one plain."""
    z = np.random.default_rng(seed).normal(size=(rows, 4))
    return (z * [0.01, 30.0, 0.0, 1.0] + [5.0, -200.0, 7.0, 0.0]).astype(np.float32)


def fed(standard: RunningStandard, sweeps: int) -> RunningStandard:
    for seed in range(sweeps):
        standard.update(sweep(seed))
    return standard


def test_running_moments_are_those_of_all_rows_at_first() -> None:
    standard = fed(RunningStandard(4), 5)
    standard.update(sweep(0)[:0])
    rows = np.concatenate([sweep(seed) for seed in range(5)]).astype(np.float64)
    mean, inv_std = standard.scale()
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(1 / inv_std[[0, 1, 3]], rows.std(axis=0)[[0, 1, 3]], rtol=1e-4)
    assert standard.sweeps == 5
    assert np.isfinite(inv_std).all()  # of the constant feature too


def test_running_moments_follow_a_change() -> None:
    standard = RunningStandard(1)
    for _ in range(100):
        standard.update(np.zeros((10, 1), np.float32))
    standard.update(np.full((10, 1), 40, np.float32))
    assert standard.scale()[0][0] == pytest.approx(1.0)


def test_settled_moments_are_those_of_the_first_sweeps() -> None:
    standard = RunningStandard(4, settle=3)
    for seed in range(5):
        standard.update(sweep(seed))
        standard = RunningStandard.from_state(standard.state())
    mean, _ = standard.scale()
    rows = np.concatenate([sweep(seed) for seed in range(3)])
    np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-5, atol=1e-6)


def test_every_column_has_its_own_normaliser() -> None:
    rows = np.concatenate([sweep(seed) for seed in range(3)])
    offset, scale = fed(RunningStandard(4, settle=3, normalisers=MIXED), 5).scale()
    normal = (rows - offset) * scale
    np.testing.assert_allclose([normal[:, 0].min(), normal[:, 0].max()], [0, 1], atol=1e-6)
    assert (normal[:, 2] == 0).all()  # constant, and finite
    assert np.array_equal(normal[:, 3], rows[:, 3])
    plain = fed(RunningStandard(4, settle=3), 5).scale()
    assert (offset[1], scale[1]) == (plain[0][1], plain[1][1])


def test_a_dropped_column_is_multiplied_by_nothing_and_stays_so() -> None:
    kinds: tuple[Normaliser, ...] = ("dropped", "standardised", "standardised", "dropped")
    standard = fed(RunningStandard(4, settle=3, normalisers=kinds), 5)
    offset, scale = standard.scale()
    plain = fed(RunningStandard(4, settle=3), 5).scale()
    assert (offset[[0, 3]].tolist(), scale[[0, 3]].tolist()) == ([0, 0], [0, 0])
    assert np.array_equal(offset[1:3], plain[0][1:3])
    assert np.array_equal(scale[1:3], plain[1][1:3])
    again = RunningStandard.from_scale(offset, scale)
    assert again.scale()[1][[0, 3]].tolist() == [0, 0]
    np.testing.assert_allclose(again.scale()[1][1:3], scale[1:3], rtol=1e-6)


def test_standardised_is_what_nothing_said_means() -> None:
    said = fed(RunningStandard(4, normalisers=["standardised"] * 4), 3)
    assert np.array_equal(said.scale(), fed(RunningStandard(4), 3).scale())
    with pytest.raises(ValueError, match="normalisers: 3 for 4 features"):
        RunningStandard(4, normalisers=MIXED[:3])


@pytest.mark.parametrize("normalisers", [(), MIXED])
def test_there_and_back(normalisers: tuple[Normaliser, ...]) -> None:
    standard = RunningStandard(4, settle=3, normalisers=normalisers)
    for seed in range(4):
        assert np.array_equal(standard.scale(), [[0] * 4, [1] * 4]) == (seed == 0)
        copy = RunningStandard.from_state(unpack(pack(standard.state())))
        for one in (copy, standard):
            one.update(sweep(seed))
        np.testing.assert_equal(copy.state(), standard.state())
        assert np.array_equal(copy.scale(), standard.scale())
    near = RunningStandard.from_scale(*standard.scale())
    near.update(sweep(9))  # that of a model is settled
    np.testing.assert_allclose(near.scale(), standard.scale(), rtol=1e-6)


def test_of_patterns_that_fit_the_last_counts() -> None:
    assert normalisers_of(NAMES, {}) == ("standardised",) * 4
    assert normalisers_of(NAMES, {"*": "raw", "hits_[01]": "min_max", "hits_1": "standardised"}) == (
        "raw", "min_max", "standardised", "raw",
    )  # fmt: skip


@pytest.mark.parametrize("pattern", ["hits", "HITS_0", "coarse1_*"])
def test_a_pattern_that_fits_no_column_is_an_error_that_names_it(pattern: str) -> None:
    with pytest.raises(ConfigError) as caught:
        normalisers_of(NAMES, {"*": "raw", pattern: "min_max"})
    assert str(caught.value).startswith(f"learn.normalisers.{pattern}: fits no feature column")
