"""Cells as Arrow record batches, without copying, and back; what does not fit is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from native.binning import SUMS
from native.cells import Cells
from native.schema import MismatchError, Schema

PREFIX = "octa."


def fields_of(schema: Schema, level: int) -> dict[str, int]:
    """Columns of a level and how many numbers a cell has in each, 0 for plain ones."""
    fields = {"cell_id": 0, "hits": 0}
    if level == 0:
        fields["passes"] = 0
    if level == schema.free_level:
        fields |= {"free_passes": 0, "free_misses": 0}
    return fields | {"sums": SUMS} | {column.name: column.stored for column in schema.columns}


def metadata_of(schema: Schema, level: int) -> dict[str, str]:
    """What a batch of cells says of itself."""
    return {
        f"{PREFIX}schema": schema.to_json(),
        f"{PREFIX}schema_sha256": schema.digest,
        f"{PREFIX}level": str(level),
        f"{PREFIX}frame": str(schema.frame),
        f"{PREFIX}tier": str(schema.tier),
        f"{PREFIX}lod": str(schema.lod - level),
        f"{PREFIX}half_edge_m": repr(schema.half_edge_m * 2.0**level),
    }


def to_batch(cells: Cells) -> pa.RecordBatch:
    """A record batch over the arrays of cells.

    Plain columns are uint64, sums and those of the user fixed-size lists of int64, all without nulls: a cell
    without a value holds the neutral one of the column's rule. Metadata: ``octa.schema`` (JSON) and its
    ``octa.schema_sha256``, ``octa.level``, and of the cells ``octa.frame``, ``octa.tier``, ``octa.lod`` and
    ``octa.half_edge_m``.
    """
    arrays, types = [], []
    for name, width in fields_of(cells.schema, cells.level).items():
        values = cells.stored[name] if name in cells.stored else getattr(cells, name)
        array = pa.array(values.reshape(-1))
        if width:
            array = pa.FixedSizeListArray.from_arrays(array, width)
        arrays.append(array)
        types.append(pa.field(name, array.type, nullable=False))
    return pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema(types, metadata=metadata_of(cells.schema, cells.level))
    )


def from_arrow(data: Any, expected: Schema | None = None) -> Cells:
    """Cells of a batch, a table or anything that exports one by the PyCapsule interface.

    expected : the schema they must have; None takes any
    Returns arrays over the same memory, copied only where the data is in several chunks
    Raises MismatchError for data that is not of cells, or of another frame, LOD, half edge or schema;
    TypeError for what is no Arrow data
    """
    batch = _one_batch(data)
    schema, level = _schema_of(batch.schema)
    if expected is not None:
        expected.require_equal(schema)
    fields = fields_of(schema, level)
    if batch.schema.names != list(fields):
        raise MismatchError(f"columns: expected {list(fields)}, got {batch.schema.names}")
    columns = {name: _column(batch.column(name), name, width) for name, width in fields.items()}
    _check_ids(columns["cell_id"], schema, level)
    zeros = np.zeros(len(batch), np.uint64)
    own = {name: columns.get(name, zeros) for name in ("passes", "free_passes", "free_misses")}
    return Cells(
        schema=schema,
        level=level,
        cell_id=columns["cell_id"],
        hits=columns["hits"],
        sums=columns["sums"],
        stored={column.name: columns[column.name] for column in schema.columns},
        **own,
    )


def _one_batch(data: Any) -> pa.RecordBatch:
    if isinstance(data, pa.RecordBatch):
        return data
    if hasattr(data, "__arrow_c_array__"):
        return pa.record_batch(data)
    if not isinstance(data, pa.Table) and not hasattr(data, "__arrow_c_stream__"):
        raise TypeError(f"data: expected Arrow data of cells, got {type(data).__name__}")
    table = pa.table(data).combine_chunks()
    batches = table.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=table.schema)


def _schema_of(schema: pa.Schema) -> tuple[Schema, int]:
    """What the metadata says, which must agree with itself."""
    said = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    text, level = said.get(f"{PREFIX}schema"), said.get(f"{PREFIX}level", "")
    if text is None or not level.isdecimal():
        raise MismatchError(
            "metadata: octa.schema and octa.level are missing; these are not cells of a container"
        )
    found = Schema.from_json(text)
    if int(level) >= found.levels:
        raise MismatchError(f"metadata: octa.level is {level}, but there are {found.levels} levels")
    for key, value in metadata_of(found, int(level)).items():
        if said.get(key) != value:
            raise MismatchError(f"metadata: {key} is {said.get(key)!r}, but octa.schema says {value!r}")
    return found, int(level)


def _column(array: Any, name: str, width: int) -> NDArray[Any]:
    plain = pa.int64() if width else pa.uint64()
    if array.null_count:
        raise MismatchError(f"{name}: expected no nulls, got {array.null_count}")
    is_list = pa.types.is_fixed_size_list(array.type) and array.type.list_size == width
    values = array.flatten() if width and is_list else array
    if (width and not is_list) or values.type != plain:
        raise MismatchError(f"{name}: expected {f'{width} of ' if width else ''}{plain}, got {array.type}")
    out: NDArray[Any] = values.to_numpy(zero_copy_only=True)
    return out.reshape(-1, width) if width else out


def _check_ids(ids: NDArray[np.uint64], schema: Schema, level: int) -> None:
    prefix = 2 << 14 | schema.tier << 12 | schema.frame << 4 | (schema.lod - level)
    if np.any(ids >> np.uint64(48) != prefix) or np.any(ids[1:] <= ids[:-1]):
        raise MismatchError(
            "cell_id: ids must ascend and be of the frame, tier and LOD that the metadata says"
        )
