"""Arrays of the wrong kind into every function of the core: the right exception, with the argument's name.

Handles stay as they were. Values that no sensor should send are taken or refused as documented.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from native import beams, coarse, deskew, index64, lattice, neighbors, pose, search
from native.binning import Binner
from native.cells import Rows
from native.container import Container, RecordKey
from native.errors import CapacityError, DomainError, OrderError, PoseError, RangeError
from native.freecells import FreeCellFinder
from native.grid import Grid
from native.kinds import MODULES as KINDS
from native.schema import Column
from native.visibility import Rays
from native.window import Window, WindowOptions
from tests.native.array_cases import CELLS, GRID, POINTS, VECTOR, Case, N, cases, id_cases, region_cases
from tests.native.oracle import matrix_of

CASES = cases()


def test_every_case_works() -> None:
    for case in CASES:
        if case.name != "container.Container.remove":
            case.call(**case.arrays)


def spoilt(array: Any) -> list[tuple[str, Any, type[Exception]]]:
    """An array in ways that no function takes, and what each must raise."""
    other = np.float32 if array.dtype != np.float32 else np.float64
    wrong = [
        ("a list", array.tolist(), TypeError),
        ("None", None, TypeError),
        ("a number", 3.0, TypeError),
        ("another dtype", array.astype(other), TypeError),
        ("another byte order", array.astype(array.dtype.newbyteorder()), TypeError),
        ("objects", array.astype(object), TypeError),
        ("one axis more", array[None], ValueError),
        ("one axis more at the end", array[..., None], ValueError),
        ("no axis", np.array(array.reshape(-1)[0]), ValueError),
        ("every other row", np.repeat(array, 2, axis=0)[::2], ValueError),
    ]
    if array.ndim == 2 and array.shape[1] > 2:
        wrong += [
            ("one column less", np.ascontiguousarray(array[:, 1:]), ValueError),
            ("columns first", np.asfortranarray(np.concatenate([array, array])), ValueError),
        ]
    if len(array) == 1:
        wrong = [row for row in wrong if row[0] != "every other row"]
    return wrong


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_arrays_of_the_wrong_kind_are_named(case: Case) -> None:
    for name, array in case.arrays.items():
        for what, bad, error in spoilt(array):
            before = case.state()
            with pytest.raises(error) as caught:
                case.call(**{**case.arrays, name: bad})
            assert name in str(caught.value), f"{name} as {what}: {caught.value}"
            assert case.state() == before, f"{name} as {what}"


MODULES = [
    "beams", "binning", "cells", "coarse", "container", "deskew", "freecells", "kinds", "lattice",
    "neighbors", "points", "pose", "regions", "rings", "search", "visibility", "window", *KINDS,
]  # fmt: skip
VALUES_ONLY = {
    "cells.Rows.of", "coarse.finest", "container.Container.center", "kinds.module_of",
    "points.PointMap.to_points",
    "points.PointMap.count_labels", *(f"{kind}.from_texts" for kind in KINDS),
}  # fmt: skip
"""Functions that hand no array to the core; their own tests say what they refuse."""


def taking_arrays() -> set[str]:
    """Public functions and methods with an array among their arguments."""
    found = set()
    for module in MODULES:
        loaded = importlib.import_module(f"native.{module}")
        for name, thing in vars(loaded).items():
            if name.startswith("_") or getattr(thing, "__module__", "") != loaded.__name__:
                continue
            members = vars(thing) if inspect.isclass(thing) else {}
            functions = {f"{name}.{key}": value for key, value in members.items() if key[0] != "_"}
            for full, function in {name: thing, **functions}.items():
                function = getattr(function, "__func__", function)
                if inspect.isfunction(function):
                    texts = [str(a.annotation) for a in inspect.signature(function).parameters.values()]
                    if any(
                        word in text
                        for text in texts
                        for word in ("NDArray", "Pose", "Ids", "Level", "Rows", "F64", "Words", "Texts")
                    ):
                        found.add(f"{module}.{full}")
    return found


def test_no_function_is_left_out() -> None:
    covered = {case.name.split(" ")[0] for case in CASES} | VALUES_ONLY
    assert taking_arrays() - covered == set()
    assert len(taking_arrays()) > 20


# ---- values

ODD = np.array(
    [
        [np.nan, 0, 0],
        [0, np.inf, 0],
        [0, 0, -np.inf],
        [1e30, 1e30, 1e30],
        [-3e38, 0, 0],
        [1e-40, -1e-40, 1e-45],
        [0, 0, 0],
        [-0.0, -0.0, -0.0],
        [10_001, 0, 0],
    ],
    np.float32,
)


@pytest.mark.fault(21)
def test_odd_points_are_counted_and_dropped() -> None:
    bins = Binner(GRID).run(ODD, np.full(len(ODD), np.nan, np.float32), matrix_of())
    assert (bins.points, bins.not_finite, bins.binned, len(bins.cell_id)) == (9, 6, 0, 0)
    # A point at the origin, or so near that its square is none, has no direction and is out of range.
    assert (bins.out_of_range, bins.off_map, bins.rays) == (3, 0, 1)
    rays = Rays(GRID)
    rays.load(ODD, matrix_of())
    assert not rays.passes(CELLS).any()
    assert beams.sample(ODD, 20).shape == (1, 3)
    assert len(FreeCellFinder(GRID, 0, 10.0).run(ODD, matrix_of(), ODD).cell_id) > 0


@pytest.mark.fault(21)
def test_odd_intensities_are_brought_within_0_and_1_and_counted() -> None:
    odd = np.array([np.nan, np.inf, -np.inf, 1e30, -1.0, 1e-42, 0.5], np.float32)
    points = np.full((len(odd), 3), 5.0, np.float32)  # all in one cell
    bins = Binner(GRID).run(points, odd, matrix_of())
    assert (bins.binned, bins.intensity_clamped) == (7, 5)
    share, square = bins.sums[0, 9:].tolist()
    assert (share, square) == (4096 + 4096 + 2048, 4096 + 4096 + 1024)  # of inf, of 1e30, of 0.5


def test_empty_arrays_are_taken() -> None:
    none, ids = np.empty((0, 3), np.float32), np.empty(0, np.uint64)
    bins = Binner(GRID).run(none, np.empty(0, np.float32), matrix_of())
    assert len(bins.cell_id) == 0 and bins.sums.shape == (0, 11)
    rays = Rays(GRID)
    rays.load(none, matrix_of())
    assert len(rays.passes(ids)) == len(rays.coarse_passes(ids)) == 0
    assert beams.sample(none, 5).shape == (0, 3)
    assert lattice.snap(np.empty((0, 3))).shape == (0, 3)
    assert index64.children(ids).shape == (0, 8) and neighbors.neighbor_table(ids).shape == (0, 14)
    assert deskew.deskew(
        none, np.empty(0, np.int32), np.array([0, 1], np.int32), np.stack([VECTOR] * 2)
    ).shape == (
        0,
        3,
    )
    level, rows = coarse.coarser(coarse.finest(ids, np.empty(0, np.uint32), np.empty((0, 11), np.int32)))
    assert len(level.cell_id) == len(rows) == 0
    empty = Rows(cell_id=ids, hits=ids, passes=ids, sums=np.empty((0, 11), np.int64))
    assert Container(GRID).add(RecordKey(0, 0), empty).added == 1


BAD_POSES = [
    (np.zeros(12), PoseError),
    (2 * matrix_of(), PoseError),
    (matrix_of() * np.array([-1, 1, 1, 1] + [1] * 8), PoseError),
    (np.full(12, np.nan), PoseError),
    (np.where(np.arange(12) == 3, np.inf, matrix_of()), PoseError),
    (np.where(np.arange(12) == 3, 1e30, matrix_of()), RangeError),
    (np.where(np.arange(12) == 7, 1e-310, matrix_of()), None),
]


@pytest.mark.fault(20)
@pytest.mark.parametrize(("matrix", "error"), BAD_POSES)
def test_poses_that_are_not_rigid_are_refused(matrix: Any, error: type[Exception] | None) -> None:
    binner, rays, finder = Binner(GRID), Rays(GRID), FreeCellFinder(GRID, 1, 10.0)
    calls: list[Callable[[], Any]] = [
        lambda: binner.run(POINTS, np.ones(N, np.float32), matrix),
        lambda: rays.load(POINTS, matrix),
        lambda: finder.run(POINTS, matrix),
    ]
    for call in calls:
        if error is None:
            call()
            continue
        with pytest.raises(error, match="pose"):
            call()
    assert len(binner.point_rows()) == (0 if error else N)
    if error is PoseError:
        for function in (pose.vector, pose.invert):
            with pytest.raises(PoseError, match="pose"):
                function(matrix)
        with pytest.raises(PoseError, match="a, b"):
            pose.compose(matrix, matrix_of())


@pytest.mark.parametrize("half_edge_m", [0.0, -1.0, np.nan, np.inf, 1e30, 1e-310, 5e-4], ids=str)
def test_half_edges_out_of_domain_are_refused(half_edge_m: float) -> None:
    grid = Grid(half_edge_m=half_edge_m)
    for make in (
        Binner,
        Rays,
        Container,
        lambda g: Window(g, WindowOptions()),
        lambda g: FreeCellFinder(g, 1, 10.0),
    ):
        with pytest.raises(DomainError, match=r"grid|options"):
            make(grid)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, 2.0**30 + 1])
def test_positions_that_have_no_site_are_refused(value: float) -> None:
    with pytest.raises(DomainError, match="points"):
        lattice.snap(np.array([[0.0, value, 0.0]]))


REGIONS = region_cases()


@pytest.mark.parametrize("case", REGIONS, ids=lambda case: case.name)
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e30, -1e30, 1e300])
def test_regions_of_odd_numbers_are_refused(case: Case, value: float) -> None:
    """In the second row, whose number is told; what a pose may not be is its own error."""
    for name, array in case.arrays.items():
        bad = array.copy()
        bad.reshape(len(bad), -1)[1, -1] = value
        with pytest.raises((DomainError, RangeError, PoseError, CapacityError), match="row 1") as caught:
            case.call(**{**case.arrays, name: bad})
        assert name in str(caught.value) or case.name.split(".")[1] in str(caught.value)


@pytest.mark.parametrize("case", REGIONS, ids=lambda case: case.name)
def test_regions_of_nothing_and_of_next_to_nothing_are_taken(case: Case) -> None:
    assert len(case.call(**{name: array[:0] for name, array in case.arrays.items()})) == 0
    tiny = {
        name: array * 5e-324 if name in ("radius", "half_size") else array
        for name, array in case.arrays.items()
    }
    found = case.call(**tiny)
    assert len(found) == 2 and len(found.row(0)) > 0


def test_no_ids_are_taken() -> None:
    for case in id_cases():
        made = case.call(**{name: array[:0] for name, array in case.arrays.items()})
        if made is not True:  # alike: none of them is otherwise
            assert len(made[0] if isinstance(made, tuple) else made) == 0, case.name


def test_denormal_positions_are_at_the_origin() -> None:
    assert lattice.snap(np.array([[5e-324, -5e-324, 1e-310]])).tolist() == [[0, 0, 0]]
    found = search.within_radius(CELLS, np.array([[5e-324, -1e-310, 0.0]]), 0.0)
    assert len(found.rows) == 1


def test_a_window_takes_no_record_out_of_order() -> None:
    window = Window(GRID, WindowOptions())
    with pytest.raises(OrderError, match="record"):
        window.push(
            0, CELLS[::-1].copy(), np.ones(N, np.uint32), np.ones(N, np.uint32), np.zeros((N, 11), np.int32)
        )
    assert window.records == 0


def test_columns_of_the_wrong_kind_are_named() -> None:
    for column in (Column(name="c"), Column(name="c", categories=("a", "b"))):
        for bad in ([1.0], None, "text", np.array(["x"]), np.array([object()])):
            with pytest.raises((TypeError, ValueError), match="c: "):
                column.encode(bad)  # type: ignore[arg-type]
