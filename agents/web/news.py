"""What happened: models and what came of them, alarms and other events; the newest of each."""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import orjson

from agents.archive import event_of
from agents.recording import WARNINGS
from stream.records import HOLDS, Event, ModelActivated, ModelPublished, SweepRejected

MODEL_EVENTS = ("trained", "promoted", "rejected", "rolled_back", "refused", "model_failed")
"""Events that name a model in ``model_id``."""
MOST_STREAMS = 4096
"""Streams whose model is known; robots may come under ever new names."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """One model of the lineage.

    published_ns : stamp at which it was, -1 where that was not seen; activated : first stamp by stream
    events : how often each of MODEL_EVENTS named it
    """

    model_id: str
    kind: str = ""
    parent_id: str = ""
    sha256: str = ""
    published_ns: int = -1
    activated: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)


class News:
    """Models and events, so many of each at most.

    One thread adds, any may read.
    """

    def __init__(self, most_events: int, most_models: int) -> None:
        self._lock = threading.Lock()
        self._most_models = most_models
        self._models: OrderedDict[str, ModelFacts] = OrderedDict()
        self._serving: dict[str, str] = {}
        self._events: deque[tuple[int, dict[str, Any]]] = deque(maxlen=most_events)
        self._alarms: deque[tuple[int, dict[str, Any]]] = deque(maxlen=most_events)
        self._number = 0

    def add(self, record: Event | ModelActivated | ModelPublished | SweepRejected) -> None:
        """Take a record."""
        with self._lock:
            if isinstance(record, ModelPublished):
                if record.kind not in HOLDS:
                    self._published(record)
            elif isinstance(record, ModelActivated):
                self._activated(record)
            elif isinstance(record, Event) and record.kind in MODEL_EVENTS:
                self._named(record)
            event = _tellable(record)
            self._number += 1
            self._events.append((self._number, event))
            if is_alarm(event["event"]):
                self._alarms.append((self._number, event))

    def _facts(self, model_id: str) -> ModelFacts:
        facts = self._models.get(model_id) or ModelFacts(model_id=model_id)
        self._models[model_id] = facts
        self._models.move_to_end(model_id)
        serving = set(self._serving.values())
        spare = [name for name in self._models if name not in serving and name != model_id]
        for name in spare[: max(0, len(self._models) - self._most_models)]:
            del self._models[name]
        return facts

    def _published(self, record: ModelPublished) -> None:
        self._models[record.model_id] = replace(
            self._facts(record.model_id),
            kind=record.kind,
            parent_id=record.parent_id,
            sha256=record.sha256,
            published_ns=record.stamp_ns,
        )

    def _activated(self, record: ModelActivated) -> None:
        self._serving = _with_newest(self._serving, record.stream_id, record.model_id)
        facts = self._facts(record.model_id)
        activated = _with_newest(facts.activated, record.stream_id, record.first_stamp_ns)
        self._models[record.model_id] = replace(
            facts, activated=activated, sha256=facts.sha256 or record.sha256
        )

    def _named(self, record: Event) -> None:
        model_id = record.fields.get("model_id")
        if isinstance(model_id, str) and model_id:
            facts = self._facts(model_id)
            events = facts.events | {record.kind: facts.events.get(record.kind, 0) + 1}
            self._models[model_id] = replace(facts, events=events)

    # ---- reading ---------------------------------------------------------------------------------------

    def models(self) -> list[ModelFacts]:
        """Every model that is known, the one that was heard of last at the end."""
        with self._lock:
            return list(self._models.values())

    def serving(self) -> dict[str, str]:
        """Model by stream."""
        with self._lock:
            return dict(self._serving)

    @property
    def number(self) -> int:
        """Of the newest event, 0 before the first."""
        return self._number

    def events(self, after: int = 0, *, alarms: bool = False) -> list[tuple[int, dict[str, Any]]]:
        """Events after a number, the oldest first, with their own numbers, from 1; alarms alone if told."""
        with self._lock:
            return [item for item in (self._alarms if alarms else self._events) if item[0] > after]


def _with_newest(values: Mapping[str, T], name: str, value: T) -> dict[str, T]:
    """Values by stream with one more at the end; beyond MOST_STREAMS the oldest are left out."""
    kept = {key: old for key, old in values.items() if key != name} | {name: value}
    return dict(list(kept.items())[-MOST_STREAMS:])


def _tellable(record: Event | ModelActivated | ModelPublished | SweepRejected) -> dict[str, Any]:
    """The event of a record, whatever its fields are called and hold: anybody may send one."""
    event = event_of(record)
    if isinstance(record, Event):
        event |= {"event": record.kind, "stamp_ns": record.stamp_ns}
        try:
            orjson.dumps(event, option=orjson.OPT_SERIALIZE_NUMPY)
        except TypeError:  # half a character, or an integer that no reader would take
            return {"event": record.kind, "stamp_ns": record.stamp_ns, "text": repr(record.fields)}
    return event


def is_alarm(kind: str) -> bool:
    """Whether somebody should look at an event of this kind."""
    return kind in WARNINGS or kind.startswith(("drift", "alarm"))


def names_of(events: Iterable[tuple[int, dict[str, Any]]]) -> list[str]:
    """Kinds of events, in their order."""
    return [str(event["event"]) for _, event in events]
