"""Tables of a run: exactly the columns and types that scripts outside read, and records back to the bit."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from agents.judge import Judge
from stream.records import BINNED_VERSION, Binned, FeatureSample, Outcome, Prediction, Shadow
from stream.run_folder import container_table
from stream.tables import (
    BINNED_SCHEMA,
    OUTCOME_SCHEMA,
    PREDICTION_SCHEMA,
    SHADOW_SCHEMA,
    SWEEP_SCHEMA,
    binned_from_batch,
    binned_to_batch,
    check_binned_schema,
    feature_table,
    outcome_table,
    prediction_table,
    shadow_table,
    sweep_table,
)
from tests.agents.worlds import (
    config_of,
    feed,
    joined,
    of_type,
    parts_of,
    perceive_of,
    perceived,
    plain,
    transforms_to,
)

CONFIG = config_of()
RECORDS = joined(perceived(CONFIG, 7))
PREDICTION: Prediction = of_type(RECORDS, Prediction)[-1]
OUTCOME: Outcome = of_type(feed(Judge(CONFIG), RECORDS), Outcome)[0]


def columns(schema: pa.Schema) -> dict[str, str]:
    return {field.name: str(field.type) for field in schema}


def test_columns_and_types_are_the_contract() -> None:
    """docs/run-folder.md; a change here breaks programs of others."""
    assert columns(SWEEP_SCHEMA) == {
        "prediction_id": "string", "stream_id": "string", "stamp_ns": "int64", "model_id": "string",
        "feature_digest": "string", "cells": "int32", "state_digest": "string", "decode_ms": "float",
        "bin_ms": "float", "visibility_ms": "float", "features_ms": "float", "inference_ms": "float",
        "total_ms": "float",
    }  # fmt: skip
    assert columns(PREDICTION_SCHEMA) == {
        "prediction_id": "string", "stream_id": "string", "stamp_ns": "int64", "horizon_ns": "int64",
        "model_id": "string", "cell_id": "uint64", "probability": "float",
    }  # fmt: skip
    assert columns(SHADOW_SCHEMA) == {
        "prediction_id": "string", "cell_id": "uint64", "persistence": "float", "frequency": "float",
        "linear": "float", "frozen": "float",
    }  # fmt: skip
    assert columns(OUTCOME_SCHEMA) == {
        "prediction_id": "string", "horizon_ns": "int64", "observed_stamp_ns": "int64", "cell_id": "uint64",
        "occupied": "bool", "before": "uint8",
    }  # fmt: skip


def test_a_prediction_is_a_row_for_each_cell_and_horizon() -> None:
    table = prediction_table(PREDICTION)
    assert table.schema.equals(PREDICTION_SCHEMA)
    cells, horizons = PREDICTION.probability.shape
    assert (len(table), horizons) == (cells * horizons, len(CONFIG.task.horizons_ns))
    for place, horizon in enumerate(CONFIG.task.horizons_ns):
        rows = table.filter(pc.equal(table["horizon_ns"], horizon))
        assert np.array_equal(rows["cell_id"].to_numpy(), PREDICTION.cell_id)
        assert np.array_equal(rows["probability"].to_numpy(), PREDICTION.probability[:, place])
    for name in ("prediction_id", "stream_id", "stamp_ns", "model_id"):
        assert set(table[name].to_pylist()) == {getattr(PREDICTION, name)}


def test_an_outcome_is_a_row_for_each_observed_cell() -> None:
    table = outcome_table(OUTCOME)
    assert table.schema.equals(OUTCOME_SCHEMA)
    assert len(OUTCOME.row) > 50
    for name in ("cell_id", "occupied", "before"):
        assert np.array_equal(table[name].to_numpy(zero_copy_only=False), getattr(OUTCOME, name))
    for name in ("prediction_id", "horizon_ns", "observed_stamp_ns"):
        assert set(table[name].to_pylist()) == {getattr(OUTCOME, name)}


def shadow_of(**probability: np.ndarray) -> Shadow:
    return Shadow(
        prediction_id="a/b/1", robot_id="a", stream_id="a/b", stamp_ns=1,
        cell_id=np.array([3, 2**63 + 5], np.uint64), probability=probability,
    )  # fmt: skip


def test_a_baseline_without_a_model_is_null_and_never_zero() -> None:
    table = shadow_table(shadow_of(frequency=np.array([0.25, 0.75], np.float32)))
    assert table.schema.equals(SHADOW_SCHEMA)
    assert table["frequency"].to_pylist() == [0.25, 0.75]
    assert table["cell_id"].to_pylist() == [3, 2**63 + 5]
    for name in ("persistence", "linear", "frozen"):
        assert table[name].to_pylist() == [None, None]


def test_challengers_have_no_column() -> None:
    table = shadow_table(shadow_of(wide=np.array([0.5, 0.5], np.float32)))
    assert table.schema.equals(SHADOW_SCHEMA)


def test_a_sweep_is_a_row_with_null_where_no_time_was_measured() -> None:
    table = sweep_table([(PREDICTION, {"bin": 1.5, "total": 4.0}), (PREDICTION, {})])
    assert table.schema.equals(SWEEP_SCHEMA)
    assert table["bin_ms"].to_pylist() == [1.5, None]
    assert table["decode_ms"].to_pylist() == [None, None]
    assert table["cells"].to_pylist() == [len(PREDICTION.cell_id)] * 2
    assert table["feature_digest"][0].as_py() == PREDICTION.feature_digest
    assert table["state_digest"][0].as_py() == PREDICTION.state_digest


def test_feature_samples_are_fixed_size_lists() -> None:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    sample = FeatureSample(
        prediction_id="a/b/1", robot_id="a", stream_id="a/b", stamp_ns=1,
        cell_id=np.array([1, 2], np.uint64), x=x,
    )  # fmt: skip
    table = feature_table(sample)
    assert table["x"].to_pylist() == x.tolist()
    assert table["x"].type.list_size == 3


def with_parts() -> list[Binned]:
    agent = perceive_of(CONFIG)
    return of_type(feed(agent, [*transforms_to(1), *parts_of(0, 2), *parts_of(1, 3)]), Binned)


@pytest.mark.parametrize("record", [*of_type(RECORDS, Binned)[:2], RECORDS[-2], *with_parts()])
def test_binned_records_go_there_and_back_to_the_bit(record: Binned) -> None:
    batch = binned_to_batch(record)
    assert batch.num_rows == 1
    batch.validate(full=True)
    assert plain(binned_from_batch(batch)) == plain(record)


def test_every_field_of_a_record_has_a_column() -> None:
    assert BINNED_SCHEMA.names == list(dict.fromkeys(BINNED_SCHEMA.names))
    assert set(BINNED_SCHEMA.names) == {field.name for field in dataclasses.fields(Binned)}


def test_rows_of_a_chunk_are_found_by_place() -> None:
    records = of_type(RECORDS, Binned)
    table = container_table([binned_to_batch(record) for record in records])
    batches = table.to_batches()
    assert [batch.num_rows for batch in batches] == [1] * len(records)
    whole = table.combine_chunks().to_batches()[0]
    for place, record in enumerate(records):
        assert plain(binned_from_batch(batches[place])) == plain(record)
        assert plain(binned_from_batch(whole, place)) == plain(record)


def test_records_of_another_version_are_refused() -> None:
    check_binned_schema(BINNED_SCHEMA, "here")
    for metadata in ({}, {"octa.version": str(BINNED_VERSION + 1)}):
        with pytest.raises(ValueError, match=r"^here: binned record version"):
            check_binned_schema(BINNED_SCHEMA.with_metadata(metadata), "here")
    old = BINNED_SCHEMA.with_metadata({"octa.version": "2"})
    with pytest.raises(ValueError, match=r"version 2, this release reads version 3$"):
        check_binned_schema(old, "here")
    with pytest.raises(ValueError, match=r"^here: "):
        check_binned_schema(BINNED_SCHEMA.remove(0), "here")
