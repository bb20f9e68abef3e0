"""Freed memory that the C library keeps for itself."""

from __future__ import annotations

import ctypes

_C = ctypes.CDLL(None)
_trim, _mallopt = (getattr(_C, name, None) for name in ("malloc_trim", "mallopt"))
_M_MMAP_THRESHOLD = -3

LARGE_BYTES = 2**20
"""Scores take 2 MiB a block; what comes with a sweep is smaller in most agents."""


def keep_large_apart() -> None:
    """From now on hold blocks of LARGE_BYTES and more apart from others, so that they go back when freed.

    glibc begins so, at 128 KiB. But it raises that bound to the size of each such block that is freed, up to
    32 MiB: then large blocks lie among small ones, and the room they leave stays below whatever lies on top.
    Held apart, each block costs the system's work for its pages, half a millisecond a megabyte: for who holds
    much and computes little. Elsewhere than on glibc nothing happens.
    """
    if _mallopt is not None:
        _mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def trim() -> None:
    """Return whole free pages of the heap to the system.

    Elsewhere than on glibc nothing happens. Other threads wait for memory meanwhile: some milliseconds, or
    tens where the heap has a gigabyte.
    """
    if _trim is not None:
        _trim(0)
