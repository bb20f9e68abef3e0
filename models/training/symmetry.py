"""The eight symmetries of the lattice about the vertical, as changes of features and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native.lattice import neighbors

OFFSETS = [tuple(offset) for offset in neighbors(np.zeros((1, 3), np.int32))[0].tolist()]
"""Neighbour offsets in the order of the index table, half edges."""

MIRRORED = ("y", "forecast_y", "yaw_rate")
"""Columns in the sensor's own frame that a mirror image turns round; a rotation of the world leaves them."""
VECTORS = (("offset_x", "offset_y"), ("spread_xz", "spread_yz"))
"""Pairs that turn like a horizontal vector in map axes."""
TENSOR = ("spread_xx", "spread_yy", "spread_xy")
"""The horizontal part of a covariance in map axes."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Symmetry:
    """One symmetry: columns become ``x[:, source] * sign``, neighbours ``neighbor_index[:, neighbor]``.

    moved : the columns that this changes
    """

    source: NDArray[np.intp]
    sign: NDArray[np.float32]
    neighbor: NDArray[np.intp]
    moved: NDArray[np.intp]

    def apply(
        self, x: NDArray[np.float32], neighbor_index: NDArray[np.int32]
    ) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
        """The same cells in the transformed world; x float32 (N, F), neighbor_index int32 (N, 14)."""
        changed = x.copy()
        changed[:, self.moved] = x[:, self.source[self.moved]] * self.sign[self.moved]
        return changed, neighbor_index[:, self.neighbor]


def symmetries(names: Sequence[str]) -> tuple[Symmetry, ...]:
    """The identity first, then the other seven; columns unknown here are taken to be invariant.

    names : of the feature columns, F
    """
    quarter = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    mirror = np.diag([1, -1, 1])
    found = []
    for flipped in (False, True):
        matrix = mirror if flipped else np.eye(3, dtype=int)
        for _ in range(4):
            found.append(_symmetry(list(names), matrix, flipped))
            matrix = quarter @ matrix
    return tuple(found)


def _symmetry(names: list[str], matrix: NDArray[np.int_], flipped: bool) -> Symmetry:
    source, sign = np.arange(len(names)), np.ones(len(names), np.float32)

    def take(column: str, other: str, factor: int) -> None:
        if column in names and other in names:
            source[names.index(column)] = names.index(other)
            sign[names.index(column)] = factor

    for pair in VECTORS:
        for i in (0, 1):
            j = int(np.flatnonzero(matrix[i, :2])[0])
            take(pair[i], pair[j], int(matrix[i, j]))
    swapped = matrix[0, 0] == 0
    take("spread_xx", "spread_yy" if swapped else "spread_xx", 1)
    take("spread_yy", "spread_xx" if swapped else "spread_yy", 1)
    take("spread_xy", "spread_xy", int(matrix[:2, :2].sum(axis=1).prod()))
    if flipped:
        for column in MIRRORED:
            take(column, column, -1)
    inverse = matrix.T  # orthogonal
    neighbor = [OFFSETS.index(tuple(int(v) for v in inverse @ np.array(offset))) for offset in OFFSETS]
    moved = np.flatnonzero((source != np.arange(len(names))) | (sign != 1))
    return Symmetry(source=source, sign=sign, neighbor=np.array(neighbor, np.intp), moved=moved)
