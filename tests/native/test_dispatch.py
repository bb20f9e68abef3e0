"""The kernels for one instruction set give the same bits as portable C."""

from __future__ import annotations

import ctypes
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native.binning import SUMS
from native.build_ffi import FLAGS
from native.deskew import deskew
from tests.bench.roofline import Grid
from tests.data import ROOT
from tests.native.oracle import F32, F64, matrix_of
from tests.native.test_deskew import KNOTS, POSES, scattered

pytestmark = pytest.mark.long
VOID = ctypes.c_void_p


def built(folder: Path, name: str, defines: list[str]) -> Any:
    """The core as a library of its own, with every function visible."""
    flags = [flag for flag in FLAGS if "visibility" not in flag]
    sources = map(str, sorted((ROOT / "native" / "src").glob("*.c")))
    include, library = f"-I{ROOT / 'native' / 'include'}", folder / f"{name}.so"
    command = [os.environ.get("CC", "gcc"), *flags, *defines, "-fPIC", "-shared", include, *sources]
    subprocess.run([*command, "-lm", "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


@pytest.fixture(scope="module")
def cores(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """Dispatched and portable."""
    folder = tmp_path_factory.mktemp("cores")
    return built(folder, "dispatched", []), built(folder, "portable", ["-DOCTA_NO_DISPATCH"])


def pointer(array: NDArray[Any]) -> VOID:
    return VOID(array.ctypes.data)


def bin_with(core: Any, grid: Grid, points: F32, intensity: F32, pose: F64) -> list[NDArray[Any]]:
    """Counts, ids, hits, sums and rows of points, from a new binner."""
    binner, counts, cells = VOID(), np.zeros(6, np.uint64), ctypes.c_size_t()
    size = ctypes.c_size_t(len(points))
    assert core.octa_binner_new(ctypes.byref(grid), ctypes.byref(binner)) == 0
    arrays = (pointer(points), pointer(intensity), size, pointer(pose), pointer(counts))
    assert core.octa_binner_run(binner, *arrays, ctypes.byref(cells)) == 0
    n, rows = cells.value, np.empty(len(points), np.int32)
    ids, hits, sums = np.empty(n, np.uint64), np.empty(n, np.uint32), np.empty((n, SUMS), np.int32)
    assert core.octa_binner_copy(binner, ctypes.c_size_t(n), pointer(ids), pointer(hits), pointer(sums)) == 0
    assert core.octa_binner_point_rows(binner, size, pointer(rows)) == 0
    core.octa_binner_free(binner)
    return [counts, ids, hits, sums, rows]


def points_of(rng: np.random.Generator, n: int) -> tuple[F32, F32]:
    """Runs of points in one cell, boundaries, values that need care, saturated intensities."""
    points = rng.normal(size=(n, 3)) * rng.choice([0.3, 3, 30, 3000], size=(n, 1))
    points = np.repeat(points, rng.integers(1, 30, n), axis=0)[:n]
    on_edge = rng.random(n) < 0.3
    points[on_edge] = np.round(points[on_edge] * 8) / 8
    points[rng.random(n) < 0.02] = rng.choice([np.nan, np.inf, 0.0, 1e-30, 1e5], 3)
    intensity = np.where(rng.random(n) < 0.5, 1.0, rng.uniform(-0.1, 1.1, n))
    intensity[rng.random(n) < 0.02] = np.nan
    return points.astype(np.float32), intensity.astype(np.float32)


@pytest.mark.parametrize("half_edge_m", [0.001, 0.25, 0.5, 10.0])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 63, 64, 65, 511, 512, 513, 20_000])
def test_all_kernels_give_the_same_bits(cores: tuple[Any, Any], half_edge_m: float, n: int) -> None:
    rng = np.random.default_rng(n)
    for pose in (matrix_of(), matrix_of((8000 * half_edge_m, -0.3, 1.7), yaw=0.6, pitch=-0.1)):
        for low, high in ((0.0, 200.0), (3.0, 40.0), (0.5, 20_000.0)):
            grid = Grid(half_edge_m=half_edge_m, range_min_m=low, range_max_m=high, intensity_max=1.0)
            points, intensity = points_of(rng, n)
            dispatched, portable = (bin_with(core, grid, points, intensity, pose) for core in cores)
            for have, want in zip(dispatched, portable, strict=True):
                assert np.array_equal(have, want)


def passes_with(core: Any, grid: Grid, points: F32, pose: F64, ids: NDArray[np.uint64]) -> NDArray[np.uint32]:
    """Passes of cells and then of their parents, from a new set of rays."""
    rays, passes, parents = VOID(), np.empty(2 * len(ids), np.uint32), np.empty_like(ids)
    size, count = ctypes.c_size_t(len(points)), ctypes.c_size_t(len(ids))
    assert core.octa_index64_parent(pointer(ids), count, pointer(parents)) == 0
    assert core.octa_rays_new(ctypes.byref(grid), ctypes.byref(rays)) == 0
    assert core.octa_rays_load(rays, pointer(points), size, pointer(pose)) == 0
    assert core.octa_rays_passes(rays, pointer(ids), count, pointer(passes)) == 0
    assert core.octa_rays_coarse_passes(rays, pointer(parents), count, pointer(passes[len(ids) :])) == 0
    core.octa_rays_free(rays)
    return passes


def test_passes_and_neighbours_are_the_same_bits(cores: tuple[Any, Any]) -> None:
    grid = Grid(half_edge_m=0.5, lod=7, range_max_m=200.0, intensity_max=1.0)
    pose = matrix_of((40.3, -0.3, 1.7), yaw=0.6, pitch=-0.1)
    points, intensity = points_of(np.random.default_rng(1), 20_000)
    _, ids, *_ = bin_with(cores[1], grid, points, intensity, pose)
    tables = [np.empty((len(ids), 14), np.int32) for _ in cores]
    for core, table in zip(cores, tables, strict=True):
        assert core.octa_neighbor_table(pointer(ids), ctypes.c_size_t(len(ids)), pointer(table)) == 0
    assert np.array_equal(tables[0], tables[1]) and (tables[0] < len(ids)).any()
    dispatched, portable = (passes_with(core, grid, points, pose, ids) for core in cores)
    assert np.array_equal(dispatched, portable) and dispatched[len(ids) :].any()


def test_deskewed_points_are_the_same_bits(cores: tuple[Any, Any]) -> None:
    points, offsets = scattered(1003)
    offsets[:600].sort()
    arguments = (
        pointer(points),
        pointer(offsets),
        ctypes.c_size_t(len(points)),
        pointer(KNOTS),
        pointer(POSES),
    )
    outs = [np.empty_like(points) for _ in cores]
    for core, out in zip(cores, outs, strict=True):
        assert core.octa_deskew(*arguments, ctypes.c_size_t(len(KNOTS)), pointer(out)) == 0
    assert outs[0].tobytes() == outs[1].tobytes() == deskew(points, offsets, KNOTS, POSES).tobytes()


def features_with(core: Any, folder: Path) -> bytes:
    """What the window of the C tests' scene gives, with that core."""
    c_tests, program = ROOT / "tests" / "native" / "c", folder / Path(core._name).stem
    includes = [f"-I{ROOT / 'native' / 'include'}", f"-I{ROOT / 'native' / 'src'}", f"-I{c_tests}"]
    sources = [str(c_tests / "scene.c"), str(c_tests / "dispatch" / "features.c")]
    command = [os.environ.get("CC", "gcc"), "-O1", *includes, *sources, core._name, "-lm", "-o", str(program)]
    subprocess.run(command, check=True)
    return subprocess.run([str(program)], check=True, capture_output=True).stdout


def test_features_and_passes_have_the_same_bits_on_every_path(cores: tuple[Any, Any], tmp_path: Path) -> None:
    dispatched, portable = (features_with(core, tmp_path) for core in cores)
    assert len(dispatched) > 1_000_000
    assert dispatched == portable


def ids_with(core: Any, sites: NDArray[np.int32]) -> list[NDArray[Any]]:
    """All that is computed of ids: there and back, the tree, shells, the other kinds."""
    n, count = len(sites), ctypes.c_size_t(len(sites))
    ids, parents, children = np.empty(n, np.uint64), np.empty(n, np.uint64), np.empty((n, 8), np.uint64)
    around, wide = np.empty((n, 14), np.uint64), np.empty((n, 65), np.uint64)
    back, hilbert, again = np.empty_like(sites), np.empty(n, np.uint64), np.empty(n, np.uint64)
    route, parts = np.empty(n, np.uint64), np.empty((3, n), np.uint8)
    assert core.octa_index64_encode(pointer(sites), count, 255, 2, 9, pointer(ids)) == 0
    assert core.octa_index64_decode(pointer(ids), count, pointer(back), *map(pointer, parts)) == 0
    assert core.octa_index64_parent(pointer(ids), count, pointer(parents)) == 0
    assert core.octa_index64_children(pointer(ids), count, pointer(children)) == 0
    assert core.octa_index64_shells(pointer(ids), count, 1, 1, pointer(around)) == 0
    assert core.octa_index64_shells(pointer(ids), count, 0, 2, pointer(wide)) == 0
    assert core.octa_hilbert64_from_index64(pointer(ids), count, pointer(hilbert)) == 0
    assert core.octa_hilbert64_to_index64(pointer(hilbert), count, pointer(again)) == 0
    assert core.octa_route64_encode(pointer(sites), count, 1, pointer(route)) == 0
    assert (back == sites).all() and (again == ids).all()
    return [ids, parts, parents, children, around, wide, hilbert, route]


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 5, 7, 8, 9, 1000])
def test_ids_are_the_same_bits(cores: tuple[Any, Any], n: int) -> None:
    rng = np.random.default_rng(n)
    sites = rng.integers(-8191, 8191, (n, 3)) * 2 + rng.integers(0, 2, (n, 1))
    sites[rng.random(n) < 0.3] %= 4
    dispatched, portable = (ids_with(core, sites.astype(np.int32)) for core in cores)
    for have, want in zip(dispatched, portable, strict=True):
        assert np.array_equal(have, want)
    assert (dispatched[4] != 0).all() and len(np.unique(dispatched[0])) == len(np.unique(sites, axis=0))


@pytest.mark.parametrize("place", [0, 1, 5, 8, 16])
def test_one_bad_id_among_many_is_found_on_every_path(cores: tuple[Any, Any], place: int) -> None:
    out = np.zeros((17, 14), np.uint64)
    for value, code in ((0x8007E00000000001, 3), (0x4007E00000000000, 4), (0x8000E00000000000, 6)):
        ids = np.full(17, 0x8007E00000000000, np.uint64)
        ids[place] = value
        for core in cores:
            assert core.octa_index64_parent(pointer(ids), ctypes.c_size_t(17), pointer(out)) == code
    sites = np.zeros((17, 3), np.int32)
    for site, code in (((0, 1, 0), 3), ((0, 0, 1), 3), ((32768, 0, 0), 2), ((0, 0, -32770), 2)):
        sites[place] = site
        for core in cores:
            found = core.octa_index64_encode(pointer(sites), ctypes.c_size_t(17), 0, 0, 0, pointer(out))
            assert found == code
    assert not out.any()
