"""How workers end, told to or by a crash, and how the next ones go on."""

from __future__ import annotations

import asyncio
import itertools
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from aiokafka.admin import NewPartitions

from agents.kafka.admin import admin_client, check_topics
from agents.kafka.settings import KafkaSettings
from stream.config import load_config
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.topics import PREDICTIONS, REJECTED, TOPICS
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, uninterrupted, wait_for_rest
from tests.kafka.kill_test import KINDS, SETTINGS, Robots, findings, world
from tests.kafka.scenes import EXIT_FAILED, PARTITIONS, REST_SECONDS, ROBOTS, WRONG, Scene, scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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


@pytest.mark.fault(7)
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


def launcher_with(setting: str) -> tuple[str, str]:
    """What Python is told to run a worker whose Faust has another setting, such as ``name = 1.0``."""
    code = f"""
import sys
from agents.kafka.worker import Worker
from tests.kafka import launch
whole = Worker._new_app
def new_app(self):
    app = whole(self)
    app.conf.{setting}
    return app
Worker._new_app = new_app
launch.main(*sys.argv[1:])
"""
    return "-c", code


PROGRESS_SECONDS = 120.0
MISSED_LATE = launcher_with("broker_session_timeout = 90.0")
"""A worker that keeps its place in the group for as long as a machine takes to start the next one."""


async def add_partitions(settings: KafkaSettings) -> None:
    """As many as are said there, to each topic that has them."""
    async with admin_client(settings) as client:
        more = {topic.name: NewPartitions(topic.partitions(settings.partitions)) for topic in TOPICS}
        shared = {name: new for name, new in more.items() if new.total_count == settings.partitions}
        await client.create_partitions(shared)
    while await check_topics(settings):  # until the broker has heard of all
        await asyncio.sleep(0.1)


@pytest.mark.fault(8)
def test_a_worker_that_comes_back_under_its_name_reads_partitions_that_have_come_meanwhile(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    """What a static member is given is what it had, and nobody in the group looks."""
    names = ["perceive-0", "judge-0", "learn-0"]
    before = KafkaSettings(bootstrap=local_kafka.bootstrap, partitions=1, folder=tmp_path / "before")
    (tmp_path / "logs").mkdir()
    fresh_topics(before)
    with Workers(before, tmp_path / "logs", SETTINGS, launcher=MISSED_LATE) as workers:
        for name in names:
            workers.start(name)
        workers.wait_until_running(names)
    settings = replace(before, partitions=PARTITIONS, folder=tmp_path / "state")
    asyncio.run(add_partitions(settings))
    with Workers(settings, tmp_path, SETTINGS) as workers:
        for name in names:
            workers.start(name)
        workers.wait_until_running(names)
        here = Scene(settings, workers, Robots(settings, 1, ROBOTS))
        whole = list(range(PARTITIONS))
        here.wait(lambda: workers.partitions("perceive-0") == whole, "all partitions")
        here.assert_complete()
        assert all("no worker has" in workers.log(name) for name in names)
        assert workers.ended() == {}


SELDOM_COMMITS = launcher_with("broker_commit_interval = 60.0")
"""A worker that has something left to commit in its first minute."""


@pytest.mark.fault(7)
@pytest.mark.long
def test_a_worker_that_is_told_to_stop_ends_while_the_broker_is_silent(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    """Nobody would answer its last commit; what it did not commit is told by its offset."""
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", launcher=SELDOM_COMMITS) as here:
        here.wait(lambda: bool(read(here.settings, PREDICTIONS)), "a forecast")
        time.sleep(3)
        with local_kafka.silent():
            assert here.workers.terminate("perceive-0") == 0
        here.workers.start("perceive-0")
        here.assert_complete()


def went_on_after_the_last(log: str) -> bool:
    """Both sweeps were given up, and a worker runs that knows it."""
    *_, rest = log.rpartition("crash 3 of 3")
    return log.count("crash 3 of 3") == 2 and "runs on partitions" in rest


@pytest.mark.fault(42)
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
        end = time.monotonic() + PROGRESS_SECONDS
        while not went_on_after_the_last(workers.log("perceive-0")):
            assert time.monotonic() < end, codes
            if "perceive-0" in workers.ended():
                codes[workers.ended()["perceive-0"]] += 1
                workers.start("perceive-0")
                end = time.monotonic() + PROGRESS_SECONDS
            time.sleep(0.2)
        # A process may meet both: it dies of the second while it is ending because of the first.
        assert set(codes) <= {EXIT_FAILED, -signal.SIGSEGV} and 3 <= codes.total() <= 6
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
