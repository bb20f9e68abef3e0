"""Worlds that many tests read and none changes."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from tests.web.played import CITY, Played, play


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Two robots, one after the other, in one simulated city; the built-in model."""
    return play([(CITY, "ant"), (CITY, "bee")], tmp_path_factory.mktemp("city") / "run")


@pytest.fixture(scope="session")
def client(city: Played) -> TestClient:
    """A client of it."""
    return city.client()
