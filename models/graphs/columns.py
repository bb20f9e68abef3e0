"""Columns of cells by name, a container's own and those of the user alike, as the numbers a network reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native.binning import FIXED_ONE
from native.cells import Cells

Floats = NDArray[np.float32]

INTENSITY = 9
"""Place of the intensity among the sums."""


class FeatureError(ValueError):
    """Columns that make no features: unknown, not finite, or of another shape; says which and the way out."""


OWN: dict[str, Callable[[Cells], NDArray[Any]]] = {
    "hits": lambda cells: cells.hits,
    "passes": lambda cells: cells.passes,
    "free_passes": lambda cells: cells.free_passes,
    "free_misses": lambda cells: cells.free_misses,
    "state": lambda cells: cells.state(),
    "offset": lambda cells: cells.centroids() - cells.positions(),
    "intensity": lambda cells: (
        cells.sums[:, INTENSITY] / (FIXED_ONE * np.where(cells.hits > 0, cells.hits, np.nan))
    ),
}
"""What every container knows of a cell: counts, ``Cells.state``, the mean return relative to the site, metres
and its intensity, a share; the last two are NaN where there is no return."""


def names_of(cells: Cells) -> tuple[str, ...]:
    """Every name that ``values_of`` knows."""
    return tuple(dict.fromkeys([*OWN, *(column.name for column in cells.schema.columns)]))


def values_of(cells: Cells, name: str) -> NDArray[Any]:
    """A column as numbers, (N, W): a scalar has W = 1, a column of categories a count a category.

    A column of the user's comes before one of the container's own of that name.
    Raises FeatureError for a name that is not there
    """
    if name in cells.stored:
        values = cells.values(name)
    elif name in OWN:
        values = OWN[name](cells)
    else:
        raise FeatureError(f"feature_keys: no column {name!r}; there are {', '.join(names_of(cells))}")
    return values[:, None] if values.ndim == 1 else values


def part_names(cells: Cells, name: str) -> tuple[str, ...]:
    """Names of the W values of a column: ``flow.0``, ``class.car``; of a scalar its own."""
    if name not in cells.stored:
        return tuple(f"{name}.{axis}" for axis in "xyz") if name == "offset" else (name,)
    column = cells.column(name)
    if column.categories:
        return tuple(f"{name}.{category}" for category in column.categories)
    return (name,) if column.width == 1 else tuple(f"{name}.{place}" for place in range(column.width))


def feature_matrix(cells: Cells, keys: Sequence[str], fill: float | None = None) -> Floats:
    """The columns beside each other, float32 (N, F), C-ordered, in the order of the keys.

    keys : names of columns, each once
    fill : what stands where a cell has no value; None refuses such cells
    Raises FeatureError for no key, an unknown one, or values that are not finite
    """
    require_keys(keys)
    return finite([values_of(cells, key) for key in keys], keys, len(cells), fill)


def require_keys(keys: Sequence[str]) -> None:
    """Raises FeatureError unless there are keys, each once."""
    if isinstance(keys, str) or not keys or len(set(keys)) != len(keys):
        raise FeatureError(f"feature_keys: expected names of columns, each once, got {keys!r}")


def finite(columns: Sequence[NDArray[Any]], keys: Sequence[str], n: int, fill: float | None) -> Floats:
    """Columns (N, W) beside each other, float32 (N, F), NaN filled; FeatureError for what is not finite."""
    out = np.empty((n, sum(column.shape[1] for column in columns)), np.float32)
    at = 0
    for key, column in zip(keys, columns, strict=True):
        part = out[:, at : at + column.shape[1]]
        with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, and refused below
            part[...] = column
        at += column.shape[1]
        if np.isinf(part).any():
            raise FeatureError(
                f"{key}: {np.isinf(part).any(axis=1).sum()} of {n} cells have an infinite value"
            )
        none = np.isnan(part)
        if fill is not None:
            part[none] = fill
        elif none.any():
            raise FeatureError(
                f"{key}: {none.any(axis=1).sum()} of {n} cells have no value (NaN); say what stands there, "
                "as fill=0.0, or leave the column out"
            )
    return out
