"""Files of one partition of the archive, made again: the task of Archive recovers, and writes only these."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from agents.archive import Archive
from agents.journal import Receipt
from agents.kafka.driver import Entry, journal_entries
from agents.kafka.log import KafkaLog, LogError
from agents.kafka.messages import Message, poison_of, record_of
from agents.kafka.poison import Crashes
from agents.kafka.settings import KafkaSettings
from agents.kafka.snapshots import SnapshotStore
from agents.operations import AppendJournal, FindSnapshot, Handle, Read, ReadJournal, Snapshot
from agents.protocol import WriteTable
from agents.task import Task
from agents.task_id import TaskId
from stream.run_folder import RunFolder
from stream.sweep_rows import SWEEPS, whole_file
from stream.topics import ARCHIVE

READ_AHEAD = 64
"""Journal entries whose inputs are fetched together."""


async def rebuild_partition(settings: KafkaSettings, run: Path, names: Sequence[str]) -> Mapping[str, str]:
    """Fold again what the partition's journal names, and keep the chunks that are lacking; no worker may run.

    Begins at the newest snapshot from before them, or at the journal's beginning.
    Returns why a file could not be made again, by name.  Raises KafkaError
    """
    identity = TaskId(ARCHIVE, int(run.name), settings.partitions)
    wanted = {_chunk_of(name): name for name in names}
    found: dict[tuple[str, int], pa.Table] = {}
    async with KafkaLog(settings) as log:
        fold = _Refold(log, identity, _snapshot_before(settings, identity, wanted), settings.folder)
        try:
            async for effect in fold.tables():
                if (effect.dataset, effect.chunk) in wanted or (effect.dataset, ANY) in wanted:
                    found[effect.dataset, effect.chunk] = effect.table
        except LogError as error:
            return dict.fromkeys(names, str(error))
    folder = RunFolder(run)
    for (dataset, chunk), table in found.items():
        folder.write_table(dataset, table, chunk, durable=True)
    made = {*found, *((dataset, ANY) for dataset, _ in found)}
    gone = {name for key, name in wanted.items() if key not in made}
    return dict.fromkeys(gone, "the journal names nothing that would lead to it")


ANY = -1
"""Of sweeps.parquet, which an earlier version wrote instead of parts: its rows are in any chunk."""


def _chunk_of(name: str) -> tuple[str, int]:
    path = Path(name)
    if path == whole_file(path.parent):
        return SWEEPS, ANY
    return path.parent.name, int(path.stem.removeprefix("part-"))


def _snapshot_before(
    settings: KafkaSettings, identity: TaskId, wanted: Mapping[tuple[str, int], str]
) -> Snapshot | None:
    """The newest one under which none of the chunks was written yet; None for the beginning of all."""
    for _, snapshot in SnapshotStore(settings.snapshots).stored(str(identity)):
        if snapshot is None:
            continue
        archive = Archive()
        archive.restore(snapshot.agent)
        if all(archive.chunks(dataset) <= chunk for dataset, chunk in wanted):
            return snapshot
    return None


class _Refold:
    """Drives the recovery of a task of Archive without a claim, and hands out the tables it would store."""

    def __init__(self, log: KafkaLog, identity: TaskId, snapshot: Snapshot | None, folder: Path) -> None:
        self._log, self._snapshot = log, snapshot
        self._task = Task(identity, Archive(), "repair")
        self._poison = _poisoned(folder, identity)
        self._ahead: list[tuple[Receipt, ...]] = []
        self._fetched: dict[Receipt, Message] = {}

    async def tables(self) -> AsyncIterator[WriteTable]:
        """WriteTable effects, in order.  Raises LogError where the log no longer holds what is needed"""
        steps = self._task.recover()
        operation = next(steps)
        while True:
            reply: Any = None
            if isinstance(operation, Handle):
                reply = self._task.agent.handle(operation.record)
                for effect in reply.effects:
                    if isinstance(effect, WriteTable):
                        yield effect
            elif isinstance(operation, AppendJournal):  # the claim that a worker would make
                reply = (await self._log.end([self._task.identity.journal]))[self._task.identity.journal]
            elif isinstance(operation, FindSnapshot):
                reply = self._snapshot
            elif isinstance(operation, ReadJournal):
                reply = await self._journal(operation.first, operation.end)
            elif isinstance(operation, Read):
                reply = await self._inputs(operation.inputs)
            try:
                operation = steps.send(reply)
            except StopIteration:
                return

    async def _journal(self, first: int, end: int) -> list[Entry]:
        messages = await self._log.read(self._task.identity.journal, first, end)
        entries = journal_entries(messages)
        self._ahead = [entry.record.inputs for entry in self._task.valid_orders(entries)]
        return entries

    async def _inputs(self, inputs: tuple[Receipt, ...]) -> list[Entry]:
        if any(receipt not in self._fetched for receipt in inputs):
            ahead, self._ahead = self._ahead[:READ_AHEAD], self._ahead[READ_AHEAD:]
            self._fetched = await self._log.fetch([receipt for order in ahead for receipt in order])
        return [Entry(*receipt, self._record(receipt)) for receipt in inputs]

    def _record(self, receipt: Receipt) -> Any:
        if receipt not in self._fetched:
            (topic, partition), offset = receipt
            raise LogError(f"{topic}-{partition}: offset {offset} is needed and is no more")
        message = self._fetched[receipt]
        return poison_of(message) if receipt in self._poison else record_of(message)


def _poisoned(folder: Path, identity: TaskId) -> frozenset[Receipt]:
    crashes = Crashes(folder, "repair")
    try:
        return crashes.poisoned(identity)
    finally:
        crashes.close()
