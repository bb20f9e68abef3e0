"""Recorded sweeps as stored containers, graphs and datasets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.replay import with_map_frame
from models.datasets.cells import BCCDataset
from models.datasets.windows import WindowGraphDataset
from models.graphs.graph import graph_of
from native.container import ContainerOptions
from stream.config import Config
from stream.framed import FramedContainer
from stream.frames import FrameRegistry
from stream.sources import open_source
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path
from tests.models.datasets.stores import store

pytestmark = pytest.mark.data

LEVELS = 3


@pytest.fixture(scope="module")
def maps() -> list[FramedContainer]:
    """What each of two sweeps of the log has shown."""
    source = open_source(str(data_path("kitti_0005_000-053.mcap")))
    config = with_map_frame(Config(), [source.info().root_frame])
    frames, sweeps, found = FrameRegistry(max_gap_ns=config.pose.max_gap_ns), [], []
    for item in source:
        if isinstance(item, Transform):
            frames.add(item)
        if isinstance(item, Sweep):
            sweeps.append(item)
        if len(sweeps) == 4:  # by then there are poses on both sides of the first ones
            break
    for sweep in sweeps[1:3]:
        found.append(FramedContainer(config, ContainerOptions(levels=LEVELS, free_level=1)))
        found[-1].add(sweep, frames)
    return found


def test_graph_of_a_street(maps: list[FramedContainer]) -> None:
    levels = [maps[0].container.cells(level) for level in range(LEVELS)]
    graph = graph_of(levels, ["hits", "state", "intensity"], band=1, fill=0.0)
    assert len(graph) == sum(map(len, levels)) > 10_000
    up = graph.lod_difference == 1
    below = np.flatnonzero(up)
    heard = np.bincount(graph.edge_index[1, below], graph.x[graph.edge_index[0, below], 0], len(graph))
    coarse = graph.rows_of(levels[1].cell_id)
    assert np.array_equal(heard[coarse], levels[1].hits.astype(float)), "a cell has the hits of its children"
    near = graph.lod_difference == 0
    lengths = np.linalg.norm(graph.offset[near], axis=1) / (
        0.4 * 2.0 ** (7 - graph.lod[graph.edge_index[0, near]])
    )
    assert set(np.round(lengths, 3)) == {1.732, 2.0}


def test_datasets_of_a_street(maps: list[FramedContainer], tmp_path: Path) -> None:
    folder = store(
        tmp_path / "street",
        [each.container.cells(level).to_arrow() for each in maps for level in range(LEVELS)],
    )
    frame = maps[0].container.schema.frame
    cells = BCCDataset(folder, frame, 7, ["hits", "offset"], fill=0.0)
    assert len(cells) == sum(len(each.container.cells(0)) for each in maps)
    batch = cells.__getitems__(np.random.default_rng(0).integers(0, len(cells), 2000))
    # A neighbour's offset is its own: together with its site it lies where its points do.
    mask = batch["neighbor_mask"]
    assert 0.2 < mask.mean() < 0.9 and not batch["neighbors"][~mask].any()
    assert (batch["neighbors"][mask][:, 0] > 0).all() and np.abs(
        batch["neighbors"][mask][:, 1:]
    ).max() <= 0.4001
    windows = WindowGraphDataset(folder, frame, 6, ["state"])
    assert [len(graph["index"]) for graph in (windows[0], windows[1])] == [
        len(each.container.cells(1)) for each in maps
    ]
