"""Logs that were played into a world, and clients of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from starlette.testclient import TestClient

from agents.archive import Latency
from agents.replay import ReplayOptions, replay, with_map_frame
from agents.web.app import build_app
from agents.web.server import service_of
from agents.web.service import Service
from agents.web.world import World, WorldOptions
from models.runtime import CPU
from stream.config import Config, load_config
from stream.records import Binned, Outcome, Prediction, Shadow
from stream.sources import open_source
from stream.sources.base import Source, SourceOptions

CITY = "sim:city?sweeps=24&beams=32&azimuths=128&seed=3"
SMALL = ["task.warmup_sweeps=3", "learn.enabled=false"]
URL = "http://127.0.0.1"


class Still:
    """A feed that has ended: what was played lies in a run folder."""

    def __init__(self, config: Config, folder: Path) -> None:
        self.config, self.name, self._folder = config, "a test", folder
        self.reason = ""

    @property
    def models(self) -> Path:
        return self._folder / "models"

    def run(self, world: World, stop: threading.Event) -> None:
        stop.wait()

    @property
    def folder(self) -> Path:
        return self._folder

    def runs(self) -> list[Path]:
        return [self._folder]

    def lag(self) -> int:
        return 0

    def unready(self) -> str:
        return self.reason

    def unhealthy(self) -> str:
        return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A world, the records that it was folded from, and the run folder that they were written to."""

    world: World
    records: list[Any]
    folder: Path

    def of(self, kind: type) -> list[Any]:
        """Records of one kind, in the order in which they passed."""
        return [record for record in self.records if isinstance(record, kind)]

    def service(self, **options: Any) -> Service:
        """A service on it."""
        return service_of(Still(self.world.config, self.folder), self.world, providers=[CPU], **options)

    def client(self, **options: Any) -> TestClient:
        """A client of such a service."""
        return client_of(self.service(**options))


def continued(records: Sequence[Any], times: int) -> list[Any]:
    """The same log so many times in a row, as if it went on: later stamps and numbers, the same cells."""
    stamps = [record.stamp_ns for record in records if isinstance(record, Binned)]
    span_ns = max(stamps) - min(stamps) + 100_000_000
    return [_later(record, n * span_ns, n * len(stamps)) for n in range(times) for record in records]


def _later(record: Any, by_ns: int, numbers: int) -> Any:
    changes: dict[str, Any] = {
        name: getattr(record, name) + by
        for name, by in (("stamp_ns", by_ns), ("first_stamp_ns", by_ns), ("observed_stamp_ns", by_ns),
                         ("seq", numbers))
        if hasattr(record, name)
    }  # fmt: skip
    if isinstance(record, Prediction | Shadow | Outcome | Latency):
        stream, _, stamp = record.prediction_id.rpartition("/")
        changes["prediction_id"] = f"{stream}/{int(stamp) + by_ns}"
    return replace(record, **changes) if changes else record


def client_of(service: Service) -> TestClient:
    """A client of a service, in this process; an error of the server is an answer, as it is for others."""
    return TestClient(build_app(service), base_url=URL, raise_server_exceptions=False)


def post(client: TestClient, path: str, question: dict[str, Any], status: int) -> dict[str, Any]:
    """What is answered to a question in JSON, with that status; any but 200 is a problem."""
    answer = client.post(path, json=question)
    assert answer.status_code == status, answer.text
    found: dict[str, Any] = answer.json()
    if status != 200:
        assert answer.headers["content-type"] == "application/problem+json"
        assert found["status"] == status
    return found


def play(
    logs: Sequence[tuple[str, str]],
    folder: Path,
    settings: Sequence[str] = (),
    *,
    sweeps: int | None = None,
    options: WorldOptions | None = None,
    watch: Callable[[Played, Any], None] = lambda played, record: None,
) -> Played:
    """Play logs, each with its robot's name, through all agents into a world.

    watch : called after each record that was folded
    """
    sources: list[Source] = [open_source(log, SourceOptions(robot_id=robot)) for log, robot in logs]
    config = with_map_frame(
        load_config(None, [*SMALL, *settings]), [source.info().root_frame for source in sources]
    )
    played = Played(world=World(config, options), records=[], folder=folder)

    def observe(record: Any) -> None:
        played.records.append(record)
        played.world.fold(record)
        watch(played, record)

    replay(sources, config, folder, ReplayOptions(max_sweeps=sweeps, observe=observe), lambda *_: None)
    return played
