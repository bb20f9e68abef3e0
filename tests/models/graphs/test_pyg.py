"""Graphs as PyTorch Geometric takes them; the package takes seconds to import."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from models.graphs.graph import graph_of
from tests.guide import run_page
from tests.models.graphs.containers import container

torch = pytest.importorskip("torch")

pytestmark = [pytest.mark.learn, pytest.mark.long, pytest.mark.slow]


@pytest.fixture(scope="module", autouse=True)
def package() -> None:
    """The package itself uses what torch gives up."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("torch_geometric.nn", reason="not run: needs the extra graphs")


def test_pyg_has_the_memory_of_the_graph() -> None:
    from torch_geometric.utils import is_undirected

    x = np.random.default_rng(0).random((len(container().cells()), 4), np.float32)
    graph = graph_of(container().cells(), x)
    data = graph.to_pyg()
    assert data.validate() and data.num_nodes == len(graph)
    assert not data.has_isolated_nodes() and not data.has_self_loops()
    assert is_undirected(data.edge_index)
    for name, array in [("x", x), ("edge_index", graph.edge_index), ("pos", graph.position)]:
        assert data[name].data_ptr() == array.__array_interface__["data"][0], name
    assert np.array_equal(data.cell_id.numpy().view(np.uint64), graph.cell_id)


def test_the_page_shows_how_to_hand_graphs_over() -> None:
    names = run_page("graphs.md", {"container": container()})
    assert names["data"].num_edges == names["edges"].num_rows == names["adjacency"]._nnz()


def test_the_adjacency_sums_as_a_layer_of_pyg_does() -> None:
    from torch_geometric.nn import SimpleConv

    box = container()
    graph = graph_of([box.cells(0), box.cells(1)], ["hits", "flow"], band=1, directed=True)
    data, adjacency = graph.to_pyg(), graph.to_sparse()
    torch.testing.assert_close(adjacency @ data.x, SimpleConv(aggr="sum")(data.x, data.edge_index))


def test_a_gat_of_pyg_learns_from_edge_attributes() -> None:
    """What only the direction tells: the hits of the neighbour above."""
    from torch_geometric.nn import GATv2Conv

    graph = graph_of(container(share=0.9).cells(), ["hits"])
    data = graph.to_pyg()
    x = (data.x - data.x.mean()) / data.x.std()
    above = torch.zeros(len(graph), dtype=torch.bool)
    wanted = torch.zeros(len(graph))
    chosen = graph.direction == 12  # +2 on z
    wanted[data.edge_index[1, chosen]] = x[data.edge_index[0, chosen], 0]
    above[data.edge_index[1, chosen]] = True
    torch.manual_seed(0)
    direction = torch.nn.functional.one_hot(torch.from_numpy(graph.direction), 15).float()
    layer = GATv2Conv(1, 8, edge_dim=15, add_self_loops=False)
    head = torch.nn.Linear(8, 1)
    optimiser = torch.optim.Adam([*layer.parameters(), *head.parameters()], 0.05)
    losses = []
    for _ in range(150):
        out = head(layer(x, data.edge_index, direction))[:, 0]
        loss = ((out - wanted)[above] ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.1 * float((wanted[above] ** 2).mean())
