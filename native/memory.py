"""Freed memory that the C library keeps for itself."""

from __future__ import annotations

import ctypes

_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim() -> None:
    """Return whole free pages of the heap to the system.

    Elsewhere than on glibc nothing happens. Other threads wait for memory meanwhile: some milliseconds, or
    tens where the heap has a gigabyte.
    """
    if _trim is not None:
        _trim(0)
