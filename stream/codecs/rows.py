"""Records as rows of Arrow batches, by their format, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stream.codecs.formats import Array, Dims, Format, Sizes, dtype_of
from stream.codecs.names import MAX_JSON_BYTES, MAX_TEXT_BYTES
from stream.records import Binned
from stream.tables import binned_from_batch, binned_to_batch


def to_batch(form: Format, record: Any) -> pa.RecordBatch:
    """A batch of one row; the record has passed ``check``.  Raises ValueError for what JSON cannot hold"""
    if form.kind is Binned:
        return binned_to_batch(record)
    columns = [_column(form, column, record) for column in form.schema]
    return pa.RecordBatch.from_arrays(columns, schema=form.schema)


def _column(form: Format, column: pa.Field, record: Any) -> pa.Array:
    name, kind = column.name, column.type
    if name in form.widths:
        return pa.array([getattr(record, form.widths[name]).shape[1]], kind)
    value = getattr(record, name)
    if name in form.json:
        return pa.array([_json_of(name, value)], kind)
    if pa.types.is_map(kind):
        names = sorted(value)
        arrays = _lists([value[name] for name in names], kind.item_type)
        return pa.MapArray.from_arrays(
            pa.array([0, len(names)], pa.int32()), pa.array(names, pa.string()), arrays
        )
    return _lists([value], kind) if isinstance(value, np.ndarray) else pa.array([value], kind)


def _lists(arrays: Sequence[Array], kind: pa.DataType) -> pa.Array:
    """A list column with a row for each array, flattened."""
    offsets = np.cumsum([0, *(array.size for array in arrays)])
    values = np.concatenate([np.empty(0, dtype_of(kind)), *(array.reshape(-1) for array in arrays)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, kind.value_type))


def _json_of(name: str, value: Mapping[str, Any]) -> str:
    try:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"{name}: {error}") from error
    if len(text) > MAX_JSON_BYTES:  # ASCII
        raise ValueError(f"{name}: {len(text)} bytes of JSON, at most {MAX_JSON_BYTES} are taken")
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"a {type(value).__name__} cannot be sent as JSON")


def require_short(form: Format, batch: pa.RecordBatch) -> None:
    """Raises ValueError for a text that is too long to be read; nothing is copied for it."""
    for column, found in zip(form.schema, batch.columns, strict=True):
        texts = found.keys if pa.types.is_map(column.type) else found
        if pa.types.is_string(texts.type):
            most = MAX_JSON_BYTES if column.name in form.json else MAX_TEXT_BYTES
            held = texts.buffers()[2]
            if held is None or held.size <= most:  # of all rows; most messages have one
                continue
            size = pc.max(pc.binary_length(texts)).as_py() or 0
            if size > most:
                raise ValueError(f"{column.name}: has {size} bytes, at most {most} are taken")


def from_batch(form: Format, batch: pa.RecordBatch, row: int) -> Any:
    """The record of one row of a batch that has been validated; arrays are views where Arrow allows.

    Raises ValueError, TypeError or an Arrow error for values that do not make one; ``check`` says the rest
    """
    cells = {name: batch.column(name)[row] for name in form.schema.names}
    for name, cell in cells.items():
        if not cell.is_valid and name not in form.optional:
            raise ValueError(f"{name}: is null")
    if form.kind is Binned:
        return binned_from_batch(batch, row)
    sizes = {form.arrays[of][1]: cells.pop(name).as_py() for name, of in form.widths.items()}
    if min(sizes.values(), default=0) < 0:
        raise ValueError(f"{', '.join(form.widths)}: is negative")
    return form.kind(**{name: _value(form, name, cell, sizes) for name, cell in cells.items()})


def _value(form: Format, name: str, cell: pa.Scalar, sizes: Sizes) -> Any:
    """What one cell of a row holds; ``sizes`` learns the letters of shapes."""
    if name in form.json:
        return json.loads(cell.as_py())
    if name in form.tuples:
        value = tuple(cell.as_py())
        sizes[form.tuples[name]] = len(value)
        return value
    if name not in form.arrays or not cell.is_valid:
        return cell.as_py()
    if not pa.types.is_map(cell.type):
        return _shaped(name, cell, form.arrays[name], sizes)
    names, lists = cell.values.field(0).to_pylist(), cell.values.field(1)
    if len(set(names)) != len(names):
        raise ValueError(f"{name}: a name is there twice among {names}")
    return {key: _shaped(key, lists[place], form.arrays[name], sizes) for place, key in enumerate(names)}


def _shaped(name: str, cell: pa.Scalar, dims: Dims, sizes: Sizes) -> Array:
    if not cell.is_valid or cell.values.null_count:
        raise ValueError(f"{name}: is null or holds nulls")
    copies = pa.types.is_boolean(cell.type.value_type)  # Arrow packs them into bits
    flat: Array = cell.values.to_numpy(zero_copy_only=not copies)
    shape = [sizes.get(dim, -1) if isinstance(dim, str) else dim for dim in dims]
    try:
        array = flat.reshape(shape)
    except ValueError:
        raise ValueError(f"{name}: {flat.size} values do not fill the shape {tuple(shape)}") from None
    sizes.update(zip(dims, array.shape, strict=True))
    return array
