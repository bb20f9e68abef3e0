"""Time that learning takes, and the budget it keeps: measured by a runtime, as agents have no clock."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from threading import Lock

from agents.stopwatch import timed


class Pace:
    """Charges learning to its budget: an account of seconds for every lineage.

    clock : seconds; None measures nothing and lets every step pass
    lineages : all that train; what they cause together is charged to them in equal parts

    A training may last until all that was charged since the one before, its own steps included, reaches the
    budget. What is left then is lost; what was overdrawn is missing the next time, up to one whole budget: so
    the budget holds on average, and a single stall costs the steps of one sweep at most. What is charged by
    another thread while a training lasts counts for the next one.
    """

    def __init__(self, clock: Callable[[], float] | None = None, lineages: Iterable[str] = ()) -> None:
        self._clock = clock
        self._owed = dict.fromkeys(lineages, 0.0)
        self._spent = 0.0
        self._lock = Lock()

    def spending(self) -> AbstractContextManager[None]:
        """Charge the time of the body to all lineages."""
        return timed(self._clock, self._charge)

    def _charge(self, seconds: float) -> None:
        with self._lock:
            self._spent += seconds
            for lineage in self._owed:
                self._owed[lineage] += seconds / len(self._owed)

    @contextmanager
    def training(self, lineage: str, budget_ms: float | None) -> Iterator[Callable[[], bool]]:
        """Charge the time of the body to one lineage, and say before each step whether it may be taken.

        budget_ms : the lineage's share of one sweep; None lets every step pass
        The first step always passes; a later one when it would end in time if it took as long as the last
        """
        if self._clock is None:
            yield lambda: True
            return
        begin, end = self._clock(), None
        with self._lock:
            owed, self._owed[lineage] = self._owed[lineage], 0.0
        if budget_ms is not None:
            end = begin + max(0.0, budget_ms / 1e3 - owed)
        try:
            yield _Steps(self._clock, end)
        finally:
            now = self._clock()
            with self._lock:
                self._spent += now - begin
                self._owed[lineage] += 0.0 if end is None else max(0.0, now - end)

    def take_ms(self) -> float:
        """Milliseconds that learning took since the last call."""
        with self._lock:
            taken, self._spent = 1e3 * self._spent, 0.0
        return taken


class _Steps:
    """Whether one more step fits before ``end``, a time in seconds; None is never."""

    def __init__(self, clock: Callable[[], float], end: float | None) -> None:
        self._clock, self._end = clock, end
        self._last: float | None = None

    def __call__(self) -> bool:
        now = self._clock()
        last, self._last = self._last, now
        return self._end is None or last is None or 2 * now - last <= self._end
