"""Graphs of cells: edges against a search by hand, attributes, rows and ids, and what others make of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.typing import NDArray

from models.graphs.columns import FeatureError
from models.graphs.edges import NO_DIRECTION
from models.graphs.graph import EDGE_ATTRIBUTES, Graph, graph_of, tensor_of
from native import index64, lattice
from native.cells import Cells, Rows
from native.container import Container, ContainerOptions, RecordKey
from native.errors import DomainError
from native.schema import MismatchError
from tests.guide import run_page
from tests.models.graphs.containers import GRID, container

Pairs = set[tuple[int, int]]


def pairs_of(graph: Graph) -> Pairs:
    """Edges by the ids of their cells."""
    found = [tuple(pair) for pair in graph.cell_id[graph.edge_index].T.tolist()]
    assert len(set(found)) == len(found), "an edge is there twice"
    return set(found)


def near(cells: Cells, steps: int | None, radius_m: float | None) -> Pairs:
    """Pairs of cells of one level that are near each other, one by one."""
    sites = index64.decode(cells.cell_id).sites
    half_edge_m = GRID.half_edge_m * 2.0**cells.level
    found = set()
    for a, b in itertools.permutations(range(len(cells)), 2):
        p, q, _ = sorted(np.abs(sites[a] - sites[b]).tolist(), reverse=True)
        away_m = half_edge_m * float(np.linalg.norm((sites[a] - sites[b]).astype(float)))
        if (p + q) // 2 <= steps if steps is not None else away_m <= radius_m + 1e-9:
            found.add((int(cells.cell_id[a]), int(cells.cell_id[b])))
    return found


@pytest.mark.parametrize(("rings", "radius_m"), [(1, None), (2, None), (1, 1.2), (1, 0.1)])
def test_edges_are_those_found_one_by_one(rings: int, radius_m: float | None) -> None:
    cells = container(share=0.3).cells()
    graph = graph_of(cells, ["hits"], rings=rings, radius_m=radius_m)
    assert pairs_of(graph) == near(cells, None if radius_m else rings, radius_m)
    order = list(zip(*graph.edge_index[::-1].tolist(), strict=True))
    assert order == sorted(order)


def test_a_radius_is_in_metres_at_every_level() -> None:
    cells = container().cells(1)
    graph = graph_of(cells, ["hits"], radius_m=1.7)
    assert pairs_of(graph) == near(cells, None, 1.7)


def test_attributes_say_where_the_other_cell_lies() -> None:
    graph = graph_of(container().cells(), ["hits"], rings=2)
    source, target = graph.edge_index
    sites = index64.decode(graph.cell_id).sites
    assert np.allclose(graph.offset, (sites[source] - sites[target]) * 0.4, atol=1e-6)
    around = lattice.neighbors(sites[target])  # (E, 14, 3)
    next_to = graph.direction != NO_DIRECTION
    assert np.array_equal(around[next_to, graph.direction[next_to]], sites[source[next_to]])
    assert not (around[~next_to] == sites[source[~next_to], None]).all(axis=2).any()
    assert 0 < next_to.sum() < len(next_to)
    assert graph.edge_attr.shape == (len(source), len(EDGE_ATTRIBUTES))
    assert np.array_equal(graph.edge_attr[:, 3], graph.direction)


@pytest.mark.parametrize("band", [0, 1, 2])
def test_a_band_joins_cells_with_their_ancestors(band: int) -> None:
    box = container(share=0.4)
    levels = [box.cells(level) for level in (2, 0, 1)]
    graph = graph_of(levels, ["hits"], band=band)
    expected = set().union(*(near(cells, 1, None) for cells in levels))
    for fine, coarse in itertools.combinations(sorted(levels, key=lambda cells: -cells.lod), 2):
        if fine.lod - coarse.lod <= band:
            up = set(
                zip(fine.cell_id.tolist(), index64.ancestor(fine.cell_id, coarse.lod).tolist(), strict=True)
            )
            expected |= up | {pair[::-1] for pair in up}
    assert pairs_of(graph) == expected
    source, target = graph.edge_index
    lods = index64.decode(graph.cell_id).lod
    assert np.array_equal(graph.lod, lods) and (np.diff(graph.cell_id.astype(object)) > 0).all()
    assert np.array_equal(graph.lod_difference, lods[source].astype(int) - lods[target].astype(int))
    assert (graph.direction[graph.lod_difference != 0] == NO_DIRECTION).all()
    assert graph.half_edge_lod0_m == 51.2


def test_directed_has_every_pair_once_upwards() -> None:
    box = container(share=0.4)
    levels = [box.cells(0), box.cells(1)]
    both, once = (graph_of(levels, ["hits"], band=1, directed=directed) for directed in (False, True))
    found = pairs_of(once)
    assert not found & {pair[::-1] for pair in found}
    assert found | {pair[::-1] for pair in found} == pairs_of(both)
    assert (once.lod_difference >= 0).all()


def test_features_of_the_users_columns_follow_the_nodes() -> None:
    box = container()
    levels = [box.cells(0), box.cells(1)]
    graph = graph_of(levels, ["height", "class"])
    for cells in levels:
        rows = graph.rows_of(cells.cell_id)
        assert np.array_equal(graph.x[rows, 0], cells.values("height").astype(np.float32))
        assert np.array_equal(graph.x[rows, 1:], cells.values("class").astype(np.float32))


def test_ids_and_rows_lead_to_each_other() -> None:
    graph = graph_of(container().cells(), ["hits"])
    rows = np.random.default_rng(1).permutation(len(graph))
    assert np.array_equal(graph.rows_of(graph.cell_id[rows]), rows)
    stranger = index64.encode(np.array([[2000, 2000, 2000]], np.int32), frame=5, tier=1, lod=7)
    assert graph.rows_of(stranger).tolist() == [-1]


def lonely(sites: list[list[int]]) -> Cells:
    box = Container(GRID, ContainerOptions())
    ids = np.sort(index64.encode(np.array(sites, np.int32).reshape(-1, 3), frame=5, tier=1, lod=7))
    box.add(RecordKey(0, 0), Rows.of(ids, np.ones(len(ids), np.uint64), np.zeros((len(ids), 11), np.int64)))
    return box.cells()


def test_cells_far_from_each_other_have_no_edge() -> None:
    graph = graph_of(lonely([[0, 0, 0], [100, 0, 0], [1, 101, 1]]), ["hits"], rings=3)
    assert len(graph) == 3 and graph.edge_index.shape == (2, 0) and graph.edge_attr.shape == (0, 5)


def test_no_cell_makes_an_empty_graph() -> None:
    graph = graph_of(lonely([]), ["hits", "state"], radius_m=2.0)
    assert len(graph) == 0 and graph.x.shape == (0, 2) and graph.edge_index.shape == (2, 0)
    assert graph.nodes().num_rows == graph.edges().num_rows == 0


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"band": -1}, ValueError, "band: -1"),
        ({"rings": 0}, DomainError, "rings = 0"),
        ({"radius_m": -1.0}, DomainError, "radius"),
        ({"features": np.zeros((3, 2), np.float32)}, MismatchError, r"features: expected float32 \(\d+, F\)"),
        ({"features": ["speed"]}, FeatureError, "no column 'speed'"),
        ({"levels": []}, MismatchError, "at least one level"),
    ],
)
def test_what_makes_no_graph_is_refused(change: dict, error: type[Exception], message: str) -> None:
    given = {"levels": container().cells(), "features": ["hits"]} | change
    with pytest.raises(error, match=message):
        graph_of(**given)


def test_levels_of_two_containers_or_one_level_twice_are_refused() -> None:
    box = container()
    with pytest.raises(MismatchError, match="levels: expected 3, got 2"):
        graph_of([box.cells(0), container(levels=2).cells(1)], ["hits"])
    with pytest.raises(MismatchError, match="each LOD once"):
        graph_of([box.cells(0), box.cells(0)], ["hits"])


# ---- handing over ----------------------------------------------------------------------------------------


def address(array: NDArray) -> int:
    return array.__array_interface__["data"][0]


def test_arrow_has_the_memory_of_the_graph() -> None:
    x = np.random.default_rng(0).random((len(container().cells()), 4), np.float32)
    graph = graph_of(container().cells(), x)
    assert graph.x is x
    nodes, edges = graph.nodes(), graph.edges()
    for batch, name, array in [
        (nodes, "cell_id", graph.cell_id),
        (nodes, "x", graph.x),
        (nodes, "position", graph.position),
        (edges, "source", graph.edge_index[0]),
        (edges, "target", graph.edge_index[1]),
        (edges, "offset", graph.offset),
        (edges, "direction", graph.direction),
    ]:
        assert batch.column(name).buffers()[-1].address == address(array), name


@pytest.mark.learn
def test_the_page_shows_how_to_make_graphs() -> None:
    names = run_page("graphs.md", {"container": container()}, without="to_pyg")  # test_pyg runs all of it
    assert names["graph"].x.shape[1] == 1 + 3 + 3
    assert np.array_equal(names["ids"], names["levels"][0].cell_id)
    assert np.array_equal(names["values"][:, 0], names["cells"].hits.astype(np.float32))


@pytest.mark.learn
def test_tensors_have_the_memory_of_the_graph_where_it_may_be_written_to() -> None:
    held = np.zeros(3)
    assert tensor_of(held).data_ptr() == address(held)
    held.flags.writeable = False
    tensor_of(held)[0] = 1.0
    assert held[0] == 0.0, "read-only memory was shared"


@pytest.mark.learn
def test_the_adjacency_sums_over_incoming_edges() -> None:
    import torch

    box = container()
    graph = graph_of([box.cells(0), box.cells(1)], ["hits", "flow"], band=1, directed=True)
    adjacency = graph.to_sparse()
    assert adjacency.is_coalesced() and adjacency.shape == (len(graph), len(graph))
    with torch.sparse.check_sparse_tensor_invariants():
        again = torch.sparse_coo_tensor(
            adjacency.indices(), adjacency.values(), adjacency.shape, is_coalesced=True
        )
    expected = np.zeros_like(graph.x)
    for source, target in graph.edge_index.T.tolist():
        expected[target] += graph.x[source]
    assert np.allclose((again @ torch.from_numpy(graph.x)).numpy(), expected, rtol=1e-5)
