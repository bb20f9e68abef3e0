"""How far a network sees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from models.nets.bcc_conv import BccNet
from models.nets.bcc_model import BCCModel
from models.nets.cross_lod import BCCCrossLOD
from models.nets.graph_net import GraphNet
from models.nets.transformer import BCCTransformer
from native.lattice import children, neighbors

_ORIGIN = np.zeros((1, 3), np.int32)
STEP = float(np.linalg.norm(neighbors(_ORIGIN)[0], axis=1).max())
"""The longest step to a neighbour, half edges."""

DESCENT = float(np.linalg.norm(children(_ORIGIN)[0], axis=1).max())
"""The farthest that a child's site lies from its parent's, half edges of the child."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceptiveField:
    """What can change the answer for a cell.

    rings : steps to the farthest cell of its own level
    lods : levels above and below it from which it hears
    metres : no site farther away counts
    """

    rings: int
    lods: int
    metres: float


def receptive_field(model: nn.Module, half_edge_m: float) -> ReceptiveField:
    """How far a network sees from a cell.

    half_edge_m : of the cell's level, > 0
    Raises TypeError for a module that is no network of ``models.nets``
    """
    if not half_edge_m > 0:
        raise ValueError(f"half_edge_m: {half_edge_m} must be above 0")
    if isinstance(model, BCCCrossLOD):
        layers = len(model.blocks)
        return ReceptiveField(rings=layers, lods=layers, metres=half_edge_m * _reach(layers, 1.0))
    if isinstance(model, BCCModel):
        rings = 1
    elif isinstance(model, BCCTransformer):
        rings = model.rings * len(model.blocks)
    elif isinstance(model, (GraphNet, BccNet)):
        rings = len(model.blocks)
    else:
        raise TypeError(f"model: {type(model).__name__} is no network of models.nets")
    return ReceptiveField(rings=rings, lods=0, metres=rings * STEP * half_edge_m)


def _reach(layers: int, half_edge: float) -> float:
    """The longest way of so many steps between neighbours, to a parent or to a child, in any order."""
    if layers == 0:
        return 0.0
    return max(
        STEP * half_edge + _reach(layers - 1, half_edge),
        DESCENT * half_edge + _reach(layers - 1, 2 * half_edge),
        DESCENT * half_edge / 2 + _reach(layers - 1, half_edge / 2),
    )
