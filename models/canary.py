"""A small batch that a model must answer as it did when it was published."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from models.manifest import CanaryRecord, Manifest, ModelRefused
from models.model import Model

ROWS = 64
TOLERANCE = 1e-5
NEIGHBORS = 14
MISSING_SHARE = 0.5
SCALES = np.array([0.1, 1.0, 10.0, 40.0], dtype=np.float32)
"""Feature ranges of the rows, in turn: shares, log counts, bins, metres."""


def canary_batch(feature_count: int, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The batch of a seed: features float32 (64, F) and neighbour index int32 (64, 14).

    feature_count : F >= 1; seed : 0 <= seed < 2^63
    Made of integer arithmetic only, so it is the same on every machine and with every numpy
    """
    bits = _hashes(seed, ROWS * (feature_count + 2 * NEIGHBORS))
    unit = (bits >> np.uint64(40)).astype(np.float32) / np.float32(2**24)  # [0, 1), exact
    features = unit[: ROWS * feature_count].reshape(ROWS, feature_count)
    rest = unit[ROWS * feature_count :].reshape(2, ROWS, NEIGHBORS)
    neighbor_index = (rest[0] * ROWS).astype(np.int32)
    neighbor_index[rest[1] < MISSING_SHARE] = ROWS
    scale = SCALES[np.arange(ROWS) % len(SCALES), None]
    return (2 * features - 1) * scale, neighbor_index


def record(model: Model, feature_count: int, seed: int = 0) -> CanaryRecord:
    """What the model answers to the canary of a seed, for its manifest.

    Raises ModelFailed when the model's own output is not finite
    """
    probability = model.predict(*canary_batch(feature_count, seed))
    values = tuple(round(float(value), 7) for value in probability.ravel())
    return CanaryRecord(seed=seed, rows=ROWS, probability=values, tolerance=TOLERANCE)


def verify(model: Model, manifest: Manifest) -> None:
    """Refuse a model that does not answer its canary as its manifest says.

    Raises ModelRefused when the shape differs, a value is not finite, or one is off by more than the
    tolerance (1e-5 at most, whatever the manifest allows itself)
    """
    canary = manifest.canary
    if canary.rows != ROWS:
        raise ModelRefused(f"{manifest.model_id}: canary.rows: {canary.rows}, this version makes {ROWS}")
    batch = canary_batch(manifest.feature_count, canary.seed)
    try:
        actual = model.predict(*batch)
    except (ValueError, RuntimeError) as error:
        raise ModelRefused(f"{manifest.model_id}: canary does not run: {error}") from error
    shape = (canary.rows, len(manifest.horizons_ns))
    if actual.shape != shape:
        raise ModelRefused(f"{manifest.model_id}: canary gives shape {actual.shape}, manifest says {shape}")
    expected = np.array(canary.probability, dtype=np.float64).reshape(shape)
    worst = float(np.abs(actual - expected).max(initial=0.0))
    tolerance = min(canary.tolerance, TOLERANCE)
    if not worst <= tolerance:
        raise ModelRefused(f"{manifest.model_id}: canary is off by {worst:.3g}, allowed {tolerance:.3g}")


def _hashes(seed: int, count: int) -> NDArray[np.uint64]:
    """``count`` values of the splitmix64 sequence of a seed. Source: Steele et al. 2014."""
    if not 0 <= seed < 2**63:
        raise ValueError(f"seed: {seed} must be 0..2^63 - 1")
    z = np.uint64(seed) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: NDArray[np.uint64] = z ^ (z >> np.uint64(31))
    return mixed
