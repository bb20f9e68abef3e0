"""From points to cells and back, on recorded sweeps and against sorting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from native.binning import Binner
from native.errors import DomainError
from native.grid import Grid
from native.points import point_map
from native.schema import Column, most_frequent
from tests.native.recorded import sweep


@given(rows=st.lists(st.integers(-1, 6), max_size=60))
def test_the_points_of_each_cell_are_those_in_it(rows: list[int]) -> None:
    found = point_map(np.array(rows, np.int32), 7)
    for cell in range(7):
        assert found.points_in(cell).tolist() == [i for i, row in enumerate(rows) if row == cell]
    assert len(found.points) == sum(row >= 0 for row in rows)


@pytest.mark.data
def test_labels_of_recorded_cells_return_to_their_points() -> None:
    s = sweep(2)
    binner = Binner(Grid(half_edge_m=0.4, frame=2, lod=7))
    bins = binner.run(s.points, s.intensity, s.pose)
    found = point_map(binner.point_rows(), len(bins.cell_id))
    assert np.array_equal(np.diff(found.starts), bins.hits) and len(found.points) == bins.binned
    ids = found.to_points(bins.cell_id, np.uint64(0))
    assert (ids > 0).sum() == bins.binned
    for row in (0, 100, len(bins.cell_id) - 1):
        assert (ids[found.points_in(row)] == bins.cell_id[row]).all()
    label = (np.arange(len(s.points)) * 7919 % 4 - 1).astype(np.int64)  # -1 for some
    counts = found.count_labels(label, 3)
    assert counts.sum() == ((label >= 0) & (found.rows >= 0)).sum()
    column = Column(name="class", categories=("a", "b", "c"))
    back = found.to_points(most_frequent(column.encode(counts)), -1)
    assert back.shape == label.shape and (back[found.rows < 0] == -1).all()
    one = found.points_in(int(bins.hits.argmax()))
    assert back[one[0]] == np.bincount(label[one][label[one] >= 0], minlength=3).argmax()


def test_nothing_is_in_no_cell() -> None:
    found = point_map(np.empty(0, np.int32), 0)
    assert found.starts.tolist() == [0] and len(found.points) == 0
    assert found.to_points(np.empty((0, 3)), np.nan).shape == (0, 3)
    assert found.count_labels(np.empty(0, np.int64), 4).shape == (0, 4)


@pytest.mark.parametrize(
    ("rows", "cells", "error", "text"),
    [
        (np.array([0, 3], np.int32), 3, DomainError, "rows"),
        (np.array([-2], np.int32), 3, DomainError, "rows"),
        (np.array([0], np.int64), 3, TypeError, "rows"),
        (np.zeros((2, 1), np.int32), 3, ValueError, "rows"),
        (np.zeros(4, np.int32)[::2], 3, ValueError, "rows"),
        ([0], 3, TypeError, "rows"),
        (np.array([0], np.int32), -1, DomainError, "cells"),
        (np.array([0], np.int32), 2**31, DomainError, "cells"),
    ],
)
def test_bad_rows_are_named(rows: Any, cells: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        point_map(rows, cells)


def test_bad_labels_are_named() -> None:
    found = point_map(np.array([0, -1, 1], np.int32), 2)
    with pytest.raises(ValueError, match="of_cells: expected 2 rows, got 3"):
        found.to_points(np.zeros(3), 0)
    with pytest.raises(ValueError, match="label: expected 3 points"):
        found.count_labels(np.zeros(2, np.int64), 2)
    for label in ([0, 0, 2], [-2, 0, 0]):
        with pytest.raises(DomainError, match="label: must be"):
            found.count_labels(np.array(label), 2)
