"""Rows of a table against numpy's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.errors import DomainError
from native.gather import gather


@given(
    seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 50), width=st.integers(0, 80), n=st.integers(0, 60)
)
def test_it_takes_what_numpy_takes(seed: int, rows: int, width: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.normal(size=(rows, width)).astype(np.float32)
    index = rng.integers(0, rows, n)
    found = gather(table, index)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.take(table, index, axis=0), strict=True)


def test_an_empty_table_has_no_rows() -> None:
    assert gather(np.zeros((0, 3), np.float32), np.zeros(0, np.int64)).shape == (0, 3)


@pytest.mark.parametrize(("rows", "index"), [(3, -1), (3, 3), (0, 0), (3, 2**62), (3, -(2**63))])
def test_rows_that_are_not_there(rows: int, index: int) -> None:
    with pytest.raises(DomainError, match="index"):
        gather(np.zeros((rows, 2), np.float32), np.array([0, index][rows == 0 :], np.int64))
