"""The in-process runtime: one deterministic loop over a log, effects done at once, no broker."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from agents.archive import Archive, Latency
from agents.effects import LocalEffects
from agents.judge import Judge
from agents.learn import Learn
from agents.pace import Pace
from agents.perceive import Perceive
from agents.protocol import Agent, Key, ModelLoaded, Step, Trained, TrainingFailed
from agents.stopwatch import Stopwatch
from stream.records import (
    Binned,
    EndOfLog,
    FeatureSample,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
)
from stream.sources.base import Damage, Item
from stream.sweep import Sweep
from stream.transform import Transform


@dataclass(frozen=True, slots=True, kw_only=True)
class Agents:
    """The four agents of one run."""

    perceive: Perceive
    judge: Judge
    learn: Learn
    archive: Archive


class InProcess:
    """Delivers every record to the agents that read it, in one fixed order.

    clock : seconds, for latencies only; nothing else depends on it
    on_sweep : called after each sweep that came in; on_latency : with milliseconds by stage of a prediction
    pace : what Learn costs is charged to it; observe : called with every record once agents have handled it
    """

    def __init__(
        self,
        agents: Agents,
        effects: LocalEffects,
        stopwatch: Stopwatch,
        clock: Callable[[], float],
        on_sweep: Callable[[Sweep], None],
        on_latency: Callable[[Mapping[str, float]], None],
        pace: Pace | None = None,
        observe: Callable[[Any], None] = lambda record: None,
    ) -> None:
        a = agents
        self._agents, self._effects, self._stopwatch = agents, effects, stopwatch
        self._clock, self._on_sweep, self._on_latency = clock, on_sweep, on_latency
        self._pace, self._observe = pace or Pace(), observe
        self._queue: deque[Any] = deque()
        self._decode_ms: dict[Key, float] = {}
        self._routes: dict[type, tuple[Agent, ...]] = {
            Sweep: (a.perceive,),
            Transform: (a.perceive,),
            ModelLoaded: (a.perceive,),
            ModelPublished: (a.perceive, a.archive),
            Binned: (a.judge, a.learn, a.archive),
            Prediction: (a.judge, a.learn, a.archive),
            Shadow: (a.judge, a.archive),
            Outcome: (a.learn, a.archive),
            ModelActivated: (a.learn, a.archive),
            Trained: (a.learn,),
            TrainingFailed: (a.learn,),
            FeatureSample: (a.archive,),
            Latency: (a.archive,),
        }
        self._others: tuple[Agent, ...] = (a.archive,)

    def run(self, items: Iterable[Item]) -> Damage | None:
        """Feed a log to its end; returns the damage that cut it short, if any."""
        damage = None
        iterator = iter(items)
        while True:
            begin = self._clock()
            item = next(iterator, None)
            decode_ms = 1e3 * (self._clock() - begin)
            if item is None:
                return damage
            if isinstance(item, Damage):
                damage = item
                continue
            self._feed(item, decode_ms)

    def tell(self, record: Any) -> None:
        """Deliver a record from outside the log, a person's word, to those that read it."""
        self._queue.append(record)
        self._drain()

    def finish(self) -> None:
        """Tell every agent, in the order of the flow, that the log has ended."""
        agents = self._agents
        for agent in (agents.perceive, agents.judge, agents.learn, agents.archive):
            self._apply(agent, agent.handle(EndOfLog()))
            self._drain()

    def _feed(self, item: Item, decode_ms: float) -> None:
        if isinstance(item, Sweep | Transform):
            begin = self._clock()
            step = self._agents.perceive.handle(item)
            handle_ms = 1e3 * (self._clock() - begin)
            if isinstance(item, Sweep):
                self._decode_ms[item.stream_id, item.stamp_ns] = decode_ms
            self._measure(step, handle_ms)  # first, so that the archive has it when a chunk is full
            self._apply(self._agents.perceive, step)
        else:
            self._queue.append(item)
        self._drain()
        if isinstance(item, Sweep):
            self._on_sweep(item)

    def _measure(self, step: Step, handle_ms: float) -> None:
        """Latency of a prediction: decoding its sweep, and the step that predicted."""
        stages = self._stopwatch.take()
        for record in step.outputs:
            if isinstance(record, Prediction):
                decode_ms = self._decode_ms.pop((record.stream_id, record.stamp_ns), 0.0)
                milliseconds = stages | {"decode": decode_ms, "total": decode_ms + handle_ms}
                self._on_latency(milliseconds)
                self._queue.append(Latency(prediction_id=record.prediction_id, milliseconds=milliseconds))
        if len(self._decode_ms) > 1000:  # sweeps that were rejected never ask for theirs
            self._decode_ms.clear()

    def _apply(self, agent: Agent, step: Step) -> None:
        self._queue.extend(step.outputs)
        for effect in step.effects:
            answer = self._effects.perform(effect)
            if answer is not None:
                self._queue.append(answer)

    def _drain(self) -> None:
        while self._queue:
            record = self._queue.popleft()
            for agent in self._routes.get(type(record), self._others):
                with self._pace.spending() if agent is self._agents.learn else nullcontext():
                    step = agent.handle(record)
                self._apply(agent, step)
            self._observe(record)
