"""What a task writes down, so that another process can go on where it ended."""

from __future__ import annotations

from dataclasses import dataclass

Place = tuple[str, int]
"""Topic and partition."""

Receipt = tuple[Place, int]
"""Partition and offset of an input."""


@dataclass(frozen=True, slots=True)
class Order:
    """A journal entry: inputs in the order in which they were folded; the last one led to the step.

    claim : offset of the claim under which they were folded
    """

    claim: int
    inputs: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True)
class Claim:
    """A journal entry: from here on the task belongs to this process."""

    process: str
