"""What makes models train: amount, time, performance and drift, by name."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from stream.config import TriggerConfig
from stream.config_triggers import DUMMIES


@dataclass(frozen=True, slots=True, kw_only=True)
class Fired:
    """A trigger that fired, and the numbers it fired on."""

    name: str
    trigger: TriggerConfig
    reason: dict[str, Any]


@dataclass(slots=True, kw_only=True)
class _Memory:
    """What one trigger knows since it fired last.

    sweeps : labelled sweeps; since_ns : event time at the first of them; losses : of the newest, nats
    lowest : mean over a whole window of losses, None before the first one
    """

    sweeps: int = 0
    since_ns: int | None = None
    losses: deque[float]
    lowest: float | None = None


class Triggers:
    """Says after each labelled sweep which triggers fire. Pure: event time only.

    triggers : by name, None for one that is switched off
    """

    def __init__(self, triggers: Mapping[str, TriggerConfig | None]) -> None:
        self._triggers = {name: trigger for name, trigger in triggers.items() if trigger is not None}
        self._memories = {name: _new(trigger) for name, trigger in self._triggers.items()}

    def labelled(self, now_ns: int, loss: float | None, alarms: Collection[str]) -> list[Fired]:
        """Fold one labelled sweep, in order.

        now_ns : event time, of all streams by one clock; loss : mean log loss of what was served, or None
        alarms : names of the detectors that raised one
        """
        fired = []
        for name, trigger in self._triggers.items():
            memory = self._memories[name]
            memory.sweeps += 1
            memory.since_ns = now_ns if memory.since_ns is None else memory.since_ns
            if loss is not None and trigger.when == "performance":
                memory.losses.append(loss)
            reason = _reason(trigger, memory, now_ns, alarms)
            if reason is not None:
                fired.append(Fired(name=name, trigger=trigger, reason=reason))
                self._memories[name] = _new(trigger)
                if trigger.when == "time":
                    self._memories[name].since_ns = now_ns
        return fired

    def state(self) -> dict[str, Any]:
        """Plain values; ``restore`` is the exact inverse."""
        return {
            name: {
                "sweeps": memory.sweeps,
                "since_ns": memory.since_ns,
                "losses": list(memory.losses),
                "lowest": memory.lowest,
            }
            for name, memory in self._memories.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from ``state``; a trigger that it does not know begins anew."""
        for name, trigger in self._triggers.items():
            memory = self._memories[name] = _new(trigger)
            if name in state:
                values = state[name]
                memory.sweeps, memory.since_ns = values["sweeps"], values["since_ns"]
                memory.losses.extend(values["losses"])
                memory.lowest = values["lowest"]


def _new(trigger: TriggerConfig) -> _Memory:
    return _Memory(losses=deque(maxlen=trigger.sweeps if trigger.when == "performance" else 0))


def _reason(
    trigger: TriggerConfig, memory: _Memory, now_ns: int, alarms: Collection[str]
) -> dict[str, Any] | None:
    """Why a trigger fires now, or None."""
    if trigger.when == "amount":
        return {"sweeps": memory.sweeps} if memory.sweeps >= trigger.sweeps else None
    if trigger.when == "time":
        seconds = (now_ns - (memory.since_ns or 0)) / 1e9
        return {"seconds": seconds} if seconds >= trigger.seconds else None
    if trigger.when == "drift":
        named = _alarmed(trigger.detector, alarms)
        return {"detectors": named} if named else None
    return _slump(trigger, memory)


def _alarmed(detector: str, alarms: Collection[str]) -> list[str]:
    if detector == "any":
        return sorted(set(alarms) - set(DUMMIES))
    if detector in DUMMIES:
        return [detector] if detector == DUMMIES[0] else []
    return [detector] if detector in alarms else []


def _slump(trigger: TriggerConfig, memory: _Memory) -> dict[str, Any] | None:
    """Compare the mean over the newest window with the lowest one since the trigger fired last."""
    if len(memory.losses) < trigger.sweeps:
        return None
    mean = sum(memory.losses) / len(memory.losses)
    lowest = memory.lowest if memory.lowest is not None else mean
    memory.lowest = min(lowest, mean)
    return {"loss": mean, "lowest": lowest} if mean > lowest + trigger.rise else None
