"""Counting what passes: a task, and a store of snapshots, that do what they always do and are watched."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from agents.journal import Place
from agents.kafka.log import KafkaLog
from agents.kafka.metrics import Metrics, Standing, Written
from agents.kafka.snapshots import SnapshotStore
from agents.operations import (
    AppendJournal,
    Capture,
    Handle,
    Mark,
    Memory,
    Next,
    Operation,
    Read,
    Send,
    Store,
)
from agents.protocol import Agent
from agents.task import Steps, Task
from agents.task_id import TaskId
from stream.codecs.state import Frozen
from stream.records import Event, ModelActivated, Prediction, SweepRejected
from stream.sweep import Sweep
from stream.topics import TOPICS, topic_of

TIMED: dict[type[Any], str] = {
    Next: "choose",
    Handle: "handle",
    AppendJournal: "journal",
    Store: "store",
    Send: "send",
    Capture: "capture",
}
"""Operations whose duration is observed, by their name in the metric."""
COMPACTED = frozenset(topic.name for topic in TOPICS if topic.cleanup != "delete")
"""Topics in which offsets are missing by design."""
WAITING_SWEEPS = 4096
"""Sweeps whose time is remembered until their prediction; some never get one, so the oldest go."""

Clock = Callable[[], float]


class MeteredTask(Task):
    """Counts the operations that a task yields and what came of them; both pass unchanged.

    clock : Unix time, as brokers have it, in seconds
    """

    def __init__(
        self,
        identity: TaskId,
        agent: Agent,
        process: str,
        snapshot_entries: int,
        metrics: Metrics,
        clock: Clock = time.time,
    ) -> None:
        super().__init__(identity, agent, process, snapshot_entries)
        self._metrics, self._clock = metrics, clock
        self._labels = (identity.agent, str(identity.partition))
        self._appended_s: dict[str, float] = {}  # by prediction id
        self._in_turn: Place | None = None
        self._ever_ran = False
        self._model_id = ""
        self.recovery_s: float | None = None
        self._activated_s: float | None = None

    def run(self) -> Steps[None]:
        """As the task's own."""
        steps, reply, begin = super().run(), None, self._clock()
        while True:
            operation = steps.send(reply)
            if self.recovery_s is None and not self.recovering:
                self.recovery_s = self._clock() - begin
                self._ever_ran = any(self.positions.values())
            if isinstance(operation, Mark):
                self._passed(operation)
                reply = yield operation
            else:
                asked = time.perf_counter()
                reply = yield operation
                self._done(operation, reply, time.perf_counter() - asked)

    def standing(self, ends: Mapping[Place, int], snapshot: Written | None) -> Standing | None:
        """How it stands; None while it recovers.  ends : of its input partitions"""
        if self.recovery_s is None:
            return None
        return Standing(
            partition=self.identity.partition,
            held=sum(map(len, self.waiting.values())),
            recovery_s=self.recovery_s,
            lag={place: max(0, ends[place] - end) for place, end in self.acknowledged().items()},
            snapshot=snapshot,
            model_id=self._model_id,
            activated_s=self._activated_s,
        )

    # ---- what passes -----------------------------------------------------------------------------------

    def _passed(self, mark: Mark) -> None:
        if mark.label == "acknowledged" and self._in_turn is not None:
            self._metrics.handled.labels(*self._labels, self._in_turn[0]).inc()
            self._in_turn = None

    def _done(self, operation: Operation, reply: Any, seconds: float) -> None:
        idle = isinstance(operation, Next) and reply is None
        if type(operation) in TIMED and not idle and not self.recovering:
            name = TIMED[type(operation)]
            self._metrics.operations.labels(self.identity.agent, name).observe(seconds)
        if isinstance(operation, Read):
            self._metrics.refolded.labels(*self._labels).inc(len(reply))
        elif isinstance(operation, Next) and reply is not None:
            self._chosen(reply)
        elif isinstance(operation, Send):
            for record in operation.records:
                self._sent(record)

    def _chosen(self, entry: Any) -> None:
        """An entry of the driver is about to be folded."""
        self._in_turn = entry.place
        topic, known = entry.place[0], self.positions[entry.place]
        if entry.offset > known and (known or self._ever_ran) and topic not in COMPACTED:
            self._metrics.lost.labels(*self._labels, topic).inc(entry.offset - known)
        if isinstance(entry.record, Sweep):
            self._appended_s.pop(entry.record.prediction_id, None)  # of several parts the last one counts
            self._appended_s[entry.record.prediction_id] = entry.appended_ms / 1e3
            if len(self._appended_s) > WAITING_SWEEPS:
                del self._appended_s[next(iter(self._appended_s))]

    def _sent(self, record: Any) -> None:
        """A record is in the log; after a recovery the last ones are there twice, and count twice."""
        metrics, labels = self._metrics, self._labels
        metrics.sent.labels(*labels, topic_of(record)).inc()
        if isinstance(record, SweepRejected):
            metrics.dead_letters.labels(*labels, record.reason).inc()
        elif isinstance(record, Event):
            metrics.events.labels(*labels, record.kind).inc()
        elif isinstance(record, ModelActivated):
            metrics.activations.labels(*labels).inc()
            self._model_id, self._activated_s = record.model_id, self._clock()
        elif isinstance(record, Prediction) and record.prediction_id in self._appended_s:
            waited_s = self._clock() - self._appended_s.pop(record.prediction_id)
            metrics.latency.labels(*labels).observe(max(0.0, waited_s))  # clocks of two machines differ


class MeteredSnapshots(SnapshotStore):
    """Counts snapshots, and knows of each task the newest one that this process has written."""

    def __init__(self, uri: str, metrics: Metrics, clock: Clock = time.time) -> None:
        super().__init__(uri)
        self._metrics, self._clock = metrics, clock
        self._written: dict[TaskId, Written] = {}

    def write(self, task: TaskId, agent: bytes | Frozen, memory: Memory) -> None:
        """As the store's own."""
        labels = (task.agent, str(task.partition))
        try:
            super().write(task, agent, memory)
        except OSError:
            self._metrics.snapshot_failures.labels(*labels).inc()
            raise
        self._metrics.snapshots.labels(*labels).inc()
        self._written[task] = Written(at_s=self._clock(), size_bytes=len(agent))

    def written(self, task: TaskId) -> Written | None:
        """The newest one of a task."""
        return self._written.get(task)


async def standings(
    tasks: Sequence[MeteredTask], log: KafkaLog, snapshots: MeteredSnapshots
) -> tuple[Standing, ...]:
    """How tasks stand, those that recover left out; asks the brokers for the ends.  Raises KafkaError"""
    places = sorted({place for task in tasks for place in task.identity.inputs})
    ends = await log.end(places) if places else {}
    found = [task.standing(ends, snapshots.written(task.identity)) for task in tasks]
    return tuple(standing for standing in found if standing is not None)
