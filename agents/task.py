"""The contract of a runtime: how one agent is fed from a log so that nothing is lost, whatever dies when.

A task is one agent on one partition. It does no I/O: it yields what has to be done next, is sent what came of
it, and goes on; so the simulated cluster and the Kafka workers drive the same code. Its only durable memory
is the log, the store and its snapshots.

1. Inputs are folded in any order that keeps each partition's own, but none is folded that was appended more
   than ``MAX_SKEW_MS`` after one that lies waiting in another partition. Appended, not stamped: a wrong clock
   must not hold up a partition. Whoever drives the task sees to that (``Next``). Answers to its requests (4)
   may be folded at any time; workers fold them before any input, as what was asked for is held until then.
2. The order is itself written down: before anything of a step becomes visible, the inputs folded since the
   last entry are appended to the task's journal, with the number of the claim that they were folded under.
   Where a newer claim lies before an entry, another process has taken over: the entry is void, and its
   writer ends. It notices by the offset that its append was given, so nothing more has to be read.
3. Then, in this order and each confirmed: what the step stores (models, files, under names made of the
   journal offset), its outputs in batches (``together``: after a crash some of the last batch may be there
   and others not), the acknowledgement of what it released, and its requests. Nothing is acknowledged that
   no journal entry names, so a group's offsets never pass its journal.
4. Results of requests are records too: appended to a topic of the task, folded and journaled like any other.
   An answer to a request that is not open is dropped.
5. A snapshot is taken between two turns, when a journal entry has been delivered: with the positions, the
   inputs not released and the requests still open.
6. To recover: claim the journal, restore the newest whole snapshot, fold the journal from there in its order
   with outputs dropped, deliver the last entry again, ask open requests again, go on behind the journal.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from agents.journal import Claim, Order, Place, Receipt
from agents.operations import (
    AppendJournal,
    Ask,
    Capture,
    FindSnapshot,
    Handle,
    LoadMissing,
    Mark,
    Memory,
    Next,
    Operation,
    Read,
    ReadJournal,
    Save,
    Send,
    Snapshot,
    Steer,
    Store,
)
from agents.protocol import Agent, Key, Request, Restore, Step, Storage
from agents.task_id import TaskId, input_key
from stream.codecs.state import Frozen
from stream.records import SweepRejected
from stream.topics import ACTIVATED, topic_of

MAX_SKEW_MS = 150.0
SNAPSHOT_ENTRIES = 15
"""A snapshot after so many journal entries, as soon as nothing waits to be folded; unless told otherwise."""
BUSY = 2
"""After so many times as many a task is interrupted for it."""

T = TypeVar("T")
Steps = Generator[Operation, Any, T]


class Entry(Protocol):
    """One record in the log."""

    @property
    def place(self) -> Place:
        """Topic and partition."""
        ...

    @property
    def offset(self) -> int:
        """Its number in the partition."""
        ...

    @property
    def record(self) -> Any:
        """What was appended, decoded."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Answer:
    """What became of a request: ``record`` is for the agent that asked, None when there is nothing to say."""

    request: str
    record: Any


@dataclass(frozen=True, slots=True, eq=False)
class Undecodable:
    """An input that is no record; its fate is a dead letter."""

    letter: SweepRejected


def together(outputs: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Outputs in batches to send at once.

    An activation is durable before what is said under it, and no two of a batch go to one topic: each
    partition's order survives a send that fails.
    """
    batches: list[list[Any]] = []
    taken: set[str] | None = None  # topics of the last batch; None: it takes no more
    for record in outputs:
        topic = topic_of(record)
        if taken is None or topic in taken or topic == ACTIVATED:
            batches.append([])
            taken = set()
        batches[-1].append(record)
        taken.add(topic)
        if topic == ACTIVATED:
            taken = None
    return [tuple(batch) for batch in batches]


class TakenOver(Exception):
    """Another process has claimed the task; whoever drives it must end. ``by`` names that process."""

    def __init__(self, text: str, by: str = "") -> None:
        super().__init__(text)
        self.by = by


def newest_claimer(entries: Iterable[Entry]) -> str:
    """The process that has claimed a task last in these journal entries, empty for none."""
    claims = [entry.record.process for entry in entries if isinstance(entry.record, Claim)]
    return claims[-1] if claims else ""


class Task:
    """One agent on one partition, fed by the contract. ``run`` yields operations for ever.

    process : names the process that drives it; snapshot_entries : a snapshot after so many journal entries
    """

    def __init__(
        self, identity: TaskId, agent: Agent, process: str, snapshot_entries: int = SNAPSHOT_ENTRIES
    ) -> None:
        self.identity, self.agent = identity, agent
        self.positions: dict[Place, int] = dict.fromkeys(identity.sources, 0)
        self.waiting: dict[Key, list[Receipt]] = {}
        self.open: dict[str, Request] = {}
        self.pending: list[Receipt] = []  # folded since the last journal entry
        self.in_hand: Receipt | None = None  # what it led to is not yet in the log
        self.recovering = True
        self._process, self._snapshot_entries = process, snapshot_entries
        self._claim = 0
        self.expected = 0  # offset of its next journal entry, unless others write there
        self._saved = 0

    # ---- life ------------------------------------------------------------------------------------------

    def run(self) -> Steps[None]:
        """Recover, then fold for ever.  Raises TakenOver"""
        yield from self.recover()
        self.recovering = False
        while True:
            entry = yield Next()
            if entry is None:
                if self.pending:
                    yield from self._write_order()
                if self._unsaved >= self._snapshot_entries:
                    yield from self._save()
                yield Mark("waiting")
                continue
            yield from self._turn(entry)
            if self._unsaved >= BUSY * self._snapshot_entries:
                yield from self._save()

    @property
    def _unsaved(self) -> int:
        """Journal entries since the last snapshot."""
        return self.expected - self._saved

    def acknowledged(self) -> dict[Place, int]:
        """Per input partition, the offset before which everything is journaled, released and delivered."""
        held: dict[Place, int] = {}
        unreleased = [receipt for receipts in self.waiting.values() for receipt in receipts]
        for place, offset in [*unreleased, *self.pending, *([self.in_hand] if self.in_hand else [])]:
            held[place] = min(offset, held.get(place, offset))
        return {place: held.get(place, self.positions[place]) for place in self.identity.inputs}

    # ---- one turn --------------------------------------------------------------------------------------

    def _turn(self, entry: Entry) -> Steps[None]:
        step = yield from self._fold(entry)
        yield Mark("handled")
        if not (step.outputs or step.effects):
            self.release(step)
            yield Mark("acknowledged")
            return
        number = yield from self._write_order()
        yield Mark("journaled")
        before = set(self.open)
        self.open_requests(step, number)
        yield from self.deliver(step, number)
        self.release(step)
        yield Mark("acknowledged")
        yield from self._ask([request for request in self.open if request not in before])
        yield Mark("asked")

    def _fold(self, entry: Entry) -> Steps[Step]:
        record = self.admit(entry)
        if record is None:
            return Step()
        if isinstance(record, Undecodable):
            return Step(outputs=(record.letter,))
        step: Step = yield Handle(record)
        return step

    def admit(self, entry: Entry) -> Any:
        """Note that an entry is folded; returns what the agent is to handle, None where that is nothing."""
        self.in_hand = (entry.place, entry.offset)
        self.positions[entry.place] = entry.offset + 1
        self.pending.append((entry.place, entry.offset))
        record = entry.record
        if isinstance(record, Answer):
            return record.record if self.open.pop(record.request, None) is not None else None
        key = None if isinstance(record, Undecodable) else input_key(self.identity.agent, record)
        if key is not None:
            self.waiting.setdefault(key, []).append((entry.place, entry.offset))
        return record

    def _write_order(self) -> Steps[int]:
        """Append to the journal; raises TakenOver when another process has claimed it."""
        number: int = yield AppendJournal(Order(self._claim, tuple(self.pending)))
        if number > self.expected:  # a zombie's void entries lie before it, or a claim
            others: Sequence[Entry] = yield ReadJournal(self.expected, number)
            if self.taken_over(others):
                raise TakenOver(f"{self.identity}: claimed by another process", newest_claimer(others))
        self.expected = number + 1
        self.pending = []
        return number

    def taken_over(self, entries: Iterable[Entry]) -> bool:
        """Whether one of the entries that others have written to the journal takes the task away."""
        return any(isinstance(entry.record, Claim) for entry in entries)

    def deliver(self, step: Step, number: int) -> Steps[None]:
        """Store, one after the other, then send; each is durable before the next."""
        for place, effect in enumerate(step.effects):
            if isinstance(effect, Restore):
                yield Steer(effect)
            elif isinstance(effect, Storage):
                yield Store(f"{self.identity}/{number}/{place}", effect)
                yield Mark("stored")
        for records in together(step.outputs):
            yield Send(records)
            yield Mark("sent")

    def release(self, step: Step) -> None:
        """Acknowledge every delivery of the keys that the agent let go."""
        for key in step.released:
            self.waiting.pop(key, None)
        self.in_hand = None

    def open_requests(self, step: Step, number: int) -> None:
        """Remember what is asked for, under names made of the journal offset."""
        for place, effect in enumerate(step.effects):
            if isinstance(effect, Request):
                self.open[f"{self.identity}/{number}/{place}"] = effect

    def _ask(self, requests: Iterable[str]) -> Steps[None]:
        for request in requests:
            yield Ask(request, self.open[request])

    # ---- snapshots and recovery ------------------------------------------------------------------------

    def leave(self) -> Steps[None]:
        """A last snapshot of a task that waits and will not be run any more.  Raises TakenOver"""
        if self.pending or self._unsaved:
            yield from self._save()

    def _save(self) -> Steps[None]:
        if self.pending:
            yield from self._write_order()
        agent: Frozen = yield Capture()
        memory = self.memory()
        self._saved = self.expected
        yield Mark("half saved")
        yield Save(agent, memory)
        yield Mark("saved")

    def memory(self) -> Memory:
        """Everything the task itself remembers."""
        return Memory(
            claim=self._claim,
            journal=self.expected,
            positions=dict(self.positions),
            waiting={key: list(receipts) for key, receipts in self.waiting.items()},
            open=dict(self.open),
        )

    def recover(self) -> Steps[None]:
        """Become what the journal says; see the contract."""
        claim: int = yield AppendJournal(Claim(self._process))
        yield Mark("claimed")
        first = yield from self._restore()
        yield Mark("restored")
        orders = self.valid_orders((yield ReadJournal(self.replayed_from(first), claim)))
        for entry in orders:
            step = yield from self._refold(entry.record)
            self.open_requests(step, entry.offset)
            if entry is orders[-1]:
                yield Mark("replayed")
                yield from self.deliver(step, entry.offset)
            self.release(step)
        self.pending = []
        self._saved, self._claim, self.expected = first, claim, claim + 1
        yield from self.resume()
        yield from self.ask_again()
        yield Mark("asked")

    def _restore(self) -> Steps[int]:
        """Restore the newest whole snapshot; returns where in the journal to go on."""
        snapshot: Snapshot | None = yield FindSnapshot()
        if snapshot is None:
            return 0
        self.agent.restore(snapshot.agent)
        memory = snapshot.memory
        self.positions |= memory.positions
        self.waiting = {key: list(receipts) for key, receipts in memory.waiting.items()}
        self.open = dict(memory.open)
        self._claim = memory.claim
        for model_id in getattr(self.agent, "missing_models", tuple)():
            self.agent.handle((yield LoadMissing(model_id)))
        return memory.journal

    def replayed_from(self, first: int) -> int:
        """Where in the journal to begin behind a snapshot."""
        return first

    def valid_orders(self, entries: Iterable[Entry]) -> list[Entry]:
        """Of journal entries behind a snapshot, those whose writer owned the task when they were appended."""
        claim, valid = self._claim, []
        for entry in entries:
            if isinstance(entry.record, Claim):
                claim = entry.offset
            elif entry.record.claim == claim:
                valid.append(entry)
        return valid

    def _refold(self, order: Order) -> Steps[Step]:
        """Fold what a journal entry names; the step of its last input."""
        step = Step()
        for entry in (yield Read(order.inputs)):
            step = yield from self._fold(entry)
            if (entry.place, entry.offset) != order.inputs[-1]:
                self.release(step)
        return step

    def resume(self) -> Steps[None]:
        """Tell new trainers what the lost ones knew best."""
        for effect in getattr(self.agent, "resume", tuple)():
            yield Steer(effect)

    def ask_again(self) -> Steps[None]:
        """After a recovery: what was under way died with the process before."""
        yield from self._ask(list(self.open))
