"""A grid is refused, where it is made or where it is used, when a value is outside its domain."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from native.binning import Binner
from native.errors import DomainError
from native.grid import Grid
from native.visibility import Rays
from native.window import Window, WindowOptions
from tests.native.oracle import matrix_of


def window(grid: Grid) -> Window:
    return Window(grid, WindowOptions())


USERS: list[Callable[[Grid], object]] = [Binner, Rays, window]


@pytest.mark.parametrize(
    "field", [{"frame": -1}, {"frame": 256}, {"tier": -1}, {"tier": 4}, {"lod": -1}, {"lod": 16}], ids=str
)
def test_fields_of_the_id_are_checked_at_once(field: dict[str, int]) -> None:
    (name,) = field
    with pytest.raises(ValueError, match=name):
        Grid(half_edge_m=0.4, **field)


@pytest.mark.parametrize(
    "fields",
    [
        *({"half_edge_m": v} for v in (0.0, -0.4, 0.000999, math.nan, math.inf)),
        *({"range_min_m": v} for v in (-1e-9, math.nan, 40.0, 41.0)),
        *({"range_max_m": v} for v in (3.0, 0.0, math.nan, math.inf)),
        *({"intensity_max": v} for v in (0.0, -1.0, math.nan, math.inf)),
    ],
    ids=str,
)
@pytest.mark.parametrize("use", USERS)
def test_values_out_of_domain_are_refused_by_every_user(
    use: Callable[[Grid], object], fields: dict[str, Any]
) -> None:
    with pytest.raises(DomainError):
        use(Grid(**{"half_edge_m": 0.4, **fields}))


@pytest.mark.parametrize("use", USERS)
def test_the_ends_of_the_domains_are_accepted(use: Callable[[Grid], object]) -> None:
    use(Grid(half_edge_m=0.001, frame=0, tier=0, lod=0, range_min_m=0.0, range_max_m=0.001))
    use(Grid(half_edge_m=51.2, frame=255, tier=3, lod=15, intensity_max=255.0))


def test_the_c_grid_holds_every_value() -> None:
    grid = Grid(
        half_edge_m=0.25, frame=7, tier=2, lod=9, range_min_m=1.5, range_max_m=70.0, intensity_max=255.0
    )
    struct = grid.to_c()
    assert {name: getattr(struct, name) for name in Grid.__slots__} == {
        name: getattr(grid, name) for name in Grid.__slots__
    }


def test_a_grid_is_a_value() -> None:
    assert Grid(half_edge_m=0.4) == Grid(half_edge_m=0.4) != Grid(half_edge_m=0.4, lod=6)
    for name in Grid.__slots__:
        with pytest.raises(AttributeError, match=name):
            setattr(Grid(half_edge_m=0.4), name, 1)


@pytest.mark.parametrize(
    "field", [{"half_edge_m": 1e60}, {"intensity_max": 1e-60}, {"intensity_max": 1e60}], ids=str
)
def test_a_value_beyond_float32_is_refused(field: dict[str, Any]) -> None:
    """The core computes in float32: such a value becomes 0 or infinity there, then NaN."""
    with pytest.raises(DomainError):
        Binner(Grid(**{"half_edge_m": 0.4, **field}))


def test_the_smallest_grid_takes_the_farthest_point() -> None:
    grid = Grid(half_edge_m=0.001, range_min_m=0.0, range_max_m=20_000.0)
    points = np.array([[10_000, -10_000, 10_000], [-10_000, 10_000, 1]], np.float32)
    bins = Binner(grid).run(points, np.zeros(2, np.float32), matrix_of(yaw=0.7))
    assert (bins.binned, bins.off_map, bins.rays) == (0, 2, 2)
