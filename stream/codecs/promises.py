"""What the values of a record promise, checked before it is sent and after it has been read."""

from __future__ import annotations

import math
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
import pyarrow as pa

from stream.codecs.formats import Dims, Format, Sizes, dtype_of
from stream.codecs.names import MAX_TEXT_BYTES
from stream.records import HIT, Binned, LabelGiven, LabelRequested, Outcome, Prediction


def check(form: Format, record: Any) -> None:
    """Raises ValueError naming the field where a record breaks its promise; the same on both ways."""
    sizes: Sizes = {}
    for column in form.schema:
        name, kind = column.name, column.type
        if name in form.widths:
            continue
        value: Any = getattr(record, name)
        if value is None and name in form.optional:
            continue
        if name in form.json:
            _check_json(name, value)
        elif name in form.tuples:
            _check_size(name, (len(value),), (form.tuples[name],), sizes)
            for item in value:
                _check_plain(name, item, kind.value_type)
        elif name in form.arrays:
            named = value if isinstance(value, Mapping) else {name: value}
            for key, array in named.items():
                _check_plain(name, key, pa.string())
                _check_array(key, array, kind.item_type if pa.types.is_map(kind) else kind)
                _check_size(key, array.shape, form.arrays[name], sizes)
        else:
            _check_plain(name, value, kind)
    _check_values(form, record)


def _check_array(name: str, array: Any, kind: pa.DataType) -> None:
    if not isinstance(array, np.ndarray) or array.dtype != dtype_of(kind):
        found = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
        raise ValueError(f"{name}: expected an array of {dtype_of(kind)}, got {found}")
    if not array.flags.aligned:  # the C core takes no others
        raise ValueError(f"{name}: is not aligned in memory")


def _check_size(name: str, shape: tuple[int, ...], dims: Dims, sizes: Sizes) -> None:
    expected = tuple(sizes.get(dim, dim) if isinstance(dim, str) else dim for dim in dims)
    fits = len(shape) == len(dims) and all(
        isinstance(want, str) or want == found for want, found in zip(expected, shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name}: expected the shape {expected}, got {shape}")
    sizes.update(zip(dims, shape, strict=True))


_PLAIN: dict[pa.DataType, type | tuple[type, ...]] = {
    pa.string(): str,
    pa.bool_(): (bool, np.bool_),
    pa.int32(): Integral,
    pa.int64(): Integral,
    pa.float64(): Real,
}


def _check_plain(name: str, value: Any, kind: pa.DataType) -> None:
    if not isinstance(value, _PLAIN[kind]) or (isinstance(value, bool) and kind != pa.bool_()):
        raise ValueError(f"{name}: expected {kind}, got {value!r}")
    if isinstance(value, str):
        try:
            size = len(value.encode())
        except UnicodeEncodeError as error:
            raise ValueError(f"{name}: {value!r} cannot be written as UTF-8") from error
        if size > MAX_TEXT_BYTES:
            raise ValueError(
                f"{name}: {value[:40]!r}... has {size} bytes, at most {MAX_TEXT_BYTES} are taken"
            )
    if pa.types.is_integer(kind) and not -(2 ** (kind.bit_width - 1)) <= value < 2 ** (kind.bit_width - 1):
        raise ValueError(f"{name}: {value} does not fit {kind}")


def _check_json(name: str, value: Any) -> None:
    if not isinstance(value, Mapping):
        raise ValueError(f"{name}: expected a mapping, got {type(value).__name__}")
    waiting: list[Any] = [value]
    while waiting:
        item = waiting.pop()
        if isinstance(item, Mapping):
            waiting += item.values()
            if odd := [key for key in item if not isinstance(key, str)]:
                raise ValueError(f"{name}: keys must be strings, got {odd[0]!r}")
        elif isinstance(item, list | tuple):
            waiting += item


def _check_values(form: Format, record: Any) -> None:
    if form.ascending is not None:
        values = getattr(record, form.ascending)
        if not (values[1:] > values[:-1]).all():
            raise ValueError(f"{form.ascending}: does not ascend")
    if isinstance(record, Prediction | Outcome) and (record.before > HIT).any():
        raise ValueError(f"before: expected 0..{HIT}, got {record.before.max()}")
    if isinstance(record, Outcome) and (record.row < 0).any():
        raise ValueError(f"row: expected rows from 0 on, got {record.row.min()}")
    if isinstance(record, LabelGiven) and not (record.label and 0 < record.weight < math.inf):
        raise ValueError(
            f"label, weight: expected a class and a number > 0, got {record.label!r}, {record.weight}"
        )
    if isinstance(record, LabelRequested) and not 0 < record.inclusion <= 1:
        raise ValueError(f"inclusion: expected 0 < inclusion <= 1, got {record.inclusion}")
    if isinstance(record, Binned):
        if not 0 <= record.part < record.parts:
            raise ValueError(f"part: expected 0 <= part < parts, got {record.part} of {record.parts}")
        if (hit := np.count_nonzero(record.hits)) != len(record.sums):
            raise ValueError(f"sums: {len(record.sums)} rows for {hit} cells with hits")
