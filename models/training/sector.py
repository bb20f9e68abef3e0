"""A part of a sweep that can be trained on alone, with the neighbours it needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.training.replay import UNLABELLED, Example


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Sector:
    """Rows of an example, ready for the network.

    rows : int32 (M,), rows of the example: those whose output is that of the whole sweep, then the others,
        ascending both
    neighbor_index : int32 (M, 14), places in ``rows``, M where there is no neighbour or it is left out
    scored : how many of the first rows have that output; they carry a label
    """

    rows: NDArray[np.int32]
    neighbor_index: NDArray[np.int32]
    scored: int


def cut_sector(example: Example, centre: float, width: float, layers: int, primary: int) -> Sector:
    """The labelled cells within an azimuth range, and all cells that ``layers`` convolutions reach from them.

    centre, width : radians; the range is centre +- width / 2
    The network's output at the scored rows and its gradient are exactly those on the whole sweep. A range
    without a label at the primary horizon gives the whole sweep instead, so that no step is spent on nothing.
    """
    labelled = np.logical_or.reduce([column != UNLABELLED for column in example.label.T])
    inside = labelled & within(example.azimuth, centre, width)
    if not (example.label[inside, primary] != UNLABELLED).any():
        inside = labelled
    return sector_of(example.neighbor_index, inside, layers)


def within(azimuth: NDArray[np.float32], centre: float, width: float) -> NDArray[np.bool_]:
    """Which azimuths, radians of any turn, lie at centre +- width / 2; bool (N,)."""
    turned = np.remainder(azimuth - np.float32(centre % (2 * np.pi)) + np.pi, 2 * np.pi) - np.pi
    inside: NDArray[np.bool_] = np.abs(turned) <= width / 2
    return inside


def sector_of(neighbor_index: NDArray[np.int32], inside: NDArray[np.bool_], layers: int) -> Sector:
    """Chosen cells, bool (N,), and all that ``layers`` convolutions reach from them."""
    count = len(inside)
    chosen = np.flatnonzero(inside)
    reached, ring = np.append(inside, False), chosen
    for _ in range(layers):
        before = reached.copy()
        reached[neighbor_index[ring].ravel()] = True
        reached[count] = False
        ring = np.flatnonzero(reached & ~before)
    reached[chosen] = False
    rows = np.concatenate((chosen, np.flatnonzero(reached))).astype(np.int32)
    place = np.full(count + 1, len(rows), dtype=np.int32)
    place[rows] = np.arange(len(rows), dtype=np.int32)
    return Sector(rows=rows, neighbor_index=place[neighbor_index[rows]], scored=len(chosen))
