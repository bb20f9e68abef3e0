"""From surfaces to echoes: range noise, intensity, lost returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulation.events import Echoes
from stream.sources.simulation.ground import Ground
from stream.sources.simulation.lidar import MAX_RANGE_M, MIN_RANGE_M, Rays, cast, rays, view
from stream.sources.simulation.shapes import GROUND, LOSS, REFLECTIVITY, Shapes

NOISE_M = 0.02
"""Standard deviation of the range."""
LEAF_M = 1.2
"""Mean way through leaves before a ray meets one, metres."""
WEAKEST = 0.006
"""Share of a white target at 40 m below which returns begin to be lost."""


def measure(
    elevation: NDArray[np.float64],
    azimuths: int,
    pose: tuple[NDArray[np.float64], NDArray[np.float64]],
    shapes: Shapes,
    ground: Ground,
    rng: np.random.Generator,
) -> tuple[Rays, Echoes]:
    """One turn of the sensor from ``pose`` (origin and rotation, sensor to map).

    Returns the rays and what came back along each. Intensity is 0..1: reflectivity by material, falling
    with the angle to the surface and with range. The generator is read the same way whatever is met.
    """
    count = azimuths * len(elevation)
    turn = rays(elevation, azimuths, float(rng.random()) * 2 * np.pi / azimuths)
    leaf = (rng.standard_exponential(count, np.float32) * np.float32(LEAF_M)).astype(np.float32)
    noise = rng.standard_normal(count, np.float32) * np.float32(NOISE_M)
    gain = 1 + 0.06 * rng.standard_normal(count, np.float32)
    luck = rng.random(count, np.float32)
    hits = cast(view(turn, *pose), shapes, ground, leaf)
    met = np.isfinite(hits.distance)
    reach = np.where(met, hits.distance, np.float32(MAX_RANGE_M))
    reflectivity = REFLECTIVITY[hits.material]
    signal = reflectivity * hits.facing * (40.0 / reach) ** 2
    lost = 0.01 + LOSS[hits.material] + np.clip(1 - signal / WEAKEST, 0, 0.98)
    intensity = reflectivity * (0.3 + 0.7 * hits.facing) * np.exp(-reach / 120.0) * gain
    distance = np.clip(reach + noise, MIN_RANGE_M, MAX_RANGE_M)
    echoes = Echoes(
        distance=np.where(met, distance, np.float32(np.inf)),
        intensity=np.clip(intensity, 0, 1).astype(np.float32),
        kept=met & (luck >= lost),
        fired=np.ones(count, np.bool_),
        row=turn.row,
        beams=len(elevation),
        material=np.where(hits.ground, GROUND, hits.material),
    )
    return turn, echoes


def sectors(turns: Sequence[Echoes]) -> tuple[Echoes, NDArray[np.int64]]:
    """One turn made of the first sector of the first of ``turns``, the second of the second, and so on.

    turns : echoes of the same rays, azimuth by azimuth
    Returns the echoes, and for each ray the number of its sector, int64 (N,)
    """
    first = turns[0]
    columns = np.arange(len(first.row)) // first.beams
    number = columns * len(turns) // (len(first.row) // first.beams)
    if len(turns) == 1:
        return first, number
    rays = np.arange(len(number))
    return replace(
        first,
        distance=np.stack([turn.distance for turn in turns])[number, rays],
        intensity=np.stack([turn.intensity for turn in turns])[number, rays],
        material=np.stack([turn.material for turn in turns])[number, rays],
        kept=np.stack([turn.kept for turn in turns])[number, rays],
    ), number
