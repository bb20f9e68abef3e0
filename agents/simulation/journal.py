"""What a task writes down so that another process can go on where it ended, and what it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from agents.simulation.dice import Dice
from agents.simulation.log import Log, Place
from agents.simulation.outside import Outside, Snapshots

Receipt = tuple[Place, int]
"""Partition and offset of an input."""


@dataclass(frozen=True, slots=True)
class Order:
    """A journal entry: inputs in the order in which they were folded; the last one led to the step."""

    claim: int
    inputs: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A journal entry: from here on the task belongs to this process."""

    process: str


class Host(Protocol):
    """What a task needs of the process it runs in."""

    process: str
    log: Log
    outside: Outside
    snapshots: Snapshots
    dice: Dice

    @property
    def now(self) -> float:
        """Milliseconds."""
        ...

    def note(self, who: str, what: str, detail: Any) -> None:
        """Add a line to the history."""
        ...
