"""Whatever fits the OpenAPI description, and much that does not, is answered and never breaks the server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from agents.web.app import build_app
from agents.web.server import service_of
from agents.web.service import ARROW
from models.objects.onnx_models import ForecastModel
from models.runtime import CPU
from stream.config import load_config
from stream.features import schema_of
from tests.web.forecasters import forecaster
from tests.web.played import Played, Still

EXAMPLES = int(os.environ.get("OCTA_EXAMPLES", "0"))
"""Of each operation and kind; make fuzz-serve sets it. By default some, the same ones each time."""
SETTINGS = settings(
    max_examples=EXAMPLES or 6,
    derandomize=not EXAMPLES,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
)
FEATURES = schema_of(load_config(None)).count
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)


@st.composite
def tensors(draw: st.DrawFn) -> bytes:
    """Bodies of /infer: tensors as they should be or nearly so, cut off, or anything."""
    rows, width = draw(st.integers(0, 20)), draw(st.sampled_from([FEATURES, FEATURES, 1, 3]))
    kind = draw(st.sampled_from([pa.float32(), pa.float32(), pa.float64(), pa.int8()]))
    x = pa.array(np.zeros(rows * width)).cast(kind)
    places = pa.array(np.full(rows * 14, draw(st.sampled_from([rows, rows, -1, 0, 2**31 - 1])), np.int32))
    table = pa.table({
        "x": pa.FixedSizeListArray.from_arrays(x, width),
        draw(st.sampled_from(["neighbor_index", "neighbor_index", "y"])):
            pa.FixedSizeListArray.from_arrays(places, 14),
    })  # fmt: skip
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    data = bytes(sink.getvalue())
    return draw(st.one_of(st.just(data), st.integers(0, len(data)).map(lambda end: data[:end]), st.binary()))


schemathesis.openapi.media_type(ARROW, tensors())


@pytest.fixture(scope="session")
def described(city: Played, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The description, and the application that it is of; its labels go to a folder of their own."""
    folder: Path = tmp_path_factory.mktemp("labels")
    model = ForecastModel("trajectories-test", forecaster())
    feed = Still(city.world.config, folder)
    service = service_of(feed, city.world, providers=[CPU], trajectories=model)
    return schemathesis.openapi.from_asgi("/openapi.json", build_app(service))


def test_no_request_breaks_the_server(described: Any) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 17
    for operation in operations:

        @given(case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
        @SETTINGS
        def fits(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        @SETTINGS
        def does_not(case: Any) -> None:
            case.call_and_validate(checks=CHECKS)

        fits()
        if operation.method != "get" or list(operation.query) or list(operation.path_parameters):
            does_not()


def test_every_route_is_described(described: Any) -> None:
    paths = set(described.raw_schema["paths"])
    assert paths == {
        "/health", "/ready", "/metrics", "/predict", "/trajectories", "/map", "/explain/{prediction_id}",
        "/infer", "/models", "/models/{model_id}", "/ab", "/scores", "/regions/worst", "/events",
        "/robots", "/labels",
    }  # fmt: skip
