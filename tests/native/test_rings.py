"""Rings, shells and distances against a search over the 14 neighbours."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import galactic128, hilbert64, index64, lattice, rings, route64, shells
from native.errors import DomainError, IdError, ParityError
from tests.native import id_oracle
from tests.native.golden import rows
from tests.native.id_oracle import Site

REACH = 6
SEARCHED = id_oracle.steps_from_origin(REACH)
halves = st.integers(-(2**30), 2**30 - 1)
drawn_sites = st.tuples(halves, halves, halves, st.booleans()).map(
    lambda d: (2 * d[0] + d[3], 2 * d[1] + d[3], 2 * d[2] + d[3])
)


def ids_at(*sites: Site | list[int], lod: int = 7) -> NDArray[np.uint64]:
    return index64.encode(np.array(sites, np.int32).reshape(-1, 3), frame=3, tier=1, lod=lod)


def test_shells_are_what_a_search_finds_in_the_documented_order() -> None:
    for k in range(REACH + 1):
        expected = sorted((s for s, steps in SEARCHED.items() if steps == k), key=id_oracle.shell_order)
        assert list(map(tuple, shells.offsets(k, k).tolist())) == expected
        assert shells.count(k, k) == len(expected) == (12 * k * k + 2 if k else 1)
    assert shells.offsets(0, REACH).tolist() == [
        offset for k in range(REACH + 1) for offset in shells.offsets(k, k).tolist()
    ]


def test_the_first_shell_is_the_neighbours_in_the_order_of_the_crate() -> None:
    assert list(map(tuple, shells.offsets(1, 1).tolist())) == id_oracle.STEPS
    origin = np.zeros((1, 3), np.int32)
    assert shells.offsets(1, 1).tolist() == lattice.neighbors(origin)[0].tolist()


@pytest.mark.parametrize("k", [20, 51])
def test_far_shells_have_every_site_once_at_their_distance(k: int) -> None:
    offsets = shells.offsets(k - 1, k)
    assert len(offsets) == shells.count(k - 1, k) == len(np.unique(offsets, axis=0))
    steps = lattice.distance(np.zeros_like(offsets), offsets)
    assert Counter(steps.tolist()) == {k - 1: 12 * (k - 1) ** 2 + 2, k: 12 * k * k + 2}


def test_distance_is_what_a_search_finds() -> None:
    sites = np.array(list(SEARCHED), np.int32)
    assert lattice.distance(np.zeros_like(sites), sites).tolist() == list(SEARCHED.values())
    moved = np.array([[-5, 7, 1001]], np.int32)
    assert lattice.distance(sites + moved, np.repeat(moved, len(sites), 0)).tolist() == list(
        SEARCHED.values()
    )


@settings(deadline=None)
@given(drawn_sites, drawn_sites, drawn_sites)
def test_distance_is_a_metric_anywhere(a: Site, b: Site, c: Site) -> None:
    def steps(p: Site, q: Site) -> int:
        return int(lattice.distance(np.array([p], np.int32), np.array([q], np.int32))[0])

    assert steps(a, b) == steps(b, a) and (steps(a, b) == 0) == (a == b)
    assert steps(a, c) <= steps(a, b) + steps(b, c)
    high, middle, _ = sorted((abs(p - q) for p, q in zip(a, b, strict=True)), reverse=True)
    assert steps(a, b) == (high + middle) // 2


def test_the_farthest_sites_are_as_far_apart_as_they_are() -> None:
    low, high = np.full((1, 3), -(2**31), np.int32), np.full((1, 3), 2**31 - 2, np.int32)
    assert lattice.distance(low, high).tolist() == [2**32 - 2]


sites16 = st.integers(-16384, 16383)
drawn16 = st.tuples(sites16, sites16, sites16, st.booleans()).map(
    lambda d: (2 * d[0] + d[3], 2 * d[1] + d[3], 2 * d[2] + d[3])
)


@settings(deadline=None, max_examples=50)
@given(st.lists(drawn16, max_size=5), st.integers(0, 4))
def test_rings_of_index64_leave_nothing_out_and_wrap_nowhere(sites: list[Site], k: int) -> None:
    edge = index64.COORDINATE_MAX
    sites += [(-32768, -32768, -32768), (edge, edge, edge), (edge, -32767, 1), (2 - 32768, 0, edge - 3)]
    got = rings.k_ring(ids_at(*sites), k)
    assert got.shape == (len(sites), (k + 1) ** 4 - k**4)
    offsets = shells.offsets(0, k).tolist()
    for site, row in zip(sites, got.tolist(), strict=True):
        for offset, cell_id in zip(offsets, row, strict=True):
            x, y, z = (v + d for v, d in zip(site, offset, strict=True))
            inside = all(-32768 <= v <= edge for v in (x, y, z))
            assert cell_id == (id_oracle.index64((x, y, z), 3, 1, 7) if inside else 0)
    assert (rings.k_shell(ids_at(*sites), k) == got[:, len(offsets) - shells.count(k, k) :]).all()


def test_neighbours_of_index64_match_the_vectors() -> None:
    seen = 0
    for row in rows("index64_tree"):
        if len({v % 2 for v in row["coord"]}) > 1:
            continue
        around = index64.neighbors(np.array([int(row["raw_hex"], 16)], np.uint64))
        assert [f"0x{i:016x}" for i in around[around != 0].tolist()] == row["neighbors"]
        seen += 1
    assert seen > 30


def test_legacy_ids_have_the_same_lattice() -> None:
    """CellID itself is no kind here; its tree and neighbours are the lattice's."""
    for row in rows("cellid_legacy"):
        site = np.array([row["coord"]], np.int32)

        def coordinates(raw: str) -> list[int]:
            value = int(raw, 16)
            fields = (value >> 32, value >> 64, value >> 96)
            return [(v & 0xFFFFFFFF) - (1 << 32 if v & 0x80000000 else 0) for v in fields]

        assert lattice.neighbors(site)[0].tolist() == [coordinates(raw) for raw in row["neighbors"]]
        if row["children"] and max(map(abs, row["coord"])) <= 2**29:  # the crate's wrap beyond
            assert lattice.children(site)[0].tolist() == [coordinates(raw) for raw in row["children"]]
        if row["parent"]:
            assert lattice.parent(site)[0].tolist() == coordinates(row["parent"])


def test_every_kind_has_rings_and_distances() -> None:
    sites = np.array([[0, 0, 0], [-7, 101, 3]], np.int32)
    moved = sites + np.array([[4, 2, 0]], np.int32)
    fields = {"frame": 3, "tier": 1, "lod": 7}
    kinds = [
        (index64, index64.encode(sites, **fields), index64.encode(moved, **fields)),
        (hilbert64, hilbert64.encode(sites, **fields), hilbert64.encode(moved, **fields)),
        (route64, route64.encode(sites, tier=1), route64.encode(moved, tier=1)),
        (
            galactic128,
            galactic128.encode(sites, scale_mant=0, **fields),
            galactic128.encode(moved, scale_mant=0, **fields),
        ),
    ]
    for kind, ids, others in kinds:
        assert rings.distance(ids, others).tolist() == [3, 3]
        found = rings.k_ring(ids, 3)
        assert found.shape[:2] == (2, 175)
        flat = np.ascontiguousarray(found[1])
        assert kind.decode(flat).sites.tolist() == (sites[1] + shells.offsets(0, 3)).tolist()
        for part, whole in zip(kind.decode(flat)[1:], kind.decode(ids)[1:], strict=True):
            assert (part == whole[0]).all()


def test_distance_is_within_one_grid() -> None:
    a, b = ids_at((0, 0, 0), (2, 0, 0)), ids_at((2, 2, 0), (0, 0, 0), lod=8)
    with pytest.raises(DomainError, match="a, b: row 0 has lod 7 and 8"):
        rings.distance(a, b)
    with pytest.raises(ValueError, match="b"):
        rings.distance(a, a[:1])
    with pytest.raises(TypeError, match="b"):
        rings.distance(a, a.astype(np.int64))
    with pytest.raises(IdError):
        rings.distance(a, hilbert64.from_index64(a))
    assert rings.distance(a[:0], a[:0]).shape == (0,)


@pytest.mark.parametrize("k", [-1, 256, 10**9])
def test_steps_outside_their_domain_are_refused(k: int) -> None:
    ids = ids_at((0, 0, 0))
    for function in (rings.k_ring, rings.k_shell):
        with pytest.raises(DomainError, match=rf"k = {k} \(0\.\.255\)"):
            function(ids, k)
    with pytest.raises(DomainError, match="last"):
        shells.offsets(0, k)
    with pytest.raises(DomainError, match="first"):
        shells.count(3, 2)


def test_bad_ids_are_named() -> None:
    good = ids_at((0, 0, 0))
    for bad, error in (
        (good.astype(np.float64), TypeError),
        ([1], TypeError),
        (good[None, None], ValueError),
        (np.repeat(good, 4)[::2], ValueError),
        (good ^ np.uint64(1), ParityError),
        (np.zeros(1, np.uint64), IdError),
        (np.array([good[0], 1 << 62], np.uint64), IdError),
    ):
        with pytest.raises(error):
            rings.k_ring(bad, 1)  # type: ignore[arg-type]
    assert rings.k_ring(good[:0], 2).shape == (0, 65)
    with pytest.raises(ParityError, match="a, b"):
        lattice.distance(np.array([[0, 0, 1]], np.int32), np.zeros((1, 3), np.int32))
    with pytest.raises(ValueError, match="b: expected shape"):
        lattice.distance(np.zeros((1, 3), np.int32), np.zeros((2, 3), np.int32))
