"""Shares of cells: the greatest counts, whatever the order of rows, against counting by hand."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.errors import DomainError
from native.points import point_map
from stream.annotations.cell_labels import labels_of_points, labels_of_shares
from stream.point_cells import PointCells

CLASSES = ("car", "road", "tree")

rows = st.lists(
    st.tuples(
        st.integers(0, 4), st.integers(0, 2), st.integers(0, 3), st.sampled_from([0.125, 0.25, 0.5, 0.75])
    ),
    max_size=20,
)


@settings(deadline=None, max_examples=60)
@given(rows, st.randoms())
def test_the_class_with_the_greatest_share_counts(given_rows, random) -> None:
    shuffled = random.sample(given_rows, len(given_rows))
    columns = list(zip(*shuffled, strict=True)) if shuffled else [[], [], [], []]
    found = labels_of_shares(
        CLASSES, np.array(columns[0], np.uint64), np.array(columns[1], np.int64),
        np.array(columns[2], np.int64), np.array(columns[3], np.float64),
    )  # fmt: skip
    things: dict = defaultdict(float)
    for cell, code, instance, share in given_rows:
        things[cell, code, instance] += share
    assert found.cell_id.tolist() == sorted({cell for cell, _, _ in things})
    for row, cell in enumerate(found.cell_id.tolist()):
        own = {key[1:]: min(share, 1.0) for key, share in things.items() if key[0] == cell}
        classes = [sum(things[cell, k, i] for k, i in own if k == code) for code in range(3)]
        fractions = [min(share, 1.0) for share in classes]
        assert found.fractions[row].tolist() == fractions
        assert found.code[row] == fractions.index(max(fractions))
        instances = {i: share for (k, i), share in own.items() if k == found.code[row]}
        assert found.instance[row] == min(instances, key=lambda i: (-instances[i], i))
        assert found.fraction[row] == max(instances.values())


def cells_of(rows_of_points: list[int]) -> PointCells:
    count = max(rows_of_points, default=-1) + 1
    ids = np.arange(count, dtype=np.uint64) * np.uint64(7)
    return PointCells(cell_id=ids, map=point_map(np.array(rows_of_points, np.int32), count))


def test_shares_of_points_are_of_all_points_of_a_cell() -> None:
    cells = cells_of([0, 0, 0, 0, 1, 1, -1, 2])
    code = np.array([0, 0, 1, -1, -1, -1, 2, 2])
    instance = np.array([5, 6, 0, 0, 0, 0, 9, 0])
    found = labels_of_points(CLASSES, cells, code, instance)
    assert found.cell_id.tolist() == [0, 14], "nobody spoke of the points of the cell between"
    assert found.fractions.tolist() == [[0.5, 0.25, 0.0], [0.0, 0.0, 1.0]]
    assert found.code.tolist() == [0, 2]
    assert found.instance.tolist() == [5, 0], "of two instances with as many points the first"
    assert found.fraction.tolist() == [0.25, 1.0]


def test_refused() -> None:
    cells = cells_of([0, 0])
    with pytest.raises(ValueError, match="code: labels of 3 points, the sweep has 2"):
        labels_of_points(CLASSES, cells, np.zeros(3, np.int64), np.zeros(3, np.int64))
    one = np.array([1], np.uint64)
    with pytest.raises(DomainError, match=r"code: must be 0\.\.2, got 3\.\.3"):
        labels_of_shares(CLASSES, one, np.array([3]), np.array([0]), np.array([0.5]))
    with pytest.raises(DomainError, match="share: must be > 0"):
        labels_of_shares(CLASSES, one, np.array([0]), np.array([0]), np.array([0.0]))
