"""Time by stage, for people; agents are given a stopwatch and never read a clock themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Adds up seconds by stage. Without a clock it measures nothing, which is the default in agents."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the body under a stage's name."""
        if self._clock is None:
            yield
            return
        begin = self._clock()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + self._clock() - begin

    def take(self) -> dict[str, float]:
        """Milliseconds by stage since the last call."""
        taken, self._seconds = self._seconds, {}
        return {name: 1e3 * seconds for name, seconds in taken.items()}
