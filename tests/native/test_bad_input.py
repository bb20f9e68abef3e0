"""Arrays of the wrong kind into every function of the core: the right exception, with the argument's name.

Handles stay as they were. Values that no sensor should send are taken or refused as documented.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from native import beams, coarse, deskew, index64, lattice, neighbors, points, pose, search
from native.binning import Binner
from native.cells import Rows
from native.container import Container, ContainerOptions, RecordKey
from native.errors import DomainError, OrderError, PoseError, RangeError
from native.freecells import FreeCellFinder
from native.grid import Grid
from native.schema import Column
from native.visibility import Rays
from native.window import Window, WindowOptions
from tests.native.oracle import ids_of, matrix_of

GRID = Grid(half_edge_m=0.4, frame=5, tier=1, lod=7, range_min_m=0.0)
SITES = np.array([[0, 0, 0], [2, 0, 0], [1, 1, 1], [4, 4, 4]], np.int32)
CELLS = np.sort(ids_of(GRID, SITES))
N = len(CELLS)
POINTS = np.array([[1, 2, 3], [4, 5, 6], [-7, 8, 9], [1, 1, 1]], np.float32)
VECTOR = np.array([1.0, 2, 3, 0, 0, 0, 1])
LEVEL = coarse.Level(cell_id=CELLS, hits=np.ones(N, np.uint64), sums=np.zeros((N, 11), np.int64), unit_lod=7)
ROWS = Rows(
    cell_id=CELLS, hits=np.ones(N, np.uint64), passes=np.zeros(N, np.uint64), sums=np.zeros((N, 11), np.int64)
)
NOTHING: dict[str, Any] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A call that works, and its arrays by name.

    name : module.function or module.Class.method
    state : of the handle behind it, which a refusal must not change
    shown : names under which messages speak of arguments, where those differ
    """

    name: str
    call: Callable[..., Any]
    arrays: dict[str, Any]
    state: Callable[[], Any] = lambda: None
    shown: dict[str, str] = field(default_factory=dict)


def cases() -> list[Case]:
    """A call of every public function that takes arrays."""
    binner, rays, window = Binner(GRID), Rays(GRID), Window(GRID, WindowOptions())
    finder, container = FreeCellFinder(GRID, 1, 30.0), Container(GRID, ContainerOptions(levels=2, keep=False))
    sweep = {"points": POINTS, "intensity": np.ones(N, np.float32), "pose": matrix_of()}
    binner.run(**sweep)
    rays.load(POINTS, matrix_of())
    record = {
        "cell_id": CELLS,
        "hits": np.ones(N, np.uint32),
        "passes": np.ones(N, np.uint32),
        "sums": np.zeros((N, 11), np.int32),
    }
    window.push(0, **record)
    view = {"pose": matrix_of(), "forecast_pose": matrix_of(), "beams": np.zeros((2, 3), np.int16)}
    moved = {
        "points": POINTS,
        "offset_ns": np.array([0, 10, 50, 100], np.int32),
        "knot_ns": np.array([0, 100], np.int32),
        "poses": np.stack([VECTOR, VECTOR]),
    }
    rows = {name: getattr(ROWS, name) for name in ("cell_id", "hits", "passes", "sums")}
    free = {"free_id": index64.parent(CELLS[:1]), "free_passes": np.ones(1, np.uint64)}
    free["free_misses"] = free["free_passes"]
    only = index64.parent(CELLS[:1])
    return [
        Case(name="lattice.snap", call=lattice.snap, arrays={"points": POINTS.astype(np.float64)}),
        Case(name="lattice.neighbors", call=lattice.neighbors, arrays={"sites": SITES}),
        Case(name="lattice.parent", call=lattice.parent, arrays={"sites": SITES}),
        Case(name="lattice.children", call=lattice.children, arrays={"sites": SITES}),
        Case(
            name="index64.encode",
            call=lambda sites: index64.encode(sites, frame=1, tier=0, lod=7),
            arrays={"sites": SITES},
        ),
        Case(name="index64.decode", call=index64.decode, arrays={"ids": CELLS}),
        Case(name="index64.parent", call=index64.parent, arrays={"ids": CELLS}),
        Case(name="index64.children", call=index64.children, arrays={"ids": CELLS}),
        Case(name="index64.ancestor", call=lambda ids: index64.ancestor(ids, 5), arrays={"ids": CELLS}),
        Case(
            name="pose.interpolate",
            call=lambda a, b: pose.interpolate(a, b, 0.5),
            arrays={"a": VECTOR, "b": VECTOR},
        ),
        Case(name="pose.matrix", call=pose.matrix, arrays={"pose": VECTOR}),
        Case(name="pose.vector", call=pose.vector, arrays={"pose": matrix_of()}),
        Case(name="pose.compose", call=pose.compose, arrays={"a": matrix_of(), "b": matrix_of()}),
        Case(name="pose.invert", call=pose.invert, arrays={"pose": matrix_of()}),
        Case(name="deskew.deskew", call=deskew.deskew, arrays=moved),
        Case(
            name="binning.Binner.run",
            call=binner.run,
            arrays=sweep,
            state=lambda: binner.point_rows().tolist(),
        ),
        Case(
            name="binning.Binner.aggregate",
            call=binner.aggregate,
            arrays=sweep,
            state=lambda: binner.point_rows().tolist(),
        ),
        Case(
            name="visibility.Rays.load",
            call=rays.load,
            arrays={"points": POINTS, "pose": matrix_of()},
            state=lambda: rays.passes(CELLS).tolist(),
        ),
        Case(name="visibility.Rays.passes", call=rays.passes, arrays={"cell_id": CELLS}),
        Case(name="visibility.Rays.coarse_passes", call=rays.coarse_passes, arrays={"cell_id": CELLS}),
        Case(name="beams.sample", call=lambda points: beams.sample(points, 3), arrays={"points": POINTS}),
        Case(
            name="window.Window.push",
            call=lambda **arrays: window.push(10, **arrays),
            arrays=record,
            state=lambda: (window.records, window.cells().hits.tolist()),
        ),
        Case(
            name="window.Window.features",
            call=lambda **arrays: window.features(
                arrays["pose"], arrays["forecast_pose"], 1.0, 0.0, arrays["beams"], 1.0
            ),
            arrays=view,
        ),
        Case(name="neighbors.neighbor_table", call=neighbors.neighbor_table, arrays={"cell_id": CELLS}),
        Case(
            name="coarse.coarser",
            call=lambda **arrays: coarse.coarser(replace(LEVEL, **arrays)),
            arrays={"cell_id": LEVEL.cell_id, "hits": LEVEL.hits, "sums": LEVEL.sums},
        ),
        Case(
            name="freecells.FreeCellFinder.run",
            call=finder.run,
            arrays={"points": POINTS, "misses": POINTS, "pose": matrix_of()},
        ),
        Case(
            name="search.within_radius",
            call=lambda **arrays: search.within_radius(radius=1.0, **arrays),
            arrays={"cell_id": CELLS, "queries": np.zeros((2, 3))},
        ),
        Case(
            name="search.within_rings",
            call=lambda **arrays: search.within_rings(rings=1, **arrays),
            arrays={"cell_id": CELLS, "around": CELLS},
        ),
        Case(
            name="search.pool",
            call=lambda **arrays: search.pool(radius=1.0, **arrays),
            arrays={"cell_id": CELLS, "x": np.ones((N, 2), np.float32), "queries": np.zeros((2, 3))},
        ),
        Case(
            name="points.point_map",
            call=lambda rows: points.point_map(rows, 2),
            arrays={"rows": np.array([0, 1, -1], np.int32)},
        ),
        Case(
            name="container.Container.add",
            call=lambda **arrays: container.add(RecordKey(0, 0), Rows(**arrays)),
            arrays=rows,
            state=lambda: container.cells().hits.tolist(),
        ),
        Case(
            name="container.Container.remove",
            call=lambda **arrays: container.remove(RecordKey(0, 0), Rows(**{**rows, **arrays})),
            arrays=rows,
            state=lambda: container.cells().hits.tolist(),
        ),
        Case(
            name="container.Container.add (free cells)",
            call=lambda **arrays: Container(GRID, ContainerOptions(levels=2, free_level=1)).add(
                RecordKey(0, 0), Rows(**{**rows, **free, **arrays})
            ),
            arrays={"free_id": only, "free_passes": free["free_passes"], "free_misses": free["free_misses"]},
        ),
    ]


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
    "beams", "binning", "cells", "coarse", "container", "deskew", "freecells", "neighbors", "points", "pose",
    "search", "visibility", "window",
]  # fmt: skip
VALUES_ONLY = {
    "cells.Rows.of", "coarse.finest", "container.Container.center", "points.PointMap.to_points",
    "points.PointMap.count_labels",
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
                        word in text for text in texts for word in ("NDArray", "Pose", "Ids", "Level", "Rows")
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
