"""Upright boxes, many at a time: what detectors find, what a simulator knows."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Boxes:
    """N upright boxes in the map frame.

    centre : float64 (N, 3), metres; size : float64 (N, 3), length, width, height, metres
    yaw : float64 (N,), radians, counter-clockwise from +x; velocity : float64 (N, 2), metres a second
    kind : int32 (N,), class by code, -1 for none; score : float64 (N,), the higher the surer
    """

    centre: Floats
    size: Floats
    yaw: Floats
    velocity: Floats
    kind: NDArray[np.int32]
    score: Floats

    def __len__(self) -> int:
        return len(self.centre)

    @staticmethod
    def none() -> Boxes:
        """No box."""
        return Boxes.of(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0))

    @staticmethod
    def of(
        centre: Floats,
        size: Floats,
        yaw: Floats,
        velocity: Floats | None = None,
        kind: NDArray[np.int32] | None = None,
        score: Floats | None = None,
    ) -> Boxes:
        """Boxes that stand, of no class, all equally sure, where nothing else is said."""
        n = len(centre)
        return Boxes(
            centre=centre, size=size, yaw=yaw,
            velocity=np.zeros((n, 2)) if velocity is None else velocity,
            kind=np.full(n, -1, np.int32) if kind is None else kind,
            score=np.ones(n) if score is None else score,
        )  # fmt: skip

    def take(self, chosen: NDArray[np.integer] | NDArray[np.bool_]) -> Boxes:
        """Some of the boxes, by row or mask."""
        return Boxes(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})

    def speed(self) -> Floats:
        """Metres a second, float64 (N,)."""
        speed: Floats = np.hypot(self.velocity[:, 0], self.velocity[:, 1])
        return speed


def joined(parts: list[Boxes]) -> Boxes:
    """The boxes of several tables, one after the other."""
    rows = [Boxes.none(), *parts]
    return Boxes(**{f.name: np.concatenate([getattr(p, f.name) for p in rows]) for f in fields(Boxes)})


def into_frame(offset: Floats, yaw: Floats | float) -> Floats:
    """Planar vectors in axes turned by ``yaw``: ahead and to the left. offset : float64 (..., 2 or more)"""
    cos, sin = np.cos(yaw), np.sin(yaw)
    x, y = offset[..., 0], offset[..., 1]
    turned: Floats = np.stack([x * cos + y * sin, y * cos - x * sin], -1)
    return turned


def out_of_frame(ahead: Floats, yaw: Floats | float) -> Floats:
    """The inverse of ``into_frame``."""
    return into_frame(ahead, -np.asarray(yaw))


def inside(points: Floats, boxes: Boxes, margin_m: float) -> NDArray[np.int32]:
    """Box that each point lies in, int32 (P,), -1 for none; of several the one whose centre is nearest.

    points : float64 (P, 3); margin_m : so much larger are the boxes on every side
    """
    found = np.full(len(points), -1, np.int32)
    nearest = np.full(len(points), np.inf)
    order = np.argsort(points[:, 0], kind="stable")
    x = points[order, 0]
    reach = np.hypot(boxes.size[:, 0], boxes.size[:, 1]) / 2 + 2 * margin_m
    first = np.searchsorted(x, boxes.centre[:, 0] - reach)
    last = np.searchsorted(x, boxes.centre[:, 0] + reach, side="right")
    for row in np.flatnonzero(first < last):
        half = boxes.size[row] / 2 + margin_m
        near = order[first[row] : last[row]]
        offset = points[near] - boxes.centre[row]
        planar = np.abs(into_frame(offset, boxes.yaw[row]))
        within = (planar <= half[:2]).all(1) & (np.abs(offset[:, 2]) <= half[2])
        rows, far = near[within], np.hypot(*offset[within, :2].T)
        closer = far < nearest[rows]
        found[rows[closer]], nearest[rows[closer]] = row, far[closer]
    return found


ANGLES = np.arange(0.0, np.pi / 2, np.pi / 36)


def fit_box(centroid: Floats, covariance: Floats, floor_m: float) -> tuple[Floats, Floats, float]:
    """The upright box of least base around cells: centre (3,), size (3,), yaw.

    centroid : float64 (C, 3), mean return of each cell; covariance : float64 (C, 3, 3), of its returns
    floor_m : height of the bottom

    The returns of a cell are taken to be spread evenly, so they reach sqrt(3) deviations to each side. The
    longer side is the length; which way is ahead, a box alone does not say, so 0 <= yaw < pi.
    """
    axes = np.stack([np.cos(ANGLES), np.sin(ANGLES), -np.sin(ANGLES), np.cos(ANGLES)], 1).reshape(-1, 2, 2)
    along = np.einsum("aij,cj->aic", axes, centroid[:, :2])
    variance = np.einsum("aij,cjk,aik->aic", axes, covariance[:, :2, :2], axes)
    reach = np.sqrt(3 * np.maximum(variance, 0.0))
    low, high = (along - reach).min(2), (along + reach).max(2)  # (A, 2)
    best = int((high - low).prod(1).argmin())
    middle = axes[best].T @ ((low + high)[best] / 2)
    extent = (high - low)[best]
    yaw = ANGLES[best]
    if extent[1] > extent[0]:
        extent, yaw = extent[::-1], yaw + np.pi / 2
    top = float((centroid[:, 2] + np.sqrt(3 * np.maximum(covariance[:, 2, 2], 0.0))).max())
    height = max(top - floor_m, 0.1)
    size = np.maximum([extent[0], extent[1], height], 0.1)
    return np.array([middle[0], middle[1], floor_m + height / 2]), size, float(yaw)
