"""Who trains now: triggers turned into optimiser steps by lineage."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.drift_alarms import Look
from models.online.triggers import Fired, Triggers
from stream.config import LearnConfig
from stream.records import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one labelled sweep leads to.

    steps : by lineage, 0 or absent: it is given the sweep and does not train
    renewed : lineages that first take over the champion's weights; events : of the triggers that fired
    """

    steps: Mapping[str, int] = field(default_factory=dict)
    renewed: frozenset[str] = frozenset()
    events: tuple[Event, ...] = ()


class TrainingPlan:
    """The triggers of ``learn.triggers`` over the lineages that there are."""

    def __init__(self, learn: LearnConfig, lineages: Collection[str]) -> None:
        self._learn, self._lineages = learn, tuple(lineages)
        self._triggers = Triggers(learn.triggers)

    def labelled(self, stamp_ns: int, now_ns: int, look: Look) -> Plan:
        """Fold one labelled sweep.

        stamp_ns : of the sweep that revealed it; now_ns : event time, of all streams by one clock
        """
        steps: dict[str, int] = {}
        renewed: set[str] = set()
        events = []
        for fired in self._triggers.labelled(now_ns, look.loss, look.detectors):
            trigger = fired.trigger
            named = [name for name in self._lineages if not trigger.lineages or name in trigger.lineages]
            asked = trigger.steps or self._learn.steps_per_sweep
            steps |= {name: max(asked, steps.get(name, 0)) for name in named}
            if trigger.renew:
                renewed |= set(named) & set(self._learn.challengers)
            if not trigger.every_sweep and named:
                events.append(_event(fired, stamp_ns, named, asked))
        return Plan(steps=steps, renewed=frozenset(renewed), events=tuple(events))

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return self._triggers.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``."""
        self._triggers.restore(state)


def _event(fired: Fired, stamp_ns: int, lineages: list[str], steps: int) -> Event:
    fields = {"trigger": fired.name, "when": fired.trigger.when, "lineages": lineages, "steps": steps}
    return Event(kind="triggered", stamp_ns=stamp_ns, fields=fields | fired.reason)
