"""Columns of the user's own: encoding, decoding, refusals; schemas as text."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from native.schema import NEUTRAL, Column, MismatchError, Rule, Schema, most_frequent
from tests.native.container_checks import COLUMNS

SCHEMA = Schema(
    half_edge_m=0.4, frame=5, tier=1, lod=7, intensity_max=1.0, levels=3, free_level=1, columns=COLUMNS
)


@given(
    values=hnp.arrays(
        np.float64, st.tuples(st.integers(0, 6), st.integers(1, 3)), elements=st.floats(-1e6, 1e6)
    ),
    rule=st.sampled_from(["sum", "least", "greatest", "latest"]),
    unit=st.sampled_from([1.0, 0.25, 1e-3]),
)
def test_values_come_back_to_half_a_unit(values: Any, rule: Rule, unit: float) -> None:
    column = Column(name="c", rule=rule, width=values.shape[1], unit=unit)
    stored = column.encode(values, 17)
    assert stored.shape == (len(values), column.stored) and stored.dtype == np.int64
    back = column.decode(stored).reshape(values.shape)
    assert np.abs(back - values).max(initial=0) <= unit / 2 * (1 + 1e-9)
    assert np.array_equal(column.encode(back, 17), stored)


@pytest.mark.parametrize("rule", ["least", "greatest", "latest"])
def test_nothing_is_held_as_the_neutral_value(rule: Rule) -> None:
    column = Column(name="c", rule=rule, width=2)
    stored = column.encode(np.array([[1.0, 2.0], [np.nan, np.nan]]), 5)
    assert (stored[1] == NEUTRAL[rule]).all() and np.array_equal(stored[1:], column.empty(1))
    assert np.isnan(column.decode(stored)[1]).all() and column.decode(stored)[0].tolist() == [1.0, 2.0]


def test_whole_numbers_are_kept_to_the_last() -> None:
    column = Column(name="c", rule="greatest")
    stored = column.encode(np.array([2**62 - 1, -(2**60) - 1]))
    assert stored[:, 0].tolist() == [2**62 - 1, -(2**60) - 1]


def test_categories_count() -> None:
    column = Column(name="class", categories=("car", "road", "tree"))
    assert column.encode(np.array([1, -1, 2, 1])).tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 1], [0, 1, 0]]
    counts = np.array([[3, 3, 0], [0, 0, 0], [0, 1, 2]])
    assert np.array_equal(column.encode(counts), counts)
    assert most_frequent(counts).tolist() == [0, -1, 2]
    assert most_frequent(np.empty((2, 0), np.int64)).tolist() == [-1, -1]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        (np.array([3]), "places must be -1..2"),
        (np.array([-2]), "places must be -1..2"),
        (np.array([1.0]), "expected integers"),
        (np.array([[1, 2]]), "expected counts"),
        (np.array([[1, 2, -1]]), "expected counts"),
        (np.zeros((1, 1, 1), np.int64), "expected integers"),
    ],
)
def test_categories_that_are_none_are_refused(values: Any, text: str) -> None:
    with pytest.raises(ValueError, match=f"class: {text}"):
        Column(name="class", categories=("car", "road", "tree")).encode(values)


@pytest.mark.parametrize(
    "values", [np.array([[1.0, 2.0, 3.0]]), np.array([1.0]), np.zeros((1, 2, 1)), np.array([[np.inf, 1.0]]),
               np.array([[1e30, 1.0]])],
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(values: Any) -> None:
    with pytest.raises(ValueError, match=r"^c: "):
        Column(name="c", width=2).encode(values)


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"name": ""}, "name"),
        ({"name": "hits"}, "name"),
        ({"name": "a.b"}, "name"),
        ({"rule": "mean"}, "c.rule"),
        ({"width": 0}, "c.width"),
        ({"width": 257}, "c.width"),
        ({"unit": 0.0}, "c.unit"),
        ({"unit": float("nan")}, "c.unit"),
        ({"categories": ("a", "a")}, "c.categories"),
        ({"categories": ("a",), "rule": "least"}, "c.categories"),
    ],
)
def test_columns_that_cannot_be_are_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Column(**{"name": "c", **fields})


def test_two_columns_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="columns"):
        replace(SCHEMA, columns=(COLUMNS[0], COLUMNS[0]))
    with pytest.raises(ValueError, match="columns"):
        replace(SCHEMA, columns=tuple(Column(name=f"c{i}") for i in range(17)))


def test_a_schema_is_one_text_and_one_digest() -> None:
    again = Schema.from_json(SCHEMA.to_json())
    assert again == SCHEMA and again.digest == SCHEMA.digest and len(SCHEMA.digest) == 64
    for name, value in (("half_edge_m", 0.5), ("frame", 6), ("lod", 8), ("levels", 4), ("columns", ())):
        other = replace(SCHEMA, **{name: value})
        assert other.digest != SCHEMA.digest
        with pytest.raises(MismatchError, match=f"^{name}: expected"):
            SCHEMA.require_equal(other)
    SCHEMA.require_equal(again)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"version": 2}',
        '{"version": 1, "columns": [{}]}',
        '{"version": 1, "columns": 3}',
    ],
)
def test_texts_that_are_no_schema_are_refused(text: str) -> None:
    with pytest.raises(MismatchError, match="schema"):
        Schema.from_json(text)
