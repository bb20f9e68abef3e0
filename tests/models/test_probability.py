"""The grid of probabilities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.probability import GRID, quantise


@given(st.floats(-0.5, 1.5, width=32))
def test_nearest_on_the_grid_and_idempotent(value: float) -> None:
    quantised = quantise(np.float32([value]))
    k = float(quantised[0]) * GRID
    assert quantised.dtype == np.float32
    assert k == int(k)
    assert 1 <= k <= GRID - 1
    clamped = min(max(value, 1 / GRID), 1 - 1 / GRID)
    assert abs(float(quantised[0]) - clamped) <= 0.5 / GRID
    assert np.array_equal(quantise(quantised), quantised)


def test_every_grid_value_survives() -> None:
    k = np.arange(1, GRID)
    assert np.array_equal(quantise(k / GRID) * GRID, k)


def test_shapes_are_kept() -> None:
    for shape in ((), (0,), (3, 2)):
        assert quantise(np.full(shape, 0.5)).shape == shape


def test_input_is_not_written() -> None:
    values = np.float32([0.3, 2.0])
    quantise(values)
    assert values.tolist() == np.float32([0.3, 2.0]).tolist()


def test_nan_is_an_error() -> None:
    with pytest.raises(ValueError, match="NaN"):
        quantise(np.float32([0.5, np.nan]))
