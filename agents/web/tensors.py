"""Feature tensors as Arrow IPC streams, from whoever sends them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.canary import NEIGHBORS
from stream.codecs.inflated import is_compressed

Tensors = tuple[NDArray[np.float32], NDArray[np.int32]]

_DAMAGE = (
    ValueError, TypeError, KeyError, OSError, MemoryError, RecursionError, StopIteration, pa.ArrowException,
)  # fmt: skip
"""What Arrow raises for bytes that are not what they seem."""


class TensorError(ValueError):
    """Bytes that are no feature tensors: says what was expected and what was found."""


def read_tensors(data: bytes, features: int, most_rows: int) -> Tensors:
    """Features float32 (N, F) and neighbours int32 (N, 14) of an Arrow IPC stream.

    Columns ``x``, fixed-size lists of float32, and ``neighbor_index``, of int32: rows, N for none; no nulls,
    not compressed
    Raises TensorError; reads no more than the bytes that are there
    """
    try:
        table = _read(data, features, most_rows)
    except TensorError:
        raise
    except _DAMAGE as error:
        why = " ".join(str(error).split())[:200] or "it ends too early"
        raise TensorError(f"body: no Arrow IPC stream: {why}") from error
    x, neighbor_index = _matrix(table, "x", features), _matrix(table, "neighbor_index", NEIGHBORS)
    if not np.isfinite(x).all():
        row = int(np.flatnonzero(~np.isfinite(x).all(axis=1))[0])
        raise TensorError(f"x.{row}: holds a value that is not finite")
    if len(x) and not 0 <= neighbor_index.min() <= neighbor_index.max() <= len(x):
        raise TensorError(f"neighbor_index: must be rows, 0 to {len(x) - 1}, or {len(x)} for none")
    return x, neighbor_index


def _read(data: bytes, features: int, most_rows: int) -> pa.Table:
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(data))
    first = reader.read_next_message()
    if first.type != "schema":  # Arrow would look into it all the same, and end the process
        raise TensorError(f"body: begins with a message of type {first.type}, expected a schema")
    schema = pa.ipc.read_schema(first)
    expected = {"x": (pa.float32(), features), "neighbor_index": (pa.int32(), NEIGHBORS)}
    if not _fits(schema, expected):
        wanted = {name: pa.list_(*kind) for name, kind in expected.items()}
        found = {item.name: item.type for item in schema}
        raise TensorError(f"columns: {_shown(found)}; expected {_shown(wanted)}")
    batches, rows = [], 0
    while True:
        try:
            message = reader.read_next_message()
        except StopIteration:
            break
        if message.type != "record batch" or is_compressed(message.metadata.to_pybytes()):
            raise TensorError("body: holds compressed or other messages than record batches; send it plain")
        batch = pa.ipc.read_record_batch(message, schema)
        batch.validate(full=True)
        rows += batch.num_rows
        if rows > most_rows:
            raise TensorError(f"rows: more than the {most_rows:,} of one request")
        batches.append(batch)
    return pa.Table.from_batches(batches, schema).combine_chunks()


def _matrix(table: pa.Table, name: str, columns: int) -> NDArray[Any]:
    values = table[name].combine_chunks()
    nulls = values.null_count or values.flatten().null_count
    if nulls:
        raise TensorError(f"{name}: holds {nulls} nulls")
    flat: NDArray[Any] = values.flatten().to_numpy(zero_copy_only=False)
    return np.ascontiguousarray(flat.reshape(-1, columns))


def _fits(schema: pa.Schema, expected: Mapping[str, tuple[pa.DataType, int]]) -> bool:
    """Whether columns are fixed-size lists of these values and sizes, whatever the lists call their items."""
    return len(schema) == len(expected) and all(
        item.name in expected
        and pa.types.is_fixed_size_list(item.type)
        and (item.type.value_type, item.type.list_size) == expected[item.name]
        for item in schema
    )


def _shown(columns: dict[str, pa.DataType]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in list(columns.items())[:8]) or "none"
