"""The composition of ``make up`` for an hour, with mishaps at random: ``python -m tests.soak --minutes 60``.

Three robots drive, workers predict, judge, learn and archive; what serves follows them. Processes are killed,
told to end, or stopped for a while; the broker falls silent or is killed; topics get what is no sweep, or one
twice. After two fifths nothing ends a process on purpose, so that growth has time to show: whatever lets
sweeps pile up strikes everybody once, at its worst, and from then on memory is read. Afterwards topics and
archive are compared with what was sent, as ``make up-test`` does.

Exit code 1, with reasons, when something is lost, doubled or rejected; when a process ends by itself, unless
it was stopped for long and says (70) that another has taken over; when memory, handles or threads of a
process grow by more than their confidence interval; or when the 99th percentile from sweep to prediction,
outside of mishaps, is above the period of the sensor, or rests on less than half of the sweeps.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from aiokafka.errors import KafkaError
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from agents.console import PIPE_WIDTH
from agents.kafka.admin import ClusterError
from agents.kafka.settings import KafkaSettings
from deploy.composition import Composition
from deploy.up import CONFIG, PARTITIONS, alone, composition, interruptible, start, workers_and_fleet
from stream.config import load_config, to_dict
from tests.bench import machine
from tests.data import ROOT
from tests.kafka.audit import SHOWN
from tests.kafka.broker import LocalBroker
from tests.kafka.fleet import (
    LATE_SECONDS,
    RATE_HZ,
    REST_SECONDS,
    Drive,
    drive_parser,
    examine,
    read_drive,
    stop,
    sweeps_of,
)
from tests.kafka.harness import fresh_topics
from tests.kafka.libraries import BrokerError
from tests.soak.figures import (
    STRUCK_SHARE,
    grows,
    growth_of,
    joint_level,
    plain,
    told,
    too_slow,
    unshown,
    waits_of,
)
from tests.soak.gauges import Gauges
from tests.soak.mishaps import Mishaps
from tests.soak.plot import plot
from tests.soak.slope import Slope

FOLDER = ROOT / "runs" / "soak"
LOG = "processes.log"
BROKER = "broker"
"""Not ours: its memory is shown, and its growth is not judged."""
JUDGED_SECONDS = 2400.0
"""A shorter drive has no rehearsal, and nothing is said of growth."""
ROUGH = 2 / 5
"""Of a drive, in which mishaps of all kinds strike."""
SITE = Path(__file__).parent / "site"
"""Holds what the interpreters of the processes do first."""
GAP_SECONDS = (15.0, 75.0)
"""Between a mishap that is over and the next."""
LAG_SECONDS = 2.0
"""So much of the sweeps may wait to be acknowledged when all is well: workers acknowledge twice a second."""


class Soak:
    """One run: what drives, what strikes, what is read.

    sweeps : that each robot takes; hz : sweeps a second; seed : of the mishaps
    """

    def __init__(self, folder: Path, sweeps: int, hz: float, seed: int) -> None:
        self.folder, self.sweeps, self.hz, self.seed = folder, sweeps, hz, seed
        self.begin, self.begin_ms, self.read_s = 0.0, 0.0, 0.0

    @property
    def is_judged(self) -> bool:
        """Whether it is long enough to say what grows."""
        return self.sweeps / self.hz >= JUDGED_SECONDS

    def run(self, output: TextIO, progress: Progress) -> dict[str, Any]:
        """Drive, wait until nobody lags, stop all, compare; everything that is shown."""
        with LocalBroker(self.folder / "kafka") as broker:
            settings = KafkaSettings(
                bootstrap=broker.bootstrap, partitions=PARTITIONS, folder=self.folder / "state"
            )
            fresh_topics(settings)
            path = {"PYTHONPATH": os.pathsep.join([str(SITE), *filter(None, [os.environ.get("PYTHONPATH")])])}
            with composition(settings, self.sweeps, output, path, speed=self.hz / RATE_HZ) as processes:
                driven, mishaps, gauges = self._drive(processes, broker, settings, progress)
            reading = progress.add_task("reading what lies in the topics", total=None)
            ledgers = read_drive(settings)
            report = examine(settings, ledgers, self.sweeps, driven)
            progress.remove_task(reading)
        waits = waits_of(ledgers, mishaps.happened, self.begin_ms)
        count = len(processes.names)
        growth = {
            name: growth_of(readings, self.read_s, count) for name, readings in gauges.processes.items()
        }
        own = {name: item for name, item in growth.items() if name != BROKER}
        missing = [f"{what}: {', '.join(names[:SHOWN])}" for what, names in report.wrong.items()]
        wrong = [*missing, *mishaps.wrong, *too_slow(waits.summary(), 1000 / self.hz, self.is_judged)]
        if self.is_judged:
            wrong += [line for name, item in own.items() for line in grows(name, item)]
            wrong += [f"{name}: growth was not measured" for name, item in own.items() if not item.measured]
        swaps = sorted((at - self.begin_ms) / 1000 for ledger in ledgers for at in ledger.activation_ms)
        return plain(
            {
                "machine": machine.describe(),
                "given": {"sweeps": self.sweeps, "hz": self.hz, "seed": self.seed},
                "config": to_dict(load_config(CONFIG, [])),
                "driven": driven,
                "counts": report.rows,
                "waits": waits.summary(),
                "waits_by_minute": waits.by_minute(),
                "mishaps": mishaps.happened,
                "restarts": mishaps.restarts,
                "lagging": mishaps.lagging,
                "growth": growth,
                "growth_judged": self.is_judged,
                "growth_joint_level": joint_level(count),
                "growth_unshown": [line for name, item in own.items() for line in unshown(name, item)],
                "growth_read_from_s": self.read_s,
                "processes": gauges.processes,
                "disk_mib": gauges.disk,
                "swaps_s": swaps,
                "wrong": wrong,
            }
        )

    def _drive(
        self, processes: Composition, broker: LocalBroker, settings: KafkaSettings, progress: Progress
    ) -> tuple[Drive, Mishaps, Gauges]:
        _, fleet = workers_and_fleet(processes.names)
        start(processes)
        self.begin, self.begin_ms = time.monotonic(), 1000 * time.time()
        mishaps = Mishaps(
            processes, broker, settings, random.Random(self.seed),
            may_wait=round(LAG_SECONDS * self.hz * len(fleet)), begin=self.begin,
        )  # fmt: skip

        def pids() -> dict[str, int]:
            return processes.pids() | ({BROKER: broker.pid} if broker.pid else {})

        folders = {BROKER: broker.folder, "models, snapshots, archive": settings.folder}
        with Gauges(pids, folders, self.begin) as gauges:
            self._strike(mishaps, progress)
            sent = time.monotonic()
            mishaps.rest(REST_SECONDS)
        behind_s = time.monotonic() - sent
        driven = stop(processes, drive_s=sent - self.begin, behind_s=behind_s, nonsense=mishaps.nonsense)
        return driven, mishaps, gauges

    def _strike(self, mishaps: Mishaps, progress: Progress) -> None:
        """Mishaps until the robots have arrived."""
        whole_s = self.sweeps / self.hz
        bar, rough_s = progress.add_task("driving", total=whole_s), ROUGH * whole_s
        dice = random.Random(self.seed + 1)
        mishaps.recover("start", "all")
        while mishaps.driving:
            mishaps.wait(dice.uniform(*GAP_SECONDS))
            gone_s = time.monotonic() - self.begin
            progress.update(bar, completed=gone_s, description=f"driving, {len(mishaps.happened)} mishaps")
            if gone_s > whole_s + LATE_SECONDS:
                mishaps.wrong.append(f"robots still drive {LATE_SECONDS:g} s late")
                break
            if self.is_judged and not self.read_s and gone_s >= rough_s:
                mishaps.rehearse()
                self.read_s = time.monotonic() - self.begin
            elif mishaps.driving:
                mishaps.strike(mishaps.gentle if self.read_s else mishaps.kinds)
        progress.remove_task(bar)


def tables(found: dict[str, Any]) -> list[Table]:
    """Counts, mishaps, growth."""
    counts = Table("what", "expected", "found", title="what lies in topics and archive")
    for what, expected, there in found["counts"]:
        counts.add_row(what, expected, f"{there:,}")
    struck = Table("mishap", "times", "longest until over (s)")
    kinds = Counter(item["kind"] for item in found["mishaps"])
    for kind, times in kinds.items():
        longest = max(item["end_s"] - item["begin_s"] for item in found["mishaps"] if item["kind"] == kind)
        struck.add_row(kind, str(times), f"{longest:.0f}")
    growth = Table(
        "process", "minutes", "memory (MiB/h)", "jointly", "handles (/h)", "threads (/h)",
        title="growth, with intervals at 95 %",
    )  # fmt: skip
    for name, item in found["growth"].items():
        memory, handles, threads = map(_told, item["slopes"].values())
        growth.add_row(
            name, f"{item['minutes']:.0f}", memory, _told(item["joint"]["rss_mib"]), handles, threads
        )
    return [counts, struck, growth]


def _told(slope: dict[str, float] | None) -> str:
    return told(Slope(**slope) if slope else None)


def _show(console: Console, found: dict[str, Any]) -> None:
    console.print(*tables(found), sep="\n")
    waits, driven, given = found["waits"], found["driven"], found["given"]
    left_out = waits["struck_share"]
    for name, item in (("all sweeps", "all"), (f"outside of mishaps ({1 - left_out:.1%} of sweeps)", "calm")):
        if row := waits[item]:
            console.print(
                f"from sweep to prediction, {name}: p50 {row['p50']:.0f} ms, p99 {row['p99']:.0f} ms, "
                f"longest {row['max']:.0f} ms"
            )
    restarts = ", ".join(f"{name} {times}" for name, times in found["restarts"].items())
    console.print(
        f"{left_out:.1%} of {waits['sweeps']:,} sweeps were predicted while a mishap lasted and left out "
        f"({STRUCK_SHARE:.0%} may be); {len(found['swaps_s']):,} swaps; "
        f"restarts of who was stopped and taken over: {restarts or 'none'}"
    )
    console.print(
        f"sent in {driven['drive_s']:.0f} s, {given['sweeps'] / given['hz']:.0f} s of driving; "
        f"nobody behind {driven['behind_s']:.0f} s later"
    )
    for line in found["growth_unshown"] if found["growth_judged"] else ():
        console.print(f"[yellow]{escape(line)}[/]")
    for line in found["wrong"]:
        console.print(f"[bold red]wrong:[/] {escape(line)}")
    if not found["wrong"]:
        grows = "nothing was seen to grow" if found["growth_judged"] else "too short to say what grows"
        console.print(f"nothing lost, nothing doubled, {grows}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it, write soak.json and soak.png, print what they show; 0 when all is as it must be."""
    parser = drive_parser(__doc__, 60.0, 2.0)
    parser.prog = "python -m tests.soak"
    parser.add_argument("--seed", type=int, default=1, help="of the mishaps (default 1)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="emptied first (default runs/soak)")
    given = parser.parse_args(arguments)
    sweeps = sweeps_of(parser, given)
    interruptible()
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    folder = given.folder.resolve()
    if folder.exists() and any(folder.iterdir()) and not (folder / LOG).exists():
        parser.error(f"--folder {folder}: holds something else than a soak; name another")
    try:
        with alone(folder):
            return _run(Soak(folder, sweeps, given.hz, given.seed), console)
    except (AssertionError, BrokerError, ClusterError, KafkaError) as error:
        console.print(str(error), markup=False)
        return 1
    except KeyboardInterrupt:
        return 130


def _run(soak: Soak, console: Console) -> int:
    shutil.rmtree(soak.folder, ignore_errors=True)
    soak.folder.mkdir(parents=True)
    with (soak.folder / LOG).open("w") as output, Progress(console=Console(stderr=True)) as progress:
        found = soak.run(output, progress)
    (soak.folder / "soak.json").write_text(json.dumps(found, indent=1) + "\n")
    plot(found, soak.folder / "soak.png")
    _show(console, found)
    console.print(f"soak.json, soak.png and {LOG} are in {soak.folder}", markup=False)
    return int(bool(found["wrong"]))


if __name__ == "__main__":
    sys.exit(main())
