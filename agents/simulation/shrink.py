"""The shortest history of a seed that still breaks the same rule."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from agents.simulation.cast import Cast
from agents.simulation.faults import Violation
from agents.simulation.run import Cut, Result, simulate

T = TypeVar("T")

MAX_RUNS = 400


def shrink(
    result: Result, cast: Cast | None = None, on_try: Callable[[int], None] = lambda runs: None
) -> tuple[Cut, Result]:
    """Leave out robots, inputs and faults while the first thing that was wrong still is.

    Transforms stay: without one, a sweep that was good would not be.

    result : of a seed that failed; on_try : called before every run with its number, 400 at most
    Returns what is left out, and the result without it. Raises ValueError for a seed that did not fail
    """
    if not result.violations:
        raise ValueError(f"seed {result.seed}: did not fail")
    search = _Search(result, cast, on_try)
    before = -1
    while before != search.size and search.runs < MAX_RUNS:
        before = search.size
        search.drop(lambda r: r.robots, "robots")
        search.drop(lambda r: r.faults, "faults")
        search.drop(lambda r: r.inputs, "inputs")
    return search.cut, search.result


class _Search:
    """Delta debugging: chunks from halves down to single items."""

    def __init__(self, result: Result, cast: Cast | None, on_try: Callable[[int], None]) -> None:
        self.result, self.cut, self.runs = result, Cut(), 0
        self._cast, self._on_try = cast, on_try
        self._broken = _outline(result.violations[0])

    @property
    def size(self) -> int:
        """What is left."""
        result = self.result
        return len(result.robots) + len(result.faults) + len(result.inputs)

    def drop(self, items_of: Callable[[Result], Sequence[Any]], name: str) -> None:
        """Leave out as much of one kind as possible."""
        length = max(1, len(items_of(self.result)) // 2)
        while self.runs < MAX_RUNS:
            place = 0
            while place < len(items_of(self.result)) and self.runs < MAX_RUNS:
                chunk = items_of(self.result)[place : place + length]
                if not self._works(replace(self.cut, **{name: getattr(self.cut, name) | set(chunk)})):
                    place += length
            if length == 1:
                return
            length //= 2

    def _works(self, cut: Cut) -> bool:
        self.runs += 1
        self._on_try(self.runs)
        found = simulate(self.result.seed, self._cast, cut)
        if self._broken not in map(_outline, found.violations):
            return False
        self.cut, self.result = cut, found
        return True


def _outline(violation: Violation) -> str:
    """A violation without its numbers: the same thing, at another place."""
    return re.sub(r"[0-9]+", "", f"{violation.checker} {violation.detail}")
