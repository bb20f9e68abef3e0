"""Drives a task on a Kafka cluster: does what it yields, and waits for it."""

from __future__ import annotations

import asyncio
import itertools
import logging
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from aiokafka.errors import KafkaError

from agents.effects import LocalEffects
from agents.journal import Order, Place, Receipt
from agents.kafka.host import Failpoint, Host
from agents.kafka.log import LogError, LogLost, Outgoing
from agents.kafka.messages import (
    Message,
    decode_answer,
    decode_entry,
    encode_answer,
    encode_entry,
    poison_of,
    record_of,
)
from agents.kafka.partitions import asked_twice
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
    Steer,
    Store,
)
from agents.protocol import LoadModel, ModelLoaded, Step
from agents.task import MAX_SKEW_MS, Answer, TakenOver, Task
from models.manifest import ModelRefused
from stream.codecs.inputs import headers_of
from stream.codecs.state import Frozen
from stream.codecs.wire import encode
from stream.memory import give_back
from stream.records import Event, ModelPublished
from stream.topics import STATIC, TRANSFORMS, key_of, topic_of

LOGGER = logging.getLogger(__name__)

OPERATION_SECONDS = 90.0
"""Longer than any client waits for a broker that is away."""
FETCHED = 64
"""Inputs of so many journal entries are read at once in a recovery; there may be thousands."""
FILLED = 16
"""So many messages that were not delivered are read at once; sweeps are large."""
SMALL_BYTES = 4096
"""A message up to this size, as of a transform, is decoded sooner than another thread begins with it."""
QUIET_SECONDS = 1.0
"""A partition of which nothing comes for so long, though its end is further on, may end with markers of
transactions: they have offsets, and nobody is given them."""
LOOK_SECONDS = 10.0
"""To look for them may take so long; a partition that has no leader is looked at again."""
MAY_RUN_AHEAD = (TRANSFORMS, STATIC)
"""Folding these a little early does no harm. A sweep that runs ahead of its transforms may wait too long for
them: where a log is sent faster than recorded, MAX_SKEW_MS are many of its seconds."""


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One record of the log, decoded."""

    place: Place
    offset: int
    record: Any
    appended_ms: int = 0


def journal_entries(messages: Iterable[Message]) -> list[Entry]:
    """What messages of a journal say, with where they lie."""
    return [Entry(message.place, message.offset, decode_entry(message.value or b"")) for message in messages]


class Driver:
    """Takes a task from mark to mark. Messages are offered by whoever consumes.

    acknowledge : told how far each partition is done with
    """

    def __init__(
        self,
        task: Task,
        host: Host,
        effects: LocalEffects,
        failpoint: Failpoint,
        acknowledge: Callable[[dict[Place, int]], Awaitable[None]],
    ) -> None:
        self.task, self._host, self._effects = task, host, effects
        self._failpoint, self._acknowledge = failpoint, acknowledge
        self._steps = task.run()
        self._claiming = asyncio.Lock()
        self._queues: dict[Place, deque[Message | Entry]] = {
            place: deque() for place in task.identity.sources
        }
        self._offered: dict[Place, int] = {}  # behind the newest message that was ever queued
        self._ends: dict[Place, int] = {}
        self._ends_ms = 0.0
        self._looked_s = 0.0  # when ends were looked for last
        self._markers: dict[Place, tuple[int, int]] = {}  # ends of partitions, and of messages in them
        self._held_up = False
        self._whole: dict[Place, int] = {}
        self._began = False
        self._poison: frozenset[Receipt] = frozenset()
        self._ahead: deque[tuple[Receipt, ...]] = deque()  # inputs of journal entries, while it recovers
        self._fetched: dict[Receipt, Message] = {}  # of the next ones
        self._pending: Operation | None = None
        self._saving: asyncio.Task[None] | None = None
        self._encoded: dict[int, asyncio.Task[bytes]] = {}  # outputs of the step in hand, by identity
        self._do: dict[type[Any], Callable[[Any], Awaitable[Any]]] = {
            Next: lambda _: self._choose(),
            Handle: self._handle_and_encode,
            AppendJournal: self._append_journal,
            ReadJournal: self._read_journal,
            Read: self._read,
            Store: lambda op: host.run(effects.perform, op.effect),
            Send: lambda op: self._send(op.records),
            Ask: self._ask,
            Steer: self._steer,
            FindSnapshot: lambda _: host.run(host.snapshots.newest, task.identity),
            LoadMissing: self._load_missing,
            Capture: lambda _: host.run(lambda: Frozen(task.agent.state())),
            Save: self._save,
        }

    async def recover(self, is_ours: Callable[[], bool] = lambda: True) -> bool:
        """Become what the journal says; until then nothing is offered.

        is_ours : asked last before the task is claimed, which takes it from whoever owns it by then
        Returns whether it was claimed.
        Raises LogLost, KafkaError
        """
        identity = self.task.identity
        await self._require({identity.journal: await self._host.run(self._host.snapshots.reach, identity)})
        self._poison = self._host.crashes.poisoned(identity)
        async with self._claiming:
            if not is_ours():
                return False
            await self._to_mark(next(self._steps))
        while not isinstance(operation := next(self._steps), Next):
            await self._to_mark(operation)
        self._pending = operation
        self._began = any(self.task.positions.values())
        self._fetched, self._ahead = {}, deque()
        await self._require(self.task.positions)
        await self._require_new()
        return True

    async def claimed(self) -> None:
        """Wait for a claim that is under way: it would take the task from whoever claims it before."""
        async with self._claiming:
            return

    async def _to_mark(self, operation: Operation) -> str:
        """Do what a task yields up to its next mark; the mark's label."""
        while not isinstance(operation, Mark):
            operation = self._steps.send(await self._perform(operation))
        self._failpoint.reached(operation.label)
        return operation.label

    async def _require(self, known: Mapping[Place, int]) -> None:
        """Every partition reaches as far as it is known.  Raises LogLost"""
        ends = await asked_twice(
            lambda: self._host.log.end(list(known)),
            lambda ends: any(ends[place] < known[place] for place in known),
        )
        for place, end in ends.items():
            if end < known[place]:
                topic, partition = place
                raise LogLost(
                    f"{self.task.identity}: {topic}-{partition} ends at {end}, but is known up to "
                    f"{known[place]}: the log was lost, or is another cluster's; make all topics anew, and "
                    "move snapshots, crashes and archive in the folder of the workers away"
                )

    async def _require_new(self) -> None:
        """A task that has never run finds no archive that it would write over.  Raises LogLost"""
        if not self._began and (found := await self._host.run(self._effects.archived)):
            raise LogLost(
                f"{self.task.identity}: neither a snapshot nor the log tells how the archive goes on that "
                f"holds {found}; move the archive away, or it would be overwritten"
            )

    async def _perform(self, operation: Operation) -> Any:
        """Do it; what takes for ever ends the process, as a client that hangs is not told from outside."""
        try:
            return await asyncio.wait_for(self._do[type(operation)](operation), OPERATION_SECONDS)
        except TimeoutError as error:
            raise LogError(f"{type(operation).__name__}: not done after {OPERATION_SECONDS} s") from error

    async def pump(self) -> None:
        """Fold what may be folded now.  Raises TakenOver, KafkaError, and what the agent raises"""
        operation: Operation = self._pending if self._pending is not None else next(self._steps)
        self._pending = None
        while True:
            label = await self._to_mark(operation)
            if label in ("acknowledged", "waiting"):
                await self._acknowledge(self.task.acknowledged())
            if label == "waiting":
                return
            operation = next(self._steps)

    # ---- what comes next -------------------------------------------------------------------------------

    def offer(self, message: Message | Entry) -> None:
        """Take a message that may be folded; one that was taken before, or is in hand, is dropped."""
        place = message.place
        if message.offset >= max(self.task.positions[place], self._offered.get(place, 0)):
            self._queues[place].append(message)
            self._offered[place] = message.offset + 1

    @property
    def patience_s(self) -> float | None:
        """After how long to pump again though nothing was offered; None where that would be in vain."""
        return QUIET_SECONDS if self._held_up else None

    def queued_of(self, place: Place) -> int:
        """Messages of a partition that wait to be folded."""
        return len(self._queues[place])

    async def _choose(self) -> Entry | None:
        """An answer; else the head appended first, once no partition can hold one appended long before it.

        Answers first, as a task that catches up would hold what it has asked for until it has caught up; and
        nothing else while too many requests wait: so messages wait in the log, not what became of them here.
        """
        self._held_up = False
        if answers := self._queues[self.task.identity.answers]:
            heads = [answers[0]]
        elif self._host.requests.full:
            heads = []
        else:
            heads = [queue[0] for queue in self._queues.values() if queue]
        if not heads:
            return None
        head = min(heads, key=lambda message: message.appended_ms)
        if head.place in self.task.identity.inputs:
            head = await self._without_hole(head)
            if not await self._is_first(head):
                self._held_up = True
                return None
        self._queues[head.place].popleft()
        if isinstance(head, Entry):
            return head
        small = len(head.value or b"") <= SMALL_BYTES and head.place in self.task.identity.inputs
        record: Any = self._decode(head) if small else await self._host.run(self._decode, head)
        return Entry(head.place, head.offset, record, head.appended_ms)

    async def _without_hole(self, head: Message | Entry) -> Message | Entry:
        """The head, or what lies between it and what was folded last and has not been delivered.

        What is no more, because its retention has passed unread, is told in an event; that of a task which
        has never run before is not, as nobody waited for it.
        """
        place, queue = head.place, self._queues[head.place]
        while (known := max(self.task.positions[place], self._whole.get(place, 0))) < queue[0].offset:
            beginning = (await self._host.log.beginning([place]))[place]
            first = min(max(known, beginning), queue[0].offset)
            if first > known and (self._began or known):
                await self._tell_gap(place, known, first, queue[0].appended_ms)
            end = min(first + FILLED, queue[0].offset)
            self._whole[place] = end
            queue.extendleft(reversed(await self._host.log.read(place, first, end)))
        return queue[0]

    async def _tell_gap(self, place: Place, first: int, end: int, appended_ms: int) -> None:
        topic, partition = place
        LOGGER.error("%s: %s-%s was deleted unread from %s to %s", self.task.identity, *place, first, end)
        fields = {"topic": topic, "partition": partition, "from": first, "to": end}
        fields["agent"] = self.task.identity.agent
        await self._send((Event(kind="gap", stamp_ns=appended_ms * 1_000_000, fields=fields),))

    async def _is_first(self, head: Message | Entry) -> bool:
        """Whether every partition without a head had come to its end before the head was appended."""
        inputs = self.task.identity.inputs
        silent = [place for place in inputs if not self._queues[place]]
        if not silent:
            return True
        skew = MAX_SKEW_MS if head.place[0] in MAY_RUN_AHEAD else 0
        if self._ends_ms + skew < head.appended_ms or not self._ends:
            # By the broker's clock alone: all of this was appended before the ends are asked for.
            known_ms = max(self._queues[place][-1].appended_ms for place in inputs if self._queues[place])
            self._ends = await self._host.log.end(inputs)
            self._ends_ms, self._looked_s = known_ms, time.monotonic()
            lacking = self._lacking(silent)
            for place, beginning in (await self._host.log.beginning(lacking) if lacking else {}).items():
                if beginning >= self._ends[place]:  # all of it was deleted, nothing will come of it
                    self._ends[place] = 0
        elif time.monotonic() - self._looked_s >= QUIET_SECONDS:
            await self._look_for_markers(self._lacking(silent))
            self._looked_s = time.monotonic()
        return not self._lacking(silent)

    def _lacking(self, places: Sequence[Place]) -> list[Place]:
        return [place for place in places if self.task.positions[place] < self._end_of_messages(place)]

    def _end_of_messages(self, place: Place) -> int:
        """Behind the last message of a partition, as far as is known; there may be markers after it."""
        known, end = self._markers.get(place, (0, 0))
        return end if known == self._ends[place] else self._ends[place]

    async def _look_for_markers(self, places: Sequence[Place]) -> None:
        """Find the last messages of partitions of which nothing comes."""
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                for place in places:
                    self._markers[place] = self._ends[place], await self._behind_last(place)
        except (TimeoutError, KafkaError, LogError) as error:
            LOGGER.warning("%s: nothing comes of %s: %r", self.task.identity, places, error)

    async def _behind_last(self, place: Place) -> int:
        """Behind the last message of a partition, found by reading backwards; its position where none is."""
        end = last = self._ends[place]
        first = max(self.task.positions[place], (await self._host.log.beginning([place]))[place])
        while last > first:
            begin = max(first, last - max(1, end - last))
            if found := await self._host.log.read(place, begin, last):
                return found[-1].offset + 1
            last = begin
        return self.task.positions[place]

    def _decode(self, message: Message) -> Any:
        identity, receipt = self.task.identity, (message.place, message.offset)
        if message.place == identity.answers:
            return decode_answer(message.value or b"", self._load, self._host.make)
        if receipt in self._poison:
            return poison_of(message)
        return self._host.crashes.run(identity, receipt, record_of, message)

    async def _handle_and_encode(self, op: Handle) -> Step:
        """Encode outputs while the journal is written, which has to come before they are sent."""
        step: Step = await self._host.run(self._handle, op.record)
        if not self.task.recovering:
            loop = asyncio.get_running_loop()
            self._encoded = {
                id(record): loop.create_task(self._host.run(encode, record)) for record in step.outputs
            }
        return step

    def _handle(self, record: Any) -> Step:
        """Have the agent handle what the task has in hand; an answer is no input that could be given up."""
        identity, receipt = self.task.identity, self.task.in_hand
        with self._effects.spending():
            if receipt is None or receipt[0] == identity.answers:
                return self.task.agent.handle(record)
            return self._host.crashes.run(identity, receipt, self.task.agent.handle, record)

    # ---- the log ---------------------------------------------------------------------------------------

    async def _append_journal(self, op: AppendJournal) -> int:
        topic, partition = self.task.identity.journal
        return await self._host.log.append(topic, encode_entry(op.entry), partition=partition)

    async def _read_journal(self, op: ReadJournal) -> list[Entry]:
        messages = await self._host.log.read(self.task.identity.journal, op.first, op.end)
        entries = journal_entries(messages)
        if self.task.recovering:
            self._ahead = deque(entry.record.inputs for entry in entries if isinstance(entry.record, Order))
        return entries

    async def _read(self, op: Read) -> list[Entry]:
        if not self._fetched.keys() >= set(op.inputs):
            while self._ahead[0] != op.inputs:  # of a process that did not own the task any more
                self._ahead.popleft()
            ahead = itertools.islice(self._ahead, FETCHED)
            self._fetched = await self._host.log.fetch([receipt for inputs in ahead for receipt in inputs])
        for (topic, partition), offset in op.inputs:
            if ((topic, partition), offset) not in self._fetched:
                raise LogError(f"{topic}-{partition}: {offset} is needed and is no more")
        messages = [self._fetched[receipt] for receipt in op.inputs]
        return [
            Entry(message.place, message.offset, await self._host.run(self._decode, message))
            for message in messages
        ]

    async def _send(self, records: tuple[Any, ...]) -> None:
        """Wait for the last one's encoding before the first is sent, so that they share a request."""
        for record in records:
            if id(record) not in self._encoded:
                self._encoded[id(record)] = asyncio.create_task(self._host.run(encode, record))
        values = [await self._encoded.pop(id(record)) for record in records]
        await self._host.log.append_all(
            [
                Outgoing(
                    topic=topic_of(record),
                    value=value,
                    key=key_of(record),
                    partition=0 if isinstance(record, ModelPublished) else None,
                    headers=headers_of(record, self._host.source),
                )
                for record, value in zip(records, values, strict=True)
            ]
        )

    # ---- the outside -----------------------------------------------------------------------------------

    async def _steer(self, op: Steer) -> None:
        self._host.requests.steer(op.effect, self._effects)

    async def _ask(self, op: Ask) -> None:
        self._host.requests.start(op.request, op.effect, self._effects, self._answer)

    async def _answer(self, request: str, record: Any) -> None:
        """Append an answer; it comes back like any other input."""
        topic, partition = self.task.identity.answers
        answer = Answer(request, record)
        offset = await self._host.log.append(topic, encode_answer(answer), partition=partition)
        self.offer(Entry((topic, partition), offset, answer, int(1e3 * time.time())))

    def _load(self, request: LoadModel) -> ModelLoaded:
        loaded = self._effects.perform(request)
        if not isinstance(loaded, ModelLoaded) or loaded.model is None:
            reason = loaded.reason if isinstance(loaded, ModelLoaded) else "no model"
            raise ModelRefused(f"{request.model_id}: served before, and cannot be loaded now: {reason}")
        return loaded

    async def _load_missing(self, op: LoadMissing) -> ModelLoaded:
        loaded: ModelLoaded = await self._host.run(self._load, LoadModel(model_id=op.model_id, stamp_ns=0))
        return loaded

    def end(self) -> None:
        """Ask for nothing more: a successor asks again for what is open."""
        self._host.requests.forget(self._effects)

    # ---- snapshots -------------------------------------------------------------------------------------

    async def leave(self) -> None:
        """Write a last snapshot, between two pumps: whoever goes on has then nothing to fold again."""
        if self.task.recovering:
            return
        steps, reply = self.task.leave(), None
        try:
            while True:
                operation = steps.send(reply)
                reply = None if isinstance(operation, Mark) else await self._perform(operation)
        except StopIteration:
            pass
        except TakenOver:  # it is the other's business
            return
        await self.saved()

    async def saved(self) -> None:
        """Wait until the snapshot is written that is being written in the background."""
        if self._saving is not None:
            await self._saving

    async def _save(self, op: Save) -> None:
        """Write it in the background; a disk that is slower than that is waited for."""
        await self.saved()
        self._saving = asyncio.get_running_loop().create_task(self._write(op))

    async def _write(self, op: Save) -> None:
        try:
            await asyncio.to_thread(self._host.snapshots.write, self.task.identity, op.agent, op.memory)
        except OSError as error:  # the one before will do
            LOGGER.warning("%s: no snapshot: %s", self.task.identity, error)
        await asyncio.to_thread(give_back)
