"""A window of a stored container: the cells of one moment as a record batch, and its columns as numbers.

What ``Cells.to_arrow`` exports is one. Features and outcomes are further columns of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from models.graphs.columns import FeatureError, finite, names_of, part_names, values_of
from native.arrow import PREFIX, fields_of, from_arrow
from native.cells import Cells
from native.errors import OctaError
from native.grid import Grid
from native.index64 import decode
from native.schema import MismatchError, Schema

LATTICE = ("frame", "tier", "lod", "half_edge_m")
"""Metadata that every window has, after the prefix ``octa.``."""

FEATURES, TARGET, OBSERVED, STAMP = "features", "target", "observed", "stamp_ns"
SOURCE = "source"
"""Number of the stream that a window is of (``stream.framed.source_of``)."""
NOT_FEATURES = frozenset({"cell_id", FEATURES, TARGET, OBSERVED, STAMP})

Floats = NDArray[np.float32]


class Window:
    """The cells of one moment.

    batch : ascending by ``cell_id``
    Raises MismatchError for a batch that holds no cells, or whose cells do not ascend
    """

    def __init__(self, batch: pa.RecordBatch, place: str = "window") -> None:
        lattice = lattice_of(batch.schema, place)
        for column, names in ((FEATURES, "features"), (TARGET, "targets"), (OBSERVED, "targets")):
            _require_names(batch.schema, column, names, place)
        self.batch = batch
        self.cell_id: NDArray[np.uint64] = batch.column("cell_id").to_numpy()
        if np.any(self.cell_id[1:] <= self.cell_id[:-1]):
            raise MismatchError(f"{place}: cell_id: the cells of a window must ascend")
        try:  # ids begin with frame, tier and LOD
            ends = decode(self.cell_id[[0, -1]]) if len(self.cell_id) else None
        except OctaError as error:
            raise MismatchError(f"{place}: cell_id: {error}") from error
        for name in ("frame", "tier", "lod") if ends is not None else ():
            found = sorted(set(getattr(ends, name).tolist()))
            if found != [int(lattice[name])]:
                raise MismatchError(
                    f"{place}: cell_id: {name} is {found}, but the metadata says {lattice[name]}"
                )

    @property
    def stamp_ns(self) -> int:
        """The moment, 0 where it is not known."""
        stamps = self.batch.column(STAMP) if STAMP in self.batch.schema.names else []
        return stamps[0].as_py() if len(stamps) else 0

    def outcomes(self) -> tuple[Floats, NDArray[np.bool_]] | None:
        """What came of every cell, float32 (N, H), and where that is known, bool (N, H); None without any.

        Targets are 0 where nothing was observed, whatever is written there.
        Raises FeatureError for one that was observed and is not finite
        """
        if TARGET not in self.batch.schema.names:
            return None
        observed: NDArray[np.bool_] = self._numbers(OBSERVED).astype(np.bool_, copy=False)
        target = np.where(observed, self._numbers(TARGET), 0).astype(np.float32, copy=False)
        if not np.isfinite(target).all():
            cells = (~np.isfinite(target)).any(axis=1).sum()
            raise FeatureError(
                f"target: {cells} of {len(target)} cells were observed and have no finite target"
            )
        return target, observed

    def feature_matrix(self) -> Floats:
        """The column ``features`` as it is stored, float32 (N, F); raises FeatureError where it has nulls."""
        return self._numbers(FEATURES)

    def features(self, keys: Sequence[str], fill: float | None = None) -> Floats:
        """Columns by name, float32 (N, F): of ``features``, of the container, or any others of numbers.

        fill : what stands where a cell has no value (NaN); None refuses such cells
        Raises FeatureError for an unknown one, or values that are not finite
        """
        return finite([self._values(key) for key in keys], keys, len(self.cell_id), fill)

    def feature_names(self, keys: Sequence[str]) -> tuple[str, ...]:
        """A name for every column of that, as ``flow.0`` of a vector; raises FeatureError."""
        return tuple(name for key in keys for name in self._part_names(key))

    # ---- columns

    @cached_property
    def _feature_names(self) -> dict[str, int]:
        return {name: place for place, name in enumerate(feature_names_of(self.batch.schema))}

    @cached_property
    def _cells(self) -> Cells | None:
        """The cells of a container, None where the window is of no container's own columns."""
        said = said_of(self.batch.schema)
        if "schema" not in said:
            return None
        fields = fields_of(Schema.from_json(said["schema"]), int(said["level"]))
        return from_arrow(self.batch.select(list(fields)))

    def _values(self, key: str) -> NDArray[Any]:
        """A column by name, (N, W)."""
        if key in self._feature_names:
            place = self._feature_names[key]
            return self._numbers(FEATURES)[:, place : place + 1]
        if self._cells is not None and key in names_of(self._cells):
            return values_of(self._cells, key)
        others = [name for name in self.batch.schema.names if name not in NOT_FEATURES]
        if key in others:
            return self._numbers(key)
        own = names_of(self._cells) if self._cells is not None else ()
        there = dict.fromkeys([*self._feature_names, *own, *others])
        raise FeatureError(f"feature_keys: no column {key!r}; there are {', '.join(there) or 'none'}")

    def _part_names(self, key: str) -> tuple[str, ...]:
        if key not in self._feature_names and self._cells is not None and key in names_of(self._cells):
            return part_names(self._cells, key)
        width = self._values(key).shape[1]
        return (key,) if width == 1 else tuple(f"{key}.{place}" for place in range(width))

    def _numbers(self, name: str) -> NDArray[Any]:
        """A column of numbers or of lists of one length, (N, W)."""
        array = self.batch.column(name)
        is_list = pa.types.is_fixed_size_list(array.type)
        width, values = (array.type.list_size, array.flatten()) if is_list else (1, array)
        kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
        if not any(is_kind(values.type) for is_kind in kinds):
            raise FeatureError(f"{name}: expected numbers, or lists of one length of them, got {array.type}")
        if array.null_count or values.null_count:
            raise FeatureError(f"{name}: has nulls; write NaN where there is no value")
        flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
        return flat.reshape(-1, width)


def said_of(schema: pa.Schema) -> dict[str, str]:
    """What the metadata says, by name without the prefix."""
    found = {
        key.decode(errors="replace"): value.decode(errors="replace")
        for key, value in (schema.metadata or {}).items()
    }
    return {key.removeprefix(PREFIX): value for key, value in found.items() if key.startswith(PREFIX)}


def lattice_of(schema: pa.Schema, place: str) -> dict[str, str]:
    """Frame, tier, LOD and half edge of a window; raises MismatchError for what is none."""
    said = said_of(schema)
    for name in LATTICE:
        if name not in said:
            raise MismatchError(f"{place}: the metadata has no {PREFIX}{name}, so it holds no cells")
    if "cell_id" not in schema.names or schema.field("cell_id").type != pa.uint64():
        raise MismatchError(f"{place}: has no column cell_id of uint64, so it holds no cells")
    return {name: said[name] for name in LATTICE}


def grid_of_lattice(said: Mapping[str, str]) -> Grid:
    """The lattice that the metadata tells of."""
    try:
        whole = {name: int(said[name]) for name in ("frame", "tier", "lod")}
        return Grid(half_edge_m=float(said["half_edge_m"]), **whole)
    except ValueError as error:
        raise MismatchError(f"the metadata is of no lattice: {error}") from error


def lattice_metadata(grid: Grid) -> dict[str, str]:
    """What the metadata says of the cells; ``grid_of_lattice`` is the way back."""
    return {
        "frame": str(grid.frame), "tier": str(grid.tier), "lod": str(grid.lod),
        "half_edge_m": repr(grid.half_edge_m),
    }  # fmt: skip


def feature_names_of(schema: pa.Schema) -> tuple[str, ...]:
    """The columns of ``features``, in order; none where there are no features."""
    return _listed(schema, "features")


def _listed(schema: pa.Schema, name: str) -> tuple[str, ...]:
    """Names in the metadata, none where it has none.  Raises MismatchError for what is no list of texts"""
    text = said_of(schema).get(name, "[]")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MismatchError(f"{PREFIX}{name}: {text[:80]!r} is no list of names: {error}") from error
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        raise MismatchError(f"{PREFIX}{name}: {text[:80]!r} is no list of names")
    return tuple(found)


def _require_names(schema: pa.Schema, column: str, names: str, place: str) -> None:
    """Raises MismatchError unless a column has as many values as the metadata has names for them."""
    named = len(_listed(schema, names))
    kind = schema.field(column).type if column in schema.names else None
    width = getattr(kind, "list_size", 0)
    if named != width:
        raise MismatchError(f"{place}: {PREFIX}{names} has {named} names, but the column {column} is {kind}")


def require_same(expected: pa.Schema, schema: pa.Schema, place: str) -> None:
    """Raises MismatchError, naming the first thing in which windows of one frame and LOD differ."""
    mine, given = said_of(expected), said_of(schema)
    for name in sorted(mine.keys() | given.keys()):
        if mine.get(name) != given.get(name):
            raise MismatchError(
                f"{place}: {PREFIX}{name} is {given.get(name)}, expected {mine.get(name)}: windows of one "
                "frame and LOD must agree"
            )
    if not expected.equals(schema):
        there, wanted = ([f"{field.name} {field.type}" for field in each] for each in (schema, expected))
        raise MismatchError(
            f"{place}: columns are {', '.join(there)}; expected {', '.join(wanted)}: windows of one frame "
            "and LOD must agree"
        )


# ---- making ----------------------------------------------------------------------------------------------


def cells_of_grid(grid: Grid, cell_id: NDArray[np.uint64]) -> pa.RecordBatch:
    """A window of cells of which nothing is known yet; cell_id : uint64 (N,), ascending."""
    schema = pa.schema(
        [pa.field("cell_id", pa.uint64(), nullable=False)],
        metadata={f"{PREFIX}{name}": value for name, value in lattice_metadata(grid).items()},
    )
    return pa.RecordBatch.from_arrays([pa.array(cell_id)], schema=schema)


def with_features(
    window: pa.RecordBatch, names: Sequence[str], x: Floats, schema_hash: str = ""
) -> pa.RecordBatch:
    """The window with the column ``features``.

    names : F, each once; x : float32 (N, F); schema_hash : of what the columns mean
    """
    _require_shape("x", x, (len(window), len(names)))
    said = {f"{PREFIX}features": json.dumps(list(names)), f"{PREFIX}feature_schema_sha256": schema_hash}
    return _with(window, FEATURES, _lists(x, pa.float32()), said)


def with_outcomes(
    window: pa.RecordBatch, names: Sequence[str], target: Floats, observed: NDArray[np.bool_]
) -> pa.RecordBatch:
    """The window with the columns ``target`` and ``observed``.

    names : H, of what is to be predicted; target : float32 (N, H), 0 where it is not known
    observed : bool (N, H), where it is: what nobody saw is never a negative
    """
    for name, array in ((TARGET, target), (OBSERVED, observed)):
        _require_shape(name, array, (len(window), len(names)))
    window = _with(
        window, TARGET, _lists(target, pa.float32()), {f"{PREFIX}targets": json.dumps(list(names))}
    )
    return _with(window, OBSERVED, _lists(observed, pa.bool_()), {})


def with_stamp(window: pa.RecordBatch, stamp_ns: int) -> pa.RecordBatch:
    """The window with the column ``stamp_ns``, the moment that it shows."""
    return with_column(window, STAMP, np.full(len(window), stamp_ns, np.int64))


def with_column(window: pa.RecordBatch, name: str, values: NDArray[Any]) -> pa.RecordBatch:
    """The window with one more column of numbers, (N,) or (N, W)."""
    flat = pa.array(values) if values.ndim == 1 else _lists(values, pa.from_numpy_dtype(values.dtype))
    return _with(window, name, flat, {})


def _with(window: pa.RecordBatch, name: str, array: pa.Array, said: Mapping[str, str]) -> pa.RecordBatch:
    schema = window.schema.append(pa.field(name, array.type, nullable=False))
    schema = schema.with_metadata(
        (window.schema.metadata or {}) | {k.encode(): v.encode() for k, v in said.items()}
    )
    return pa.RecordBatch.from_arrays([*window.columns, array], schema=schema)


def _lists(array: NDArray[Any], kind: pa.DataType) -> pa.FixedSizeListArray:
    flat = pa.array(np.ascontiguousarray(array).reshape(-1), kind)
    return pa.FixedSizeListArray.from_arrays(flat, array.shape[1])


def _require_shape(name: str, array: NDArray[Any], shape: tuple[int, int]) -> None:
    if array.shape != shape or 0 in shape[1:]:
        raise MismatchError(f"{name}: expected {shape}, a row a cell and a column a name, got {array.shape}")
