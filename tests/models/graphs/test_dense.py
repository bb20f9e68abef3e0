"""Cells as two cubic arrays: where each cell comes to lie, back again, and a CNN that reads them."""

from __future__ import annotations

import numpy as np
import pytest

from models.graphs.columns import feature_matrix
from models.graphs.dense import dense_of
from native.cells import Rows
from native.container import Container, ContainerOptions, Extent, RecordKey
from native.index64 import decode
from native.schema import MismatchError
from tests.models.graphs.containers import GRID, container, random_ids


def test_every_cell_lies_at_its_site() -> None:
    cells = container().cells()
    x = feature_matrix(cells, ["hits", "flow"])
    dense = dense_of(cells.cell_id, x)
    assert dense.x.shape[:2] == (2, 4) and dense.mask.sum() == len(cells)
    for row, site in enumerate(decode(cells.cell_id).sites.tolist()):
        odd = site[0] % 2
        w, h, d = ((value - odd - origin) // 2 for value, origin in zip(site, dense.origin, strict=True))
        assert dense.mask[odd, d, h, w]
        assert np.array_equal(dense.x[odd, :, d, h, w], x[row])
    assert not dense.x[np.broadcast_to(~dense.mask[:, None], dense.x.shape)].any()
    assert np.array_equal(dense.at_cells(dense.x), x)


def test_it_is_what_a_dense_container_holds() -> None:
    extent = Extent(origin=(-4, -4, -2), shape=(4, 3, 3))
    ids = random_ids()
    hits = np.arange(1, len(ids) + 1, dtype=np.uint64)
    boxes = [Container(GRID, ContainerOptions(extent=extent, dense=dense)) for dense in (True, False)]
    for box in boxes:
        box.add(RecordKey(0, 0), Rows.of(ids, hits, np.zeros((len(ids), 11), np.int64)))
    dense = dense_of(ids, hits[:, None].astype(np.float32), extent)
    assert np.array_equal(dense.x[:, 0], boxes[0].array()["hits"])
    outside = dense.place < 0
    assert 0 < outside.sum() < len(ids)
    assert np.array_equal(np.sort(ids[~outside]), boxes[1].cells().cell_id)
    assert (dense.at_cells(dense.x)[outside] == 0).all()


@pytest.mark.learn
def test_a_small_cnn_reads_it() -> None:
    """It learns the hits of the neighbour two half edges up, which a convolution over a sublattice sees."""
    import torch

    cells = container(share=0.9).cells()
    dense = dense_of(cells.cell_id, feature_matrix(cells, ["hits"]) / 8)
    x = torch.from_numpy(dense.x)
    assert x.data_ptr() == dense.x.__array_interface__["data"][0]
    wanted = torch.from_numpy(np.roll(dense.x, -1, axis=2)[:, :, :-1].copy())
    torch.manual_seed(0)
    network = torch.nn.Conv3d(1, 1, 3, padding=1)  # both sublattices as a batch of two
    for _ in range(250):
        loss = ((network(x)[:, :, :-1] - wanted) ** 2).mean()
        gradients = torch.autograd.grad(loss, list(network.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(network.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient
    assert float(loss.detach()) < 0.02 * float((wanted**2).mean())
    assert dense.at_cells(network(x).detach().numpy()).shape == (len(cells), 1)


def test_what_makes_no_array_is_refused() -> None:
    ids = random_ids()
    x = np.zeros((len(ids), 1), np.float32)
    with pytest.raises(MismatchError, match="x: expected"):
        dense_of(ids, x[:-1])
    with pytest.raises(ValueError, match="no cell"):
        dense_of(ids[:0], x[:0])
    with pytest.raises(ValueError, match="more than 10"):
        dense_of(ids, x, max_sites=10)
    box = container()
    both = np.sort(np.concatenate([box.cells(0).cell_id, box.cells(1).cell_id]))
    with pytest.raises(ValueError, match=r"one LOD, got 6\.\.7"):
        dense_of(both, np.zeros((len(both), 1), np.float32))
    empty = dense_of(ids[:0], x[:0], Extent(origin=(0, 0, 0), shape=(1, 2, 3)))
    assert empty.x.shape == (2, 1, 3, 2, 1) and not empty.mask.any()
