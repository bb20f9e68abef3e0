"""A sample of a sweep's beams, small enough to keep with its record."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from native._octa import ffi, lib
from native.arrays import output, readable
from native.errors import check

BEAM_ONE: int = lib.OCTA_BEAM_ONE


def sample(points: NDArray[np.float32], max_beams: int) -> NDArray[np.int16]:
    """Directions of every k-th usable return, k the least odd number that ``max_beams`` allows.

    points : float32 (N, 3), sensor frame, N <= 524287; returns that are not finite or at the origin have none
    Returns int16 (B, 3), B <= max_beams, sensor frame, units of 1 / 32767, in point order
    Raises DomainError for too many points or max_beams < 1; equal on every machine
    """
    points_in = readable(points, np.float32, (None, 3), "points")
    size = max(min(max_beams, len(points)), 1 if max_beams > 0 else 0)
    beams, count = np.empty((size, 3), np.int16), ffi.new("size_t *")
    code = lib.octa_beams_sample(
        points_in,
        len(points),
        size,
        output(beams),
        count,
    )
    check(code, "max_beams" if size == 0 else "points")
    return beams[: int(count[0])]
