"""What strikes workers and broker while robots drive; nothing may be lost, doubled or out of order."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

from stream.topics import BINNED
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import read
from tests.kafka.kill_test import RUNS
from tests.kafka.scenes import EXIT_FAILED, PARTITIONS, scene

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


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


@pytest.mark.parametrize(
    "sweeps", [pytest.param(0, id="idle", marks=pytest.mark.long), pytest.param(8, id="busy")]
)
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
