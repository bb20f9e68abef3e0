"""The composition of ``make up`` for some minutes, and an audit: ``python -m tests.kafka.fleet --minutes 5``.

When the robots have sent their last sweep and nobody lags any more, the workers are told to stop. Then topics
and archive are compared with what was sent. Exit code 1, with the names of what is missing, when anything is.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console

from agents.console import PIPE_WIDTH
from agents.kafka.admin import ClusterError
from agents.kafka.settings import KafkaSettings
from deploy.composition import Composition
from deploy.up import (
    CONFIG,
    FLEET,
    WEB,
    cluster,
    composition,
    interruptible,
    partitions_of,
    start,
    workers_and_fleet,
)
from stream.config import load_config
from stream.topics import AGENTS
from tests.data import ROOT
from tests.kafka.audit import Report, audit
from tests.kafka.harness import wait_for_rest
from tests.kafka.ledger import Ledger, read_ledgers
from tests.kafka.libraries import BrokerError

FOLDER = ROOT / "runs" / "up-test"
RATE_HZ = 10
LATE_SECONDS = 300.0
"""A robot that needs so much longer than its drive lasts has no processor, or no broker."""
REST_SECONDS = 900.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Drive:
    """codes : exit codes by process; partitions : by Perceive worker, in the end; robots : the fleet

    drive_s : from the fleet's start to its last sweep; behind_s : from then until nobody lagged
    nonsense : messages among the sweeps that are none
    """

    codes: dict[str, int]
    partitions: dict[str, list[int]]
    robots: list[str]
    drive_s: float
    behind_s: float
    nonsense: int = 0


def drive(settings: KafkaSettings, sweeps: int, output: TextIO, speed: float = 1.0) -> Drive:
    """Run the composition until each robot has taken so many sweeps and nobody lags, then stop it.

    speed : times 10 Hz; output : gets what the processes say

    Raises AssertionError when a worker ends before, or when something takes far too long
    """
    with composition(settings, sweeps, output, speed=speed) as processes:
        _, fleet = workers_and_fleet(processes.names)
        start(processes)
        begin = time.monotonic()
        _wait_for_fleet(processes, fleet, begin + sweeps / (RATE_HZ * speed) + LATE_SECONDS)
        sent = time.monotonic()
        wait_for_rest(processes, settings, AGENTS, REST_SECONDS)
        rest = time.monotonic()
        return stop(processes, drive_s=sent - begin, behind_s=rest - sent)


def stop(processes: Composition, *, drive_s: float, behind_s: float, nonsense: int = 0) -> Drive:
    """Stop all once nobody lags, the server first; what is known of the drive then."""
    workers, fleet = workers_and_fleet(processes.names)
    partitions = {name: partitions_of(processes.lines(name)) for name in workers if "perceive" in name}
    processes.stop([WEB])
    processes.stop(workers)
    return Drive(
        codes=processes.ended(),
        partitions=partitions,
        robots=[name.removeprefix(FLEET) for name in fleet],
        drive_s=drive_s,
        behind_s=behind_s,
        nonsense=nonsense,
    )


def _wait_for_fleet(processes: Composition, fleet: Sequence[str], end: float) -> None:
    while not set(fleet) <= set(processes.ended()):
        dead = {name: code for name, code in processes.ended().items() if name not in fleet or code}
        assert not dead, f"ended while robots drive: {dead}"
        assert time.monotonic() < end, f"robots still drive: {set(fleet) - set(processes.ended())}"
        time.sleep(0.2)


def read_drive(settings: KafkaSettings) -> list[Ledger]:
    """What a drive has left in the topics."""
    return read_ledgers(settings, load_config(CONFIG, []))


def examine(settings: KafkaSettings, ledgers: Sequence[Ledger], sweeps: int, driven: Drive) -> Report:
    """The audit of a drive, and how its processes ended."""
    config, sent = load_config(CONFIG, []), dict.fromkeys(driven.robots, sweeps)
    report = audit(settings, config, ledgers, sent, driven.partitions, driven.nonsense)
    report.none("exit codes", (f"{name} {code}" for name, code in driven.codes.items() if code))
    return report


def drive_parser(about: str | None, minutes: float, hz: float) -> argparse.ArgumentParser:
    """A command line that says for how long robots drive, and how fast; with defaults."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--minutes", type=float, default=minutes, help=f"that the robots drive (default {minutes:g})"
    )
    parser.add_argument("--hz", type=float, default=hz, help=f"sweeps a second (default {hz:g})")
    return parser


def sweeps_of(parser: argparse.ArgumentParser, given: argparse.Namespace) -> int:
    """Sweeps of each robot in these minutes; ends with an error where there are none."""
    if not 0 < given.hz <= 100:
        parser.error("--hz: must be above 0 and at most 100")
    sweeps = round(given.minutes * 60 * given.hz)
    if sweeps < 1:
        parser.error("--minutes: must be above 0, for example 0.5")
    return sweeps


def main() -> int:
    """Drive, audit, print a table; 0 when all is as it must be."""
    parser = drive_parser(__doc__, 5.0, RATE_HZ)
    given = parser.parse_args()
    sweeps = sweeps_of(parser, given)
    interruptible()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    try:
        return _run(sweeps, given.hz / RATE_HZ, console)
    except (AssertionError, BrokerError, ClusterError) as error:
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(sweeps: int, speed: float, console: Console) -> int:
    with cluster(FOLDER, None) as settings:
        log = FOLDER / "processes.log"
        where = log.relative_to(ROOT)
        rate = f"{RATE_HZ * speed:g} Hz"
        console.print(f"{sweeps:,} sweeps a robot at {rate}; what the processes say is in {where}")
        with log.open("w") as output:
            driven = drive(settings, sweeps, output, speed)
        console.print(f"sent in {driven.drive_s:.0f} s, nobody behind {driven.behind_s:.0f} s later")
        report = examine(settings, read_drive(settings), sweeps, driven)
    console.print(report.table(), *report.lines(), sep="\n")
    console.print("not as it must be" if report.wrong else "nothing lost, nothing doubled")
    return int(bool(report.wrong))


if __name__ == "__main__":
    sys.exit(main())
