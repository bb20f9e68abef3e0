"""NumPy arrays as C pointers: inputs after checking dtype, shape, order and alignment; never cast or copied.

The pointers keep their arrays alive and are passed straight to a function of the C core.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from native._octa import ffi

Shape = tuple[int | None, ...]

C_TYPES = {
    np.dtype(np.float32): ffi.typeof("float[]"),
    np.dtype(np.float64): ffi.typeof("double[]"),
    np.dtype(np.uint8): ffi.typeof("uint8_t[]"),
    np.dtype(np.int16): ffi.typeof("int16_t[]"),
    np.dtype(np.int32): ffi.typeof("int32_t[]"),
    np.dtype(np.uint32): ffi.typeof("uint32_t[]"),
    np.dtype(np.int64): ffi.typeof("int64_t[]"),
    np.dtype(np.uint64): ffi.typeof("uint64_t[]"),
}


def readable(array: Any, dtype: DTypeLike, shape: Shape, name: str) -> Any:
    """Pointer to an input.

    array : C-contiguous, aligned, of exactly ``dtype`` and ``shape``
    dtype : one of ``C_TYPES``
    shape : expected lengths, None where any length will do
    name : of the argument, for error messages
    Returns a cdata array of the C type, valid as ``const T *``
    Raises TypeError for another type or dtype, ValueError for another shape or order
    """
    return ffi.from_buffer(_checked(array, np.dtype(dtype), shape, name), array)


def output(array: NDArray[Any]) -> Any:
    """Pointer to an array that was made for the call, of a dtype in ``C_TYPES``: nothing is left to check."""
    return ffi.from_buffer(C_TYPES[array.dtype], array, require_writable=True)


def _checked(array: Any, dtype: np.dtype[Any], shape: Shape, name: str) -> Any:
    """C type of an array that passes all checks."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: expected a numpy array of {dtype}, got {type(array).__name__}")
    if array.dtype != dtype:
        raise TypeError(f"{name}: expected dtype {dtype}, got {array.dtype}; convert it with astype")
    if not _fits(array.shape, shape):
        raise ValueError(f"{name}: expected shape {_text(shape)}, got {_text(array.shape)}")
    flags = array.flags
    if not (flags.c_contiguous and flags.aligned):
        raise ValueError(f"{name}: expected a C-ordered, aligned array; copy it with numpy.array(order='C')")
    return C_TYPES[dtype]


def _fits(actual: tuple[int, ...], expected: Shape) -> bool:
    if len(actual) != len(expected):
        return False
    if actual[1:] == expected[1:]:  # most often only the first is free, and this is fast
        return not actual or expected[0] is None or actual[0] == expected[0]
    return all(want is None or have == want for have, want in zip(actual, expected, strict=True))


def _text(shape: Shape) -> str:
    lengths = ["N" if length is None else str(length) for length in shape]
    return f"({', '.join(lengths)}{',' if len(lengths) == 1 else ''})"
