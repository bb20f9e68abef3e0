"""Labels of cells by share: which class and which instance has most of a cell, and what each class has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.errors import DomainError
from stream.point_cells import PointCells

NO_CLASS = -1
NO_INSTANCE = 0


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CellLabels:
    """What the cells of one moment are.

    classes : names
    cell_id : uint64 (N,), ascending
    code : int32 (N,), place of the class with the greatest share
    instance : uint32 (N,), the instance of this class with the greatest share, 0 where most of it has none
    fraction : float32 (N,), share of that instance of the cell; of a class without instances, the class's
    fractions : float32 (N, C), share of every class, 0..1; what is left of 1 is said to be nothing
    """

    classes: tuple[str, ...]
    cell_id: NDArray[np.uint64]
    code: NDArray[np.int32]
    instance: NDArray[np.uint32]
    fraction: NDArray[np.float32]
    fractions: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.cell_id)


def labels_of_shares(
    classes: Sequence[str],
    cell_id: NDArray[np.uint64],
    code: NDArray[np.integer],
    instance: NDArray[np.integer],
    share: NDArray[np.float64],
) -> CellLabels:
    """Labels of cells, from what each thing has of each.

    cell_id, code, instance, share : (K,), in any order, several rows a cell; codes 0..C - 1; shares > 0 of
        one cell, class and instance add up, at most to 1
    Of equal shares the first class, and the lowest instance, counts. Deterministic, whatever their order
    Raises DomainError for a code that is no class, or a share that is not > 0
    """
    if len(code) and not 0 <= code.min() <= code.max() < len(classes):
        raise DomainError(f"code: must be 0..{len(classes) - 1}, got {code.min()}..{code.max()}")
    if len(share) and not share.min() > 0:
        raise DomainError(f"share: must be > 0, got {share.min()}")
    order = np.lexsort((share, instance, code, cell_id))
    cell_id, code, instance, share = cell_id[order], code[order], instance[order], share[order]
    thing = np.flatnonzero(_begins(cell_id, code, instance))
    of_thing = np.minimum(_sums(share, thing), 1.0)
    own = np.flatnonzero(_begins(cell_id, code))
    of_class = np.minimum(_sums(share, own), 1.0)
    cells, row = np.unique(cell_id[own], return_inverse=True)
    fractions = np.zeros((len(cells), len(classes)))
    fractions[row, code[own]] = of_class
    best = fractions.argmax(axis=1) if len(classes) else np.zeros(0, np.int64)
    at = np.searchsorted(cells, cell_id[thing])
    of_best = np.flatnonzero(code[thing] == best[at])
    # Ascending by share, then descending by instance: what is written last into a row stays.
    last = of_best[np.lexsort((-instance[thing][of_best].astype(np.int64), of_thing[of_best]))]
    found, fraction = np.zeros(len(cells), np.uint32), np.zeros(len(cells), np.float32)
    found[at[last]], fraction[at[last]] = instance[thing][last], of_thing[last]
    return CellLabels(
        classes=tuple(classes), cell_id=cells, code=best.astype(np.int32), instance=found, fraction=fraction,
        fractions=fractions.astype(np.float32),
    )  # fmt: skip


def labels_of_points(
    classes: Sequence[str],
    cells: PointCells,
    code: NDArray[np.integer],
    instance: NDArray[np.integer],
) -> CellLabels:
    """Labels of cells by how many of their points have each: shares of all points of a cell.

    code : integers (N,), of the sweep's points, -1 for none; instance : integers (N,), 0 for none
    Cells without a labelled point are left out. Raises ValueError for labels of another number of points
    """
    rows = cells.map.rows
    for name, values in (("code", code), ("instance", instance)):
        if values.shape != rows.shape:
            raise ValueError(f"{name}: labels of {len(values)} points, the sweep has {len(rows)}")
    held = np.flatnonzero((rows >= 0) & (code != NO_CLASS))
    points = np.diff(cells.map.starts.astype(np.int64))
    order = held[np.lexsort((instance[held], code[held], rows[held]))]
    begins = np.flatnonzero(_begins(rows[order], code[order], instance[order]))
    count, thing = np.diff(np.append(begins, len(order))), order[begins]
    row = rows[thing]
    return labels_of_shares(
        classes, cells.cell_id[row], code[thing], instance[thing], count / points[row].astype(np.float64)
    )


def _begins(*columns: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Where a row of sorted columns differs from the one before it."""
    begins = np.ones(len(columns[0]), np.bool_)
    begins[1:] = np.logical_or.reduce([column[1:] != column[:-1] for column in columns])
    return begins


def _sums(values: NDArray[np.float64], begins: NDArray[np.intp]) -> NDArray[np.float64]:
    return np.add.reduceat(values, begins) if len(begins) else np.zeros(0)
