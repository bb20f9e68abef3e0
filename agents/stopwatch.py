"""Time by stage, for people; agents are given a stopwatch and never read a clock themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def timed(clock: Callable[[], float] | None, add: Callable[[float], None]) -> Iterator[None]:
    """Give ``add`` the seconds of the body; nothing without a clock."""
    if clock is None:
        yield
        return
    begin = clock()
    try:
        yield
    finally:
        add(clock() - begin)


class Stopwatch:
    """Adds up seconds by stage. Without a clock it measures nothing, which is the default in agents."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._seconds: dict[str, float] = {}

    def stage(self, name: str) -> AbstractContextManager[None]:
        """Time the body under a stage's name."""
        return timed(self._clock, lambda seconds: self._add(name, seconds))

    def _add(self, name: str, seconds: float) -> None:
        self._seconds[name] = self._seconds.get(name, 0.0) + seconds

    def take(self) -> dict[str, float]:
        """Milliseconds by stage since the last call."""
        taken, self._seconds = self._seconds, {}
        return {name: 1e3 * seconds for name, seconds in taken.items()}
