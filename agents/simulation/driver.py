"""Drives a task on the simulated cluster: does at once what it yields, and lets faults strike on the way."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

from agents.journal import Place
from agents.operations import (
    AppendJournal,
    Ask,
    Capture,
    FindSnapshot,
    Handle,
    LoadMissing,
    Mark,
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
from agents.protocol import LoadModel, ModelLoaded
from agents.simulation.dice import Dice
from agents.simulation.faults import Died, SendFailed
from agents.simulation.log import Entry, Log
from agents.simulation.outside import Outside, Snapshots
from agents.simulation.topics import place_of
from agents.task import MAX_SKEW_MS, Task
from stream.codecs.state import Frozen


class Host(Protocol):
    """What a task needs of the process it runs in."""

    process: str
    log: Log
    outside: Outside
    snapshots: Snapshots
    dice: Dice

    @property
    def now(self) -> float:
        """Milliseconds."""
        ...

    def note(self, who: str, what: str, detail: Any) -> None:
        """Add a line to the history."""
        ...


class Driver:
    """Takes a task from one mark to the next. ``label`` is the last mark."""

    def __init__(self, task: Task, host: Host) -> None:
        self.task, self.host = task, host
        self.label = "new"
        self._steps = task.run()
        self._stalled: dict[Place, float] = {}
        self._do: dict[type[Any], Callable[[Any], Any]] = {
            Next: lambda _: self._choose(),
            Handle: lambda op: task.agent.handle(op.record),
            AppendJournal: lambda op: host.log.append(task.identity.journal, op.entry, host.now),
            ReadJournal: self._read_journal,
            Read: lambda op: [host.log.get(place, offset) for place, offset in op.inputs],
            Store: lambda op: host.outside.store(op.name, op.effect),
            Send: lambda op: self.send(op.records),
            Ask: self._ask,
            Steer: lambda op: host.outside.restore(host.process, op.effect),
            FindSnapshot: lambda _: self.newest(),
            LoadMissing: self._load_missing,
            Capture: lambda _: Frozen(task.agent.state()),
            Save: lambda op: self._save(Snapshot.of(op.agent, op.memory)),
        }

    def step(self) -> str:
        """Go on to the next mark; returns its label.  Raises Died, and what the agent raises"""
        operation: Operation = next(self._steps)
        while not isinstance(operation, Mark):
            operation = self._steps.send(self._do[type(operation)](operation))
        self.label = operation.label
        return self.label

    def leave(self) -> None:
        """Write a last snapshot, where the task waits.  Raises TakenOver"""
        steps, reply = self.task.leave(), None
        with suppress(StopIteration):
            while True:
                operation = steps.send(reply)
                reply = None if isinstance(operation, Mark) else self._do[type(operation)](operation)

    @property
    def ready(self) -> bool:
        """There is something to do now."""
        return self.label != "waiting" or bool(self.heads())

    @property
    def wakes_ms(self) -> float:
        """When a stalled partition flows again; 0 where none is."""
        return min((until for until in self._stalled.values() if until > self.host.now), default=0.0)

    # ---- what comes next -------------------------------------------------------------------------------

    def heads(self) -> list[Entry]:
        """Next records that may be folded now; answers at any time."""
        host, positions, heads = self.host, self.task.positions, []
        answers, oldest = self.task.identity.answers, math.inf
        for place in positions:
            entry = host.log.at(place, positions[place])
            if entry is not None:
                if place != answers:
                    oldest = min(oldest, entry.at_ms)
                if self._stalled.get(place, 0.0) <= host.now:
                    heads.append(entry)
        return [entry for entry in heads if entry.place == answers or entry.at_ms <= oldest + MAX_SKEW_MS]

    def _choose(self) -> Entry | None:
        heads = self.heads()
        if not heads:
            return None
        dice = self.host.dice
        entry = heads[dice.pick(len(heads))]
        if dice.fires("partition stalled"):
            self._stalled[entry.place] = self.host.now + 400 * dice.share()
            return None
        self.host.note(
            str(self.task.identity), f"folds {entry.place[0]}-{entry.place[1]}@{entry.offset}", entry.record
        )
        return entry

    # ---- the log and the outside -----------------------------------------------------------------------

    def _read_journal(self, op: ReadJournal) -> list[Entry]:
        journal = self.task.identity.journal
        return [self.host.log.get(journal, offset) for offset in range(op.first, op.end)]

    def send(self, records: tuple[Any, ...]) -> None:
        """Append outputs, each on its own.  Raises SendFailed when one was refused, or when nobody knows"""
        task, host = self.task, self.host
        failed = ""
        for record in records:
            host.note(str(task.identity), "sends", record)
            if host.dice.fires("send refused"):
                failed = "refused"
                continue
            host.log.append(self.route(record), record, host.now)
            if host.dice.fires("send not confirmed"):
                failed = "not confirmed"
        if failed:
            raise SendFailed(f"{task.identity}: {failed}")

    def route(self, record: Any) -> Place:
        """Where an output goes."""
        return place_of(record)

    def _ask(self, op: Ask) -> None:
        host = self.host
        host.outside.ask(self.task.identity, op.request, op.effect, host.process, host.now)

    def newest(self) -> Snapshot | None:
        """The snapshot to start from."""
        found = self.host.snapshots.newest(self.task.identity)
        first = found.memory.journal if found else 0
        self.host.note(str(self.task.identity), f"recovers from journal entry {first}", "")
        return found

    def _load_missing(self, op: LoadMissing) -> ModelLoaded:
        loaded = self.host.outside.load(LoadModel(model_id=op.model_id, stamp_ns=0))
        if loaded.model is None:
            raise Died(f"{self.task.identity}: {loaded.reason}")
        return loaded

    def _save(self, snapshot: Snapshot) -> None:
        dice = self.host.dice
        if dice.fires("snapshot not written"):
            return
        if dice.fires("snapshot torn"):
            half = snapshot.agent[: len(snapshot.agent) // 2]
            snapshot = dataclasses.replace(snapshot, agent=half)
        self.host.snapshots.write(self.task.identity, snapshot)
