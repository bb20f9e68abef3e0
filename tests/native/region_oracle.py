"""Readable, slow oracles of what lies in a region: a cell as faces, edges and corners, one at a time."""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.spatial import ConvexHull, HalfspaceIntersection

from tests.native.oracle import F64

CELL_VOLUME = 4.0
CORNERS: F64 = np.array(
    [
        np.array(signs) * order
        for order in itertools.permutations((0.0, 0.5, 1.0))
        for signs in itertools.product((1, -1), repeat=3)
        if all(s == 1 or v for s, v in zip(signs, order, strict=True))
    ]
)
"""Of a cell about its site, (24, 3) half edges."""

NORMALS: F64 = np.array(
    [s * np.eye(3)[axis] for axis in range(3) for s in (1, -1)]
    + list(itertools.product((1.0, -1.0), repeat=3))
)
OFFSETS: F64 = np.array([1.0] * 6 + [1.5] * 8)
"""A cell is NORMALS @ x <= OFFSETS."""

TRIANGLES: F64 = CORNERS[ConvexHull(CORNERS).simplices]
"""Its surface, (44, 3, 3)."""


def to_triangles(point: F64) -> float:
    """Least distance of a point from the surface of a cell about the origin, triangle by triangle."""
    a, b, c = TRIANGLES[:, 0], TRIANGLES[:, 1], TRIANGLES[:, 2]
    normal = np.cross(b - a, c - a)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    height = ((point - a) * normal).sum(axis=1)
    foot = point - height[:, None] * normal
    within = np.ones(len(a), bool)
    for p, q in ((a, b), (b, c), (c, a)):
        within &= (np.cross(q - p, foot - p) * normal).sum(axis=1) >= 0
    best = np.abs(height)[within].min(initial=np.inf)
    for p, q in ((a, b), (b, c), (c, a)):
        along = q - p
        t = np.clip(((point - p) * along).sum(axis=1) / (along * along).sum(axis=1), 0, 1)
        best = min(best, np.linalg.norm(point - p - t[:, None] * along, axis=1).min())
    return float(best)


def cell_distance(point: F64) -> float:
    """Distance of a point from a cell about the origin; 0 inside."""
    return 0.0 if (NORMALS @ point <= OFFSETS).all() else to_triangles(point)


def cell_segment_distance(a: F64, b: F64) -> float:
    """Distance of a segment from a cell about the origin: the least along it, which is convex."""
    low, high = 0.0, 1.0
    for _ in range(60):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if cell_distance(a + first * (b - a)) <= cell_distance(a + second * (b - a)):
            high = second
        else:
            low = first
    return min(cell_distance(a + t * (b - a)) for t in (0.0, (low + high) / 2, 1.0))


def meets(planes: F64, site: F64) -> float:
    """Radius of the largest ball in the cell about a site and in a polytope; negative where they are apart.

    planes : (P, 4), normal and offset: normal . x <= offset
    """
    a = np.vstack([NORMALS, planes[:, :3]])
    b = np.concatenate([OFFSETS + NORMALS @ site, planes[:, 3]])
    size = np.linalg.norm(a, axis=1)
    found = linprog([0, 0, 0, -1], np.column_stack([a, size]), b, bounds=[(None, None)] * 4)
    assert found.status == 0, found.message
    return float(found.x[3])


def share_of_planes(planes: F64, site: F64) -> float:
    """Share of the cell about a site that lies in a polytope, by its corners."""
    a = np.vstack([NORMALS, planes[:, :3]])
    b = np.concatenate([OFFSETS + NORMALS @ site, planes[:, 3]])
    size = np.linalg.norm(a, axis=1)
    found = linprog([0, 0, 0, -1], np.column_stack([a, size]), b, bounds=[(None, None)] * 4)
    if found.x[3] < 1e-6:
        return 0.0
    solid = HalfspaceIntersection(np.column_stack([a, -b]), found.x[:3])
    return float(ConvexHull(solid.intersections).volume) / CELL_VOLUME


def points_in_a_cell(n: int, seed: int = 1) -> F64:
    """Points spread evenly over a cell, (about n, 3)."""
    rng = np.random.default_rng(seed)
    points = rng.uniform(-1, 1, (2 * n, 3))
    return points[(np.abs(points).sum(axis=1) <= 1.5)]


def sites_in_box(low: F64, high: F64) -> NDArray[np.int32]:
    """All sites of a box in half edges, (N, 3)."""
    axes = [np.arange(np.floor(a), np.ceil(b) + 1) for a, b in zip(low, high, strict=True)]
    grid = np.stack(np.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3).astype(np.int32)
    return grid[(grid % 2 == grid[:, :1] % 2).all(axis=1)]
