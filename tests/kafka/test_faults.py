"""What strikes workers and broker while robots drive; nothing may be lost, doubled or out of order."""

from __future__ import annotations

import itertools
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from agents.kafka.settings import KafkaSettings
from stream.config import load_config
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.topics import BINNED, REJECTED
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, uninterrupted, wait_for_rest
from tests.kafka.kill_test import KINDS, RUNS, SETTINGS, Robots, findings, world

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROBOTS = ("robot0", "robot1", "robot4")  # each in a partition of its own
PARTITIONS = 4
REST_SECONDS = 180.0
EXIT_FAILED = 70
WRONG = ("lost", "duplicates", "unexpected", "out_of_order")
CRASHING = """
import ctypes, sys
from agents.perceive import Perceive
from stream.sweep import Sweep
from tests.kafka import launch
whole = Perceive.handle
def handle(self, record):
    if isinstance(record, Sweep) and record.prediction_id in RAISE:
        raise RuntimeError("no one has thought of this sweep")
    if isinstance(record, Sweep) and record.prediction_id in SEGFAULT:
        ctypes.string_at(0)
    return whole(self, record)
Perceive.handle = handle
launch.main(*sys.argv[1:])
"""
"""A worker that crashes on some sweeps."""


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


def test_the_broker_is_killed_in_mid_stream_and_comes_back_with_its_data(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "perceive-1", "judge-0") as here:
        driving = threading.Thread(target=here.robots.drive, args=(30, 0.15))  # for 20 s
        driving.start()
        while not read(here.settings, BINNED):
            assert driving.is_alive()
        local_kafka.kill()
        time.sleep(2)
        assert driving.is_alive()
        local_kafka.start()
        driving.join()
        here.assert_complete()
        assert here.workers.ended() == {}


def test_a_second_worker_joins_and_leaves_again_and_again(local_kafka: LocalBroker, tmp_path: Path) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", static=False) as here:
        workers = here.workers
        for _ in range(4):
            workers.start("perceive-1")
            joined = workers.log("perceive-1").count(RUNS)
            here.wait(lambda: workers.log("perceive-1").count(RUNS) > joined, "perceive-1 joins")  # noqa: B023
            assert workers.partitions("perceive-1")
            left = time.monotonic() + 5
            here.wait(lambda: time.monotonic() > left, "5 s pass")  # noqa: B023
            assert workers.terminate("perceive-1") == 0
            back = time.monotonic() + 5
            here.wait(lambda: time.monotonic() > back, "5 s pass")  # noqa: B023
        here.assert_complete()
        assert workers.ended() == {"perceive-1": 0}
        assert workers.partitions("perceive-0") == list(range(PARTITIONS))


@pytest.mark.parametrize("sweeps", [0, 8], ids=["idle", "busy"])
def test_a_worker_that_was_stopped_and_goes_on_doubles_nothing(
    local_kafka: LocalBroker, tmp_path: Path, sweeps: int
) -> None:
    """An idle one finds that another has acknowledged what it never saw."""
    with scene(local_kafka, tmp_path, "perceive-0", "perceive-1", "judge-0") as here:
        workers = here.workers
        if sweeps:
            here.robots.drive(sweeps)  # more than is done when the signal comes
        workers.processes["perceive-0"].send_signal(signal.SIGSTOP)
        since = time.monotonic()
        others = list(range(PARTITIONS))
        here.wait(lambda: workers.partitions("perceive-1") == others, "perceive-1 has all partitions")
        here.wait(lambda: time.monotonic() > since + 20, "20 s pass")
        workers.processes["perceive-0"].send_signal(signal.SIGCONT)
        after = time.monotonic() + 15
        here.wait(lambda: time.monotonic() > after, "15 s pass")
        here.assert_complete()
        assert workers.ended() in ({}, {"perceive-0": EXIT_FAILED})


def test_a_worker_that_is_told_to_stop_ends_in_good_order_and_the_next_goes_on(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "perceive-1", "judge-0") as here:
        for name in ("perceive-0", "judge-0", "perceive-1"):
            here.robots.drive(8)  # more than is done when the signal comes
            assert here.workers.terminate(name) == 0
            here.workers.start(name)
        here.assert_complete()
        assert here.workers.ended() == {}


def test_sweeps_that_crash_their_worker_are_dead_letters_after_three_crashes(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    def third(robot: str) -> str:
        sweeps = [item for item in itertools.islice(world(robot, 1), 100) if isinstance(item, Sweep)]
        return sweeps[2].prediction_id

    raises, faults = third("robot0"), third("robot1")
    code = f"RAISE, SEGFAULT = [{raises!r}], [{faults!r}]" + CRASHING
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", launcher=("-c", code)) as here:
        workers, codes = here.workers, Counter[int]()
        here.robots.drive(5)
        end = time.monotonic() + 240
        while codes.total() < 6:
            assert time.monotonic() < end, codes
            if "perceive-0" in workers.ended():
                codes[workers.ended()["perceive-0"]] += 1
                workers.start("perceive-0")
            time.sleep(0.2)
        assert codes == {EXIT_FAILED: 3, -signal.SIGSEGV: 3}
        here.robots.drive(2)
        wait_for_rest(workers, here.settings, ["perceive", "judge"], REST_SECONDS)
        assert workers.ended() == {}
        found = {topic: read(here.settings, topic) for topic in KINDS}
        letters = [letter for letter in found[REJECTED] if letter.reason == "poison"]
        assert {letter.robot_id for letter in letters} == {"robot0", "robot1"}
        found[REJECTED] = [letter for letter in found[REJECTED] if letter.reason != "poison"]

        def good(item: Item) -> bool:
            return not isinstance(item, Sweep) or item.prediction_id not in (raises, faults)

        logs = [filter(good, log) for log in here.robots.logs()]
        result = findings(uninterrupted(load_config(None, list(SETTINGS)), logs), found)
        assert not any(result[name] for name in WRONG), result
