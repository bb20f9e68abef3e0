"""Worlds that many tests read and none changes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from starlette.testclient import TestClient

from tests.data import data_path
from tests.web.browsers import Watched, launched
from tests.web.played import CITY, Played, play

LONG = "sim:city?sweeps=100&beams=32&azimuths=64&seed=3"
Open = Callable[..., Watched]


@pytest.fixture(scope="session")
def city(tmp_path_factory: pytest.TempPathFactory) -> Played:
    """Two robots, one after the other, in one simulated city; the built-in model."""
    return play([(CITY, "ant"), (CITY, "bee")], tmp_path_factory.mktemp("city") / "run")


@pytest.fixture(scope="session")
def client(city: Played) -> TestClient:
    """A client of it."""
    return city.client()


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def open_page(browser: Any) -> Iterator[Open]:
    """Opens pages, and closes them again; none may have complained."""
    pages: list[Watched] = []

    def open_one(url: str, *, cells: bool = True, **options: Any) -> Watched:
        pages.append(Watched(browser, **options))
        return pages[-1].open(url, cells=cells)

    yield open_one
    for page in pages:
        page.close()
        assert page.complaints == []


@pytest.fixture(scope="session")
def kitti(tmp_path_factory: pytest.TempPathFactory) -> Played:
    log = data_path("kitti_0005_000-053.mcap")
    return play([(str(log), "kitti")], tmp_path_factory.mktemp("kitti") / "run", sweeps=14)


@pytest.fixture(scope="session")
def long(tmp_path_factory: pytest.TempPathFactory) -> Played:
    return play([(LONG, "ant")], tmp_path_factory.mktemp("long") / "run")
