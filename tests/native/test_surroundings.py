"""Columns of a cell's surroundings by hand: the local surface, and coarser cells."""

from __future__ import annotations

import numpy as np
import pytest

from native import index64, lattice
from native.binning import Binner
from native.window import CellFeatures, Window, feature_names
from tests.native.feature_checks import CELLS, GRID, OPTIONS, VIEW, assert_rows_match, column, hit, window_of
from tests.native.oracle import F32, Record, ids_of, matrix_of


def test_a_single_return_on_two_lattice_planes_has_finite_features() -> None:
    """Rounding leaves its covariance a negative trace with two equal entries and nothing between them."""
    for z in (1, 37, 700, 2049):
        cells: dict[int, tuple[int, int, tuple[int, ...]]] = {
            CELLS[0]: (1, 0, (0, 0, z, 0, 0, z * z // 4096, 0, 0, 0, 0, 0))
        }
        got = window_of([Record(stamp_ns=0, cells=cells)]).features(*VIEW.arguments())
        assert [name for name, v in zip(feature_names(4), got.x[0], strict=True) if not np.isfinite(v)] == []


def features_of(points: F32) -> CellFeatures:
    """Features of a window of one sweep whose returns are the points, map axes; seen from 20 m above."""
    above = np.array([0, 0, 20], np.float32)
    bins = Binner(GRID).run(points - above, np.zeros(len(points), np.float32), matrix_of((0, 0, 20)))
    window = Window(GRID, OPTIONS)
    window.push(0, bins.cell_id, bins.hits, np.zeros_like(bins.hits), bins.sums)
    return window.features(*VIEW.arguments())


@pytest.mark.parametrize("slope", [(0.0, 0.0), (0.5, 0.0), (-0.3, 0.8), (3.0, 1.0)])
def test_a_sloping_plane_has_its_normal(slope: tuple[float, float]) -> None:
    """Returns on z = a x + b y, seen from now and from the forecast pose."""
    points = np.random.default_rng(0).uniform(-2.5, 2.5, (20_000, 3)).astype(np.float32)
    points[:, 2] = points[:, :2] @ np.array(slope, np.float32)
    got = features_of(points)
    centers = index64.decode(got.cell_id).sites * GRID.half_edge_m
    inner = np.abs(centers).max(axis=1) < 1.5
    assert inner.sum() > 20
    normal = np.array([-slope[0], -slope[1], 1]) / np.hypot(1, np.hypot(*slope))
    assert np.abs(np.array(column(got, "normal_z")) - normal[2])[inner].max() < 1e-3
    assert np.array(column(got, "curvature"))[inner].max() < 1e-3
    assert np.array(column(got, "planarity"))[inner].min() > 0.2
    for name, pose in (("view_cosine", VIEW.pose), ("forecast_view_cosine", VIEW.forecast_pose)):
        line = centers - pose[3::4]
        cosine = np.abs(line @ normal) / np.linalg.norm(line, axis=1)
        assert np.abs(np.array(column(got, name)) - cosine)[inner].max() < 1e-3, name


def test_a_volume_of_returns_has_no_surface() -> None:
    points = np.random.default_rng(1).uniform(-2, 2, (40_000, 3)).astype(np.float32)
    got = features_of(points)
    inner = np.abs(index64.decode(got.cell_id).sites * GRID.half_edge_m).max(axis=1) < 1
    assert inner.sum() > 20
    assert np.array(column(got, "curvature"))[inner].min() > 0.25
    assert max(np.array(column(got, name))[inner].max() for name in ("planarity", "linearity")) < 0.3


def test_a_line_of_returns_is_linear() -> None:
    ids = ids_of(GRID, np.array([[2 * i, 0, 0] for i in range(6)], np.int32)).tolist()
    got = assert_rows_match([Record(stamp_ns=0, cells={c: hit(3) for c in ids})])
    assert column(got, "linearity") == [1] * 6
    assert column(got, "planarity") == column(got, "curvature") == [0] * 6


def test_coarse_columns_are_means_over_siblings() -> None:
    """Families of two generations: every cell sees the mean of its siblings, and of its cousins too."""
    grandparent = np.array([[2, 2, 2]], np.int32)
    parents = lattice.children(grandparent).reshape(-1, 3)
    sites = lattice.children(parents).reshape(-1, 3)
    ids = ids_of(GRID, sites).tolist()
    amounts = {cell: 1 + 7 * i % 23 for i, cell in enumerate(ids)}
    got = assert_rows_match([Record(stamp_ns=0, cells={c: hit(n) for c, n in amounts.items()})])
    fine = np.log1p([amounts[cell] for cell in ids]).reshape(8, 8)
    row = {cell: i for i, cell in enumerate(got.cell_id.tolist())}
    order = [row[cell] for cell in ids]
    siblings = np.array(column(got, "coarse1_hits_0"))[order].reshape(8, 8)
    assert np.allclose(siblings, fine.mean(axis=1, keepdims=True), rtol=1e-6)
    assert np.allclose(column(got, "coarse2_hits_0"), fine.mean(), rtol=1e-6)
