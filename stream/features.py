"""The versioned schema of the features, and the features of one moment."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from native.window import FEATURES_VERSION, CellFeatures, feature_names
from stream.config import Config


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureSchema:
    """Names and meaning of the feature columns; models name the hash they were trained on.

    version : of the C extraction; names : one a column
    bins, bin_ns, horizon_ns : what evidence, ages and forecasts mean
    """

    version: int
    names: tuple[str, ...]
    bins: int
    bin_ns: int
    horizon_ns: int

    @property
    def count(self) -> int:
        """Number of columns."""
        return len(self.names)

    @property
    def hash(self) -> str:
        """Sha256 of everything above, as hex."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """The schema as plain values."""
        return {
            "name": "octa-features",
            "version": self.version,
            "names": list(self.names),
            "bins": self.bins,
            "bin_ns": self.bin_ns,
            "horizon_ns": self.horizon_ns,
        }


def schema_of(config: Config) -> FeatureSchema:
    """The feature schema that a configuration implies."""
    return FeatureSchema(
        version=FEATURES_VERSION,
        names=feature_names(config.window.bins),
        bins=config.window.bins,
        bin_ns=config.window.bin_ns,
        horizon_ns=config.task.primary_horizon_ns,
    )


def digest(features: CellFeatures) -> str:
    """Checksum over cells, features and neighbours: equal ones mean equal inputs to a model, bit for bit."""
    return checksum_arrays(features.cell_id, features.x, features.neighbor_index)


def checksum_arrays(*arrays: NDArray[np.generic]) -> str:
    """XXH3, 128 bits, over the little-endian bytes of arrays, in order.

    For what is compared with itself, made again: 7 MB of features a sweep, on the latency path. It is a tenth
    of sha256's time, and no protection against someone who wants two inputs to look the same.
    """
    return _hex(xxhash.xxh3_128(), arrays)


def digest_arrays(*arrays: NDArray[np.generic]) -> str:
    """Sha256 over the little-endian bytes of arrays, in order."""
    return _hex(hashlib.sha256(), arrays)


def _hex(hasher: Any, arrays: tuple[NDArray[np.generic], ...]) -> str:
    for array in arrays:
        hasher.update(np.ascontiguousarray(array).view(np.uint8).data)
    text: str = hasher.hexdigest()
    return text
