"""Whatever fits the OpenAPI description, and much that does not, is answered and never breaks the server."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from agents.web.app import build_app
from agents.web.server import service_of
from models.runtime import CPU
from tests.web.played import Played, Still

SETTINGS = settings(
    max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None
)
CHECKS = (not_a_server_error, content_type_conformance, response_schema_conformance)


@pytest.fixture(scope="session")
def described(city: Played, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The description, and the application that it is of; its labels go to a folder of their own."""
    folder: Path = tmp_path_factory.mktemp("labels")
    service = service_of(Still(city.world.config, folder), city.world, providers=[CPU])
    return schemathesis.openapi.from_asgi("/openapi.json", build_app(service))


def test_no_request_breaks_the_server(described: Any) -> None:
    operations = [found.ok() for found in described.get_all_operations()]
    assert len(operations) == 15
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
        "/health", "/ready", "/metrics", "/predict", "/map", "/explain/{prediction_id}", "/infer", "/models",
        "/models/{model_id}", "/scores", "/regions/worst", "/events", "/robots", "/labels",
    }  # fmt: skip
