"""Regions of the map: which cells lie in them, and coarser levels of a forecast."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from agents.web.questions import Box, PredictQuestion, Sphere
from native.index64 import ancestor, decode
from stream.config import GridConfig


class Space:
    """The grid in metres."""

    def __init__(self, grid: GridConfig) -> None:
        self._half_edge_m = grid.half_edge_m

    def centres(self, cell_id: NDArray[np.uint64]) -> NDArray[np.float64]:
        """Centres of cells of the grid's level, float64 (N, 3), metres, map frame."""
        return decode(cell_id).sites.astype(np.float64) * self._half_edge_m

    def inside(
        self, question: PredictQuestion, cell_id: NDArray[np.uint64], pose: NDArray[np.float64]
    ) -> NDArray[np.bool_]:
        """Which cells of the grid's level have their centre in the region that is asked for, bool (N,).

        pose : float64 (12,), sensor to map
        """
        matrix = pose.reshape(3, 4)
        if question.radius_m is not None:
            centre: list[float] = matrix[:, 3].tolist()
            return within_sphere(self.centres(cell_id), np.array(centre), question.radius_m)
        if question.box is None and question.sphere is None:
            return np.ones(len(cell_id), bool)
        points = self.centres(cell_id)
        if question.frame == "sensor":
            points = (points - matrix[:, 3]) @ matrix[:, :3]
        return within(points, question.box or question.sphere)

    def coarser(
        self, cell_id: NDArray[np.uint64], probability: NDArray[np.float32], lod: int
    ) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Cells at a coarser level, ascending, each as likely occupied as the likeliest of its cells.

        It is at least so likely; how much more depends on how they hang together, which no model says.
        """
        if not len(cell_id):
            return cell_id, probability
        parents = ancestor(cell_id, lod)
        order = np.argsort(parents, kind="stable")
        ids, starts = np.unique(parents[order], return_index=True)
        return ids, np.maximum.reduceat(probability[order], starts, axis=0)


def within(points: NDArray[np.float64], region: Box | Sphere | None) -> NDArray[np.bool_]:
    """Which points lie in a box or a sphere; all where there is neither."""
    if isinstance(region, Sphere):
        return within_sphere(points, np.array(region.centre), region.radius_m)
    if isinstance(region, Box):
        inside: NDArray[np.bool_] = np.all((points >= region.min) & (points <= region.max), axis=1)
        return inside
    return np.ones(len(points), bool)


def within_sphere(
    points: NDArray[np.float64], centre: NDArray[np.float64], radius_m: float
) -> NDArray[np.bool_]:
    """Which points are at most so far from a centre."""
    away = points - centre
    near: NDArray[np.bool_] = np.einsum("ij,ij->i", away, away) <= radius_m**2
    return near
