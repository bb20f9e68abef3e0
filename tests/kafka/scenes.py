"""Robots that drive and workers that listen, and what must be in the log afterwards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.kafka.settings import KafkaSettings
from stream.config import load_config
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, uninterrupted, wait_for_rest
from tests.kafka.kill_test import KINDS, SETTINGS, Robots, findings

ROBOTS = ("robot0", "robot1", "robot4")  # each in a partition of its own
PARTITIONS = 4
REST_SECONDS = 180.0
EXIT_FAILED = 70
WRONG = ("lost", "duplicates", "unexpected", "out_of_order")


@dataclass(frozen=True, slots=True)
class Scene:
    """Robots that drive, and the workers that listen."""

    settings: KafkaSettings
    workers: Workers
    robots: Robots

    def assert_complete(self) -> None:
        """All that one process without a break would have said is in the log, once by identity."""
        self.robots.drive(2)
        wait_for_rest(self.workers, self.settings, ["perceive", "judge"], REST_SECONDS)
        expected = uninterrupted(load_config(None, list(SETTINGS)), self.robots.logs())
        found = findings(expected, {topic: read(self.settings, topic) for topic in KINDS})
        assert not any(found[name] for name in WRONG), found
        assert found["outputs"] >= 2 * self.robots.sweeps  # evidence and a forecast of each sweep

    def wait(self, done: Callable[[], bool], what: str, seconds: float = 90.0) -> None:
        """Let the robots drive on until something is done.  Raises AssertionError"""
        end = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < end, f"{what}: not within {seconds} s; ended {self.workers.ended()}"
            self.robots.drive(1)
            time.sleep(0.5)


@contextmanager
def scene(broker: LocalBroker, folder: Path, *names: str, **options: Any) -> Iterator[Scene]:
    """Empty topics, and workers that run; options are those of Workers."""
    settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=PARTITIONS, folder=folder / "state")
    fresh_topics(settings)
    with Workers(settings, folder, SETTINGS, **options) as workers:
        for name in names:
            workers.start(name)
        workers.wait_until_running(names)
        yield Scene(settings, workers, Robots(settings, 1, ROBOTS))
