"""The lattice against exact arithmetic, its own invariants and the vectors of OctaIndex3D."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import lattice
from native.errors import DomainError, ParityError
from tests.native.golden import float_of, is_site, rows

LIMIT = 2**30
coordinates = st.integers(-(2**29), 2**29)
halves = st.tuples(coordinates, coordinates, coordinates, st.booleans())


def site_of(drawn: tuple[int, int, int, bool]) -> list[int]:
    """A site from three halves and a sublattice, within the range of all functions."""
    x, y, z, odd = drawn
    return [2 * (value // 4) + odd for value in (x, y, z)]


def snap_one(point: list[float]) -> list[int]:
    return [int(v) for v in lattice.snap(np.array([point], np.float64))[0]]


def squared(point: list[float], site: list[int]) -> Fraction:
    """Exact squared distance."""
    return sum(((Fraction(v) - c) ** 2 for v, c in zip(point, site, strict=True)), Fraction())


def nearest_sites(point: list[float]) -> list[list[int]]:
    """All nearest sites, by exact arithmetic over every site within reach."""
    near = [range(math.floor(v) - 2, math.floor(v) + 4) for v in point]
    sites = [list(site) for site in itertools.product(*near) if is_site(list(site))]
    distances = [squared(point, site) for site in sites]
    return [site for site, d in zip(sites, distances, strict=True) if d == min(distances)]


def rule(nearest: list[list[int]]) -> list[int]:
    """Our choice among equally near sites: the even sublattice, then the larger coordinate on each axis."""
    even = [site for site in nearest if site[0] % 2 == 0]
    return [max(axis) for axis in zip(*(even or nearest), strict=True)]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.integers(-80, 80).map(lambda v: v / 8), min_size=3, max_size=3))
def test_snap_obeys_the_rule_on_eighths(point: list[float]) -> None:
    assert snap_one(point) == rule(nearest_sites(point))


def test_snap_obeys_the_rule_on_all_halves() -> None:
    points = [list(p) for p in itertools.product([v / 2 for v in range(-3, 4)], repeat=3)]
    got = lattice.snap(np.array(points))
    assert got.tolist() == [rule(nearest_sites(point)) for point in points]


def test_half_rounds_up_within_each_sublattice() -> None:
    assert snap_one([1, 0, 0]) == [2, 0, 0]
    assert snap_one([-1, 0, 0]) == [0, 0, 0]
    assert snap_one([0, 1, 1]) == [1, 1, 1]
    assert snap_one([0, -1, -1]) == [1, -1, -1]
    below = math.nextafter(1.0, 0.0)
    assert snap_one([below, 0, 0]) == [0, 0, 0]
    assert snap_one([0.5, 0.5, 0.5]) == [0, 0, 0]  # between sublattices the even one wins
    assert snap_one([1.5, 0.5, 0.5]) == [2, 0, 0]


@settings(deadline=None)
@given(st.lists(st.floats(-1000, 1000), min_size=3, max_size=3), halves)
def test_snap_is_invariant_under_lattice_shifts(
    point: list[float], drawn: tuple[int, int, int, bool]
) -> None:
    shift = [v % 64 - 32 - (v % 64 - 32 - int(drawn[3])) % 2 for v in drawn[:3]]
    quantised = np.round(np.array(point) * 1024) / 1024  # so that the shift itself is exact
    moved = snap_one(list(quantised + shift))
    original = snap_one(list(quantised))
    if all(v % 2 == 0 for v in shift):
        assert moved == [a + b for a, b in zip(original, shift, strict=True)]
    else:  # an odd shift swaps the sublattices, so only ties may differ
        back = [a - b for a, b in zip(moved, shift, strict=True)]
        assert original == back or len(nearest_sites(list(quantised))) > 1


@settings(deadline=None)
@given(st.lists(st.floats(-(2.0**30), 2.0**30), min_size=3, max_size=3))
def test_snap_stays_within_the_covering_radius(point: list[float]) -> None:
    site = snap_one(point)
    assert is_site(site)
    assert squared(point, site) <= Fraction(5, 4) + Fraction(1, 10**12)  # a near tie counts as one


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, math.nextafter(2.0**30, math.inf), -1e300])
def test_snap_refuses_what_it_cannot_place(value: float) -> None:
    for axis in range(3):
        points = np.zeros((5, 3))
        points[4, axis] = value
        with pytest.raises(DomainError, match="points"):
            lattice.snap(points)
    assert snap_one([2.0**30, -(2.0**30), 0]) == [LIMIT, -LIMIT, 0]


def test_snap_matches_the_vectors() -> None:
    exact = ties = refused = 0
    for row in rows("snap_f64"):
        with np.errstate(over="ignore"):
            scaled = [
                float(np.float64(float_of(b)) * np.float64(2.0) ** row["resolution"]) for b in row["pos_bits"]
            ]
        if not row["ok"] or max(map(abs, scaled)) > LIMIT:  # the vectors reach 2**31 - 2, we reach 2**30
            with pytest.raises(DomainError):
                snap_one(scaled)
            refused += 1
            continue
        got = snap_one(scaled)
        assert is_site(got), row
        if (
            row["sub"] == "decimal_near_tie"
        ):  # closer than the rounding of a sum: the even site counts as tied
            assert got in row["exact_nearest"] or got[0] % 2 == 0, row
            assert abs(squared(scaled, got) - squared(scaled, row["exact_nearest"][0])) < 1e-14, row
        else:
            assert got in row["exact_nearest"], row
            exact += len(row["exact_nearest"]) == 1
            ties += len(row["exact_nearest"]) > 1
            if max(map(abs, scaled)) < 2**20:
                assert got == rule(row["exact_nearest"]), row
    assert exact > 150 and ties > 80 and refused > 5


def test_snap_matches_the_nearest_sites_of_integers() -> None:
    for row in rows("snap_int"):
        if max(map(abs, row["pos"])) <= LIMIT:
            assert snap_one(row["pos"]) in row["exact_nearest"], row


def test_voxels_of_the_vectors_are_never_nearer_than_our_sites() -> None:
    """Deviation: the crate rounds to integers first, and so misses the nearest site of many a point."""
    same = farther = 0
    for row in rows("voxel_f32"):
        size = np.float32(row["voxel_size"])
        point = (np.array(row["pos_f32"], np.float32) / size).astype(np.float64).tolist()
        ours, crate = snap_one(point), row["coord"]
        assert squared(point, ours) <= squared(point, crate)
        same += ours == crate
        farther += squared(point, ours) < squared(point, crate)
    assert same > 10 and farther > 10


def test_tree_and_neighbours_match_the_vectors() -> None:
    found = [row for row in rows("lattice_tree") if max(map(abs, row["coord"])) <= 2**29]
    assert len(found) > 150
    sites = np.array([row["coord"] for row in found], np.int32)
    assert lattice.parent(sites).tolist() == [row["parent"] for row in found]
    assert lattice.children(sites).tolist() == [row["children"] for row in found]
    assert lattice.neighbors(sites).tolist() == [row["neighbors"] for row in found]


def sites_in_a_block() -> NDArray[np.int32]:
    block = [list(site) for site in itertools.product(range(-5, 6), repeat=3) if is_site(list(site))]
    return np.array(block, np.int32)


def test_parent_is_the_exact_inverse_of_children() -> None:
    sites = sites_in_a_block()
    children = lattice.children(sites)
    back = lattice.parent(children.reshape(-1, 3)).reshape(-1, 8, 3)
    assert (back == sites[:, None]).all()
    assert len(np.unique(children.reshape(-1, 3), axis=0)) == 8 * len(sites)
    for site, up in zip(sites, lattice.parent(sites), strict=True):
        assert site.tolist() in lattice.children(up[None])[0].tolist()


@settings(deadline=None)
@given(st.lists(halves, min_size=1, max_size=20))
def test_tree_holds_far_from_the_origin(drawn: list[tuple[int, int, int, bool]]) -> None:
    sites = np.array([site_of(d) for d in drawn], np.int32)
    assert all(is_site(site) for site in lattice.parent(sites).tolist())
    assert (lattice.parent(lattice.children(sites).reshape(-1, 3)).reshape(-1, 8, 3) == sites[:, None]).all()


def test_neighbours_are_mutual_and_nearest() -> None:
    sites = sites_in_a_block()
    neighbors = lattice.neighbors(sites)
    assert neighbors.shape == (len(sites), 14, 3)
    back = lattice.neighbors(neighbors.reshape(-1, 3)).reshape(-1, 14, 14, 3)
    assert (back == sites[:, None, None]).all(axis=3).any(axis=2).all()
    lengths = ((neighbors - sites[:, None]) ** 2).sum(axis=2)
    assert (lengths == [3] * 8 + [4] * 6).all()


@pytest.mark.parametrize("function", [lattice.neighbors, lattice.parent, lattice.children])
def test_mixed_parity_is_refused(function: object) -> None:
    assert callable(function)
    for site in itertools.product((0, 1, -1, 2), repeat=3):
        if not is_site(list(site)):
            with pytest.raises(ParityError, match="sites"):
                function(np.array([[0, 0, 0], site], np.int32))
    with pytest.raises(DomainError, match="sites"):
        function(np.array([[0, -(2**31), 0]], np.int32))


def test_triples_of_the_vectors_are_sites_or_refused() -> None:
    seen = 0
    for row in rows("errors"):
        if row["op"] == "LatticeCoord::new":
            seen += 1
            if row["ok"]:
                lattice.parent(np.array([row["input"]], np.int32))
            else:
                with pytest.raises(ParityError, match="sites"):
                    lattice.parent(np.array([row["input"]], np.int32))
    assert seen > 10


def test_far_sites_are_refused_where_the_result_would_not_fit() -> None:
    far = np.array([[2**30 + 2, 0, 0], [-(2**30) - 2, 0, 0]], np.int32)
    for function in (lattice.neighbors, lattice.children):
        for site in far:
            with pytest.raises(DomainError):
                function(site[None])
    assert (lattice.parent(far)[:, 0] == [2**29 + 1 - 1, -(2**29) - 1 - 1]).all()
    ends = np.array([[2**31 - 1, 1, -(2**31) + 1], [2**31 - 2, 0, 0]], np.int32)
    assert all(is_site(site) for site in lattice.parent(ends).tolist())
    edge = np.array([[2**29, -(2**29), 2**29]], np.int32)
    assert (lattice.parent(lattice.children(edge)[0]) == edge).all()


def test_empty_input_gives_empty_output() -> None:
    none = np.empty((0, 3), np.int32)
    assert lattice.snap(np.empty((0, 3))).shape == (0, 3)
    assert lattice.neighbors(none).shape == (0, 14, 3)
    assert lattice.parent(none).shape == (0, 3)
    assert lattice.children(none).shape == (0, 8, 3)


def test_the_crate_is_not_followed_on_ties() -> None:
    """Deviation: the crate's ties depend on sign and place, so its snapping is not shift invariant."""
    assert snap_one([0, 1, 1]) == [1, 1, 1]  # the crate has (-1, 1, 1)
    assert snap_one([-1, 0, 0]) == [0, 0, 0]  # the crate has (-2, 0, 0)
