"""What the driver does with a log that has holes, and with inputs that crash whoever handles them."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from aiokafka.errors import (
    KafkaError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    NotLeaderForPartitionError,
)

from agents.journal import Order, Place
from agents.kafka import driver as driver_module
from agents.kafka import partitions
from agents.kafka.driver import FILLED, Driver, journal_entries
from agents.kafka.host import Failpoint, FoldThread, Host
from agents.kafka.log import KafkaLog, LogError, LogLost, Outgoing
from agents.kafka.messages import Message, encode_entry
from agents.kafka.poison import MAX_CRASHES, Crashes
from agents.kafka.requests import Requests
from agents.kafka.snapshots import SnapshotStore
from agents.protocol import Agent, Step
from agents.task import Task
from agents.task_id import TaskId
from stream.codecs.inputs import encode_pointcloud2, headers_of
from stream.codecs.state import unpack
from stream.codecs.wire import decode
from stream.records import Event, SweepRejected
from stream.sweep import Sweep
from stream.topics import ALARMS, PERCEIVE, REJECTED, STATIC, SWEEPS, TRANSFORMS
from tests.data import ROOT

IDENTITY = TaskId(PERCEIVE, 0, 1)
PLACE = (SWEEPS, 0)
BAD = 3
"""Stamp of the sweep that the agent cannot handle."""


class Free:
    """Effects that charge nothing; this agent has no others."""

    chunk = ""

    def spending(self) -> nullcontext[None]:
        return nullcontext()

    def archived(self) -> str:
        return self.chunk


class MemoryLog(KafkaLog):
    """Partitions in memory; ``begins`` is where those begin that have lost messages, ``markers`` how many
    markers of transactions are behind the last one."""

    def __init__(self) -> None:
        self.messages: dict[Place, list[Message]] = defaultdict(list)
        self.begins: dict[Place, int] = defaultdict(int)
        self.markers: dict[Place, int] = defaultdict(int)
        self.reads: list[tuple[Place, int, int]] = []

    async def append_all(self, messages: Sequence[Outgoing]) -> list[int]:
        return [self._append(item) for item in messages]

    def _append(self, item: Outgoing) -> int:
        place = (item.topic, item.partition or 0)
        at = len(self.messages[place])
        self.messages[place].append(
            Message(
                place=place, offset=at, key=item.key, value=item.value, headers=item.headers, appended_ms=at
            )
        )
        return at

    async def end(self, places: Sequence[Place]) -> dict[Place, int]:
        return {place: len(self.messages[place]) + self.markers[place] for place in places}

    async def beginning(self, places: Sequence[Place]) -> dict[Place, int]:
        return {place: self.begins[place] for place in places}

    async def read(self, place: Place, first: int, end: int) -> list[Message]:
        assert first >= self.begins[place]
        self.reads.append((place, first, end))
        return self.messages[place][first:end]

    def records(self, topic: str) -> list[Any]:
        return [decode(topic, message.value) for message in self.messages[topic, 0]]


class HeldLog(MemoryLog):
    """Appends nothing before it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.let_go = asyncio.Event(), asyncio.Event()

    async def append_all(self, messages: Sequence[Outgoing]) -> list[int]:
        self.asked.set()
        await self.let_go.wait()
        return await super().append_all(messages)


class Fragile(Agent):
    """Says of every sweep that it has seen it, and cannot handle one of them."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def handle(self, record: Any) -> Step:
        assert isinstance(record, Sweep)
        if record.stamp_ns == BAD:
            raise RuntimeError("a sweep that no one has thought of")
        self.seen.append(record.stamp_ns)
        key = ("sweep", record.stream_id, record.stamp_ns, record.part)
        return Step(outputs=(Event(kind="seen", stamp_ns=record.stamp_ns),), released=(key,))

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, data: bytes) -> None:
        self.seen = unpack(data)["seen"]


class Bench:
    """A log, a folder, and processes one after the other."""

    def __init__(self, folder: Path, snapshot_entries: int = 100) -> None:
        self.folder, self.log, self._snapshot_entries = folder, MemoryLog(), snapshot_entries
        self.done: dict[Place, int] = {}
        self.agent = Fragile()

    def send(self, stamps: Sequence[int]) -> None:
        """Append sweeps."""

        async def run() -> None:
            for stamp_ns in stamps:
                points = np.zeros((1, 3), np.float32)
                sweep = Sweep(
                    stream_id="ant/lidar",
                    stamp_ns=stamp_ns,
                    frame="lidar",
                    points=points,
                    intensity=points[:, 0],
                )
                headers = headers_of(sweep, "test", content_type="application/cdr")
                await self.log.append(SWEEPS, encode_pointcloud2(sweep), key=b"ant", headers=headers)

        asyncio.run(run())

    def process(
        self,
        delivered: Sequence[int] | None = None,
        *,
        ours: bool = True,
        leave: bool = False,
        batch: int = 1000,
    ) -> None:
        """One process: recovers, is given sweeps by offset, all that are there by default, and folds them.

        ours : the partition is not another's by now
        leave : it is told to stop in the end; batch : so many come at once
        """
        asyncio.run(self._process(delivered, ours, leave, batch))

    async def _process(self, delivered: Sequence[int] | None, ours: bool, leave: bool, batch: int) -> None:
        crashes = Crashes(self.folder, "process")
        driver, host = self.driver(crashes)
        try:
            assert await driver.recover(lambda: ours) == ours
            if not ours:
                return
            there = self.log.messages[PLACE][self.log.begins[PLACE] :]
            messages = [item for item in there if delivered is None or item.offset in delivered]
            for first in range(0, max(1, len(messages)), batch):
                for message in messages[first : first + batch]:
                    driver.offer(message)
                await self._pump(driver)
            if leave:
                await driver.leave()
        finally:
            await driver.saved()
            host.requests.close()
            crashes.close()

    def driver(self, crashes: Crashes) -> tuple[Driver, Host]:
        self.agent = Fragile()
        host = Host(
            log=self.log,
            snapshots=SnapshotStore(f"file://{self.folder}/snapshots"),
            requests=Requests(pytest.fail, lambda: None),
            thread=FoldThread(),
            crashes=crashes,
            make=cast(Any, None),
            source="test",
        )
        task = Task(IDENTITY, self.agent, "process", self._snapshot_entries)
        return Driver(task, host, cast(Any, Free()), Failpoint(), self._acknowledge), host

    async def _pump(self, driver: Driver) -> None:
        """As a worker does."""
        await driver.pump()
        async with asyncio.timeout(10):
            while driver.patience_s is not None:
                await asyncio.sleep(driver.patience_s)
                await driver.pump()

    async def _acknowledge(self, done: dict[Place, int]) -> None:
        self.done = done

    def crash(self, times: int) -> None:
        """Processes that die of the sweep."""
        for _ in range(times):
            with pytest.raises(RuntimeError, match="no one has thought of"):
                self.process()

    def stamps(self, kind: str) -> list[int]:
        return [event.stamp_ns for event in self.log.records(ALARMS) if event.kind == kind]

    def gaps(self) -> list[dict[str, Any]]:
        return [event.fields for event in self.log.records(ALARMS) if event.kind == "gap"]


def test_a_process_that_was_told_to_stop_leaves_nothing_to_fold_again(tmp_path: Path) -> None:
    """So the next one can begin when retention has passed all that it has seen."""
    bench = Bench(tmp_path)
    bench.send([1, 2])
    bench.process(leave=True)
    bench.log.begins[PLACE] = 2
    bench.send([4])
    bench.process()
    assert bench.agent.seen == [1, 2, 4]
    assert bench.gaps() == []


# ---- messages that come again --------------------------------------------------------------------------


@pytest.mark.fault(8, 12)
def test_a_sweep_that_is_delivered_again_while_it_is_decoded_is_folded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rebalance may have Faust go back just then; a journal that names it twice could not be read again."""
    decode = Driver._decode

    def again(driver: Driver, message: Message) -> Any:
        if not driver.task.recovering:
            driver.offer(message)
        return decode(driver, message)

    monkeypatch.setattr(Driver, "_decode", again)
    monkeypatch.setattr(driver_module, "SMALL_BYTES", 0)
    bench = Bench(tmp_path)
    bench.send([1, 2, 4])
    bench.process()
    assert bench.agent.seen == [1, 2, 4]
    bench.process()
    assert bench.agent.seen == [1, 2, 4]


def test_a_journal_that_names_an_input_twice_is_folded_as_it_was(tmp_path: Path) -> None:
    """Written by releases before this."""
    bench = Bench(tmp_path)
    bench.send([1, 2])
    bench.process()
    topic, partition = IDENTITY.journal
    entry = encode_entry(Order(0, ((PLACE, 1),)))
    asyncio.run(bench.log.append(topic, entry, partition=partition))
    bench.process()
    assert bench.agent.seen == [1, 2, 2]


# ---- a log that was lost -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lost", "what"),
    [
        (IDENTITY.journal, f"{IDENTITY.journal[0]}-0 ends at 0, but is known up to 3"),
        (PLACE, f"{SWEEPS}-0 ends at 0, but is known up to 2"),
    ],
)
def test_what_was_read_of_a_log_that_is_no_more_ends_the_worker(
    lost: Place, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take all that comes for what it has folded before, and acknowledge it."""
    monkeypatch.setattr(partitions, "BEHIND_SECONDS", 0.0)
    bench = Bench(tmp_path)
    bench.send([1, 2])
    bench.process(leave=True)
    bench.log.messages[lost].clear()
    with pytest.raises(LogLost, match=what):
        bench.process()


def test_an_input_that_is_no_more_and_in_no_snapshot_is_named(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.send([1, 2])
    bench.process()
    bench.log.messages[PLACE].clear()
    with pytest.raises(LogError, match=f"{SWEEPS}-0: 0 is needed and is no more"):
        bench.process()


def test_an_archive_that_neither_snapshot_nor_log_knows_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when snapshots were moved away, and the archive was not."""
    bench = Bench(tmp_path)
    bench.send([1, 2])
    monkeypatch.setattr(Free, "chunk", "archive/000/containers/part-00007.arrow")
    with pytest.raises(LogLost, match=r"archive/000/containers/part-00007\.arrow; move the archive away"):
        bench.process()
    monkeypatch.setattr(Free, "chunk", "")
    bench.process()
    monkeypatch.setattr(Free, "chunk", "archive/000/containers/part-00007.arrow")
    bench.process()
    assert bench.agent.seen == [1, 2]


@pytest.mark.fault(8)
def test_a_task_that_is_another_s_by_now_is_not_claimed(tmp_path: Path) -> None:
    """Found by kills: a slow worker claimed what it had given back, and the new owner ended."""
    bench = Bench(tmp_path)
    bench.send([1])
    bench.process(ours=False)
    assert bench.log.messages[IDENTITY.journal] == []
    bench.process()
    assert bench.agent.seen == [1]


@pytest.mark.fault(8)
def test_who_gives_a_task_back_waits_for_a_claim_that_is_under_way(tmp_path: Path) -> None:
    """Behind the next owner's claim it would take the task from that one."""
    bench = Bench(tmp_path)
    bench.log = log = HeldLog()

    async def run() -> None:
        crashes = Crashes(tmp_path, "process")
        driver, host = bench.driver(crashes)
        await driver.claimed()  # none is under way
        recovered = asyncio.create_task(driver.recover())
        await log.asked.wait()
        claimed = asyncio.create_task(driver.claimed())
        await asyncio.sleep(0.01)
        assert not claimed.done()
        log.let_go.set()
        await claimed
        assert len(log.messages[IDENTITY.journal]) == 1
        assert await recovered
        host.requests.close()
        crashes.close()

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_recovery_reads_a_few_inputs_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where snapshots could not be written for long there are thousands, and sweeps are large."""
    monkeypatch.setattr(driver_module, "FETCHED", 4)
    bench, stamps = Bench(tmp_path), list(range(10, 40))
    bench.send(stamps)
    bench.process()
    bench.log.reads.clear()
    bench.process()
    assert bench.agent.seen == stamps
    spans = [end - first for place, first, end in bench.log.reads if place == PLACE]
    assert len(spans) == 8
    assert max(spans) == 4


# ---- snapshots -----------------------------------------------------------------------------------------


def test_what_killed_processes_left_of_snapshots_goes_with_the_next(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    folder = tmp_path / "snapshots" / str(IDENTITY)
    folder.mkdir(parents=True)
    half, later = folder / f"{2:020d}.state.writing", folder / f"{99:020d}.state.writing"
    half.touch()
    later.touch()  # of one that writes it now, for all that is known
    bench.send([1, 2])
    bench.process(leave=True)
    assert not half.exists()
    assert later.exists()


# ---- poison --------------------------------------------------------------------------------------------


@pytest.mark.fault(42)
def test_an_input_that_has_crashed_three_processes_is_a_dead_letter_and_folding_goes_on(
    tmp_path: Path,
) -> None:
    bench = Bench(tmp_path)
    bench.send([1, 2, BAD, 4])
    bench.crash(MAX_CRASHES)
    assert bench.done[PLACE] == 2
    bench.process()
    assert bench.agent.seen == [1, 2, 4]
    assert bench.done[PLACE] == 4
    [letter] = bench.log.records(REJECTED)
    assert isinstance(letter, SweepRejected)
    assert (letter.robot_id, letter.reason) == ("ant", "poison")
    assert letter.detail.startswith(f"{SWEEPS}-0@2 sha256:")
    assert sorted(set(bench.stamps("seen"))) == [1, 2, 4]


@pytest.mark.fault(42)
def test_whoever_folds_the_journal_again_decides_the_same(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.send([1, BAD, 4])
    bench.crash(MAX_CRASHES)
    bench.process()
    bench.send([5])
    bench.process()
    assert bench.agent.seen == [1, 4, 5]
    assert [letter.reason for letter in bench.log.records(REJECTED)] == ["poison"]


def test_a_process_that_lost_the_counts_comes_to_the_same_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.send([1, BAD, 4])
    bench.crash(MAX_CRASHES)
    bench.process()
    (tmp_path / "crashes" / f"{IDENTITY}.json").unlink()
    bench.crash(MAX_CRASHES)  # on the journal
    bench.process()
    assert bench.agent.seen == [1, 4]


CRASH = """
import os, sys
from pathlib import Path
from agents.kafka.poison import Crashes
from agents.task_id import TaskId
crashes = Crashes(Path(sys.argv[1]), "crashing")
crashes.watch_signals()
receipt = (("octa.sweep.received.v1", 0), 5)
crashes.run(TaskId("perceive", 0, 1), receipt, lambda number: number, 0)
number, hand = int(sys.argv[2]), sys.argv[3]
if hand == "hand":
    crashes.run(TaskId("perceive", 0, 1), receipt, lambda number: os.kill(os.getpid(), number), number)
os.kill(os.getpid(), number)
"""


@pytest.mark.fault(42)
@pytest.mark.parametrize(
    ("number", "hand", "counts"),
    [
        (signal.SIGSEGV, "hand", True),
        (signal.SIGABRT, "hand", True),
        (signal.SIGSEGV, "none", False),
        (signal.SIGKILL, "hand", False),
        (signal.SIGTERM, "hand", False),
    ],
)
def test_signals_of_its_own_making_count_where_they_strike_in_a_handler(
    number: signal.Signals, hand: str, counts: bool, tmp_path: Path
) -> None:
    for _ in range(MAX_CRASHES):
        crashes = Crashes(tmp_path, "next")
        assert crashes.poisoned(IDENTITY) == frozenset()
        crashes.close()
        command = [sys.executable, "-c", CRASH, str(tmp_path), str(int(number)), hand]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -number
    crashes = Crashes(tmp_path, "next")
    assert crashes.poisoned(IDENTITY) == (frozenset({(PLACE, 5)}) if counts else frozenset())
    assert crashes.poisoned(TaskId(PERCEIVE, 1, 2)) == frozenset()
    crashes.close()


@pytest.mark.fault(15)
def test_a_handler_that_hangs_counts(tmp_path: Path) -> None:
    crashes = Crashes(tmp_path, "hung")
    crashes.count_hung()  # nothing is in hand
    for _ in range(MAX_CRASHES):
        assert crashes.poisoned(IDENTITY) == frozenset()
        crashes.run(IDENTITY, (PLACE, 5), lambda _: crashes.count_hung(), None)
    crashes.count_hung()
    assert crashes.poisoned(IDENTITY) == {(PLACE, 5)}
    crashes.close()
    assert [path.name for path in (tmp_path / "crashes").iterdir()] == [f"{IDENTITY}.json"]


def test_a_thread_says_in_which_call_it_is() -> None:
    thread = FoldThread()
    assert [asyncio.run(thread.run(lambda: thread.busy)) for _ in range(2)] == [1, 2]
    assert thread.busy == 0


# ---- topics that refuse --------------------------------------------------------------------------------


def refusing(bench: Bench, topic: str, error: KafkaError, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on a topic takes nothing."""

    def refuse(self: MemoryLog, item: Outgoing) -> int:
        if item.topic == topic:
            raise error
        return whole(self, item)

    whole = MemoryLog._append
    monkeypatch.setattr(MemoryLog, "_append", refuse)


@pytest.mark.fault(11)
@pytest.mark.parametrize("error", [MessageSizeTooLargeError, NotLeaderForPartitionError, KafkaTimeoutError])
def test_what_could_not_be_sent_is_not_acknowledged_and_is_sent_by_the_next(
    error: type[KafkaError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    bench.send([1, 2])
    with monkeypatch.context() as patch:
        refusing(bench, ALARMS, error(), patch)
        with pytest.raises(error):
            bench.process()
    assert bench.done.get(PLACE, 0) == 0
    bench.process()
    assert bench.done[PLACE] == 2
    assert bench.stamps("seen") == [1, 2]


@pytest.mark.fault(43)
def test_a_dead_letter_that_could_not_be_sent_keeps_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(tmp_path)
    asyncio.run(bench.log.append(SWEEPS, b"no sweep", key=b"ant"))
    bench.send([2])
    with monkeypatch.context() as patch:
        refusing(bench, REJECTED, KafkaTimeoutError(), patch)
        with pytest.raises(KafkaTimeoutError):
            bench.process()
    assert bench.done.get(PLACE, 0) == 0
    bench.process()
    assert bench.done[PLACE] == 2
    assert [letter.reason for letter in bench.log.records(REJECTED)] == ["corrupt"]
    assert bench.agent.seen == [2]


# ---- requests ------------------------------------------------------------------------------------------


@pytest.mark.fault(41)
def test_messages_wait_and_answers_do_not_while_too_many_requests_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = [True]
    monkeypatch.setattr(Requests, "full", property(lambda _: full[0]))
    bench = Bench(tmp_path)
    bench.send(range(10, 20))

    async def run() -> None:
        crashes = Crashes(tmp_path, "process")
        driver, host = bench.driver(crashes)
        assert await driver.recover()
        for message in bench.log.messages[PLACE]:
            driver.offer(message)
        await driver._answer("perceive-0/1/0", None)
        await bench._pump(driver)
        assert (driver.queued_of(PLACE), driver.queued_of(IDENTITY.answers)) == (10, 0)
        assert bench.agent.seen == []
        full[0] = False
        await bench._pump(driver)
        assert driver.queued_of(PLACE) == 0
        host.requests.close()
        crashes.close()

    asyncio.run(run())
    assert bench.agent.seen == list(range(10, 20))
    assert bench.done[PLACE] == 10


@pytest.mark.fault(41)
def test_answers_are_folded_before_inputs_that_have_waited_for_longer(tmp_path: Path) -> None:
    """A task that catches up held every sweep that it had asked a training for until it had caught up."""
    bench = Bench(tmp_path)
    bench.send(range(10, 20))

    async def run() -> None:
        crashes = Crashes(tmp_path, "process")
        driver, host = bench.driver(crashes)
        assert await driver.recover()
        for message in bench.log.messages[PLACE]:
            driver.offer(message)
        await driver._answer("perceive-0/1/0", None)
        await bench._pump(driver)
        host.requests.close()
        crashes.close()

    asyncio.run(run())
    orders = journal_entries(bench.log.messages[IDENTITY.journal])
    inputs = [
        place for entry in orders if isinstance(entry.record, Order) for place, _ in entry.record.inputs
    ]
    assert inputs == [IDENTITY.answers, *[PLACE] * 10]


# ---- holes ---------------------------------------------------------------------------------------------


def test_what_was_not_delivered_is_read_from_the_log(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    stamps = range(10, 10 + FILLED + 8)
    bench.send(stamps)
    bench.process(delivered=[len(stamps) - 2, len(stamps) - 1])
    assert bench.agent.seen == list(stamps)
    assert bench.log.reads[-2:] == [(PLACE, 0, FILLED), (PLACE, FILLED, FILLED + 6)]
    assert bench.gaps() == []


@pytest.mark.fault(13)
def test_what_was_deleted_unread_is_told_once(tmp_path: Path) -> None:
    bench = Bench(tmp_path, snapshot_entries=1)  # else what was folded since the last one must be there
    bench.send([10, 11])
    bench.process()
    bench.send(range(12, 22))
    bench.log.begins[PLACE] = 7
    bench.process()
    bench.process()
    gap = {"agent": PERCEIVE, "topic": SWEEPS, "partition": 0, "from": 2, "to": 7}
    assert bench.gaps() == [gap]
    assert bench.agent.seen == [10, 11, *range(17, 22)]
    assert bench.done[PLACE] == 12


def test_an_agent_that_never_ran_misses_nothing(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.send(range(10, 20))
    bench.log.begins[PLACE] = 4
    bench.process()
    assert bench.gaps() == []
    assert bench.agent.seen == list(range(14, 20))


@pytest.fixture
def marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    """A partition of it holds nothing but six markers of transactions."""
    monkeypatch.setattr(driver_module, "QUIET_SECONDS", 0.01)
    bench = Bench(tmp_path)
    bench.log.markers[STATIC, 0] = 6
    return bench


def test_a_partition_that_ends_with_markers_of_transactions_holds_up_no_other(marked: Bench) -> None:
    marked.send([10, 11])
    marked.process()
    assert marked.agent.seen == [10, 11]
    looks = [read for read in marked.log.reads if read[0] == (STATIC, 0)]
    assert looks == [((STATIC, 0), 5, 6), ((STATIC, 0), 4, 5), ((STATIC, 0), 2, 4), ((STATIC, 0), 0, 2)]


def test_markers_that_were_found_are_not_looked_for_again(marked: Bench) -> None:
    """Else each batch of messages would wait for a second."""
    marked.send(range(10, 60))
    marked.process(batch=1)
    assert marked.agent.seen == list(range(10, 60))
    assert marked.log.reads.count(((STATIC, 0), 5, 6)) == 1


def test_a_broker_that_cannot_be_asked_for_markers_ends_nothing(
    marked: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked.send([10, 11])
    read, troubles = marked.log.read, [NotLeaderForPartitionError(), LogError("no more"), TimeoutError()]

    async def fragile(place: Place, first: int, end: int) -> list[Message]:
        if place == (STATIC, 0) and troubles:
            raise troubles.pop()
        return await read(place, first, end)

    monkeypatch.setattr(marked.log, "read", fragile)
    marked.process()
    assert (marked.agent.seen, troubles) == ([10, 11], [])


def test_a_partition_of_which_all_was_deleted_holds_up_no_other(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    for place in ((TRANSFORMS, 0), (STATIC, 0)):
        asyncio.run(bench.log.append(place[0], b"", key=b"ant"))
        bench.log.begins[place] = 1
    bench.send([10, 11])
    bench.process()
    assert bench.agent.seen == [10, 11]
