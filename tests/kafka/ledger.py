"""What lies in the topics after a run, partition by partition, and what must lie there."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from typing import Any

from agents.archive import RunDigest
from agents.judge import Judge
from agents.kafka.messages import record_of
from agents.kafka.partitions import Partitions
from agents.kafka.settings import KafkaSettings
from agents.simulation.topics import Identity, fingerprint, identity
from agents.task import Undecodable
from models.online.builtin import MODEL_ID
from stream.config import Config
from stream.records import (
    Binned,
    Event,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.topics import (
    ACTIVATED,
    ALARMS,
    BINNED,
    OUTCOMES,
    PREDICTIONS,
    PUBLISHED,
    REJECTED,
    SHADOWS,
    SWEEPS,
)

Part = tuple[str, str, int, str]
"""Table, prediction, horizon, digest of the rows: as ``RunDigest.state`` has them."""

LEDGER_TOPICS = (SWEEPS, BINNED, PREDICTIONS, SHADOWS, OUTCOMES, ACTIVATED, REJECTED, ALARMS)


@dataclass(slots=True)
class Ledger:
    """One partition of all topics, each record once; arrays are not kept, but their fingerprints.

    prints : by topic and identity; contradicted : identities that came again with other contents
    models : of each prediction; activations : first stamp and model, by stream
    nonsense : fingerprints of the dead letters that messages should have which are no sweeps; letters : of
        these, those that are there
    sweep_ms, prediction_ms : when each sweep and its prediction were first appended, by the broker's clock
    activation_ms : the same of each activation
    expected : fingerprints of the outcomes that one Judge gives who folds the same records without a break
    digest : over predictions and outcomes, as the archive computes it
    """

    partition: int
    prints: dict[str, dict[Identity, str]] = field(default_factory=dict)
    repeated: Counter[str] = field(default_factory=Counter)
    contradicted: list[Identity] = field(default_factory=list)
    rejected: dict[str, str] = field(default_factory=dict)
    nonsense: set[str] = field(default_factory=set)
    letters: set[str] = field(default_factory=set)
    sweep_ms: dict[str, int] = field(default_factory=dict)
    prediction_ms: dict[str, int] = field(default_factory=dict)
    activation_ms: list[int] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    activations: dict[str, dict[int, str]] = field(default_factory=dict)
    stamps: dict[str, tuple[str, int]] = field(default_factory=dict)
    events: Counter[str] = field(default_factory=Counter)
    expected: dict[Identity, str] = field(default_factory=dict)
    digest: RunDigest = field(default_factory=RunDigest)

    def names(self, topic: str) -> set[Identity]:
        """Identities of what a topic holds."""
        return set(self.prints.get(topic, {}))

    def add(self, topic: str, record: Any, judge: Judge, appended_ms: int) -> None:
        """Enter one record, in the order of appending."""
        name, print_ = identity(record), fingerprint(record)
        known = self.prints.setdefault(topic, {})
        if name in known:
            self.repeated[topic] += 1
            if known[name] != print_:
                self.contradicted.append(name)
            return
        known[name] = print_
        if isinstance(record, Sweep):
            self.sweep_ms.setdefault(record.prediction_id, appended_ms)
        elif isinstance(record, SweepRejected) and print_ in self.nonsense:
            self.letters.add(print_)
        elif isinstance(record, SweepRejected):
            self.rejected[f"{record.stream_id}/{record.stamp_ns}"] = record.reason
        elif isinstance(record, ModelActivated):
            self.activations.setdefault(record.stream_id, {})[record.first_stamp_ns] = record.model_id
            self.activation_ms.append(appended_ms)
        elif isinstance(record, Event):
            self.events[record.kind] += 1
        elif isinstance(record, Outcome):
            self.digest.add_outcome(record)
        elif isinstance(record, Binned | Prediction | Shadow):
            if isinstance(record, Prediction):
                self.prediction_ms[record.prediction_id] = appended_ms
            self._judge(record, judge)

    def _judge(self, record: Binned | Prediction | Shadow, judge: Judge) -> None:
        if isinstance(record, Prediction):
            self.models[record.prediction_id] = record.model_id
            self.stamps[record.prediction_id] = (record.stream_id, record.stamp_ns)
            self.digest.add_prediction(record)
        for output in judge.handle(record).outputs:
            if isinstance(output, Outcome):
                self.expected[identity(output)] = fingerprint(output)

    def active(self, prediction_id: str) -> str:
        """The model that its stream activated last before a prediction; the built-in one before the first."""
        stream_id, stamp_ns = self.stamps[prediction_id]
        activations = self.activations.get(stream_id, {})
        first = max((stamp for stamp in activations if stamp <= stamp_ns), default=None)
        return MODEL_ID if first is None else activations[first]

    def activated(self) -> set[str]:
        """Models that streams of this partition have activated."""
        return {model for activations in self.activations.values() for model in activations.values()}

    def parts(self) -> set[Part]:
        """Digests of the rows that the archive must have."""
        return {tuple(part) for part in self.digest.state()}


def read_ledgers(settings: KafkaSettings, config: Config) -> list[Ledger]:
    """A ledger a partition; what agents wrote and nobody can decode raises ValueError.

    As many processes as there are cores, each with a partition; each takes the memory of one partition's
    fetches and of all its fingerprints, not of the records.
    """
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        return list(pool.map(partial(_read_ledger, settings, config), range(settings.partitions)))


def _read_ledger(settings: KafkaSettings, config: Config, number: int) -> Ledger:
    return asyncio.run(_read_partition(settings, config, number))


async def _read_partition(settings: KafkaSettings, config: Config, number: int) -> Ledger:
    ledger, judge = Ledger(number), Judge(config)
    async with Partitions.open(settings) as partitions:
        spans = await partitions.spans([(topic, number) for topic in LEDGER_TOPICS])
        async for message in partitions.merged(spans):
            record = record_of(message)
            if not isinstance(record, Undecodable):
                ledger.add(message.place[0], record, judge, message.appended_ms)
            elif message.place[0] == SWEEPS:
                ledger.nonsense.add(fingerprint(record.letter))
            else:
                raise ValueError(record.letter.detail)
    return ledger


async def read_published(settings: KafkaSettings) -> list[ModelPublished]:
    """All models that were published; the topic has one partition."""
    place = (PUBLISHED, 0)
    async with Partitions.open(settings) as partitions:
        span = (await partitions.spans([place]))[place]
        return [record_of(message) async for message in partitions.messages(place, span)]
