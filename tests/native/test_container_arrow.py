"""Cells as Arrow data: the same memory, everything there and back, and nothing that does not fit."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from native.arrow import from_arrow, metadata_of, to_batch
from native.cells import Cells, Rows
from native.container import Container, ContainerOptions, RecordKey
from native.schema import MismatchError
from tests.native.container_checks import COLUMNS, GRID, random_said, state
from tests.native.container_oracle import shown

OPTIONS = ContainerOptions(levels=3, free_level=1, columns=COLUMNS)


def container(seed: int = 0, records: int = 3, options: ContainerOptions = OPTIONS) -> Container:
    rng = np.random.default_rng(seed)
    out = Container(GRID, options)
    for stamp in range(records):
        out.add(RecordKey(stamp, 0), random_said(rng, options, stamp).rows(options.columns))
    return out


class Exporter:
    """Something of another library that exports by the PyCapsule interface."""

    def __init__(self, batch: pa.RecordBatch, stream: bool) -> None:
        self._batch = batch
        if stream:
            self.__arrow_c_stream__ = pa.Table.from_batches([batch, batch.slice(0, 0)]).__arrow_c_stream__
        else:
            self.__arrow_c_array__ = batch.__arrow_c_array__


def addresses(batch: pa.RecordBatch) -> dict[str, int]:
    """Where the values of each column lie."""
    return {
        name: next(buffer.address for buffer in reversed(batch.column(name).buffers()) if buffer is not None)
        for name in batch.schema.names
    }


@pytest.mark.parametrize("level", range(3))
def test_the_memory_is_that_of_numpy(level: int) -> None:
    cells = container().cells(level)
    batch = cells.to_arrow()
    for name, address in addresses(batch).items():
        values = cells.stored[name] if name in cells.stored else getattr(cells, name)
        assert values.__array_interface__["data"][0] == address, name
    back = from_arrow(batch)
    assert np.shares_memory(back.hits, cells.hits) and np.shares_memory(back.sums, cells.sums)
    assert np.shares_memory(back.stored["speed"], cells.stored["speed"])


@pytest.mark.parametrize("stream", [False, True])
def test_the_capsule_interface_is_enough(stream: bool) -> None:
    for level in range(3):
        cells = container().cells(level)
        exported = Exporter(pa.record_batch(cells), stream)
        assert shown(from_arrow(exported, cells.schema)) == shown(cells)
        assert pa.schema(cells).equals(cells.to_arrow().schema, check_metadata=True)


def test_numpy_memory_outlives_its_container() -> None:
    batch = container().cells(0).to_arrow()
    expected = batch.to_pylist()
    for seed in range(5):
        container(seed)
    assert batch.to_pylist() == expected


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), records=st.integers(0, 4), free_level=st.integers(0, 2))
def test_what_goes_out_comes_in_again(seed: int, records: int, free_level: int) -> None:
    options = ContainerOptions(levels=3, free_level=free_level, columns=COLUMNS)
    one = container(seed, records, options)
    levels = []
    for level in range(3):
        sink = pa.BufferOutputStream()
        batch = one.cells(level).to_arrow()
        with pa.ipc.new_file(sink, batch.schema) as writer:
            writer.write_batch(batch)
        read = pa.ipc.open_file(sink.getvalue()).read_all()
        levels.append(from_arrow(read, one.schema))
        assert shown(levels[level]) == shown(one.cells(level))
    total = ContainerOptions(levels=3, free_level=free_level, keep=False, columns=COLUMNS)
    again = Container(GRID, total)
    again.add(RecordKey(0, 0), Rows.of_cells(levels[0], levels[free_level]))
    assert state(again)[1:] == state(one)[1:]


def test_metadata_says_what_the_cells_are() -> None:
    cells = container().cells(2)
    said = {key.decode(): value.decode() for key, value in cells.to_arrow().schema.metadata.items()}
    assert said["octa.lod"] == "5" and said["octa.half_edge_m"] == "1.6" and said["octa.frame"] == "5"
    assert said["octa.tier"] == "1" and said["octa.level"] == "2"
    assert said["octa.schema_sha256"] == cells.schema.digest
    assert json.loads(said["octa.schema"])["columns"][2]["categories"] == ["car", "road", "tree"]


# ---- refusals


def with_metadata(batch: pa.RecordBatch, **changed: str | None) -> pa.RecordBatch:
    said = dict(batch.schema.metadata)
    for key, value in changed.items():
        name = f"octa.{key}".encode()
        said.pop(name, None)
        if value is not None:
            said[name] = value.encode()
    return batch.replace_schema_metadata(said)


def with_column(batch: pa.RecordBatch, name: str, array: Any) -> pa.RecordBatch:
    at = batch.schema.names.index(name)
    arrays = [array if i == at else batch.column(i) for i in range(batch.num_columns)]
    return pa.RecordBatch.from_arrays(arrays, batch.schema.names, metadata=batch.schema.metadata)


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"schema": None}, "octa.schema and octa.level are missing"),
        ({"level": None}, "missing"),
        ({"level": "x"}, "missing"),
        ({"level": "3"}, "there are 3 levels"),
        ({"level": "1"}, "octa.lod is '7'"),
        ({"frame": "6"}, "octa.frame is '6'"),
        ({"lod": "6"}, "octa.lod is '6'"),
        ({"half_edge_m": "0.5"}, "octa.half_edge_m is '0.5'"),
        ({"schema_sha256": "0" * 64}, "octa.schema_sha256"),
        ({"schema": "{}"}, "schema: not one"),
    ],
)
def test_metadata_that_does_not_fit_is_refused(changed: dict[str, str | None], text: str) -> None:
    with pytest.raises(MismatchError, match=text):
        from_arrow(with_metadata(container().cells(0).to_arrow(), **changed))


def test_cells_of_another_schema_are_refused() -> None:
    batch = container().cells(0).to_arrow()
    other = container(options=ContainerOptions(levels=3, free_level=1, columns=COLUMNS[:2])).schema
    with pytest.raises(MismatchError, match="columns: expected"):
        from_arrow(batch, other)


def test_columns_that_do_not_fit_are_refused() -> None:
    batch = container().cells(0).to_arrow()
    n = len(batch)
    for name, array, text in (
        ("hits", pa.array(np.zeros(n, np.int64)), "hits: expected uint64"),
        ("hits", pa.array([None, *range(n - 1)], pa.uint64()), "hits: expected no nulls"),
        ("sums", pa.array(np.zeros(n, np.int64)), "sums: expected 11 of int64"),
        (
            "sums",
            pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * 3, np.int64)), 3),
            "sums: expected 11",
        ),
        ("weight", pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(n * 2)), 2), "weight: expected 2 of"),
        ("cell_id", pa.array(np.zeros(n, np.uint64)), "cell_id: ids must ascend"),
        ("cell_id", pa.array(np.sort(np.asarray(batch.column("cell_id")))[::-1]), "cell_id: ids must ascend"),
        ("cell_id", pa.array(np.asarray(batch.column("cell_id")) ^ np.uint64(1 << 52)), "cell_id"),
    ):
        with pytest.raises(MismatchError, match=text):
            from_arrow(with_column(batch, name, array))
    with pytest.raises(MismatchError, match="columns: expected"):
        from_arrow(batch.drop_columns(["hits"]))


@pytest.mark.parametrize("data", [None, 5, "cells", {"cell_id": []}, np.zeros(3)])
def test_what_is_no_arrow_data_is_refused(data: Any) -> None:
    with pytest.raises(TypeError, match="data: expected Arrow data"):
        from_arrow(data)


def test_a_slice_and_several_chunks_are_read() -> None:
    cells = container().cells(0)
    batch = cells.to_arrow()
    part = from_arrow(batch.slice(3, 10))
    assert part.cell_id.tolist() == cells.cell_id[3:13].tolist()
    assert np.array_equal(part.sums, cells.sums[3:13])
    table = pa.Table.from_batches([batch.slice(0, 5), batch.slice(5)])
    assert shown(from_arrow(table)) == shown(cells)
    empty = from_arrow(pa.Table.from_batches([], schema=batch.schema))
    assert isinstance(empty, Cells) and len(empty) == 0 and empty.sums.shape == (0, 11)
    assert metadata_of(cells.schema, 0)["octa.level"] == "0" and len(to_batch(empty)) == 0
