"""Hilbert64 against the vectors of OctaIndex3D, Index64 and the documented deviations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import hilbert64, index64
from native.errors import DomainError, IdError, LodError, ParityError, RangeError
from tests.native import id_oracle
from tests.native.golden import BIAS, is_site, rows

u16 = st.integers(0, 65535)
halves = st.integers(-16384, 16383)
drawn_sites = st.tuples(halves, halves, halves, st.booleans()).map(
    lambda d: (2 * d[0] + d[3], 2 * d[1] + d[3], 2 * d[2] + d[3])
)


def words(*values: int) -> NDArray[np.uint64]:
    return np.array(values, np.uint64)


def test_keys_match_every_vector() -> None:
    found = rows("hilbert64")
    assert len(found) > 900
    morton = words(*(id_oracle.morton(row["coord"]) for row in found))
    keys = [int(row["hilbert"]) for row in found]
    assert hilbert64.keys_of(morton).tolist() == keys
    assert hilbert64.morton_of(words(*keys)).tolist() == morton.tolist()
    assert keys == [id_oracle.hilbert(row["coord"]) for row in found]


def test_ids_match_the_vectors_in_both_directions() -> None:
    sites = mixed = 0
    for row in rows("hilbert64"):
        raw, index = int(row["raw_dec"]), int(row["index64_hex"], 16)
        if not is_site(row["coord"]):  # deviation: the crate accepts triples that are no site
            for refuse in (hilbert64.decode, hilbert64.to_index64, hilbert64.parent, hilbert64.neighbors):
                with pytest.raises(ParityError, match="ids"):
                    refuse(words(raw))
            with pytest.raises(ParityError, match="ids"):
                hilbert64.from_index64(words(index))
            mixed += 1
            continue
        site = np.array([row["coord"]], np.int32) - BIAS
        fields = {key: row[key] for key in ("frame", "tier", "lod")}
        assert hilbert64.encode(site, **fields).tolist() == [raw]
        assert hilbert64.to_index64(words(raw)).tolist() == [index]
        assert hilbert64.from_index64(words(index)).tolist() == [raw]
        decoded = hilbert64.decode(words(raw))
        assert decoded.sites.tolist() == site.tolist()
        assert [decoded.frame[0], decoded.tier[0], decoded.lod[0]] == list(fields.values())
        sites += 1
    assert sites > 200 and mixed > 200


def test_tree_is_that_of_the_lattice_where_the_crate_shifts_bits() -> None:
    """Deviations: parents and children are those of the Index64, and LOD 15 has no children."""
    differ = 0
    for row in rows("hilbert64_tree"):
        raw = words(int(row["raw_hex"], 16))
        if not is_site(row["coord"]):
            with pytest.raises(ParityError):
                hilbert64.parent(raw)
            continue
        index = hilbert64.to_index64(raw)
        if row["lod"]:
            up = hilbert64.parent(raw)
            assert hilbert64.to_index64(up).tolist() == index64.parent(index).tolist()
            differ += f"0x{up[0]:016x}" != row["parent"]
        else:
            with pytest.raises(LodError):
                hilbert64.parent(raw)
        if row["lod"] == 15:
            with pytest.raises(LodError):
                hilbert64.children(raw)
    assert differ > 3


def test_errors_are_those_of_the_vectors() -> None:
    seen = 0
    for row in rows("errors"):
        if row["op"] != "Hilbert64::new":
            continue
        seen += 1
        fields = {key: row["input"][key] for key in ("frame", "tier", "lod")}
        coordinates = row["input"]["coord"]
        site = np.array([coordinates], np.int32) - BIAS
        if row["ok"] and is_site(coordinates):
            assert hilbert64.encode(site, **fields).tolist() == [int(row["result"], 16)]
        elif row["ok"]:
            with pytest.raises(ParityError):
                hilbert64.encode(site, **fields)
            assert id_oracle.hilbert(coordinates) == int(row["result"], 16) & (1 << 48) - 1
        else:
            with pytest.raises(DomainError, match="lod"):
                hilbert64.encode(site, **fields)
    assert seen > 2


@settings(deadline=None)
@given(st.lists(st.tuples(u16, u16, u16), max_size=30))
def test_keys_are_those_of_the_rule(coordinates: list[tuple[int, int, int]]) -> None:
    morton = words(*map(id_oracle.morton, coordinates))
    keys = hilbert64.keys_of(morton)
    assert keys.tolist() == [id_oracle.hilbert(c) for c in coordinates]
    assert hilbert64.morton_of(keys).tolist() == morton.tolist()


@settings(deadline=None)
@given(st.lists(drawn_sites, min_size=1, max_size=20), st.integers(1, 14), st.integers(0, 2))
def test_everything_is_that_of_the_index64(sites: list[tuple[int, int, int]], lod: int, k: int) -> None:
    index = index64.encode(np.array(sites, np.int32), frame=7, tier=1, lod=lod)
    ids = hilbert64.from_index64(index)

    def same(got: NDArray[np.uint64], expected: NDArray[np.uint64]) -> bool:
        there = got != 0
        assert got.shape == expected.shape and (there == (expected != 0)).all()
        return hilbert64.to_index64(got[there]).tolist() == expected[there].tolist()

    assert same(ids, index)
    assert same(hilbert64.parent(ids), index64.parent(index))
    assert same(hilbert64.ancestor(ids, lod // 2), index64.ancestor(index, lod // 2))
    assert same(hilbert64.shells(ids, 0, k), index64.shells(index, 0, k))
    assert same(hilbert64.neighbors(ids), index64.neighbors(index))


def test_children_and_descendants_are_those_of_the_index64() -> None:
    index = index64.encode(np.array([[0, 0, 0], [-3, 5, 7]], np.int32), frame=1, tier=2, lod=5)
    ids = hilbert64.from_index64(index)
    assert hilbert64.to_index64(hilbert64.children(ids)[1]).tolist() == index64.children(index)[1].tolist()
    down = hilbert64.descendants(ids, 7)
    assert down.shape == (2, 64)
    assert (
        hilbert64.to_index64(down.reshape(-1)).tolist() == index64.descendants(index, 7).reshape(-1).tolist()
    )
    far = hilbert64.encode(np.array([[32766, 0, 0]], np.int32), frame=0, tier=0, lod=3)
    with pytest.raises(RangeError, match="ids"):
        hilbert64.children(far)
    assert (hilbert64.neighbors(far) == 0).sum() == 1  # (32768, 0, 0)


def test_bad_values_are_refused() -> None:
    index = index64.encode(np.zeros((1, 3), np.int32), frame=0, tier=0, lod=7)
    for other in (index, words(1 << 62), words(0)):
        with pytest.raises(IdError, match="ids"):
            hilbert64.decode(other)
    with pytest.raises(IdError, match="ids"):
        hilbert64.from_index64(hilbert64.from_index64(index))
    for function, name in ((hilbert64.keys_of, "morton"), (hilbert64.morton_of, "keys")):
        with pytest.raises(DomainError, match=name):
            function(words(0, 1 << 48))
        with pytest.raises(TypeError, match=name):
            function(np.zeros(1, np.int64))
        with pytest.raises(ValueError, match=name):
            function(np.zeros((2, 2), np.uint64))
        assert function(words()).shape == (0,)
