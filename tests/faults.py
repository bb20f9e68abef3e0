"""The faults that octastream survives, and the tests that show it: ``make faults ROWS='1 7 13'``.

A test says by a marker which faults it shows: ``@pytest.mark.fault(16, 17)``. Here these tests are run, and a
table says of each fault how many there were and how they ended. Where no broker can be had, Kafka tests are
left out and the table says why. What was left out is not shown, and not counted among what holds.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import docker
import pytest
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.data import ROOT
from tests.kafka.choice import choose

HOLDS = "holds"
MARKER = "fault"
USE = f"pytest.mark.{MARKER}("


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens, and what has to come of it; ``missing`` is what of that no test shows."""

    what: str
    expected: str
    missing: str = ""


FAULTS: dict[int, Fault] = {
    1: Fault(
        "kill -9 after a fetch, before or after the fold", "comes again; same ids and values, nothing lost"
    ),
    2: Fault("kill -9 within the C core", "comes again; same ids and values, nothing lost"),
    3: Fault(
        "kill -9 after a step has stored, before it sends",
        "stored again under the same name; sent once by id",
    ),
    4: Fault(
        "kill -9 after a send, before it counts as acknowledged", "sent again with the same id and bits"
    ),
    5: Fault("kill -9 between acknowledgement and commit", "comes again and is dropped; nothing lost"),
    6: Fault("kill -9 while a snapshot is written", "the older snapshot serves, the torn one is passed over"),
    7: Fault(
        "SIGTERM in mid-sweep, or with a handler that is stuck", "exit 0; a kill after grace loses nothing"
    ),
    8: Fault("a worker joins and leaves every 5 s", "one owner a partition, order kept, nothing lost"),
    9: Fault("the broker does not answer for 1, 10, 60 s", "workers go on where they were; nothing lost"),
    10: Fault("the broker is killed and comes back", "workers go on from what is committed; nothing lost"),
    11: Fault(
        "a send is refused or not confirmed", "the worker ends (70) or tries again; never acknowledged"
    ),
    12: Fault("a commit is lost or comes too late", "duplicates at most, which are dropped"),
    13: Fault(
        "retention deletes what nobody has read", "a gap event, a counter, a figure in `octastream lag`"
    ),
    14: Fault("a worker is stopped for 20 s and goes on", "others take over; what it says late is void"),
    15: Fault(
        "a call of C that never returns",
        "told by /health, exit 70 within 30 s, counted as a crash",
        missing="one that keeps the interpreter's lock: no exit; others take over, as is shown",
    ),
    16: Fault("a sweep comes twice", "changes nothing and is counted"),
    17: Fault(
        "a sweep comes late, within the window and beyond", "folded at its own age; dead letter `late`"
    ),
    18: Fault(
        "a robot's clock is set anew",
        "ahead: believed with the second witness; back: a new epoch",
        missing="back: such sweeps end as `late`, no epoch begins (docs/decisions/0018)",
    ),
    19: Fault(
        "stamps of 0, of 2^63 - 1, an hour off",
        "dead letter `bad_stamp`, behind `late`; no other is held up",
        missing="how far clocks are off: no metric tells it",
    ),
    20: Fault(
        "a pose is missing, too old, not rigid", "held, then dead letter `no_pose`; never the identity"
    ),
    21: Fault(
        "coordinates NaN, infinite, 1e30, denormal; odd intensities",
        "points dropped and counted; too many: `bad_points`; intensities brought within 0..1 and counted",
    ),
    22: Fault("no points, far too many points", "a valid empty sweep; dead letter `too_many`"),
    23: Fault("a payload is cut off, or bits are turned over", "dead letter `corrupt`; no read past the end"),
    24: Fault("a message above 8 MiB", "refused at the producer with its topic and size, nothing sent"),
    25: Fault("an unknown schema, a message without value", "dead letter `schema` or `corrupt`"),
    26: Fault("10,000 robots and streams that nobody knows", "bounded state, the longest silent forgotten"),
    27: Fault("an allocation of the C core fails, each in turn", "an error code, handles intact, no leak"),
    28: Fault(
        "more cells than a container may hold",
        "the oldest evicted and counted, memory does not grow; `too_many` for one sweep",
    ),
    29: Fault("a model file is empty", "refused before the exchange; the old model stays"),
    30: Fault("a model file is cut off or half written", "refused before the exchange; the old model stays"),
    31: Fault("a bit of a model file is turned over", "refused by its digest and its canary"),
    32: Fault(
        "a model of another shape; one that says NaN", "refused; at run time the built-in one takes over"
    ),
    33: Fault(
        "model after model is exchanged under load",
        "each prediction names one model; memory does not grow",
    ),
    34: Fault("the registry is away or half written", "the current model stays; pointers change by renaming"),
    35: Fault(
        "training diverges, says NaN, runs out of memory, dies, hangs",
        "serving goes on; the next training begins with the last weights",
    ),
    36: Fault(
        "training takes the processor",
        "a budget a sweep, one thread, lower priority",
        missing="the 99th percentile beside training: `make soak`, `make bench-kafka`",
    ),
    37: Fault("labels are poisoned", "the gate rejects, the guard rolls back"),
    38: Fault(
        "the disk of the archive is full",
        "an error, no half file, no acknowledgement; goes on once there is room",
    ),
    39: Fault("a write to the archive is torn", "the old file stays; the next process writes it again"),
    40: Fault(
        "a file of the archive is torn, or bits of it are turned over",
        "found by its checksums, set aside, made again of the log; else lost by name",
    ),
    41: Fault(
        "ten times the sweeps at once",
        "bounded memory, lag is told, nothing lost",
    ),
    42: Fault("a message that crashes whoever handles it", "dead letter `poison` after three crashes"),
    43: Fault(
        "the topic of dead letters refuses", "exit 70, nothing acknowledged; goes on once it takes them"
    ),
    44: Fault(
        "two workers with one name",
        "one of them ends and says why; nothing lost",
    ),
}

UNTESTED: dict[int, str] = {}
"""Faults that no test shows, with the reason."""


def no_broker() -> str:
    """Why Kafka tests cannot run on this machine; empty where they can."""
    if choose(os.environ, docker.from_env).kind != "local":
        return ""
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"no broker: neither OCTA_KAFKA nor Docker, and no {' or '.join(missing)}" if missing else ""


@dataclass(slots=True, eq=False)  # pytest keeps plugins in a set
class Rows:
    """A plugin: keeps the tests of some faults, and notes how they end.

    chosen : numbers; without_kafka : why Kafka tests are to be skipped, if they are
    """

    chosen: frozenset[int]
    without_kafka: str = ""
    tests: dict[int, list[str]] = field(default_factory=dict)
    ended: dict[str, str] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep what shows a chosen fault."""
        kept, left = [], []
        for item in items:
            rows = self.chosen & {row for mark in item.iter_markers(MARKER) for row in mark.args}
            (kept if rows else left).append(item)
            for row in rows:
                self.tests.setdefault(row, []).append(item.nodeid)
            if rows and self.without_kafka and item.get_closest_marker("kafka"):
                item.add_marker(pytest.mark.skip(reason=self.without_kafka))
        items[:] = kept
        config.hook.pytest_deselected(items=left)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the worst that is said of a test: its set-up, itself, what it leaves."""
        if report.failed:
            self.ended[report.nodeid] = "failed"
        elif report.skipped:
            self.ended[report.nodeid] = "skipped"
            if reason := _reason(report):
                self.why[report.nodeid] = reason
        elif report.when == "call":
            self.ended.setdefault(report.nodeid, "passed")

    def result(self, row: int) -> tuple[int, str]:
        """How many tests ran, and what is to be said of a fault."""
        tests = self.tests.get(row, [])
        if not tests:
            return 0, f"not shown: {UNTESTED.get(row, 'no test was found')}"
        count = Counter(self.ended.get(test, "not run") for test in tests)
        trials = count["passed"] + count["failed"]
        said = [f"{count[end]} {end}" for end in ("failed", "skipped", "not run") if count[end]]
        reasons = dict.fromkeys(self.why[test] for test in tests if test in self.why)
        if said:
            return trials, "; ".join([", ".join(said), *reasons])
        return trials, HOLDS

    def holding(self) -> int:
        """Of how many faults every test ran and passed."""
        return sum(self.result(row)[1] == HOLDS for row in self.chosen)

    def whole(self) -> bool:
        """Whether none failed, some ran, and each chosen fault was tried or says why it cannot be here."""
        return (
            not {"failed", "not run"} & {self.ended.get(test, "not run") for test in self._all_tests()}
            and any(self.result(row)[0] for row in self.chosen)
            and all(self.result(row)[0] or self._excused(row) for row in self.chosen)
        )

    def _all_tests(self) -> set[str]:
        return {test for tests in self.tests.values() for test in tests}

    def _excused(self, row: int) -> bool:
        """Whether there is a reason for each test that was left out, or for there being none."""
        tests = self.tests.get(row)
        return all(test in self.why for test in tests) if tests else row in UNTESTED


def _reason(report: pytest.TestReport) -> str:
    """Why a test was skipped, in the words of who skipped it; empty for one that may fail (xfail)."""
    said = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    reason = str(said).removeprefix("Skipped").removeprefix(": ")
    return "" if reason == "unconditional skip" else reason


def table_of(rows: Rows) -> Table:
    """One line a fault."""
    table = Table()
    table.add_column("row", justify="right")
    table.add_column("fault")
    table.add_column("expected")
    table.add_column("trials", justify="right")
    table.add_column("result")
    for row in sorted(rows.chosen):
        fault, (trials, result) = FAULTS[row], rows.result(row)
        if fault.missing:
            result += f" (not shown: {fault.missing})"
        table.add_row(str(row), escape(fault.what), escape(fault.expected), str(trials), escape(result))
    return table


def chosen_of(arguments: Sequence[str] | None) -> frozenset[int]:
    """The rows that a command line names, all where it names none.  Ends with an error for another number"""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", type=int, metavar="ROW", help="all by default")
    rows = frozenset(parser.parse_args(arguments).rows)
    if not rows <= set(FAULTS):
        parser.error(f"no such row: {min(rows - set(FAULTS))}; there are {min(FAULTS)} to {max(FAULTS)}")
    return rows or frozenset(FAULTS)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tests of all faults, or of some, and print the table; 0 when all is shown that can be here."""
    rows = Rows(chosen_of(arguments), no_broker())
    files = [str(path) for path in sorted((ROOT / "tests").rglob("test_*.py")) if USE in path.read_text()]
    code = pytest.main(["-q", "-m", MARKER, *files], plugins=[rows])
    Console().print(table_of(rows))
    Console().print(f"{rows.holding()} of {len(rows.chosen)} hold")
    return int(code != pytest.ExitCode.OK or not rows.whole())


if __name__ == "__main__":
    sys.exit(main())
