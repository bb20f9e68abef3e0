"""Route64 against the vectors of OctaIndex3D, its own inverses and the documented deviations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import index64, lattice, route64
from native.errors import DomainError, IdError, ParityError, RangeError, TextError
from tests.native import bech32m, id_oracle
from tests.native.golden import float_of, is_site, rows

halves = st.integers(-(2**18), 2**18 - 1)
drawn_sites = st.tuples(halves, halves, halves, st.booleans()).map(
    lambda d: (2 * d[0] + d[3], 2 * d[1] + d[3], 2 * d[2] + d[3])
)
LOW, HIGH = route64.COORDINATE_MIN, route64.COORDINATE_MAX
ORIGIN = 1 << 62


def sites_of(*sites: list[int] | tuple[int, int, int]) -> NDArray[np.int32]:
    return np.array(sites, np.int32).reshape(-1, 3)


def one(value: int) -> NDArray[np.uint64]:
    return np.array([value], np.uint64)


def test_ids_match_the_vectors_in_both_directions() -> None:
    found = rows("route64")
    assert len(found) > 150
    for row in found:
        raw = int(row["raw_dec"])
        assert raw == int(row["raw_hex"], 16)
        assert route64.encode(sites_of(row["coord"]), tier=row["tier"]).tolist() == [raw]
        decoded = route64.decode(one(raw))
        assert decoded.sites.tolist() == [row["coord"]] and decoded.tier.tolist() == [row["tier"]]
        assert route64.to_text(raw) == row["bech32m"]
        assert route64.from_text(row["bech32m"]) == raw
    ids = np.array([int(row["raw_dec"]) for row in found], np.uint64)
    assert route64.to_texts(ids).astype(str).tolist() == [row["bech32m"] for row in found]


def test_neighbours_match_the_vectors() -> None:
    found = rows("route64_neighbors")
    assert len(found) > 30
    fewer = 0
    for row in found:
        around = route64.neighbors(one(int(row["raw_hex"], 16)))
        assert around.shape == (1, 14)
        there = around[around != 0]
        assert [f"0x{i:016x}" for i in there.tolist()] == row["neighbors"]
        assert route64.decode(there).sites.tolist() == row["neighbors_coord"]
        fewer += len(there) < 14
    assert fewer > 3


def test_errors_are_those_of_the_vectors() -> None:
    kinds = {"InvalidParity": ParityError, "InvalidScaleTier": DomainError, "OutOfRange": RangeError}
    kinds["DecodingError"] = IdError
    seen = 0
    for row in rows("errors"):
        if row["op"] == "Route64::new":
            sites, tier = sites_of(row["input"]["coord"]), row["input"]["tier"]
            if row["ok"]:
                assert route64.encode(sites, tier=tier).tolist() == [int(row["result"], 16)]
                continue
            expected: type[Exception] = kinds[row["error"]]
            if tier > 3:
                expected = DomainError  # deviation: fields are looked at before the sites
            with pytest.raises(expected):
                route64.encode(sites, tier=tier)
        elif row["op"] == "Route64::from_value":
            value = int(row["input"], 16)
            if row["ok"]:
                assert route64.encode(route64.decode(one(value)).sites, tier=value >> 60 & 3).tolist() == [
                    value
                ]
                continue
            with pytest.raises(kinds[row["error"]]):
                route64.decode(one(value))
        else:
            continue
        seen += 1
    assert seen > 15


def test_texts_of_the_vectors_are_read_or_refused() -> None:
    good = 0
    for row in rows("errors"):
        if row["op"] != "Route64::from_bech32m":
            continue
        text, sub = row["input"]["string"], row["input"]["sub"]
        if sub == "valid_or_wrong_prefix" and row["ok"]:
            assert route64.from_text(text) == int(row["result"], 16)
            good += 1
        elif text.isupper() and sub == "mutated":  # deviation: the crate refuses upper case
            assert route64.to_text(route64.from_text(text)) == text.lower()
        else:  # among them texts that the crate reads: plain bech32, one group too many
            with pytest.raises(ParityError if sub == "mixed_parity_payload" else TextError):
                route64.from_text(text)
    assert good


def test_text_is_strict() -> None:
    """Deviation: the crate reads several strings as one value; here one value has one string."""
    raw = id_oracle.route64((2, -4, 6), 1)
    groups = bech32m.groups_of(raw)
    text = bech32m.write("r3d1", groups)
    assert route64.from_text(text) == raw == route64.from_text(text.upper())
    refused = [
        bech32m.write("r3d1", groups, bech32m.BECH32),
        bech32m.write("r3d1", bech32m.groups_of(raw, padding=1)),
        bech32m.write("r3d1", [*groups, 0]),
        bech32m.write("i3d1", groups),
        text[:5].upper() + text[5:],
        text[:-1],
        "",
    ]
    for wrong in refused:
        with pytest.raises(TextError, match="text"):
            route64.from_text(wrong)
    with pytest.raises(IdError):
        route64.from_text(bech32m.write("r3d1", bech32m.groups_of(raw ^ 3 << 62)))
    with pytest.raises(ParityError):
        route64.from_text(bech32m.write("r3d1", bech32m.groups_of(raw ^ 1)))


@settings(deadline=None)
@given(st.lists(drawn_sites, max_size=30), st.integers(0, 3))
def test_ids_are_those_of_the_layout(sites: list[tuple[int, int, int]], tier: int) -> None:
    ids = route64.encode(sites_of(*sites), tier=tier)
    assert ids.tolist() == [id_oracle.route64(site, tier) for site in sites]
    decoded = route64.decode(ids)
    assert decoded.sites.tolist() == [list(site) for site in sites] and (decoded.tier == tier).all()
    assert route64.from_texts(route64.to_texts(ids)).tolist() == ids.tolist()


@settings(deadline=None)
@given(st.lists(drawn_sites, min_size=1, max_size=10), st.integers(0, 3))
def test_shells_are_the_sites_around(sites: list[tuple[int, int, int]], last: int) -> None:
    edges = [(LOW, LOW, LOW), (HIGH, HIGH, LOW + 1), (HIGH - 1, 0, 0), (LOW + 2, -2, HIGH - 3)]
    ids = route64.encode(sites_of(*sites, *edges), tier=2)
    offsets = [(0, 0, 0)] if last == 0 else id_oracle.STEPS
    got = route64.shells(ids, min(last, 1), min(last, 1))
    for site, row in zip([*sites, *edges], got.tolist(), strict=True):
        around = [tuple(v + d for v, d in zip(site, offset, strict=True)) for offset in offsets]
        inside = [all(LOW <= v <= HIGH for v in there) for there in around]
        assert row == [id_oracle.route64(t, 2) if i else 0 for t, i in zip(around, inside, strict=True)]


def test_conversion_keeps_the_site_and_the_tier() -> None:
    sites = sites_of([-32768, 32766, 0], [32767, -32767, 1])
    ids = index64.encode(sites, frame=9, tier=3, lod=4)
    routes = route64.from_index64(ids)
    assert (route64.decode(routes).sites == sites).all() and (route64.decode(routes).tier == 3).all()
    assert route64.to_index64(routes, frame=9, lod=4).tolist() == ids.tolist()
    with pytest.raises(RangeError, match="ids"):
        route64.to_index64(route64.encode(sites_of([0, 0, 0], [32768, 0, 0]), tier=0), frame=0, lod=0)
    for bad in ({"frame": 256, "lod": 0}, {"frame": 0, "lod": 16}):
        with pytest.raises(DomainError):
            route64.to_index64(routes, **bad)
    with pytest.raises(IdError):
        route64.from_index64(routes)
    with pytest.raises(IdError):
        route64.to_index64(ids, frame=0, lod=0)


def test_ends_of_the_range() -> None:
    """Deviation: no unchecked constructor that wraps."""
    for site in ([LOW, LOW, LOW], [HIGH, HIGH, HIGH], [HIGH - 1, LOW, 0]):
        assert route64.decode(route64.encode(sites_of(site), tier=0)).sites.tolist() == [site]
    for axis in range(3):
        for far in (LOW - 2, HIGH + 1, 2**31 - 2, -(2**31)):
            site = [0, 0, 0]
            site[axis] = far
            with pytest.raises(RangeError, match="sites"):
                route64.encode(sites_of([0, 0, 0], site), tier=0)


def test_grid_cells_of_the_vectors() -> None:
    """A position's cell: the nearest site of position / (cell size / 2), and its centre."""
    ok = 0
    for row in rows("grid_cell"):
        half = row["cell_size"] / 2
        scaled = np.array([[float_of(bits) / half for bits in row["pos_bits"]]])
        if not row["ok"]:
            with pytest.raises((DomainError, RangeError)):
                route64.encode(lattice.snap(scaled), tier=0)
            continue
        site = lattice.snap(scaled)
        distances = [float(((scaled[0] - s) ** 2).sum()) for s in (site[0], np.array(row["coord"]))]
        assert distances[0] <= distances[1]
        if site[0].tolist() == row["coord"]:
            assert route64.encode(site, tier=0).tolist() == [int(row["route_hex"], 16)]
            assert (site[0] * half).tolist() == row["center"]
            ok += 1
        else:
            assert distances[0] == distances[1], "another site only on a tie"
    assert ok > 20


def test_bad_arrays_are_named() -> None:
    good = sites_of([0, 0, 0])
    for sites, error in ((good.astype(np.int64), TypeError), (good[0], ValueError), (good.T, ValueError)):
        with pytest.raises(error, match="sites"):
            route64.encode(sites, tier=0)
    for ids, error in ((np.array([1]), TypeError), (one(ORIGIN)[None], ValueError), ([ORIGIN], TypeError)):
        for function in (route64.decode, route64.neighbors, route64.from_index64, route64.to_texts):
            with pytest.raises(error, match="ids"):
                function(ids)
    with pytest.raises(TypeError, match=r"tier: expected an integer 0\.\.3, got float"):
        route64.encode(good, tier=1.0)  # type: ignore[arg-type]
    assert route64.decode(one(ORIGIN)[:0]).sites.shape == (0, 3)
    assert is_site([0, 0, 0]) and route64.encode(good[:0], tier=0).shape == (0,)
