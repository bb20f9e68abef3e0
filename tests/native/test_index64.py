"""Index64 against the vectors of OctaIndex3D, its own inverses and the documented deviations."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from native import index64, lattice
from native.errors import DomainError, IdError, LodError, ParityError, RangeError, TextError
from tests.native import bech32m
from tests.native.golden import BIAS, is_site, rows

coordinates = st.integers(-16384, 16383)
cells = st.tuples(coordinates, coordinates, coordinates, st.booleans())
SITE_ID = 0x80050000044E8D40
MIDDLE_ID = 0x8007E00000000000  # (0, 0, 0) at LOD 7


def one(cell_id: int) -> NDArray[np.uint64]:
    return np.array([cell_id], np.uint64)


def sites_of(drawn: list[tuple[int, int, int, bool]]) -> NDArray[np.int32]:
    return np.array([[2 * v + odd for v in (x, y, z)] for x, y, z, odd in drawn], np.int32)


def test_ids_match_the_vectors_in_both_directions() -> None:
    seen = 0
    for row in rows("index64"):
        raw = int(row["raw_dec"])
        sites = np.array([row["coord"]], np.int32) - BIAS
        fields = {key: row[key] for key in ("frame", "tier", "lod")}
        if not is_site(row["coord"]):
            continue
        seen += 1
        assert index64.encode(sites, **fields).tolist() == [raw]
        decoded = index64.decode(one(raw))
        assert decoded.sites.tolist() == sites.tolist()
        assert [decoded.frame[0], decoded.tier[0], decoded.lod[0]] == list(fields.values())
        assert index64.to_text(raw) == row["bech32m"]
        assert index64.from_text(row["bech32m"]) == raw
    assert seen > 80


def test_mixed_parity_of_the_vectors_is_refused() -> None:
    """Deviation: the crate accepts triples that are no site."""
    mixed = [row for row in rows("index64") if not is_site(row["coord"])]
    assert len(mixed) > 20
    for row in mixed:
        raw = int(row["raw_dec"])
        with pytest.raises(ParityError):
            index64.encode(np.array([row["coord"]], np.int32) - BIAS, frame=0, tier=0, lod=0)
        for refuse in (index64.decode, index64.parent, index64.children):
            with pytest.raises(ParityError, match="ids"):
                refuse(np.array([MIDDLE_ID, raw], np.uint64))
        with pytest.raises(ParityError, match="cell_id"):
            index64.to_text(raw)
        with pytest.raises(ParityError, match="text"):
            index64.from_text(row["bech32m"])


def test_neighbours_match_the_vectors() -> None:
    seen = 0
    for row in rows("index64_tree"):
        if not is_site(row["coord"]):
            continue
        seen += 1
        decoded = index64.decode(one(int(row["raw_hex"], 16)))
        around = lattice.neighbors(decoded.sites)[0]
        around = around[((around >= index64.COORDINATE_MIN) & (around <= index64.COORDINATE_MAX)).all(axis=1)]
        ids = index64.encode(around, frame=row["frame"], tier=row["tier"], lod=row["lod"])
        assert [f"0x{i:016x}" for i in ids.tolist()] == row["neighbors"]
    assert seen > 30


def test_tree_follows_the_lattice_where_the_crate_shifts_bits() -> None:
    """Deviation: the crate's Index64 parents and children are those of an octree, mostly no sites."""
    differ = 0
    for row in rows("index64_tree"):
        if not is_site(row["coord"]):
            continue
        cell = one(int(row["raw_hex"], 16))
        if row["lod"] > 0:
            up = index64.parent(cell)
            site = lattice.parent(np.array([row["coord"]], np.int32) - BIAS)
            assert index64.decode(up).sites.tolist() == site.tolist()
            assert index64.decode(cell).sites[0].tolist() in lattice.children(site)[0].tolist()
            differ += int(up[0]) != int(row["parent"], 16)
        else:
            with pytest.raises(LodError, match="ids"):
                index64.parent(cell)
    assert differ > 20


def test_children_are_refused_where_the_crate_loses_the_top_bit() -> None:
    """Deviation: children beyond the map are an error, not another place."""
    far = index64.encode(np.array([[16384, 0, 0]], np.int32), frame=0, tier=0, lod=1)
    with pytest.raises(RangeError):
        index64.children(far)
    low = index64.encode(np.array([[-16384, 0, 0]], np.int32), frame=0, tier=0, lod=1)
    assert index64.decode(index64.children(low)[0]).sites[0].tolist() == [-32768, 0, 0]
    odd = index64.encode(np.array([[1, -16385, 1]], np.int32), frame=0, tier=0, lod=1)
    with pytest.raises(RangeError):
        index64.children(odd)


@settings(deadline=None)
@given(st.lists(cells, max_size=30), st.integers(0, 255), st.integers(0, 3), st.integers(0, 15))
def test_decode_inverts_encode(
    drawn: list[tuple[int, int, int, bool]], frame: int, tier: int, lod: int
) -> None:
    sites = sites_of(drawn).reshape(-1, 3)
    ids = index64.encode(sites, frame=frame, tier=tier, lod=lod)
    decoded = index64.decode(ids)
    assert (decoded.sites == sites).all()
    assert (decoded.frame == frame).all() and (decoded.tier == tier).all() and (decoded.lod == lod).all()
    for cell_id in ids.tolist():
        assert index64.from_text(index64.to_text(cell_id)) == cell_id


@settings(deadline=None)
@given(st.lists(cells, min_size=1, max_size=30), st.integers(0, 14))
def test_parent_inverts_children(drawn: list[tuple[int, int, int, bool]], lod: int) -> None:
    sites = sites_of(drawn) // 8 * 2 + (sites_of(drawn) & 1)  # so that every child is on the map
    ids = index64.encode(sites, frame=7, tier=1, lod=lod)
    children = index64.children(ids)
    assert (index64.parent(children.reshape(-1)).reshape(-1, 8) == ids[:, None]).all()
    assert (index64.decode(children.reshape(-1)).lod == lod + 1).all()


@settings(deadline=None)
@given(st.lists(cells, min_size=1, max_size=20), st.integers(0, 15), st.integers(0, 15))
def test_ancestor_is_the_repeated_parent(drawn: list[tuple[int, int, int, bool]], a: int, b: int) -> None:
    coarse, fine = min(a, b), max(a, b)
    ids = index64.encode(sites_of(drawn), frame=1, tier=0, lod=fine)
    expected = ids
    for _ in range(fine - coarse):
        expected = index64.parent(expected)
    assert (index64.ancestor(ids, coarse) == expected).all()


def test_ancestor_takes_ids_of_several_lods() -> None:
    site = np.array([[100, -40, 6]], np.int32)
    ids = np.concatenate([index64.encode(site, frame=0, tier=0, lod=lod) for lod in (4, 9, 6)])
    got = index64.ancestor(ids, 4)
    assert (index64.decode(got).lod == 4).all()
    assert got[0] == ids[0]
    with pytest.raises(LodError, match="LOD 5 or finer, got LOD 4"):
        index64.ancestor(ids, 5)
    with pytest.raises(DomainError, match="lod = 16"):
        index64.ancestor(ids, 16)
    assert index64.ancestor(ids[:0], 3).shape == (0,)


def test_range_and_fields_are_checked() -> None:
    good = np.zeros((1, 3), np.int32)
    for edge in (-32768, 32766):
        assert index64.decode(index64.encode(good + edge, frame=0, tier=0, lod=0)).sites.tolist() == [
            [edge] * 3
        ]
    for outside in (-32770, 32768, 2**31 - 2, -(2**31)):
        with pytest.raises(RangeError, match="sites"):
            index64.encode(good + np.int32(outside), frame=0, tier=0, lod=0)
    for bad in ({"frame": 256}, {"frame": -1}, {"tier": 4}, {"tier": -1}, {"lod": 16}, {"lod": -1}):
        fields = {"frame": 0, "tier": 0, "lod": 0} | bad
        with pytest.raises(DomainError, match=next(iter(bad))):
            index64.encode(good, **fields)


@pytest.mark.parametrize("top", [0, 1, 3])
def test_other_headers_are_refused(top: int) -> None:
    cell_id = top << 62 | SITE_ID & (1 << 62) - 1
    for refuse in (index64.decode, index64.parent, index64.children):
        with pytest.raises(IdError, match="ids"):
            refuse(one(cell_id))
    with pytest.raises(IdError):
        index64.to_text(cell_id)
    with pytest.raises(IdError):
        index64.from_text(bech32m.write("i3d1", bech32m.groups_of(cell_id)))


def test_lod_ends_are_errors() -> None:
    """Deviation: at LOD 15 the crate gives no children without saying so."""
    site = np.zeros((1, 3), np.int32)
    with pytest.raises(LodError):
        index64.children(index64.encode(site, frame=0, tier=0, lod=15))
    with pytest.raises(LodError):
        index64.parent(index64.encode(site, frame=0, tier=0, lod=0))


def test_texts_of_the_vectors_are_read_or_refused() -> None:
    upper = 0
    for row in rows("errors"):
        if row["op"] != "Index64::from_bech32m":
            continue
        text, sub = row["input"]["string"], row["input"]["sub"]
        if sub == "valid_or_wrong_prefix" and row["ok"]:
            assert index64.from_text(text) == int(row["result"], 16)
        elif text == index64.to_text(SITE_ID).upper():  # deviation: the crate refuses upper case
            assert index64.from_text(text) == SITE_ID
            upper += 1
        else:
            error = {"wrong_header": IdError, "mixed_parity_payload": ParityError}.get(sub, TextError)
            with pytest.raises(error):
                index64.from_text(text)
    assert upper == 1


def test_text_is_strict() -> None:
    """Deviation: the crate reads several strings as one value; here one value has one string."""
    groups = bech32m.groups_of(SITE_ID)
    text = bech32m.write("i3d1", groups)
    assert index64.from_text(text) == SITE_ID == index64.from_text(text.upper())
    refused = [
        bech32m.write("i3d1", groups, bech32m.BECH32),
        bech32m.write("i3d1", bech32m.groups_of(SITE_ID, padding=1)),
        bech32m.write("i3d1", [*groups, 0]),
        bech32m.write("i3d1", groups[:-1]),
        bech32m.write("r3d1", groups),
        text[:5].upper() + text[5:],
        text[:-1],
        text + "q",
        " " + text[1:],
        text[:10] + "b" + text[11:],
        text[:10] + "\0" + text[11:],
        text[:10] + "é" + text[12:],
        "\ud800" + text[3:],
        "",
    ]
    for wrong in refused:
        with pytest.raises(TextError, match="text"):
            index64.from_text(wrong)


@settings(deadline=None)
@given(st.integers(0, 23), st.characters())
def test_no_single_change_goes_unnoticed(place: int, character: str) -> None:
    text = index64.to_text(SITE_ID)
    changed = text[:place] + character + text[place + 1 :]
    if changed != text:
        with pytest.raises(TextError):
            index64.from_text(changed)


def test_ids_of_a_grid_sort_by_morton_order() -> None:
    sites = np.array([[-2, 0, 0], [0, -2, 0], [0, 0, -2], [0, 0, 0], [2, 0, 0], [0, 2, 0]], np.int32)
    ids = index64.encode(sites, frame=0, tier=0, lod=7)
    key = [
        sum(((int(v) + BIAS) >> i & 1) << 3 * i + axis for i in range(16) for axis, v in enumerate(s))
        for s in sites
    ]
    assert np.argsort(ids).tolist() == np.argsort(np.array(key)).tolist()
    assert [int(i) & (1 << 48) - 1 for i in ids] == key


@settings(deadline=None)
@given(st.lists(cells, min_size=1, max_size=8), st.integers(0, 12), st.integers(0, 3))
def test_descendants_are_the_repeated_children(
    drawn: list[tuple[int, int, int, bool]], lod: int, levels: int
) -> None:
    sites = sites_of(drawn) // 32 * 2 + (sites_of(drawn) & 1)  # so that every descendant is on the map
    ids = index64.encode(sites, frame=7, tier=1, lod=lod)
    expected = ids[:, None]
    for _ in range(levels):
        expected = index64.children(np.ascontiguousarray(expected.reshape(-1))).reshape(len(ids), -1)
    got = index64.descendants(ids, lod + levels)
    assert (got == expected).all()
    assert (index64.ancestor(got.reshape(-1), lod).reshape(got.shape) == ids[:, None]).all()


def test_descendants_reach_the_edge_of_the_map_and_no_further() -> None:
    """The rows of a site whose descendants just fit are whole; one half edge further out is an error."""
    for levels in range(1, 6):
        scale, reach = 1 << levels, (1 << levels) - 1
        lows = [-32768 // scale, (-32768 + reach + scale - 1) // scale, (-32768 + reach + scale - 1) // scale]
        high = (32767 - 2 * reach) // scale
        for axis in range(3):
            for value, step in ((lows[axis], -1), (high, 1)):
                site = np.full((1, 3), value & 1, np.int32)
                site[0, axis] = value
                ids = index64.encode(site, frame=0, tier=0, lod=3)
                down = index64.descendants(ids, 3 + levels)
                assert len(np.unique(down)) == 8**levels
                assert abs(index64.decode(down.reshape(-1)).sites).max() > 32768 - 2 * scale
                outer = np.full((1, 3), value + step & 1, np.int32)
                outer[0, axis] = value + step
                with pytest.raises(RangeError, match="ids"):
                    index64.descendants(index64.encode(outer, frame=0, tier=0, lod=3), 3 + levels)
                if levels == 1:
                    with pytest.raises(RangeError, match="ids"):
                        index64.children(index64.encode(outer, frame=0, tier=0, lod=3))
                    assert (index64.children(ids) == down).all()


def test_descendants_refuse_what_has_none() -> None:
    site = np.zeros((1, 3), np.int32)
    ids = np.concatenate([index64.encode(site, frame=0, tier=0, lod=lod) for lod in (4, 5)])
    with pytest.raises(DomainError, match=r"ids: expected one LOD, got LODs 4\.\.5"):
        index64.descendants(ids, 6)
    with pytest.raises(LodError, match="expected LOD 3 or coarser, got LOD 4"):
        index64.descendants(ids[:1], 3)
    with pytest.raises(DomainError, match="lod"):
        index64.descendants(ids, 16)
    with pytest.raises(ParityError, match="ids"):
        index64.descendants(ids[:1] ^ np.uint64(1), 6)
    assert index64.descendants(ids[:1], 4).tolist() == [[int(ids[0])]]
    assert index64.descendants(ids[:0], 9).shape == (0, 1)


def test_arrays_of_texts_are_the_texts_of_each() -> None:
    ids = np.array([int(row["raw_dec"]) for row in rows("index64") if is_site(row["coord"])], np.uint64)
    texts = index64.to_texts(ids)
    assert texts.dtype == "S24"
    assert texts.astype(str).tolist() == [index64.to_text(int(i)) for i in ids]
    assert (index64.from_texts(texts) == ids).all()
    assert (index64.from_texts(np.char.upper(texts)) == ids).all()
    assert (index64.from_texts(texts[::2]) == ids[::2]).all()
    assert index64.to_texts(ids[:0]).shape == index64.from_texts(texts[:0]).shape == (0,)
    broken = texts.copy()
    broken[-1] = broken[-1][:-1] + b"b"
    with pytest.raises(TextError, match="texts"):
        index64.from_texts(broken)
    for wrong, error in (
        (texts.astype("S25"), TextError),
        (texts.astype(str), TypeError),
        (["a"], TypeError),
    ):
        with pytest.raises(error, match="texts"):
            index64.from_texts(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="texts"):
        index64.from_texts(texts[None])


def test_single_ids_are_checked_before_they_are_cut() -> None:
    for value in (-1, 1 << 64, SITE_ID + (1 << 64)):
        with pytest.raises(IdError, match="cell_id"):
            index64.to_text(value)
    with pytest.raises(TypeError, match="cell_id: expected an integer of 64 bits, got float"):
        index64.to_text(1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="text: expected a string, got bytes"):
        index64.from_text(b"i3d1")  # type: ignore[arg-type]
    assert index64.to_text(np.uint64(SITE_ID)) == index64.to_text(SITE_ID)  # type: ignore[arg-type]


def test_alike_says_what_decode_would() -> None:
    dice = np.random.default_rng(5)
    sites = dice.integers(-2000, 2000, (64, 3)).astype(np.int32) * 2
    ids = index64.encode(sites, frame=5, tier=1, lod=8)
    assert index64.alike(ids, ids[0])
    assert index64.alike(index64.encode(sites + 1, frame=5, tier=1, lod=8), ids[0])
    assert index64.alike(ids[:0], ids[0])
    for frame, tier, lod in ((6, 1, 8), (5, 2, 8), (5, 1, 7)):
        other = index64.encode(sites[:1], frame=frame, tier=tier, lod=lod)
        assert not index64.alike(np.append(ids, other), ids[0])
    seen = set()
    for word in dice.integers(0, 2**48, 200, dtype=np.uint64) | ids[0] >> np.uint64(48) << np.uint64(48):
        try:
            index64.decode(one(int(word)))
            valid = True
        except ParityError:
            valid = False
        seen.add(valid)
        assert index64.alike(one(int(word)), ids[0]) == valid
    assert seen == {True, False}
