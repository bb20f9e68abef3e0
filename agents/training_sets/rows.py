"""The rows of a training set: a predicted sweep's cells, features, and what came of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from agents.report.rows import PredictionRows
from agents.targets.stored import StoredSweep
from models.datasets.window import lattice_metadata
from models.training_sets.columns import (
    BEFORE,
    FEATURE_SCHEMAS,
    feature_columns,
    with_metadata,
)
from models.training_sets.partition import CELL, STAMP, STREAM
from stream.cell_rows import locate
from stream.config import Config
from stream.container import grid_of
from stream.features import FeatureSchema, schema_of


def target_names(config: Config) -> list[str]:
    """Names of outcomes, as ``occupied_0.5s``."""
    return [f"occupied_{horizon / 1e9:g}s" for horizon in config.task.horizons_ns]


def schema_said(schema: FeatureSchema) -> dict[str, object]:
    """What the metadata of a set says of a feature schema."""
    return {"sha256": schema.hash, **schema.to_dict()}


def set_schema(config: Config) -> pa.Schema:
    """Columns and metadata of what runs of a configuration become."""
    features = schema_of(config)
    fields = [
        pa.field(CELL, pa.uint64(), nullable=False),
        pa.field(STAMP, pa.int64(), nullable=False),
        pa.field(STREAM, pa.string(), nullable=False),
        pa.field(BEFORE, pa.uint8(), nullable=False),
        *(pa.field(name, pa.float32()) for name in features.names),
        *(pa.field(name, pa.bool_()) for name in target_names(config)),
    ]
    said = {
        **lattice_metadata(grid_of(config)),
        FEATURE_SCHEMAS: json.dumps({"": schema_said(features)}),
        "targets": json.dumps(target_names(config)),
    }
    return with_metadata(pa.schema(fields), said)


class RowMaker:
    """Makes rows of the sweeps of one run.

    outcomes : null where nobody saw the cell
    """

    def __init__(self, run: Path, config: Config) -> None:
        self.schema = set_schema(config)
        self._outcomes = PredictionRows(run / "outcomes")
        self._names, self._horizons = schema_of(config).names, config.task.horizons_ns
        self._targets = target_names(config)

    def rows(self, sweep: StoredSweep, chosen: NDArray[np.uint64] | None = None) -> pa.Table:
        """The rows of a sweep, ascending by cell. chosen : of these cells alone, uint64, in any order"""
        found = sweep.features
        row = np.arange(len(found.cell_id))
        if chosen is not None:
            place, known = locate(found.cell_id, chosen)
            row = np.unique(place[known])
        target, observed = outcomes_of(self._outcomes, sweep, self._horizons)
        columns = {
            CELL: pa.array(found.cell_id[row]),
            STAMP: pa.array(np.full(len(row), sweep.stamp_ns, np.int64)),
            STREAM: pa.repeat(sweep.stream_id, len(row)),
            BEFORE: pa.array(found.before[row]),
            **feature_columns(self._names, found.x[row]),
        }
        for place_, name in enumerate(self._targets):
            columns[name] = pa.array(target[row, place_] > 0, mask=~observed[row, place_])
        return pa.table([columns[name] for name in self.schema.names], schema=self.schema)


def outcomes_of(
    outcomes: PredictionRows, sweep: StoredSweep, horizons: Sequence[int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """What was found by cell and horizon, float32 (N, H), and where anything was, bool (N, H)."""
    shape = (len(sweep.features.cell_id), len(horizons))
    target, observed = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
    table = outcomes.table(sweep.prediction_id)
    if table is None:
        return target, observed
    horizon, occupied = table["horizon_ns"].to_numpy(), table["occupied"].to_numpy(zero_copy_only=False)
    row, known = locate(sweep.features.cell_id, table["cell_id"].to_numpy())
    for column, horizon_ns in enumerate(horizons):
        chosen = known & (horizon == horizon_ns)
        target[row[chosen], column], observed[row[chosen], column] = occupied[chosen], True
    return target, observed
