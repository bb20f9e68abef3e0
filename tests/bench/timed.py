"""Wall and processor time by stage, of agents, effects, and whatever runs inside a ``with``."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from agents.protocol import Agent, Step, Train, WriteEvent, WriteTable
from agents.stopwatch import Stopwatch
from stream.records import Binned, Outcome, Prediction

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
"""``cpu`` is the time this process ran, all its threads: it does not count waiting for a busy core."""

Times = dict[str, dict[str, float]]
"""Milliseconds by clock and stage."""


class TwoClocks(Stopwatch):
    """A stopwatch that reads both clocks; ``times`` takes them, ``take`` is the wall clock's share."""

    def __init__(self) -> None:
        super().__init__()
        self._ms: dict[str, defaultdict[str, float]] = {}
        self.times()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under a stage's name."""
        begin = {clock: read() for clock, read in CLOCKS.items()}
        try:
            yield
        finally:
            for clock, read in CLOCKS.items():
                self._ms[clock][name] += 1e3 * (read() - begin[clock])

    def take(self) -> dict[str, float]:
        """Nothing: whoever takes the stages of one step must not take those of a sweep."""
        return {}

    def times(self) -> Times:
        """Milliseconds by clock and stage since the last call."""
        taken = {clock: dict(stages) for clock, stages in self._ms.items()}
        self._ms = {clock: defaultdict(float) for clock in CLOCKS}
        return taken


class TimedAgent:
    """An agent whose handling of each record is timed."""

    def __init__(self, agent: Agent, name: str, watch: TwoClocks) -> None:
        self._agent, self._name, self._watch = agent, name, watch

    def handle(self, record: Any) -> Step:
        """Pass the record on."""
        kinds = {Binned: "fold", Prediction: "rebuild and shadows", Outcome: "outcomes"}
        kind = kinds.get(type(record), "models")
        with self._watch.stage(f"{self._name}: {kind}" if self._name == "learn" else self._name):
            return self._agent.handle(record)


class TimedEffects:
    """Effects whose performance is timed: training, loading and storing models, writing tables."""

    def __init__(self, effects: Any, watch: TwoClocks) -> None:
        self._effects, self._watch = effects, watch

    def perform(self, effect: Any) -> Any:
        """Pass the effect on."""
        writing = "writing" if isinstance(effect, WriteTable | WriteEvent) else "model files"
        with self._watch.stage("training" if isinstance(effect, Train) else writing):
            return self._effects.perform(effect)


def statistics(values: list[float]) -> dict[str, float]:
    """Median, 99th percentile, least and most."""
    median, p99 = np.percentile(values, [50, 99])
    named = {"median": median, "p99": p99, "min": min(values), "max": max(values)}
    return {name: round(float(value), 4) for name, value in named.items()}


def summarise(times: list[Times]) -> dict[str, dict[str, dict[str, float]]]:
    """Statistics by clock and stage over sweeps; a stage that a sweep did not have counts as 0."""
    stages = {stage: None for sweep in times for stage in sweep["wall"]}
    return {
        clock: {stage: statistics([sweep[clock].get(stage, 0.0) for sweep in times]) for stage in stages}
        for clock in CLOCKS
    }
