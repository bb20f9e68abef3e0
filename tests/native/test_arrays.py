"""Arrays are checked before C sees them, never cast."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from native import _octa
from native.arrays import C_TYPES, output, readable

ffi = _octa.ffi


@pytest.mark.parametrize("dtype", list(C_TYPES))
def test_pointers_have_the_type_and_the_memory_of_the_array(dtype: np.dtype[Any]) -> None:
    array = np.arange(6, dtype=dtype).reshape(2, 3)
    pointer = readable(array, dtype, (None, 3), "array")
    assert ffi.typeof(pointer) is C_TYPES[dtype]
    assert len(pointer) == 6
    assert list(pointer) == [0, 1, 2, 3, 4, 5]
    output(array)[5] = 9
    assert array[1, 2] == 9


def test_empty_arrays_have_a_pointer() -> None:
    assert len(readable(np.empty((0, 3)), np.float64, (None, 3), "points")) == 0
    assert len(output(np.empty(0, np.uint64))) == 0


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 3), np.float32), r"points: expected dtype float64, got float32"),
        (np.zeros((4, 3), ">f8"), r"points: expected dtype float64, got >f8"),
        (np.zeros((4, 3), np.int64), r"points: expected dtype float64, got int64"),
        ([[0.0, 0.0, 0.0]], r"points: expected a numpy array of float64, got list"),
        (None, r"points: expected a numpy array of float64, got NoneType"),
    ],
)
def test_wrong_types_are_refused(array: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        readable(array, np.float64, (None, 3), "points")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((4, 2)), r"points: expected shape \(N, 3\), got \(4, 2\)"),
        (np.zeros(3), r"points: expected shape \(N, 3\), got \(3,\)"),
        (np.zeros((4, 3, 1)), r"points: expected shape \(N, 3\), got \(4, 3, 1\)"),
        (np.zeros((4, 3), order="F"), r"points: expected a C-ordered"),
        (np.zeros((8, 3))[::2], r"points: expected a C-ordered"),
        (
            np.frombuffer(bytes(97), np.uint8)[1:].view(np.float64).reshape(4, 3),
            r"points: expected a C-ordered, aligned",
        ),
    ],
)
def test_wrong_shapes_and_orders_are_refused(array: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        readable(array, np.float64, (None, 3), "points")


def test_a_read_only_array_is_an_input_but_no_output() -> None:
    array = np.zeros(2, np.uint8)
    array.flags.writeable = False
    assert len(readable(array, np.uint8, (2,), "before")) == 2
    with pytest.raises((BufferError, ValueError)):
        output(array)
