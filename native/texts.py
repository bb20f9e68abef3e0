"""Texts of ids: arrays of fixed width, and single strings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check

Texts = NDArray[np.bytes_]
"""ASCII of one width, as ``dtype="S24"``."""

Words = NDArray[np.uint64]


def write(function: Callable[..., int], words: Words, width: int) -> Texts:
    """Texts of ids.

    function : of the C core, from ids to texts
    words : uint64 (N,) or (N, words)
    width : characters of a text
    Returns bytes (N,) of that width
    Raises as the function, with ``ids`` for a name
    """
    pointer = readable(words, np.uint64, (None, *words.shape[1:]), "ids")
    out = np.empty((len(words), width), np.uint8)
    check(function(pointer, len(words), _characters(out)), "ids")
    return out.view(f"S{width}").reshape(-1)


def read(function: Callable[..., int], texts: Texts, width: int, words: tuple[int, ...]) -> Words:
    """Ids of texts.

    function : of the C core, from texts to ids
    texts : bytes (N,) of that width; another width is a TextError
    words : shape of one id, () or (2,)
    Returns uint64 (N, *words)
    Raises TypeError (no array of bytes), as the function, with ``texts`` for a name
    """
    if not isinstance(texts, np.ndarray) or texts.dtype.kind != "S":
        found = texts.dtype if isinstance(texts, np.ndarray) else type(texts).__name__
        raise TypeError(
            f"texts: expected a numpy array of S{width}, got {found}; make one with numpy.array(.., 'S')"
        )
    if texts.ndim != 1:
        raise ValueError(f"texts: expected shape (N,), got {texts.shape}")
    out = np.empty((len(texts), *words), np.uint64)
    if len(texts) == 0:
        return out
    if texts.itemsize != width:
        check(lib.OCTA_E_TEXT, f"texts of {texts.itemsize} characters, expected {width}")
    characters = np.ascontiguousarray(texts).view(np.uint8).reshape(-1, width)
    pointer = output(out)
    check(function(_characters(characters), len(texts), pointer), "texts")
    return out


def write_one(function: Callable[..., int], words: Words, width: int) -> str:
    """Text of one id, with ``cell_id`` for a name in errors."""
    out = np.empty((1, width), np.uint8)
    check(function(readable(words, np.uint64, words.shape, "cell_id"), 1, _characters(out)), "cell_id")
    return out.tobytes().decode("ascii")


def read_one(function: Callable[..., int], text: str, width: int, words: tuple[int, ...]) -> Words:
    """Words of one text, (1, *words); TypeError (no string), else with ``text`` for a name in errors."""
    if not isinstance(text, str):
        raise TypeError(f"text: expected a string, got {type(text).__name__}")
    data = text.encode("utf-8", "surrogatepass")
    check(lib.OCTA_OK if len(data) == width else lib.OCTA_E_TEXT, "text")
    out = np.empty((1, *words), np.uint64)
    characters = np.frombuffer(data, np.uint8).reshape(1, width)
    check(function(_characters(characters), 1, output(out)), "text")
    return out


def _characters(array: NDArray[np.uint8]) -> Any:
    """The pointer of bytes as one of characters."""
    return ffi.from_buffer("char[]", array)
