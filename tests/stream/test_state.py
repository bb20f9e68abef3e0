"""State as bytes: there and back to the bit, deterministic, and hostile bytes are one kind of error."""

from __future__ import annotations

import dataclasses
import json
import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.codecs.state import MAGIC, Frozen, Pieces, StateError, from_dict, pack, to_dict, unpack
from stream.sweep import Sweep

DTYPES = ("u1", "i1", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "?")


def arrays() -> st.SearchStrategy[np.ndarray]:
    shapes = st.lists(st.integers(0, 4), min_size=0, max_size=3).map(tuple)

    def build(dtype: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        raw = np.random.default_rng(seed).integers(0, 2 if dtype == "?" else 256, size, np.uint8).tobytes()
        return np.frombuffer(raw, np.dtype(dtype)).reshape(shape)

    return st.builds(build, st.sampled_from(DTYPES), shapes, st.integers(0, 2**32))


LEAVES = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**64), st.floats(allow_nan=False), st.text(max_size=8),
    st.binary(max_size=9), arrays(),
)  # fmt: skip
KEYS = st.text(max_size=6).filter(lambda key: not key.startswith("$"))
TREES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


def same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return (
            isinstance(b, np.ndarray)
            and (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
            and b.flags.aligned
        )
    if isinstance(a, list):
        return isinstance(b, list) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


@settings(max_examples=150, deadline=None)
@given(tree=TREES)
def test_trees_go_there_and_back(tree: Any) -> None:
    data = pack(tree)
    assert same(tree, unpack(data))
    assert pack(unpack(data)) == data == pack(tree)


@given(lead=st.integers(0, 17))
def test_arrays_are_aligned_wherever_their_bytes_lie(lead: int) -> None:
    """The C core takes no other arrays."""
    tree = {"name": "x" * lead, "odd": np.arange(3, dtype=np.uint8), "ids": np.arange(5, dtype=np.uint64)}
    found = unpack(pack(tree))
    assert found["ids"].flags.aligned
    assert not found["ids"].flags.writeable
    assert found["ids"].tolist() == [0, 1, 2, 3, 4]


def test_tuples_come_back_as_lists_and_numpy_numbers_as_plain_ones() -> None:
    assert unpack(pack({"a": (1, (2.5,)), "b": np.float64(0.1), "c": np.int64(7)})) == {
        "a": [1, [2.5]], "b": 0.1, "c": 7
    }  # fmt: skip


def test_arrays_in_any_order_keep_their_values() -> None:
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    for view in (array.T, array[::-1], array[:, ::2], np.asfortranarray(array)):
        found = unpack(pack(view))
        assert np.array_equal(found, view)
        assert found.flags.c_contiguous


@pytest.mark.parametrize("value", [object(), {1: 2}, {"$array": 1}, {"a": {"$x": 1}}, {2.5}, [complex(1, 2)]])
def test_what_cannot_be_stored_is_a_type_error(value: Any) -> None:
    with pytest.raises(TypeError, match="state: "):
        pack(value)


def sample() -> bytes:
    return pack({"a": [1, 2.5, None, True], "x": np.arange(6, dtype=np.int32).reshape(2, 3), "b": b"abc"})


@settings(max_examples=300, deadline=None)
@given(place=st.integers(0, len(sample()) - 1), value=st.integers(0, 255), cut=st.booleans())
def test_damaged_bytes_are_a_state_error_or_another_value(place: int, value: int, cut: bool) -> None:
    data = bytearray(sample())
    if cut:
        del data[place:]
    else:
        data[place] = value
    try:
        unpack(bytes(data))
    except StateError as error:
        assert str(error).startswith("state: ")


def framed(tree: str) -> bytes:
    header = tree.encode()
    return MAGIC + struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "tree",
    [
        '{"$array": [0, 8], "dtype": "O", "shape": [1]}',
        '{"$array": [0, 8], "dtype": "<f8", "shape": [1]}',
        '{"$array": [-8, 8], "dtype": "<f8", "shape": [1]}',
        '{"$array": [0, 0], "dtype": "nonsense", "shape": [0]}',
        '{"$array": [0, 0], "dtype": "V0", "shape": [0]}',
        '{"$array": [0, 0], "dtype": "<f8"}',
        '{"$array": [0, 0], "dtype": "<f8", "shape": [1e30]}',
        '{"$array": [0, 0], "dtype": "<f8", "shape": [99999999999999999999999999]}',
        '{"$array": 5, "dtype": "<f8", "shape": [0]}',
        '{"$array": [0, 99999999999999999999999999], "dtype": "<f8", "shape": [0]}',
        '{"$array": [0, 0], "dtype": [["a", "<f8"]], "shape": "x"}',
        '{"$array": [0, 0], "dtype": {"names": 3}, "shape": [0]}',
        '{"$bytes": [0.5, 1]}',
        '{"$bytes": null}',
        "[" * 100_000,
        "[" * 5000 + "]" * 5000,
        "nope",
    ],
)
def test_hostile_trees_are_a_state_error(tree: str) -> None:
    with pytest.raises(StateError):
        unpack(framed(tree))


@pytest.mark.parametrize(
    "data", [b"", b"x", MAGIC, MAGIC + b"\0" * 7, b"\x80\x04K\x01.", json.dumps([1]).encode()]
)
def test_foreign_bytes_are_a_state_error(data: bytes) -> None:
    with pytest.raises(StateError):
        unpack(data)


def test_a_record_goes_there_and_back() -> None:
    sweep = Sweep(
        stream_id="a/b", stamp_ns=2**60, frame="f", points=np.ones((2, 3), np.float32),
        intensity=np.zeros(2, np.float32),
    )  # fmt: skip
    found = from_dict(Sweep, unpack(pack(to_dict(sweep))))
    assert all(same(value, getattr(found, name)) for name, value in to_dict(sweep).items())


@dataclasses.dataclass(frozen=True)
class Holder:
    """A record with a tuple."""

    horizons_ns: tuple[int, ...]


def test_lists_in_records_come_back_as_tuples() -> None:
    assert from_dict(Holder, unpack(pack(to_dict(Holder((1, 2)))))) == Holder((1, 2))


def test_what_becomes_of_a_frozen_tree_does_not_show() -> None:
    written, constant = np.arange(6.0), np.arange(6)
    constant.flags.writeable = False
    view = written[2:]
    view.flags.writeable = False  # and yet it changes with what it is a view of
    tree = {
        "written": written,
        "constant": constant,
        "view": view,
        "turned": constant.reshape(2, 3).T,
        "list": [1],
    }
    expected = pack(tree)
    frozen = Frozen(tree)
    written[:] = -1
    tree["list"].append(2)
    assert frozen.pack() == expected


def test_freezing_does_not_copy_what_is_read_only() -> None:
    array = np.zeros(1_000_000)
    array.flags.writeable = False
    tracemalloc.start()
    frozen = Frozen({"records": [{"x": array}] * 4})
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 100_000
    assert len(frozen.pack()) > 4 * array.nbytes


def test_pieces_stand_for_their_bytes_and_are_not_copied() -> None:
    large = np.arange(1000).view(np.uint8).data
    frozen = Frozen({"name": "a", "data": Pieces((b"12", large)), "next": b"3"})
    assert any(chunk is large for chunk in frozen.chunks())
    whole = {"name": "a", "data": b"12" + large.tobytes(), "next": b"3"}
    assert unpack(frozen.pack()) == whole
    assert frozen.pack() == pack(whole)


def test_a_frozen_tree_within_another_stands_for_its_bytes() -> None:
    array = np.arange(1_000_000.0)
    array.flags.writeable = False
    inner = Frozen({"x": array})
    outer = Frozen({"agent": inner, "rest": b"abc"})
    assert outer.pack() == pack({"agent": pack({"x": array}), "rest": b"abc"})
    assert len(outer) == len(outer.pack())
    assert any(isinstance(chunk, memoryview) and chunk.nbytes == array.nbytes for chunk in outer.chunks())
