"""Workers that are killed again and again while robots drive: ``make kill-test KILLS=200``.

Some are killed at random, others at a mark of the contract (``agents/task.py``) or half-way through the file
of a snapshot, all by SIGKILL; those of ``FIRST`` come first, in every run.
Afterwards everything that one process without a break would have said must be in the log, once by identity;
the archive must hold what the log holds; and the states that the workers end with must be those of one
process that folds the whole journal.
With ``--learn`` Learn is there and killed as well; the one process is then given the recorded activations.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from agents.kafka.lag import lags
from agents.kafka.settings import KafkaSettings
from agents.options import LogOptions
from agents.simulation.topics import fingerprint, identity
from stream.config import Config, load_config
from stream.records import Binned, Outcome, Prediction, SweepRejected
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.topics import ACTIVATED, ARCHIVE, BINNED, LEARN, OUTCOMES, PERCEIVE, PREDICTIONS, REJECTED, SWEEPS
from tests.kafka.archived import read_archived
from tests.kafka.audit import Report, compare_archives, compare_shadows
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import (
    Workers,
    fresh_topics,
    read,
    recorded_models,
    refolded_digests,
    send,
    snapshot_digests,
    uninterrupted,
    wait_for_rest,
)
from tests.kafka.launch_killed import IN_SWAP, WRITING
from tests.kafka.ledger import read_ledgers

ROBOTS = tuple(f"robot{number}" for number in range(6))
PARTITIONS = 4
LAUNCHER = ("-m", "tests.kafka.launch_killed")
SETTINGS = ("grid.map_frame=odom", "learn.enabled=false")
LEARNING = ("grid.map_frame=odom", "learn.budget_ms=75")
AGENTS = ("perceive", "judge", ARCHIVE)
"""Whose states are compared."""
MARKS = (
    "claimed", "restored", "replayed", "handled", "journaled", "stored", "sent", "acknowledged", "asked",
    "half saved", WRITING, "saved", "waiting",
)  # fmt: skip
SELDOM = ("claimed", "restored", "replayed", "stored", "half saved", WRITING, "saved", IN_SWAP)
FIRST: dict[str, tuple[str, ...]] = {
    "perceive-0": ("handled", "acknowledged"),
    "perceive-1": (WRITING, "sent"),
    "judge-0": (),
    "archive-0": ("stored",),
}
"""Where workers are killed in their first lives; ``stored`` is reached by Archive and Learn only."""
FIRST_LEARNING = FIRST | {"perceive-1": (*FIRST["perceive-1"], IN_SWAP), "learn-0": ("asked",)}
KINDS = {BINNED: Binned, PREDICTIONS: Prediction, OUTCOMES: Outcome, REJECTED: SweepRejected}
STALLED_SECONDS = 300
"""Longer than any recovery takes on a machine that has other work, too."""
EARLY = 0.15
"""Share of workers that may be killed before they run; the others have a while to work."""
REST_SECONDS = 600
BACKLOG = {(PERCEIVE, SWEEPS): 60, (LEARN, PREDICTIONS): 180}
"""Sweeps that wait at most: robots must not drive far ahead of workers that are killed all the time. Learn
needs several times as long for one as Perceive."""
RUNS = "runs on partitions"
WRONG = ("lost", "duplicates", "unexpected", "out_of_order", "wrong_states", "wrong_archive", "wrong")
"""What must be nothing, of all that is found."""


def world(robot: str, seed: int) -> Iterable[Item]:
    """A robot that drives for as long as it is asked to."""
    place = ROBOTS.index(robot)
    return LogOptions(robot=robot).open(f"sim:city?sweeps=100000&beams=32&azimuths=512&seed={seed + place}")


class Robots:
    """All robots; what they see is sent when it is asked for."""

    def __init__(self, settings: KafkaSettings, seed: int, names: Sequence[str] = ROBOTS) -> None:
        self.settings, self._seed = settings, seed
        self._logs = {robot: iter(world(robot, seed)) for robot in names}
        self._items = Counter[str]()
        self.sweeps = 0

    def drive(self, sweeps: int, speed: float | None = None) -> None:
        """Send the next sweeps of every robot, with all that comes before them; at once, or at a speed."""
        send(self.settings, [list(self._next(robot, sweeps)) for robot in self._logs], speed)

    def _next(self, robot: str, sweeps: int) -> Iterator[Item]:
        left = sweeps
        for item in self._logs[robot]:
            self._items[robot] += 1
            yield item
            left -= isinstance(item, Sweep)
            self.sweeps += isinstance(item, Sweep)
            if left == 0:
                return

    def logs(self) -> list[Iterable[Item]]:
        """All that was sent, again."""
        return [itertools.islice(world(robot, self._seed), self._items[robot]) for robot in self._logs]


@dataclass(slots=True)
class Killer:
    """Kills and restarts workers.

    first : marks at which each is killed before it is at random
    kills : by what struck; killed : by name; recoveries : seconds until a new one runs
    wrong : what should not have happened
    """

    workers: Workers
    snapshots: Path
    first: dict[str, list[str]]
    random: random.Random
    kills: Counter[str] = field(default_factory=Counter)
    killed: Counter[str] = field(default_factory=Counter)
    recoveries: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    _why: dict[str, str] = field(default_factory=dict)
    _due: dict[str, float] = field(default_factory=dict)
    _started: dict[str, tuple[float, int]] = field(default_factory=dict)
    _calm: bool = False

    @property
    def names(self) -> list[str]:
        """Of all workers."""
        return list(self.first)

    @property
    def left(self) -> int:
        """Kills that must still come."""
        return sum(map(len, self.first.values()))

    def start(self, name: str, calm: bool = False) -> None:
        """Start a worker, with its end already decided unless all is calm, or others must be killed first."""
        planned = self.first[name][:1] if not calm else []
        chance = not calm and not self.left
        mark = self.random.choice(MARKS) if chance and self.random.random() < 0.6 else "".join(planned)
        count = 1 if mark in SELDOM else self.random.randint(1, 60)
        runs = self.workers.log(name).count(RUNS) if name in self.workers.processes else 0
        self.workers.start(name, f"{mark}:{count}" if mark else "")
        self._started[name] = (time.monotonic(), runs)
        self._why[name] = mark or "at random"
        early = chance and self.random.random() < EARLY
        self._due[name] = time.monotonic() + self.random.uniform(0, 8) if early else float("inf")
        self._calm = calm

    def look(self) -> None:
        """Note who runs, kill who is due, start again who is dead."""
        for name in self.names:
            self._note(name)
            if time.monotonic() > self._due[name] and name not in self.workers.ended():
                self.workers.kill(name)
                self._why[name] = "at random"
            code = self.workers.ended().get(name)
            if code is None:
                continue
            if code == -9:
                self._note_kill(name, self._why[name])
            else:
                self.wrong.append(f"{name} ended with {code}")
            self.start(name)

    def _note_kill(self, name: str, why: str) -> None:
        self.kills[why] += 1
        self.killed[name] += 1
        self.first[name] = self.first[name][1:]
        halves = [*self.snapshots.glob(f"{name.partition('-')[0]}-*/*.writing")]
        if why == WRITING and not halves:
            self.wrong.append(f"{name} was killed while it wrote a snapshot, and left no half of one")

    def _note(self, name: str) -> None:
        """How long it has taken until it ran; from then on it may be killed, once the first ones are."""
        if name not in self._started:
            if not (self._calm or self.left) and self._due[name] == float("inf"):
                self._due[name] = time.monotonic() + self.random.uniform(2, 10)
            return
        since, runs = self._started[name]
        if self.workers.log(name).count(RUNS) > runs:
            self.recoveries.append(time.monotonic() - since)
            del self._started[name]


def findings(expected: Sequence[Any], found: dict[str, list[Any]]) -> dict[str, Any]:
    """Counters by Flink's names, and examples of what is wrong."""
    counts: dict[str, Any] = {"outputs": 0, "raw_duplicates": 0, "lost": 0, "duplicates": 0, "unexpected": 0}
    examples: list[str] = []
    for topic, kind in KINDS.items():
        wanted = {identity(record): fingerprint(record) for record in expected if type(record) is kind}
        seen: dict[Any, set[str]] = defaultdict(set)
        for record in found[topic]:
            seen[identity(record)].add(fingerprint(record))
        counts["outputs"] += len(seen)
        counts["raw_duplicates"] += len(found[topic]) - len(seen)
        lost = [name for name in wanted if name not in seen]
        twice = [name for name, prints in seen.items() if len(prints) > 1]
        other = [name for name, prints in seen.items() if len(prints) == 1 and wanted.get(name) not in prints]
        counts["lost"] += len(lost)
        counts["duplicates"] += len(twice)
        counts["unexpected"] += len(other)
        examples += [f"{what} {name}" for what, names in (("lost", lost), ("twice", twice), ("other", other))
                     for name in names[:3]]  # fmt: skip
    counts["out_of_order"] = out_of_order(found)
    return {**counts, "examples": examples}


def out_of_order(found: dict[str, list[Any]]) -> int:
    """Records that come, for the first time, after one that should follow them."""
    count, newest = 0, dict[str, int]()
    seen = set[Any]()
    for topic, number in ((BINNED, "seq"), (PREDICTIONS, "stamp_ns")):
        for record in found[topic]:
            if identity(record) in seen:
                continue
            seen.add(identity(record))
            name = f"{topic} {record.robot_id if topic == BINNED else record.stream_id}"
            count += getattr(record, number) <= newest.get(name, -1)
            newest[name] = getattr(record, number)
    return count


def run(kills: int, seed: int, folder: Path, learn: bool) -> dict[str, Any]:
    """The whole test; what it found."""
    begin = time.monotonic()
    chosen, first = (LEARNING, FIRST_LEARNING) if learn else (SETTINGS, FIRST)
    config = load_config(None, list(chosen))
    with LocalBroker(folder / "broker") as broker:
        settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=PARTITIONS, folder=folder / "state")
        fresh_topics(settings)
        robots = Robots(settings, seed)
        with Workers(settings, folder, chosen, launcher=LAUNCHER) as workers:
            marks = {name: list(first[name]) for name in first}
            killer = Killer(workers, settings.folder / "snapshots", marks, random.Random(seed))
            _drive(kills, robots, killer)
            for name in killer.names:
                workers.kill(name)
                killer.start(name, calm=True)
            robots.drive(3)
            wait_for_rest(workers, settings, (*AGENTS, LEARN) if learn else AGENTS, REST_SECONDS)
            codes = workers.stop()
        found = {topic: read(settings, topic) for topic in KINDS}
        states = snapshot_digests(settings, AGENTS)
        wrong_states = [
            task
            for task, digest in refolded_digests(config, settings, AGENTS).items()
            if states.get(task) != digest
        ]
        expected = uninterrupted(config, robots.logs(), recorded_models(config, settings) if learn else None)
        models = {record.model_id for record in read(settings, ACTIVATED)}
        archive = archive_report(settings, config, learn)
    return {
        "kills": dict(killer.kills),
        "killed": dict(killer.killed),
        "sweeps": robots.sweeps,
        "models_activated": len(models),
        **findings(expected, found),
        "states": len(states),
        "wrong_states": wrong_states,
        "archive": {what: f"{there} of {wanted}" for what, wanted, there in archive.rows},
        "wrong_archive": archive.lines(),
        "wrong": [*killer.wrong, *(f"{name} stopped with {code}" for name, code in codes.items() if code)],
        "recovery_s": {
            "median": round(statistics.median(killer.recoveries), 1),
            "max": round(max(killer.recoveries), 1),
            "count": len(killer.recoveries),
        },
        "seconds": round(time.monotonic() - begin),
    }


def archive_report(settings: KafkaSettings, config: Config, learn: bool) -> Report:
    """What lies in the archive beside what lies in the topics; with Learn, shadows beside predictions."""
    report, ledgers = Report(), read_ledgers(settings, config)
    if learn:
        compare_shadows(report, ledgers)
    compare_archives(report, ledgers, [read_archived(settings, ledger.partition) for ledger in ledgers])
    return report


def _drive(kills: int, robots: Robots, killer: Killer) -> None:
    """Have robots drive until so many workers have been killed, the first ones too, or something is wrong."""
    for name in killer.names:
        killer.start(name)
    last, progressed = 0, time.monotonic()
    while (last < kills or killer.left) and not killer.wrong:
        if not is_behind(robots.settings, [name.partition("-")[0] for name in killer.names]):
            robots.drive(1)
        killer.look()
        done = sum(killer.kills.values())
        if done > last:
            last, progressed = done, time.monotonic()
            print(f"\r{done} of {kills} kills, {robots.sweeps} sweeps", end="", file=sys.stderr)
        if time.monotonic() - progressed > STALLED_SECONDS:
            killer.wrong.append(f"no worker was killed for {STALLED_SECONDS} s")
        time.sleep(0.1)
    print(file=sys.stderr)


def is_behind(settings: KafkaSettings, agents: Sequence[str]) -> bool:
    """Whether one of these agents has too many sweeps, or their predictions, left to acknowledge."""
    left = Counter[tuple[str, str]]()
    for lag in asyncio.run(lags(settings)):
        left[lag.agent, lag.place[0]] += lag.left if lag.agent in agents else 0
    return any(left[what] >= most for what, most in BACKLOG.items())


def main() -> int:
    """Run it, print what it found; 0 when nothing was lost, doubled, or out of order."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20, help="at least those of FIRST (default 20)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--learn", action="store_true", help="with Learn, which is killed as well")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        found = run(given.kills, given.seed, given.folder or Path(temporary), given.learn)
    print(json.dumps(found, indent=2))
    return int(any(found[name] for name in WRONG))


if __name__ == "__main__":
    sys.exit(main())
