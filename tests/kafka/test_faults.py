"""What strikes workers and broker while robots drive; nothing may be lost, doubled or out of order."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import MessageSizeTooLargeError

from agents.failure import EXIT_ERROR
from agents.journal import Place
from agents.kafka.admin import admin_client
from agents.kafka.lag import Lag, lags
from agents.kafka.log import KafkaLog
from agents.kafka.produce import produce
from agents.kafka.settings import KafkaSettings
from stream.topics import (
    ALARMS,
    BINNED,
    BY_NAME,
    MAX_MESSAGE_BYTES,
    PERCEIVE,
    PREDICTIONS,
    REJECTED,
    STATIC,
    SWEEPS,
)
from stream.transform import Transform
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import fresh_topics, read, wait_for_rest
from tests.kafka.kill_test import RUNS
from tests.kafka.scenes import EXIT_FAILED, PARTITIONS, REST_SECONDS, scene
from tests.kafka.test_probe import BY_COMMAND, ask, url_in_log
from tests.kafka.test_repair import forget

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.fault(10)
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


@pytest.mark.fault(9)
@pytest.mark.parametrize(
    "seconds", [pytest.param(1, marks=pytest.mark.long), 10, pytest.param(60, marks=pytest.mark.long)]
)
def test_a_broker_that_falls_silent_for_a_while_stops_nobody(
    local_kafka: LocalBroker, tmp_path: Path, seconds: float
) -> None:
    """Connections stay open and nothing comes over them, as where a network drops packets."""
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0") as here:
        here.robots.drive(8)  # more than is done when it falls silent
        with local_kafka.silent():
            time.sleep(seconds)
        here.assert_complete()
        assert here.workers.ended() == {}


@pytest.mark.fault(41)
@pytest.mark.long
def test_ten_times_the_sweeps_at_once_are_told_as_lag_and_none_is_lost(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    pace = 10
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0") as here:
        here.robots.drive(pace)
        wait_for_rest(here.workers, here.settings, ["perceive", "judge"], REST_SECONDS)
        here.robots.drive(10 * pace)
        assert left_to(PERCEIVE, here.settings) > pace, "it was as fast as the burst, which shows nothing"
        here.assert_complete()
        assert here.workers.ended() == {}


SLOW = """
import sys, time
from agents.kafka import driver
from tests.kafka import launch
whole = driver.record_of
def record_of(message):
    time.sleep(0.2)
    return whole(message)
driver.record_of = record_of
launch.main(*sys.argv[1:])
"""
"""A worker that the broker could hand messages to far faster than it takes them."""
MESSAGE_BYTES, MESSAGES = 2 * 2**20, 250
GROWTH_BYTES = 300 * 2**20
"""Queues of 32, buffers of 16 and two fetches are 110 MiB of these messages, of which there are 500 MiB."""


@pytest.mark.fault(41)
@pytest.mark.long
def test_what_a_slow_worker_has_not_come_to_waits_in_the_log_and_not_in_its_memory(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", launcher=("-c", SLOW)) as here:
        pid, settings = here.workers.processes["perceive-0"].pid, here.settings
        usual = peak_bytes(pid)
        asyncio.run(send_large(settings))
        assert left_to(PERCEIVE, settings) > MESSAGES // 2, "it was as fast as the burst, which shows nothing"
        wait_for_rest(here.workers, settings, ["perceive"], REST_SECONDS)
        grown = peak_bytes(pid) - usual
        print(f"peak memory grew by {grown >> 20} MiB")
        assert grown < GROWTH_BYTES < MESSAGES * MESSAGE_BYTES
        assert [letter.reason for letter in read(settings, REJECTED)] == ["corrupt"] * MESSAGES
        assert here.workers.ended() == {}


async def send_large(settings: KafkaSettings) -> None:
    """Large messages that are no sweeps, all of one robot."""
    value = os.urandom(MESSAGE_BYTES)
    async with AIOKafkaProducer(**settings.clients(), max_request_size=2 * MESSAGE_BYTES) as producer:
        for _ in range(MESSAGES):
            await producer.send_and_wait(SWEEPS, value, key=b"robot0")


def left_to(agent: str, settings: KafkaSettings) -> int:
    """Messages that an agent has not acknowledged yet."""
    return sum(lag.left for lag in asyncio.run(lags(settings)) if lag.agent == agent)


def peak_bytes(pid: int) -> int:
    """The most memory that a process has had resident."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if "VmHWM" in line]
    return 1024 * int(line.split()[1])


@pytest.mark.fault(8)
@pytest.mark.long
def test_a_second_worker_joins_and_leaves_again_and_again(local_kafka: LocalBroker, tmp_path: Path) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", static=False) as here:
        workers = here.workers
        for _ in range(3):
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


@pytest.mark.fault(14)
@pytest.mark.long
@pytest.mark.parametrize("sweeps", [pytest.param(0, id="idle"), pytest.param(8, id="busy")])
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


@pytest.mark.fault(44)
@pytest.mark.long
def test_of_two_workers_with_one_name_the_first_ends_and_says_why(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0") as here:
        workers = here.workers
        first = workers.processes.pop("perceive-0")
        try:
            workers.start("perceive-0")
            first.wait(180)
            assert first.returncode == EXIT_ERROR
            said = workers.log("perceive-0")
            assert "perceive: another worker has the name --instance perceive-0, so this one ends" in said
            here.assert_complete()
            assert workers.ended() == {}
        finally:
            first.kill()
            first.wait()


@pytest.mark.fault(13)
@pytest.mark.long
def test_what_retention_deleted_while_a_worker_was_away_is_told_and_counted(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", launcher=("-c", BY_COMMAND)) as here:
        workers, settings = here.workers, here.settings
        here.robots.drive(2)
        wait_for_rest(workers, settings, [PERCEIVE], REST_SECONDS)
        assert workers.terminate("perceive-0") == 0
        here.robots.drive(3)
        unread = next(lag for lag in perceive_lags(settings) if lag.left)
        forget(settings, *unread.place)
        [lag] = [lag for lag in perceive_lags(settings) if lag.place == unread.place]
        assert (lag.lost, lag.left, lag.committed) == (3, 0, unread.committed)
        workers.start("perceive-0")
        here.robots.drive(1)
        wait_for_rest(workers, settings, [PERCEIVE], REST_SECONDS)
        topic, partition = unread.place
        gap = {"agent": PERCEIVE, "topic": topic, "partition": partition, "from": lag.committed}
        [told] = [event for event in read(settings, ALARMS) if event.kind == "gap"]
        assert told.fields == gap | {"to": lag.first}
        labels = f'agent="{PERCEIVE}",partition="{partition}",topic="{topic}"'
        assert (
            f"octastream_messages_lost_total{{{labels}}} 3.0"
            in ask(f"{url_in_log(workers, 'perceive-0')}/metrics")[1]
        )
        assert len(read(settings, PREDICTIONS)) == 3 * (2 + 3 + 1) - 3
        assert workers.ended() == {}


def perceive_lags(settings: KafkaSettings) -> list[Lag]:
    """How far Perceive is with the sweeps."""
    found = asyncio.run(lags(settings))
    return [lag for lag in found if lag.agent == PERCEIVE and lag.place[0] == SWEEPS]


@pytest.mark.fault(24)
def test_what_is_above_eight_mebibytes_is_refused_at_the_producer_and_nothing_is_sent(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    """Sweeps are cut before they are as large; a transform is not."""
    settings = KafkaSettings(bootstrap=local_kafka.bootstrap, partitions=1, folder=tmp_path)
    fresh_topics(settings)
    large = Transform(
        robot_id="ant", stamp_ns=7, parent="base", child="x" * (MAX_MESSAGE_BYTES + 1),
        translation=(0.0, 0.0, 0.0), rotation=(0.0, 0.0, 0.0, 1.0), static=True,
    )  # fmt: skip

    async def append() -> None:
        async with KafkaLog(settings) as log:
            await log.append(STATIC, bytes(MAX_MESSAGE_BYTES + 1), key=b"ant")

    words = rf"{STATIC} of ant: .*message is 83\d{{5}} bytes .* larger than"
    for attempt in (produce([large], settings, speed=None), append()):
        with pytest.raises(MessageSizeTooLargeError, match=words):
            asyncio.run(attempt)
    assert read(settings, STATIC) == []


# ---- kills ---------------------------------------------------------------------------------------------


FETCHED = """
import os, signal, sys
from pathlib import Path
from agents.kafka.driver import Driver
from stream.topics import SWEEPS
from tests.kafka import launch
whole, once = Driver.offer, Path(ONCE)
def offer(self, message):
    whole(self, message)
    if message.place[0] == SWEEPS and self.queued_of(message.place) and not once.exists():
        once.touch()
        os.kill(os.getpid(), signal.SIGKILL)
Driver.offer = offer
launch.main(*sys.argv[1:])
"""
"""A worker that is killed when it has fetched a sweep, and nothing else has been done with it."""


@pytest.mark.long
@pytest.mark.fault(1)
def test_a_worker_that_was_killed_after_fetching_is_followed_by_one_that_says_the_same(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    launcher = ("-c", FETCHED.replace("ONCE", repr(str(tmp_path / "once"))))
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", launcher=launcher) as here:
        workers = here.workers
        here.robots.drive(8)
        here.wait(lambda: workers.ended() == {"perceive-0": -signal.SIGKILL}, "perceive-0 is killed")
        workers.start("perceive-0")
        here.assert_complete()
        assert workers.ended() == {}


@pytest.mark.long
@pytest.mark.fault(1)
def test_a_worker_that_was_killed_after_folding_is_followed_by_one_that_says_the_same(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "judge-0") as here:
        workers = here.workers
        workers.start("perceive-0", "handled:3")
        workers.wait_until_running(["perceive-0"])
        here.robots.drive(8)
        here.wait(lambda: workers.ended() == {"perceive-0": -signal.SIGKILL}, "perceive-0 is killed")
        workers.start("perceive-0")
        here.assert_complete()
        assert workers.ended() == {}


IN_CORE = """
import os, signal, sys, threading, time
from pathlib import Path
from native.binning import Binner
from tests.kafka import launch
whole, once = Binner.run, Path(ONCE)
def kill():
    time.sleep(0.05)
    os.kill(os.getpid(), signal.SIGKILL)
def run(self, *arguments):
    if not once.exists():
        once.touch()
        threading.Thread(target=kill).start()
        while True:
            whole(self, *arguments)
    return whole(self, *arguments)
Binner.run = run
launch.main(*sys.argv[1:])
"""
"""A worker that is killed while it bins: the killing thread runs when the core has let go of the lock."""


@pytest.mark.long
@pytest.mark.fault(2)
def test_a_worker_that_was_killed_within_the_core_is_followed_by_one_that_says_the_same(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    launcher = ("-c", f"ONCE = {str(tmp_path / 'once')!r}{IN_CORE}")
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", launcher=launcher) as here:
        workers = here.workers
        here.wait(lambda: workers.ended() == {"perceive-0": -signal.SIGKILL}, "perceive-0 is killed")
        workers.start("perceive-0")
        here.assert_complete()
        assert workers.ended() == {}


# ---- topics that refuse -------------------------------------------------------------------------------


def set_topic(settings: KafkaSettings, topic: str, **changes: str) -> None:
    """Give a topic other settings than it should have, or those that it should have."""

    async def alter() -> None:
        configs = BY_NAME[topic].config() | {name.replace("_", "."): value for name, value in changes.items()}
        async with admin_client(settings) as client:
            await client.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])

    asyncio.run(alter())


async def send_nonsense(settings: KafkaSettings) -> Place:
    """A message that is no sweep; its partition."""
    async with AIOKafkaProducer(**settings.clients()) as producer:
        sent = await producer.send_and_wait(SWEEPS, b"no sweep", key=b"robot0")
    return (SWEEPS, sent.partition)


@pytest.mark.long
@pytest.mark.fault(11, 43)
def test_a_worker_whose_dead_letters_are_refused_ends_and_acknowledges_nothing(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0") as here:
        workers, settings = here.workers, here.settings
        set_topic(settings, REJECTED, max_message_bytes="10")
        place = asyncio.run(send_nonsense(settings))
        assert workers.processes["perceive-0"].wait(60) == EXIT_FAILED
        assert "MessageSizeTooLargeError" in workers.log("perceive-0")
        [lag] = [lag for lag in asyncio.run(lags(settings)) if (lag.agent, lag.place) == (PERCEIVE, place)]
        assert not lag.committed and lag.left == 1
        set_topic(settings, REJECTED)
        workers.start("perceive-0")
        here.robots.drive(2)
        wait_for_rest(workers, settings, ["perceive", "judge"], REST_SECONDS)
        assert [letter.reason for letter in read(settings, REJECTED)] == ["corrupt"]
        assert workers.ended() == {}
