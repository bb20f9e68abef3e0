"""Calls that work, of every public function of ``native`` that takes arrays, for tests that spoil arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from native import (
    beams,
    coarse,
    deskew,
    galactic128,
    gather,
    hilbert64,
    index64,
    lattice,
    neighbors,
    points,
    pose,
    regions,
    rings,
    route64,
    search,
)
from native.binning import Binner
from native.cells import Rows
from native.container import Container, ContainerOptions, RecordKey
from native.freecells import FreeCellFinder
from native.grid import Grid
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
        *id_cases(),
        *region_cases(),
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
            name="gather.gather",
            call=gather.gather,
            arrays={"table": np.ones((N, 2), np.float32), "index": np.zeros(3, np.int64)},
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


def id_cases() -> list[Case]:
    """Ids of every kind."""
    routes, galactic = route64.from_index64(CELLS), galactic128.from_index64(CELLS)
    hilbert = hilbert64.from_index64(CELLS)
    fields = {"frame": 1, "tier": 0, "lod": 7}
    made: list[tuple[str, Callable[..., Any], dict[str, Any]]] = [
        ("lattice.distance", lattice.distance, {"a": SITES, "b": SITES}),
        ("index64.encode", lambda sites: index64.encode(sites, **fields), {"sites": SITES}),
        ("index64.alike", lambda ids: index64.alike(ids, CELLS[0]), {"ids": CELLS}),
        ("hilbert64.encode", lambda sites: hilbert64.encode(sites, **fields), {"sites": SITES}),
        ("route64.encode", lambda sites: route64.encode(sites, tier=1), {"sites": SITES}),
        (
            "galactic128.encode",
            lambda sites: galactic128.encode(sites, scale_mant=9, **fields),
            {"sites": SITES},
        ),
        ("route64.to_index64", lambda ids: route64.to_index64(ids, frame=0, lod=7), {"ids": routes}),
        ("galactic128.to_ints", galactic128.to_ints, {"ids": galactic}),
        ("galactic128.to_index64", galactic128.to_index64, {"ids": galactic}),
        ("hilbert64.to_index64", hilbert64.to_index64, {"ids": hilbert}),
        ("hilbert64.keys_of", hilbert64.keys_of, {"morton": CELLS & np.uint64(2**48 - 1)}),
        ("hilbert64.morton_of", hilbert64.morton_of, {"keys": CELLS & np.uint64(2**48 - 1)}),
        ("rings.k_ring", lambda ids: rings.k_ring(ids, 2), {"ids": CELLS}),
        ("rings.k_shell", lambda ids: rings.k_shell(ids, 2), {"ids": CELLS}),
        ("rings.distance", rings.distance, {"a": CELLS, "b": CELLS}),
    ]
    for module in (route64, galactic128, hilbert64):
        name = module.__name__.removeprefix("native.")
        made.append((f"{name}.from_index64", module.from_index64, {"ids": CELLS}))
    of_kind = {index64: CELLS, hilbert64: hilbert, route64: routes, galactic128: galactic}
    for module, ids in of_kind.items():
        name = module.__name__.removeprefix("native.")
        keys = [
            key for key in ("decode", "parent", "children", "neighbors", "to_texts") if hasattr(module, key)
        ]
        made.extend((f"{name}.{key}", getattr(module, key), {"ids": ids}) for key in keys)
        made.append((f"{name}.shells", lambda ids, module=module: module.shells(ids, 1, 2), {"ids": ids}))
    for module in (index64, hilbert64):
        name, ids = module.__name__.removeprefix("native."), of_kind[module]
        made.append((f"{name}.ancestor", lambda ids, module=module: module.ancestor(ids, 5), {"ids": ids}))
        made.append(
            (f"{name}.descendants", lambda ids, module=module: module.descendants(ids, 8), {"ids": ids})
        )
    return [Case(name=name, call=call, arrays=arrays) for name, call, arrays in made]


def region_cases() -> list[Case]:
    """Regions of every shape, two rows each."""
    where, size = np.zeros((2, 3)), np.ones(2)
    poses = np.stack([matrix_of(), matrix_of()])
    shapes: dict[str, dict[str, Any]] = {
        "spheres": {"center": where, "radius": size},
        "boxes": {"low": where, "high": where + 1},
        "oriented_boxes": {"pose": poses, "half_size": where + 1},
        "capsules": {"begin": where, "end": where + 1, "radius": size},
        "frusta": {"pose": poses, "tangent": np.ones((2, 2)), "near": size, "far": size + 1},
    }
    return [
        Case(
            name=f"regions.{name}",
            call=lambda name=name, **given: getattr(regions, name)(GRID, **given),
            arrays=arrays,
        )
        for name, arrays in shapes.items()
    ]
