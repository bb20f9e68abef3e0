"""Tables of cells as Arrow IPC streams."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from fastapi import Response
from numpy.typing import NDArray

from agents.web.cells import UNKNOWN, CellTable
from agents.web.predict import Answer
from agents.web.service import ARROW


def arrow_answer(table: pa.Table) -> Response:
    """A table as an answer."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Response(sink.getvalue().to_pybytes(), media_type=ARROW)


def map_table(table: CellTable, frame: str) -> pa.Table:
    """Columns of a CellTable; a column a horizon, in milliseconds; null where nothing is known."""
    columns: dict[str, Any] = {
        "cell_id": pa.array(table.cell_id),
        **{axis: pa.array(np.ascontiguousarray(table.centre[:, place])) for place, axis in enumerate("xyz")},
        "hits": pa.array(table.hits),
        "passes": pa.array(table.passes, mask=table.passes < 0),
        "age_ns": pa.array(table.age_ns, mask=table.age_ns < 0),
    }
    for column, name in enumerate(column_names(table.horizons_ns)):
        columns[f"probability_{name}"] = _floats(table.probability[:, column])
        outcome = table.outcome[:, column]
        columns[f"occupied_{name}"] = pa.array(outcome == 1, mask=outcome == UNKNOWN)
        columns[f"forecast_{name}"] = _floats(table.forecast[:, column])
    facts = {"robot": table.robot_id, "stamp_ns": str(table.stamp_ns), "lod": str(table.lod), "frame": frame}
    return pa.table(columns).replace_schema_metadata(facts)


def predict_table(answer: Answer, ids: NDArray[np.uint64], horizons_ns: Sequence[int]) -> pa.Table:
    """cell_id and a probability a horizon, null where nothing was forecast; ids : uint64 (N,)"""
    columns: dict[str, Any] = {"cell_id": pa.array(ids)}
    for column, name in enumerate(column_names(horizons_ns)):
        columns[f"probability_{name}"] = _floats(answer.probability[:, column])
    facts = {"model": answer.asked[0].model_id}
    for item in answer.asked[:1] if answer.robot is None else ():
        facts |= {name: str(value) for name, value in item.facts().items()}
    return pa.table(columns).replace_schema_metadata(facts)


def column_names(horizons_ns: Sequence[int]) -> list[str]:
    """What horizons are called in names of columns."""
    return [f"{horizon / 1e6:g}ms" for horizon in horizons_ns]


def _floats(values: NDArray[np.float32]) -> pa.Array:
    values = np.ascontiguousarray(values)
    return pa.array(values, mask=np.isnan(values))
