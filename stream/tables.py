"""Records as Arrow tables: the columns of the run folder and, later, of the wire."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from stream.records import (
    BINNED_VERSION,
    Binned,
    FeatureSample,
    LabelGiven,
    Outcome,
    Prediction,
    Shadow,
)

BASELINES = ("persistence", "frequency", "linear", "frozen")
LATENCY_STAGES = ("decode", "bin", "visibility", "features", "inference", "total")

BINNED_SCHEMA = pa.schema(
    [
        ("robot_id", pa.string()),
        ("seq", pa.int64()),
        ("stream_id", pa.string()),
        ("stamp_ns", pa.int64()),
        ("part", pa.int32()),
        ("parts", pa.int32()),
        ("late", pa.bool_()),
        ("points", pa.int64()),
        ("rays", pa.int64()),
        ("binned", pa.int64()),
        ("misses", pa.int64()),
        ("masked", pa.int64()),
        ("evicted", pa.int64()),
        ("pose", pa.list_(pa.float64())),
        ("pose_history", pa.list_(pa.float64())),
        ("cell_id", pa.list_(pa.uint64())),
        ("hits", pa.list_(pa.uint32())),
        ("passes", pa.list_(pa.uint32())),
        ("sums", pa.list_(pa.int32())),
        ("beams", pa.list_(pa.int16())),
    ],
    metadata={"octa.record": "binned", "octa.version": str(BINNED_VERSION)},
)

PREDICTION_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("stream_id", pa.string()),
        ("stamp_ns", pa.int64()),
        ("horizon_ns", pa.int64()),
        ("model_id", pa.string()),
        ("cell_id", pa.uint64()),
        ("probability", pa.float32()),
    ]
)

SHADOW_SCHEMA = pa.schema(
    [("prediction_id", pa.string()), ("cell_id", pa.uint64())] + [(name, pa.float32()) for name in BASELINES]
)

OUTCOME_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("horizon_ns", pa.int64()),
        ("observed_stamp_ns", pa.int64()),
        ("cell_id", pa.uint64()),
        ("occupied", pa.bool_()),
        ("before", pa.uint8()),
    ]
)

LABEL_SCHEMA = pa.schema(
    [
        ("cell_id", pa.uint64()),
        ("label", pa.string()),
        ("stamp_ns", pa.int64()),
        ("author", pa.string()),
        ("at_ns", pa.int64()),
        ("weight", pa.float64()),
    ]
)

SWEEP_SCHEMA = pa.schema(
    [
        ("prediction_id", pa.string()),
        ("stream_id", pa.string()),
        ("stamp_ns", pa.int64()),
        ("model_id", pa.string()),
        ("feature_digest", pa.string()),
        ("cells", pa.int32()),
        ("state_digest", pa.string()),
    ]
    + [(f"{stage}_ms", pa.float32()) for stage in LATENCY_STAGES]
)


class TableError(ValueError):
    """Stored rows that cannot be read: damaged, or of another version; names the file."""


def _repeat(text: str, count: int) -> pa.Array:
    return pa.repeat(text, count)


def _one_list(values: np.ndarray, kind: pa.DataType) -> pa.Array:
    flat = pa.array(np.ascontiguousarray(values).reshape(-1), kind)
    return pa.ListArray.from_arrays(pa.array([0, len(flat)], pa.int32()), flat)


def binned_to_batch(record: Binned) -> pa.RecordBatch:
    """One sweep or part as a record batch of one row."""
    columns = []
    for field in BINNED_SCHEMA:
        value = getattr(record, field.name)
        columns.append(
            _one_list(value, field.type.value_type)
            if pa.types.is_list(field.type)
            else pa.array([value], field.type)
        )
    return pa.RecordBatch.from_arrays(columns, schema=BINNED_SCHEMA)


def check_binned_schema(schema: pa.Schema, location: str) -> None:
    """Raises TableError when stored binned sweeps are of another version or kind."""
    found = (schema.metadata or {}).get(b"octa.version", b"none").decode(errors="replace")
    if found != str(BINNED_VERSION):
        raise TableError(
            f"{location}: binned record version {found}, this release reads version {BINNED_VERSION}"
        )
    if not schema.equals(BINNED_SCHEMA):
        raise TableError(f"{location}: columns are not those of binned record version {found}")


def binned_from_batch(batch: pa.RecordBatch, row: int = 0) -> Binned:
    """The record of one row; arrays are views where Arrow allows."""
    values = {}
    for field in BINNED_SCHEMA:
        scalar = batch.column(field.name)[row]
        is_list = pa.types.is_list(field.type)
        values[field.name] = scalar.values.to_numpy(zero_copy_only=True) if is_list else scalar.as_py()
    values["pose_history"] = values["pose_history"].reshape(-1, 12)
    values["sums"] = values["sums"].reshape(-1, 11)
    values["beams"] = values["beams"].reshape(-1, 3)
    return Binned(**values)


def prediction_table(record: Prediction) -> pa.Table:
    """One prediction in long form: a row for each cell and horizon, horizons ascending, then cells."""
    cells, horizons = record.probability.shape
    rows = cells * horizons
    return pa.table(
        [
            _repeat(record.prediction_id, rows),
            _repeat(record.stream_id, rows),
            pa.array(np.full(rows, record.stamp_ns, np.int64)),
            pa.array(np.repeat(np.array(record.horizons_ns, np.int64), cells)),
            _repeat(record.model_id, rows),
            pa.array(np.tile(record.cell_id, horizons)),
            pa.array(np.ascontiguousarray(record.probability.T).reshape(-1)),
        ],
        schema=PREDICTION_SCHEMA,
    )


def shadow_table(record: Shadow) -> pa.Table:
    """Baseline probabilities of one prediction, null where a baseline had no model yet."""
    rows = len(record.cell_id)
    columns = [_repeat(record.prediction_id, rows), pa.array(record.cell_id)]
    for name in BASELINES:
        values = record.probability.get(name)
        columns.append(pa.nulls(rows, pa.float32()) if values is None else pa.array(values))
    return pa.table(columns, schema=SHADOW_SCHEMA)


def feature_table(record: FeatureSample) -> pa.Table:
    """Sampled feature vectors, a fixed-size list a row."""
    rows, width = record.x.shape
    flat = pa.array(np.ascontiguousarray(record.x).reshape(-1))
    return pa.table(
        {
            "prediction_id": _repeat(record.prediction_id, rows),
            "cell_id": pa.array(record.cell_id),
            "x": pa.FixedSizeListArray.from_arrays(flat, width),
        }
    )


def outcome_table(record: Outcome) -> pa.Table:
    """Observed cells of one prediction at one horizon."""
    rows = len(record.cell_id)
    return pa.table(
        [
            _repeat(record.prediction_id, rows),
            pa.array(np.full(rows, record.horizon_ns, np.int64)),
            pa.array(np.full(rows, record.observed_stamp_ns, np.int64)),
            pa.array(record.cell_id),
            pa.array(record.occupied),
            pa.array(record.before),
        ],
        schema=OUTCOME_SCHEMA,
    )


def label_table(record: LabelGiven) -> pa.Table:
    """One word on some cells, a row a cell."""
    rows = len(record.cell_id)
    return pa.table(
        [
            pa.array(record.cell_id),
            _repeat(record.label, rows),
            pa.array(np.full(rows, record.stamp_ns, np.int64)),
            _repeat(record.author, rows),
            pa.array(np.full(rows, record.at_ns, np.int64)),
            pa.array(np.full(rows, record.weight, np.float64)),
        ],
        schema=LABEL_SCHEMA,
    )


def sweep_table(rows: Sequence[tuple[Prediction, dict[str, float]]]) -> pa.Table:
    """One row a prediction with the milliseconds each stage took (null where not measured)."""
    columns: dict[str, list[object]] = {name: [] for name in SWEEP_SCHEMA.names}
    for record, latency in rows:
        for name in ("prediction_id", "stream_id", "stamp_ns", "model_id", "feature_digest", "state_digest"):
            columns[name].append(getattr(record, name))
        columns["cells"].append(len(record.cell_id))
        for stage in LATENCY_STAGES:
            columns[f"{stage}_ms"].append(latency.get(stage))
    return pa.table(columns, schema=SWEEP_SCHEMA)
