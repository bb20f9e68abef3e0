"""Frames hold what tables do, as exactly as they say; coarser and mixed ones cover each place once."""

from __future__ import annotations

import numpy as np
import pytest

from agents.web.cells import CellTable
from agents.web.frame import (
    AGE_NS,
    SHARES,
    UNKNOWN_COUNT,
    UNKNOWN_SHARE,
    Layer,
    coarser_layer,
    decode_frame,
    encode_frame,
    finest_layer,
    layer_of,
    mixed_layers,
)
from native.index64 import ancestor, decode
from tests.web.played import Played

HALF_EDGE_M = 0.4


@pytest.fixture(scope="module")
def table(city: Played) -> CellTable:
    found = city.world.cells("ant")
    assert found is not None and len(found) > 1000
    return found


def test_a_frame_gives_back_what_was_put_in(table: CellTable) -> None:
    finest = finest_layer(table)
    header, columns = decode_frame(encode_frame([finest], table.lod, {"number": 7}))
    assert (header["robot"], header["stamp_ns"], header["number"]) == ("ant", str(table.stamp_ns), 7)
    assert header["cells"] == len(table)
    assert columns["id"].tobytes() == table.cell_id.tobytes()
    assert "centre" not in columns
    assert columns["hits"].tolist() == np.minimum(table.hits, UNKNOWN_COUNT - 1).tolist()
    assert columns["passes"].tolist() == np.minimum(table.passes, UNKNOWN_COUNT - 1).tolist()
    assert columns["outcome"].tolist() == table.outcome.tolist()
    for name in ("probability", "forecast"):
        known = ~np.isnan(getattr(table, name))
        assert ((columns[name] == UNKNOWN_SHARE) == ~known).all(), name
        error = columns[name][known] / SHARES - getattr(table, name)[known]
        assert np.abs(error).max() <= 0.5 / SHARES + 1e-6, name
    ages = np.where(columns["age"] == UNKNOWN_COUNT, -1, columns["age"].astype(np.int64) * AGE_NS)
    assert (table.age_ns - ages >= 0).all() and (table.age_ns - ages < AGE_NS).all()


def test_a_frame_of_the_tape_becomes_cells_again(table: CellTable) -> None:
    data = encode_frame([finest_layer(table)], table.lod, {})
    layer = layer_of(*decode_frame(data), HALF_EDGE_M)
    assert layer.table.centre.tobytes() == table.centre.tobytes()
    assert layer.table.lod == table.lod
    assert encode_frame([layer], table.lod, {}) == data


def test_occupancy_is_the_share_of_hits(table: CellTable) -> None:
    occupancy = finest_layer(table).occupancy
    seen = table.hits + table.passes > 0
    assert np.isnan(occupancy[~seen]).all()
    expected = table.hits[seen] / (table.hits[seen] + table.passes[seen])
    assert np.allclose(occupancy[seen], expected)
    assert 0 < occupancy[seen].mean() < 1


@pytest.mark.parametrize("lod", [6, 5])
def test_a_coarse_cell_is_as_occupied_as_its_most_occupied_cell(table: CellTable, lod: int) -> None:
    finest = finest_layer(table)
    coarse = coarser_layer(finest, lod)
    parents = ancestor(table.cell_id, lod)
    assert coarse.table.cell_id.tolist() == np.unique(parents).tolist()
    for row in range(0, len(coarse.table), 17):
        inside = finest.occupancy[parents == coarse.table.cell_id[row]]
        known = inside[~np.isnan(inside)]
        expected = known.max() if len(known) else np.nan
        assert np.array_equal(coarse.occupancy[row], expected, equal_nan=True)


def test_mixed_levels_cover_each_place_once_and_get_coarser_with_distance(table: CellTable) -> None:
    finest, eye = finest_layer(table), table.centre.mean(axis=0).astype(np.float64)
    layers = mixed_layers(finest, eye, HALF_EDGE_M, 6.0, 12.0)
    assert [layer.table.lod for layer in layers] == [7, 5, 6]
    covered = np.zeros(len(table), int)
    for layer in layers:
        covered += np.isin(ancestor(table.cell_id, layer.table.lod), layer.table.cell_id)
        sites = decode(layer.table.cell_id).sites * HALF_EDGE_M * 2 ** (7 - layer.table.lod)
        away = np.linalg.norm(sites - eye, axis=1)
        if layer.table.lod == 5:
            assert away.min() > 12.0
        elif layer.table.lod == 6:
            assert away.min() > 6.0
    assert (covered == 1).all()
    header, columns = decode_frame(encode_frame(layers, table.lod, {}))
    assert header["cells"] == sum(len(layer.table) for layer in layers) < len(table)
    assert columns["centre"].shape == (header["cells"], 3)
    assert sorted(set(decode(columns["id"]).lod.tolist())) == [5, 6, 7]


def test_a_frame_of_no_cells(table: CellTable) -> None:
    none = Layer(table=table.take(np.zeros(len(table), bool)), occupancy=np.empty(0, np.float32))
    for layers in ([none], mixed_layers(none, np.zeros(3), HALF_EDGE_M, 1.0, 2.0), [coarser_layer(none, 5)]):
        header, columns = decode_frame(encode_frame(layers, table.lod, {}))
        assert header["cells"] == 0
        assert columns["probability"].shape == (0, 3)
