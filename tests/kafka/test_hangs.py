"""Workers that hang in a sweep: ended by themselves, by whoever started them, or replaced by others."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers
from tests.kafka.kill_test import SETTINGS
from tests.kafka.scenes import EXIT_FAILED, PARTITIONS, scene

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(600)]

ENDLESS = """
import ctypes, sys, time
from pathlib import Path
from agents.perceive import Perceive
from stream.sweep import Sweep
whole, once = Perceive.handle, Path(ONCE)
def handle(self, record):
    if isinstance(record, Sweep) and not once.exists():
        once.write_text(str(time.monotonic()))
        LIBRARY(None).usleep(600_000_000)
    return whole(self, record)
Perceive.handle = handle
from tests.kafka import launch
launch.main(*sys.argv[1:])
"""
"""A worker whose first sweep ends in a call of C that takes ten minutes. ``CDLL`` lets go of the
interpreter's lock as our core does, ``PyDLL`` keeps it."""


def endless(library: str, once: Path) -> tuple[str, str]:
    """What Python is told to run such a worker; the file says since when it hangs."""
    return "-c", ENDLESS.replace("LIBRARY", f"ctypes.{library}").replace("ONCE", repr(str(once)))


@pytest.mark.fault(15)
def test_a_worker_in_an_endless_call_of_c_ends_within_30_s_and_the_next_says_the_same(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", launcher=endless("CDLL", once)) as here:
        workers = here.workers
        here.wait(lambda: "perceive-0" in workers.ended(), "the watchdog ends it")
        ended_s = time.monotonic()
        assert workers.ended() == {"perceive-0": EXIT_FAILED}
        took_s = ended_s - float(once.read_text())
        print(f"ended {took_s:.1f} s after the call began")
        assert took_s < 30
        workers.start("perceive-0")
        here.assert_complete()
        assert workers.ended() == {}


@pytest.mark.fault(15)
def test_a_worker_in_an_endless_call_that_keeps_the_lock_loses_its_partitions_to_another(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    """No thread of it runs, neither the watchdog's nor the one that tells the group that it lives."""
    once = tmp_path / "once"
    with scene(local_kafka, tmp_path, "perceive-0", "judge-0", launcher=endless("PyDLL", once)) as here:
        workers = here.workers
        here.wait(once.exists, "perceive-0 hangs")
        workers.start("perceive-1")
        here.wait(lambda: workers.partitions("perceive-1") == list(range(PARTITIONS)), "perceive-1 has all")
        assert workers.ended() == {}
        workers.kill("perceive-0")
        here.assert_complete()


STUCK = """
import signal, sys, time
from pathlib import Path
from agents.perceive import Perceive
from stream.sweep import Sweep
from tests.kafka import launch
whole, once = Perceive.handle, Path(ONCE)
def handle(self, record):
    if isinstance(record, Sweep) and not once.exists():
        once.touch()
        time.sleep(600)
    return whole(self, record)
Perceive.handle = handle
launch.main(*sys.argv[1:])
"""
SUPERVISED = """
import sys
from agents.kafka.supervisor import Patience, supervise
command = [sys.executable, "-c", CODE, *sys.argv[1:]]
sys.exit(supervise({"perceive": command}, Patience(grace_s=2.0)))
"""
"""A worker that is stuck in a sweep, run as ``octastream worker`` runs several, with less patience."""


@pytest.mark.fault(7)
def test_a_worker_that_is_stuck_in_a_sweep_is_killed_after_its_grace_and_nothing_is_lost(
    local_kafka: LocalBroker, tmp_path: Path
) -> None:
    once = tmp_path / "once"
    code = STUCK.replace("ONCE", repr(str(once)))
    with scene(local_kafka, tmp_path, "judge-0") as here:
        here.robots.drive(3)
        supervised = ("-c", SUPERVISED.replace("CODE", repr(code)))
        with Workers(here.settings, tmp_path, SETTINGS, launcher=supervised) as stuck:
            stuck.start("perceive-0")
            here.wait(once.exists, "perceive-0 is stuck")
            assert stuck.terminate("perceive-0") == 128 + signal.SIGKILL
            assert "perceive: does not stop, killed" in stuck.log("perceive-0")
        here.workers.start("perceive-0")
        here.assert_complete()
        assert here.workers.ended() == {}
