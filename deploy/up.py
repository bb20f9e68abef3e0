"""The whole composition on this machine, without containers: ``make up``, or ``python -m deploy.up``.

A broker, the workers, what serves over HTTP, and a fleet of simulated robots (deploy/Procfile), all on the
loopback, until Ctrl-C.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from agents.kafka.admin import ClusterError, create_topics, run
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from deploy.composition import Composition
from stream.topics import SWEEPS
from tests.data import ROOT
from tests.kafka.broker import LocalBroker
from tests.kafka.choice import VARIABLE, choose
from tests.kafka.libraries import BrokerError

PROCFILE = ROOT / "deploy" / "Procfile"
CONFIG = ROOT / "deploy" / "up.yaml"
FLEET = "robot-"
WEB = "web"
FOLDER = ROOT / "runs" / "up"
PORT = 9092
PARTITIONS = 4
SWEEPS_A_ROBOT = 36_000
"""An hour."""
FIRST_HTTP_PORT = 9401
POLL_SECONDS = 0.2
RUNNING_SECONDS = 300.0
RUNS = re.compile(r"runs on partitions \[([\d, ]*)\]")


def composition(
    settings: KafkaSettings,
    sweeps: int,
    output: TextIO,
    more: Mapping[str, str] | None = None,
    *,
    speed: float = 1.0,
    port: int = 0,
) -> Composition:
    """The processes of deploy/Procfile on a cluster, not started yet.

    sweeps : that each robot takes; speed : times 10 Hz; output : gets what the processes say
    more : of their environment
    port : of the first worker's health and metrics; 0 takes free ones
    """
    programs = str(Path(sys.executable).parent)
    environment = os.environ | {
        "PATH": os.pathsep.join([programs, os.environ.get("PATH", "")]),
        "PYTHONUNBUFFERED": "1",
        "OCTA_BOOTSTRAP": settings.bootstrap,
        "OCTA_FOLDER": str(settings.folder),
        "OCTA_SWEEPS": str(sweeps),
        "OCTA_RATE": f"{speed:g}",
        "OMP_NUM_THREADS": "1",  # nine processes share the cores; threads would only wait for each other
        **(more or {}),
    }
    return Composition(PROCFILE, ROOT, environment, output, port)


def workers_and_fleet(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of workers, and of robots."""
    return (
        [name for name in names if not name.startswith(FLEET) and name != WEB],
        [name for name in names if name.startswith(FLEET)],
    )


def start(processes: Composition) -> None:
    """Start the workers and what serves, and the fleet when all workers run.

    Robots do not wait for workers, so the first forecasts would come late.
    Raises ClusterError when a worker ends, or takes too long
    """
    workers, fleet = workers_and_fleet(processes.names)
    processes.start(workers)
    processes.start([WEB])
    end = time.monotonic() + RUNNING_SECONDS
    while not all(partitions_of(processes.lines(name)) for name in workers):
        if processes.ended() or time.monotonic() > end:
            raise ClusterError(f"not all workers run; exit codes of those that ended: {processes.ended()}")
        time.sleep(POLL_SECONDS)
    processes.start(fleet)


def partitions_of(lines: Sequence[str]) -> list[int]:
    """The partitions that a worker said last that it runs on; none before it said any."""
    found = [match[1] for match in map(RUNS.search, lines) if match]
    return [int(number) for number in found[-1].split(",")] if found and found[-1] else []


@contextmanager
def cluster(folder: Path, port: int | None) -> Iterator[KafkaSettings]:
    """A broker with all topics, empty: the one that OCTA_KAFKA names, else one of our own.

    folder : emptied first; the workers' state and our own broker lie there
    port : of our own broker; None takes a free one
    Raises BrokerError, ClusterError
    """
    named = choose(os.environ, _without_containers).bootstrap
    with alone(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if named:
            yield _with_topics(named, folder)
        else:
            with LocalBroker(folder / "kafka", port) as broker:
                yield _with_topics(broker.bootstrap, folder)


def _without_containers() -> None:
    raise OSError("without containers")


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Nobody else may empty a folder that is in use."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"{folder}: another composition runs there; end it first") from None
        yield


def _with_topics(bootstrap: str, folder: Path) -> KafkaSettings:
    settings = KafkaSettings(bootstrap=bootstrap, partitions=PARTITIONS, folder=folder / "state")
    run(create_topics(settings))
    sweeps = run(_sweeps(settings))
    if sweeps:
        raise ClusterError(
            f"{bootstrap}: {SWEEPS} holds {sweeps:,} messages already. The clocks of simulated robots begin "
            f"anew, so their sweeps would be late; delete the topics octa.*, or unset {VARIABLE}"
        )
    return settings


async def _sweeps(settings: KafkaSettings) -> int:
    places = [(SWEEPS, partition) for partition in range(settings.partitions)]
    async with Partitions.open(settings) as partitions:
        return sum(span.stop for span in (await partitions.spans(places)).values())


def interruptible() -> None:
    """Have whatever tells this process to end interrupt it, so that what it has started is stopped."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)


def main() -> int:
    """Run it until Ctrl-C, SIGTERM or SIGHUP, or until a process ends; 0 when all was told to end."""
    interruptible()
    try:
        with cluster(FOLDER, PORT) as settings:
            with composition(settings, SWEEPS_A_ROBOT, sys.stdout, port=FIRST_HTTP_PORT) as processes:
                _show(settings, processes)
                start(processes)
                while not processes.ended():
                    time.sleep(POLL_SECONDS)
                print(f"ended: {processes.ended()}; stopping all", flush=True)
            return 1
    except KeyboardInterrupt:
        print("stopped: the fleet, the web service, the workers, the broker", flush=True)
        return 0
    except BrokerError as error:
        print(f"{error}\nor name a running broker: {VARIABLE}=HOST:PORT make up", file=sys.stderr)
        return 1
    except ClusterError as error:
        print(error, file=sys.stderr)
        return 1


def _show(settings: KafkaSettings, processes: Composition) -> None:
    workers, _ = workers_and_fleet(processes.names)
    where = settings.folder.parent.relative_to(ROOT)
    print(f"broker on {settings.bootstrap}; state, models and archive in {where}; Ctrl-C ends everything")
    print(
        "metrics: " + ", ".join(f"{name} http://127.0.0.1:{processes.port(name)}/metrics" for name in workers)
    )
    print(f"forecasts, map, scores: http://127.0.0.1:{processes.port(WEB)}/openapi.json says how to ask")
    print(f"how far they are: octastream lag --bootstrap {settings.bootstrap}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
