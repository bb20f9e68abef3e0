"""One line where a library says the same again and again, as Kafka's clients do while a broker is away."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

CHATTY = ("aiokafka", "faust")
"""Loggers, with all below them."""
INTERVAL_SECONDS = 10.0
MAX_TEMPLATES = 1000
"""Remembered at most; a message that is formatted before it is logged is a template of its own each time."""


class QuietFilter(logging.Filter):
    """Lets a message template of a chatty logger through once in ``INTERVAL_SECONDS``.

    The next line that comes through says how many were left out. For a handler: a logger's own filters see
    nothing of what the loggers below it pass on.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._lock = threading.Lock()  # the consumer and the producer log from threads of their own
        self._seen: dict[tuple[str, str], tuple[float, int]] = {}  # when let through, and left out since

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is let through."""
        if record.name.partition(".")[0] not in CHATTY:
            return True
        name, now = (record.name, str(record.msg)), self._clock()
        with self._lock:
            since, left_out = self._seen.get(name, (None, 0))
            if since is not None and now - since < INTERVAL_SECONDS:
                self._seen[name] = (since, left_out + 1)
                return False
            self._seen.pop(name, None)
            self._seen[name] = (now, 0)  # the oldest first
            if len(self._seen) > MAX_TEMPLATES:
                del self._seen[next(iter(self._seen))]
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out} more like it were left out)", ()
        return True
