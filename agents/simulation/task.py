"""The contract of a runtime: how one agent is fed from a log so that nothing is lost, whatever dies when.

A task is one agent on one partition. Its only durable memory is the log, the store and its snapshots.

1. Inputs are folded in any order that keeps each partition's own, but no record is folded that was appended
   more than ``MAX_SKEW_MS`` after one that lies waiting in another partition. Appended, not stamped: a wrong
   clock must not hold up a partition.
2. The order is itself written down: before anything of a step becomes visible, the inputs folded since the
   last entry are appended to the task's journal, with the number of the claim that they were folded under.
   Where a newer claim lies before an entry, another process has taken over: the entry is void, and its
   writer ends. It notices by the offset that its append was given, so nothing more has to be read.
3. Then, in this order and each confirmed: what the step stores (models, files, under names made of the
   journal offset), its outputs, the acknowledgement of what it released, and its requests. Nothing is
   acknowledged that no journal entry names, so a group's offsets never pass its journal.
4. Results of requests are records too: appended to a topic of the task, folded and journaled like any other.
   An answer to a request that is not open is dropped.
5. A snapshot is taken after a journal entry has been delivered, with the positions, the inputs not released
   and the requests still open.
6. To recover: claim the journal, restore the newest whole snapshot, fold the journal from there in its order
   with outputs dropped, deliver the last entry again, ask open requests again, go on behind the journal.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator
from typing import Any

from agents.protocol import (
    Agent,
    LoadModel,
    ModelLoaded,
    Request,
    Restore,
    Step,
    Storage,
)
from agents.simulation.faults import Died, Fenced, SendFailed
from agents.simulation.journal import Claim, Host, Order, Receipt
from agents.simulation.log import Entry, Place
from agents.simulation.outside import Snapshot, digest_of
from agents.simulation.topics import Answer, TaskId, input_key, place_of

MAX_SKEW_MS = 150.0
SNAPSHOT_ENTRIES = 15
"""A snapshot after so many journal entries."""


class Task:
    """One agent on one partition, fed by the contract. ``run`` yields wherever the process may die."""

    def __init__(self, identity: TaskId, agent: Agent, host: Host) -> None:
        self.identity, self.agent, self.host = identity, agent, host
        self.positions: dict[Place, int] = dict.fromkeys(identity.sources, 0)
        self.waiting: dict[Any, list[Receipt]] = {}
        self.open: dict[str, Request] = {}
        self.pending: list[Receipt] = []  # folded since the last journal entry
        self.in_hand: Receipt | None = None  # what it led to is not yet in the log
        self.label = "new"
        self._claim = 0
        self._expected = 0
        self._saved = 0
        self._stalled: dict[Place, float] = {}

    # ---- life ------------------------------------------------------------------------------------------

    def run(self) -> Iterator[str]:
        """Recover, then fold for ever; "waiting" is yielded where there is nothing to do."""
        yield from self.recover()
        while True:
            entry = self._choose()
            if entry is None:
                if self.pending:
                    self._write_order()
                yield "waiting"
                continue
            yield from self._turn(entry)
            if self._expected - self._saved >= SNAPSHOT_ENTRIES:
                yield from self._save()

    @property
    def ready(self) -> bool:
        """There is something to do now."""
        return self.label != "waiting" or bool(self.heads())

    @property
    def wakes_ms(self) -> float:
        """When a stalled partition flows again; 0 where none is."""
        return min((until for until in self._stalled.values() if until > self.host.now), default=0.0)

    def acknowledged(self) -> dict[Place, int]:
        """Per input partition, the offset before which everything is journaled, released and delivered."""
        held: dict[Place, int] = {}
        unreleased = [receipt for receipts in self.waiting.values() for receipt in receipts]
        for place, offset in [*unreleased, *self.pending, *([self.in_hand] if self.in_hand else [])]:
            held[place] = min(offset, held.get(place, offset))
        return {place: held.get(place, self.positions[place]) for place in self.identity.inputs}

    # ---- one turn --------------------------------------------------------------------------------------

    def _turn(self, entry: Entry) -> Iterator[str]:
        self.host.note(
            str(self.identity), f"folds {entry.place[0]}-{entry.place[1]}@{entry.offset}", entry.record
        )
        step = self.fold(entry)
        yield "handled"
        if step.outputs or step.effects:
            number = self._write_order()
            yield "journaled"
            before = set(self.open)
            self.open_requests(step, number)
            yield from self.deliver(step, number)
            self.release(step)
            yield "acknowledged"
            self.ask([request for request in self.open if request not in before])
            yield "asked"
        else:
            self.release(step)
            yield "acknowledged"

    def fold(self, entry: Entry) -> Step:
        """Give one record to the agent."""
        self.in_hand = (entry.place, entry.offset)
        self.positions[entry.place] = entry.offset + 1
        self.pending.append((entry.place, entry.offset))
        record = entry.record
        if isinstance(record, Answer):
            if self.open.pop(record.request, None) is None or record.record is None:
                return Step()
            return self.agent.handle(record.record)
        key = input_key(self.identity.agent, record)
        if key is not None:
            self.waiting.setdefault(key, []).append((entry.place, entry.offset))
        return self.agent.handle(record)

    def _write_order(self) -> int:
        """Append to the journal; raises Fenced when another process has claimed it."""
        log, journal = self.host.log, self.identity.journal
        number = log.append(journal, Order(self._claim, tuple(self.pending)), self.host.now)
        others = range(self._expected, number)  # a zombie's void entries, or a claim; mostly none
        if self.fenced(log.get(journal, offset) for offset in others):
            raise Fenced(f"{self.identity}: claimed by another process")
        self._expected = number + 1
        self.pending = []
        return number

    def fenced(self, entries: Iterable[Entry]) -> bool:
        """Whether one of the entries that others have written to the journal takes the task away."""
        return any(isinstance(entry.record, Claim) for entry in entries)

    def deliver(self, step: Step, number: int) -> Iterator[str]:
        """Store, then send, one after the other; each is durable before the next."""
        for place, effect in enumerate(step.effects):
            if isinstance(effect, Restore):
                self.restore_trainer(effect)
            elif isinstance(effect, Storage):
                self.host.outside.store(f"{self.identity}/{number}/{place}", effect)
                yield "stored"
        for record in step.outputs:
            self.host.note(str(self.identity), "sends", record)
            self.send(record)
            yield "sent"

    def restore_trainer(self, effect: Restore) -> None:
        """Give this process's trainer other weights."""
        self.host.outside.restore(self.host.process, effect)

    def resume(self) -> None:
        """Tell new trainers what the lost ones knew best."""
        for effect in getattr(self.agent, "resume", tuple)():
            self.restore_trainer(effect)

    def send(self, record: Any) -> None:
        """Append one output.  Raises SendFailed when it was refused, or when nobody knows"""
        if self.host.dice.fires("send refused"):
            raise SendFailed(f"{self.identity}: refused")
        self.host.log.append(self.route(record), record, self.host.now)
        if self.host.dice.fires("send not confirmed"):
            raise SendFailed(f"{self.identity}: not confirmed")

    def route(self, record: Any) -> Place:
        """Where an output goes."""
        return place_of(record)

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

    def ask(self, requests: Iterable[str]) -> None:
        """Have the outside start on open requests."""
        host = self.host
        for request in requests:
            host.outside.ask(self.identity, request, self.open[request], host.process, host.now)

    def ask_again(self) -> None:
        """After a recovery: what was under way died with the process before."""
        self.ask(list(self.open))

    # ---- what comes next -------------------------------------------------------------------------------

    def heads(self) -> list[Entry]:
        """Next records that may be folded now."""
        host, heads = self.host, []
        oldest = math.inf
        for place in self.positions:
            entry = host.log.at(place, self.positions[place])
            if entry is not None:
                oldest = min(oldest, entry.at_ms)
                if self._stalled.get(place, 0.0) <= host.now:
                    heads.append(entry)
        return [entry for entry in heads if entry.at_ms <= oldest + MAX_SKEW_MS]

    def _choose(self) -> Entry | None:
        heads = self.heads()
        if not heads:
            return None
        entry = heads[self.host.dice.pick(len(heads))]
        if self.host.dice.fires("partition stalled"):
            self._stalled[entry.place] = self.host.now + 400 * self.host.dice.share()
            return None
        return entry

    # ---- snapshots and recovery ------------------------------------------------------------------------

    def _save(self) -> Iterator[str]:
        """A failed snapshot costs time at the next recovery, nothing else."""
        if self.pending:
            self._write_order()
        data = self.agent.snapshot()
        snapshot = self.snapshot_of(data)
        self._saved = self._expected
        yield "half saved"
        dice = self.host.dice
        if dice.fires("snapshot not written"):
            return
        if dice.fires("snapshot torn"):
            snapshot = dataclasses.replace(snapshot, agent=data[: len(data) // 2])
        self.host.snapshots.write(self.identity, snapshot)
        yield "saved"

    def snapshot_of(self, data: bytes) -> Snapshot:
        """The agent's bytes with everything the task itself remembers."""
        return Snapshot(
            agent=data,
            digest=digest_of(data),
            claim=self._claim,
            journal=self._expected,
            positions=dict(self.positions),
            waiting={key: list(receipts) for key, receipts in self.waiting.items()},
            open=dict(self.open),
        )

    def recover(self) -> Iterator[str]:
        """Become what the journal says; see the contract."""
        log, journal = self.host.log, self.identity.journal
        claim = log.append(journal, Claim(self.host.process), self.host.now)
        yield "claimed"
        first = self._restore()
        self.host.note(str(self.identity), f"recovers from journal entry {first}", "")
        yield "restored"
        orders = self.valid_orders(first, claim)
        for entry in orders:
            step = self.refold(entry.record)
            self.open_requests(step, entry.offset)
            if entry is orders[-1]:
                yield "replayed"
                yield from self.deliver(step, entry.offset)
            self.release(step)
        self.pending = []
        self._saved, self._claim, self._expected = first, claim, claim + 1
        self.resume()
        self.ask_again()
        yield "asked"

    def valid_orders(self, first: int, end: int) -> list[Entry]:
        """Journal entries from an offset on whose writer owned the task when they were appended."""
        claim, valid = self._claim, []
        for entry in self.host.log.read(self.identity.journal, first):
            if entry.offset >= end:
                break
            if isinstance(entry.record, Claim):
                claim = entry.offset
            elif entry.record.claim == claim:
                valid.append(entry)
        return valid

    def _restore(self) -> int:
        """Restore the newest whole snapshot; returns where in the journal to go on."""
        snapshot = self.newest()
        if snapshot is None:
            return 0
        self.agent.restore(snapshot.agent)
        self.positions = dict(snapshot.positions)
        self.waiting = {key: list(receipts) for key, receipts in snapshot.waiting.items()}
        self.open = dict(snapshot.open)
        self._claim = snapshot.claim
        for model_id in getattr(self.agent, "missing_models", tuple)():
            self.agent.handle(self._reload(model_id))
        return snapshot.journal

    def newest(self) -> Snapshot | None:
        """The snapshot to start from."""
        return self.host.snapshots.newest(self.identity)

    def _reload(self, model_id: str) -> ModelLoaded:
        loaded = self.host.outside.load(LoadModel(model_id=model_id, stamp_ns=0))
        if loaded.model is None:
            raise Died(f"{self.identity}: {loaded.reason}")
        return loaded

    def refold(self, order: Order) -> Step:
        """Fold what a journal entry names; the step of its last input."""
        step = Step()
        for place, offset in order.inputs:
            step = self.fold(self.host.log.get(place, offset))
            if (place, offset) != order.inputs[-1]:
                self.release(step)
        return step
