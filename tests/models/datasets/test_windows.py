"""Windows as graphs: the same cells and neighbours as the dataset of cells has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.datasets.cells import BCCDataset
from models.datasets.windows import WindowGraphDataset, joined
from tests.models.datasets.stores import NAMES, WHERE, same, store, window
from tests.models.graphs.containers import GRID

WINDOWS = [window(1), window(2, 0.0), window(4, 0.6)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return store(tmp_path_factory.mktemp("stored") / "city", WINDOWS)


def gathered(graph: dict) -> np.ndarray:
    """Features of the neighbours, zeros where there is none."""
    return np.concatenate([graph["features"], np.zeros((1, 3), np.float32)])[graph["neighbor_index"]]


def test_graphs_have_the_cells_and_neighbours_of_the_samples(stored: Path) -> None:
    graphs, cells = (kind(stored, **WHERE, feature_keys=NAMES) for kind in (WindowGraphDataset, BCCDataset))
    assert len(graphs) == 3 and graphs.stamp_ns.tolist() == [100, 0, 400]
    first = 0
    for number, batch in enumerate(WINDOWS):
        graph, samples = graphs[number], cells.__getitems__(range(first, first + len(batch)))
        first += len(batch)
        assert graph["neighbor_index"].dtype == np.int64 and graph["lod"].tolist() == [GRID.lod] * len(batch)
        assert np.array_equal(gathered(graph), samples["neighbors"])
        for name in ("features", "position", "index", "target", "observed"):
            assert np.array_equal(graph[name], samples[name]), name


def test_features_are_views_of_the_mapped_file(stored: Path) -> None:
    graphs = WindowGraphDataset(stored, **WHERE, feature_keys=NAMES)
    for name in ("features", "target", "observed"):
        assert np.shares_memory(graphs[2][name], getattr(graphs.table, name)), name


def test_an_empty_window_is_an_empty_graph(stored: Path) -> None:
    graph = WindowGraphDataset(stored, **WHERE, feature_keys=NAMES)[1]
    assert graph["features"].shape == (0, 3) and graph["neighbor_index"].shape == (0, 14)


def test_joined_graphs_have_no_edge_between_them(stored: Path) -> None:
    graphs = WindowGraphDataset(stored, **WHERE, feature_keys=NAMES)
    whole = graphs.__getitems__([2, 1, 0])
    sizes = [len(WINDOWS[number]) for number in (2, 1, 0)]
    assert np.bincount(whole["graph"], minlength=3).tolist() == sizes
    assert np.array_equal(gathered(whole), np.concatenate([gathered(graphs[number]) for number in (2, 1, 0)]))
    same({k: v for k, v in joined([graphs[0]]).items() if k != "graph"}, graphs[0])


def test_graphs_that_do_not_go_together_are_refused(stored: Path) -> None:
    graphs = WindowGraphDataset(stored, **WHERE, feature_keys=NAMES)
    with pytest.raises(ValueError, match="at least one"):
        joined([])
    with pytest.raises(ValueError, match="expected arrays"):
        joined([graphs[0], {"features": graphs[0]["features"]}])
