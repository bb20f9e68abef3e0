"""What may go wrong, and how often: every kind of fault with its chance at one opportunity."""

from __future__ import annotations

from dataclasses import dataclass


class Died(Exception):
    """The process ends here; what it had in memory is gone."""


class Fenced(Died):
    """Another process has taken the task over."""


class DiskFailed(Died):
    """A write that had to be durable was not."""


class SendFailed(Died):
    """A send was refused, or not confirmed."""


INPUT_FAULTS: dict[str, float] = {
    "sweep sent twice": 0.04,
    "sweep sent twice, much later": 0.03,
    "sweeps out of order": 0.05,
    "sweep late beyond the window": 0.03,
    "sweep in parts": 0.15,
    "part missing": 0.05,
    "sweep missing": 0.05,
    "sweep empty": 0.03,
    "points not finite": 0.03,
    "transforms missing": 0.03,
    "transform delayed": 0.10,
    "transform refused": 0.03,
    "static transform delayed": 0.20,
    "sensor without a frame": 0.05,
    "stamp zero": 0.03,
    "stamp an hour ahead": 0.02,
    "stamp an hour behind": 0.02,
    "transform an hour ahead": 0.01,
    "stamps jitter": 0.10,
    "world frame jumps": 0.30,
    "model published by hand": 0.30,
    "model file damaged": 0.30,
    "model held": 0.30,
}
"""Of producers: decided while the world is made."""

CRASH_LABELS = (
    "claimed", "restored", "replayed", "handled", "journaled", "stored", "sent", "acknowledged",
    "asked", "half saved", "saved", "waiting",
)  # fmt: skip
"""Places in a task's turn at which its process may be killed."""

RUNTIME_FAULTS: dict[str, float] = {
    **{f"killed when {label}": 0.004 for label in CRASH_LABELS},
    "killed when half saved": 0.05,
    "killed when saved": 0.03,
    "killed when replayed": 0.05,
    "process paused": 0.002,
    "worker leaves": 0.001,
    "send refused": 0.004,
    "send not confirmed": 0.004,
    "commit lost": 0.10,
    "partition stalled": 0.02,
    "snapshot not written": 0.10,
    "snapshot torn": 0.10,
    "store full": 0.01,
    "effect slow": 0.30,
    "model store away": 0.20,
    "training diverges": 0.05,
    "answer twice": 0.05,
}
"""Of the cluster: decided while it runs."""

RATES = INPUT_FAULTS | RUNTIME_FAULTS


@dataclass(frozen=True, slots=True, order=True)
class Violation:
    """Something that must never happen; ``checker`` is the name of the rule."""

    checker: str
    detail: str
