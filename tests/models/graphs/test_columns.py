"""Columns of cells by name, a container's own and the user's."""

from __future__ import annotations

import numpy as np
import pytest

from models.graphs.columns import FeatureError, feature_matrix, names_of, part_names, values_of
from native.cells import Cells
from tests.models.graphs.containers import container


@pytest.fixture(scope="module")
def cells() -> Cells:
    return container().cells()


def test_columns_stand_beside_each_other_in_the_order_of_the_keys(cells: Cells) -> None:
    x = feature_matrix(cells, ["class", "hits", "flow", "height"])
    assert x.dtype == np.float32 and x.flags.c_contiguous
    expected = [
        cells.values("class"),
        cells.hits[:, None],
        cells.values("flow"),
        cells.values("height")[:, None],
    ]
    assert np.array_equal(x, np.concatenate(expected, axis=1).astype(np.float32))


def test_every_name_gives_as_many_numbers_as_names(cells: Cells) -> None:
    for name in names_of(cells):
        assert values_of(cells, name).shape == (len(cells), len(part_names(cells, name)))
    assert part_names(cells, "class") == ("class.car", "class.road", "class.tree")
    assert part_names(cells, "flow") == ("flow.0", "flow.1", "flow.2")


def test_place_and_intensity_are_means_over_the_returns(cells: Cells) -> None:
    offset, intensity = values_of(cells, "offset"), values_of(cells, "intensity")
    points = 4096.0 * cells.hits[:, None]
    assert np.allclose(offset, cells.sums[:, :3] / points * 0.4)
    assert np.allclose(intensity, cells.sums[:, 9:10] / points)


def test_a_cell_without_a_value_is_refused_or_filled(cells: Cells) -> None:
    some = container(nothing=True).cells()
    missing = np.isnan(some.values("height"))
    with pytest.raises(
        FeatureError, match=rf"height: {missing.sum()} of {len(some)} cells have no value .*fill=0.0"
    ):
        feature_matrix(some, ["hits", "height"])
    filled = feature_matrix(some, ["hits", "height"], fill=-3.0)
    assert (filled[missing, 1] == -3.0).all()
    assert np.array_equal(filled[~missing, 1], some.values("height")[~missing].astype(np.float32))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ([], "expected names of columns, each once"),
        ("hits", "expected names of columns, each once, got 'hits'"),
        (["hits", "hits"], "each once"),
        (["hits", "color"], "no column 'color'; there are hits, .*, class"),
    ],
)
def test_keys_that_name_no_columns_are_refused(cells: Cells, keys: list[str], message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        feature_matrix(cells, keys)
