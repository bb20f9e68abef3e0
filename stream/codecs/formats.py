"""Formats of records: the columns of each as a row, and what the values in them promise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from stream.records import (
    Binned,
    Event,
    FeatureSample,
    LabelGiven,
    LabelRequested,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.tables import BINNED_SCHEMA
from stream.transform import Transform

Array = NDArray[Any]
Dims = tuple[int | str, ...]
"""A shape; a letter is any number, the same throughout a record."""
Sizes = dict[int | str, int]
"""What the letters of shapes stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How one record type lies in a row.

    arrays : shapes of array fields; a field that is a mapping holds one such array under each name
    tuples : lengths of tuples of numbers
    json : mappings of plain values, as text; tuples in them come back as lists
    optional : fields that may be None
    ascending : field whose values ascend, each once
    widths : columns of their own that say how wide the rows of an array are, where nothing else does
    """

    kind: type
    schema: pa.Schema
    arrays: Mapping[str, Dims] = field(default_factory=dict)
    tuples: Mapping[str, int | str] = field(default_factory=dict)
    json: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    ascending: str | None = None
    widths: Mapping[str, str] = field(default_factory=dict)


def _schema(record: str, version: int, **columns: pa.DataType) -> pa.Schema:
    return pa.schema(
        [pa.field(name, kind) for name, kind in columns.items()],
        metadata={"octa.record": record, "octa.version": str(version)},
    )


_TEXT, _FLAG, _I32, _I64, _F64 = pa.string(), pa.bool_(), pa.int32(), pa.int64(), pa.float64()
_CELLS, _FLOATS, _DOUBLES = pa.list_(pa.uint64()), pa.list_(pa.float32()), pa.list_(pa.float64())
_STATES = pa.list_(pa.uint8())
_SWEEP_ID = {"prediction_id": _TEXT, "robot_id": _TEXT, "stream_id": _TEXT, "stamp_ns": _I64}

_FORMATS = (
    Format(
        kind=Sweep,
        schema=_schema(
            "sweep", 2, stream_id=_TEXT, stamp_ns=_I64, frame=_TEXT, part=_I32, parts=_I32,
            points=_FLOATS, intensity=_FLOATS, misses=_FLOATS, time_offset_ns=pa.list_(_I32), hits_only=_FLAG,
        ),
        arrays={"points": ("N", 3), "intensity": ("N",), "misses": ("M", 3), "time_offset_ns": ("N",)},
        optional=("time_offset_ns",),
    ),
    Format(
        kind=Transform,
        schema=_schema(
            "transform", 2, robot_id=_TEXT, stamp_ns=_I64, parent=_TEXT, child=_TEXT,
            translation=_DOUBLES, rotation=_DOUBLES, static=_FLAG, resets_map=_FLAG,
        ),
        tuples={"translation": 3, "rotation": 4},
    ),
    Format(
        kind=Binned,
        schema=BINNED_SCHEMA,
        arrays={
            "pose": (12,), "pose_history": ("J", 12), "cell_id": ("N",), "hits": ("N",), "passes": ("N",),
            "sums": ("M", 11), "beams": ("B", 3),
        },
        ascending="cell_id",
    ),
    Format(
        kind=Prediction,
        schema=_schema(
            "prediction", 1, **_SWEEP_ID, seq=_I64, model_id=_TEXT, feature_digest=_TEXT, state_digest=_TEXT,
            horizons_ns=pa.list_(_I64), cell_id=_CELLS, probability=_FLOATS, before=_STATES,
        ),
        tuples={"horizons_ns": "H"},
        arrays={"cell_id": ("N",), "probability": ("N", "H"), "before": ("N",)},
        ascending="cell_id",
    ),
    Format(
        kind=Shadow,
        schema=_schema(
            "shadow", 1, **_SWEEP_ID, cell_id=_CELLS, probability=pa.map_(pa.string(), _FLOATS)
        ),
        arrays={"cell_id": ("N",), "probability": ("N",)},
        ascending="cell_id",
    ),
    Format(
        kind=Outcome,
        schema=_schema(
            "outcome", 1, **_SWEEP_ID, horizon_ns=_I64, observed_stamp_ns=_I64,
            row=pa.list_(_I32), cell_id=_CELLS, occupied=pa.list_(_FLAG), before=_STATES,
        ),
        arrays={"row": ("M",), "cell_id": ("M",), "occupied": ("M",), "before": ("M",)},
        ascending="row",
    ),
    Format(
        kind=FeatureSample,
        schema=_schema("feature_sample", 1, **_SWEEP_ID, cell_id=_CELLS, x=_FLOATS, x_width=_I32),
        arrays={"cell_id": ("S",), "x": ("S", "F")},
        widths={"x_width": "x"},
    ),
    Format(
        kind=ModelPublished,
        schema=_schema(
            "model_published", 1, model_id=_TEXT, sha256=_TEXT, kind=_TEXT, parent_id=_TEXT, stamp_ns=_I64,
            manifest=_TEXT,
        ),
        json=("manifest",),
    ),
    Format(
        kind=ModelActivated,
        schema=_schema(
            "model_activated", 1, robot_id=_TEXT, stream_id=_TEXT, first_stamp_ns=_I64, model_id=_TEXT,
            sha256=_TEXT,
        ),
    ),
    Format(
        kind=SweepRejected,
        schema=_schema(
            "sweep_rejected", 1, robot_id=_TEXT, stream_id=_TEXT, stamp_ns=_I64, part=_I32, reason=_TEXT,
            detail=_TEXT,
        ),
    ),
    Format(
        kind=LabelRequested,
        schema=_schema(
            "label_requested", 1, robot_id=_TEXT, stamp_ns=_I64, region=_TEXT, reason=_TEXT, value=_F64,
            inclusion=_F64, cell_id=_CELLS,
        ),
        arrays={"cell_id": ("N",)},
        ascending="cell_id",
    ),
    Format(
        kind=LabelGiven,
        schema=_schema(
            "label_given", 1, robot_id=_TEXT, stamp_ns=_I64, author=_TEXT, label=_TEXT, at_ns=_I64,
            weight=_F64, cell_id=_CELLS,
        ),
        arrays={"cell_id": ("N",)},
        ascending="cell_id",
    ),
    Format(
        kind=Event,
        schema=_schema("event", 1, kind=_TEXT, stamp_ns=_I64, robot_id=_TEXT, fields=_TEXT),
        json=("fields",),
    ),
)  # fmt: skip

FORMATS: dict[type, Format] = {form.kind: form for form in _FORMATS}


def dtype_of(kind: pa.DataType) -> np.dtype[Any]:
    """numpy's type of the values in a list column."""
    dtype: np.dtype[Any] = np.dtype(kind.value_type.to_pandas_dtype())
    return dtype
