"""Columns of a training set: what they are called, and what the metadata says of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.datasets.window import said_of
from models.training_sets.manifest import TrainingSetError
from models.training_sets.partition import CELL, PARTITION, STAMP, STREAM
from native.arrow import PREFIX

KEYS = (CELL, STAMP, STREAM)
BEFORE = "before"
FEATURE_SCHEMAS = "feature_schemas"
"""In the metadata: by prefix of their columns, "" for those that a build writes."""


def feature_schemas(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """The feature schemas of a set by the prefix of their columns."""
    found: dict[str, dict[str, Any]] = json.loads(said_of(schema).get(FEATURE_SCHEMAS, "{}"))
    return found


def with_metadata(schema: pa.Schema, said: Mapping[str, str]) -> pa.Schema:
    """The schema with more metadata, keys without the prefix ``octa.``."""
    more = {f"{PREFIX}{name}".encode(): value.encode() for name, value in said.items()}
    return schema.with_metadata((schema.metadata or {}) | more)


def feature_columns(names: Sequence[str], x: NDArray[np.float32], prefix: str = "") -> dict[str, pa.Array]:
    """Features as columns by name; x : float32 (N, F)."""
    across = np.ascontiguousarray(x.T)
    return {f"{prefix}{name}": pa.array(column) for name, column in zip(names, across, strict=True)}


def require_new(names: Sequence[str], schema: pa.Schema, replace: bool) -> None:
    """Raises TrainingSetError for names that a set cannot take, or has already."""
    for name in names:
        if name in (*KEYS, *PARTITION):
            raise TrainingSetError(f"{name}: is a key or a partition of the set, and stays as it is")
        if name in schema.names and not replace:
            raise TrainingSetError(
                f"{name}: the set has this column; give others a --prefix, or put new values in its "
                "place with --replace"
            )
    if len(set(names)) < len(names):
        raise TrainingSetError(f"columns {', '.join(names)}: a name comes twice")
