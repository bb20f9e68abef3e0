"""Being told to stop, where work must end between two things and not within one."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

T = TypeVar("T")


class Stop:
    """Whether somebody has said so. Not an Event: its lock may be held where the signal strikes."""

    told = False

    def until(self, items: Iterable[T]) -> Iterator[T]:
        """The items, up to where it is said."""
        for item in items:
            if self.told:
                return
            yield item


@contextmanager
def stop_signals(*, patient: bool = False) -> Iterator[Stop]:
    """Take the first of STOP_SIGNALS as a wish; the second one ends the process. Main thread only.

    patient : further ones change nothing, as where children have to be ended in order
    """
    stop = Stop()

    def tell(*_: Any) -> None:
        if stop.told and not patient:
            raise KeyboardInterrupt
        stop.told = True

    before = {number: signal.signal(number, tell) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
