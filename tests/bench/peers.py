"""Other ways to group the points of a sweep by cell; each is optional and says so when it is not there.

All get their input in the form they like best, outside the timed call, and none has to transform the points.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from tests.bench import crate
from tests.native.recorded import Sweep

Task = Callable[[], object]
Prepare = Callable[[float], Callable[[Sweep], Task]]

EQUAL_VOLUME = 4 ** (1 / 3)
"""Edge of a cube with the volume of a cell, 4 h^3, in half edges."""

REACH_M = (80.0, 80.0, 6.0)
"""Half the box of the peer that needs one: x, y, z about the sensor."""


def kiss_icp_grid(edge_m: float) -> Callable[[Sweep], Task]:
    """kiss-icp ``_voxel_down_sample``: the first point of each voxel."""
    pybind = importlib.import_module("kiss_icp.pybind.kiss_icp_pybind")

    def of(sweep: Sweep) -> Task:
        points = pybind._Vector3dVector(sweep.points.astype(np.float64))
        return lambda: pybind._voxel_down_sample(points, edge_m)

    return of


def kiss_icp_map(edge_m: float) -> Callable[[Sweep], Task]:
    """kiss-icp ``VoxelHashMap``: an empty map takes the points, at most 20 a voxel."""
    pybind = importlib.import_module("kiss_icp.pybind.kiss_icp_pybind")

    def of(sweep: Sweep) -> Task:
        points = pybind._Vector3dVector(sweep.points.astype(np.float64))

        def run() -> None:
            pybind._VoxelHashMap(voxel_size=edge_m, max_distance=1e3, max_points_per_voxel=20)._add_points(
                points
            )

        return run

    return of


def open3d_legacy(edge_m: float) -> Callable[[Sweep], Task]:
    """Open3D ``PointCloud.voxel_down_sample``: the mean of each voxel."""
    o3d: Any = importlib.import_module("open3d")

    def of(sweep: Sweep) -> Task:
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(sweep.points.astype(np.float64)))
        return lambda: cloud.voxel_down_sample(edge_m)

    return of


def open3d_tensor(edge_m: float) -> Callable[[Sweep], Task]:
    """Open3D ``t.geometry.PointCloud.voxel_down_sample`` on the CPU: the mean of each voxel."""
    o3d: Any = importlib.import_module("open3d")

    def of(sweep: Sweep) -> Task:
        cloud = o3d.t.geometry.PointCloud(o3d.core.Tensor(sweep.points))
        return lambda: cloud.voxel_down_sample(edge_m)

    return of


def spconv_cpu(edge_m: float, kept: int) -> Callable[[Sweep], Task]:
    """spconv ``Point2VoxelCPU3d``: the first points of each voxel of a box."""
    tensorview: Any = importlib.import_module("cumm.tensorview")
    box = [-reach for reach in REACH_M] + list(REACH_M)
    voxels = importlib.import_module("spconv.utils").Point2VoxelCPU3d(
        vsize_xyz=[edge_m] * 3,
        coors_range_xyz=box,
        num_point_features=4,
        max_num_voxels=60_000,
        max_num_points_per_voxel=kept,
    )

    def of(sweep: Sweep) -> Task:
        table = np.column_stack((sweep.points, sweep.intensity))
        points = tensorview.from_numpy(table).clone()  # the first does not keep the table alive
        return lambda: voxels.point_to_voxel(points)

    return of


def numpy_unique(edge_m: float) -> Callable[[Sweep], Task]:
    """Floor, pack, ``numpy.unique``, ``numpy.bincount`` of x, y, z: the count and mean of each voxel."""

    def of(sweep: Sweep) -> Task:
        def run() -> object:
            site = np.floor(sweep.points * np.float32(1 / edge_m)).astype(np.int64) + 32768
            key = site[:, 0] | site[:, 1] << 16 | site[:, 2] << 32
            voxels, row = np.unique(key, return_inverse=True)
            return voxels, np.bincount(row), [np.bincount(row, weights=axis) for axis in sweep.points.T]

        return run

    return of


def octaindex3d(edge_m: float, kept: str) -> Callable[[Sweep], Task]:
    """OctaIndex3D: cells of the same lattice and the volume of the voxel."""
    return crate.binning(edge_m / EQUAL_VOLUME, kept)


@dataclass(frozen=True)
class Peer:
    """package : distribution; prepare : given a voxel edge in metres

    whole : the result covers more than the first point of a voxel
    shipped : nothing but calls of the library; else the adding up is ours, on a map of its own kind
    """

    package: str
    prepare: Prepare
    whole: bool = True
    shipped: bool = True


PEERS = {
    "kiss-icp voxel grid": Peer("kiss-icp", kiss_icp_grid, whole=False),
    "kiss-icp voxel map": Peer("kiss-icp", kiss_icp_map),
    "Open3D legacy": Peer("open3d", open3d_legacy),
    "Open3D tensor": Peer("open3d", open3d_tensor),
    "spconv Point2VoxelCPU, 1 kept": Peer("spconv", partial(spconv_cpu, kept=1), whole=False),
    "spconv Point2VoxelCPU, 32 kept": Peer("spconv", partial(spconv_cpu, kept=32)),
    "numpy unique": Peer("numpy", numpy_unique),
    "OctaIndex3D, occupancy": Peer(crate.PACKAGE, partial(octaindex3d, kept="occupancy")),
    "OctaIndex3D, count and sums": Peer(crate.PACKAGE, partial(octaindex3d, kept="sums"), shipped=False),
}
"""By name."""


def available(edge_m: float) -> tuple[dict[str, Prepare], dict[str, str]]:
    """Peers that work here, tried with a voxel edge, and why the others do not."""
    there, missing = {}, {}
    for name, peer in PEERS.items():
        try:
            peer.prepare(edge_m)
        except (ImportError, AttributeError, RuntimeError, TypeError, OSError) as error:
            text = str(error).strip() or repr(error)
            missing[name] = f"{peer.package}: {text.splitlines()[0]}"
        else:
            there[name] = peer.prepare
    return there, missing


def versions() -> dict[str, str]:
    """Version of every peer's package, or that it is not installed."""
    found = {crate.PACKAGE: crate.VERSION}
    for package in {peer.package for peer in PEERS.values()} - {crate.PACKAGE}:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found
