"""What a robot sends, between the thread that receives it and the one that reads."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator

from stream.sources.logged_message import LoggedMessage
from stream.sources.message_types import CLOUDS
from stream.sources.offers import Say

MAX_BYTES = 128 * 2**20
"""About six seconds of a sensor that sends 2 MB ten times a second."""

SAY_SECONDS = 10.0


class Inbox:
    """Messages in the order they came, of which the oldest clouds go when they are too many.

    max_bytes : cap on the payloads held; the newest message is held whatever its size

    A robot does not wait, so a reader that is too slow loses sweeps: the oldest first, as the newest say
    most. Transforms, which are small and without which no sweep has a pose, go when there are no clouds.
    One thread may put, one may read.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self.dropped: Counter[str] = Counter()
        self._max_bytes = max_bytes
        self._clouds: deque[tuple[int, LoggedMessage]] = deque()
        self._others: deque[tuple[int, LoggedMessage]] = deque()
        self._bytes = self._count = 0
        self._closed = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def put(self, message: LoggedMessage) -> int:
        """Add a message; returns how many were dropped for it, which ``dropped`` counts by topic.

        Once the inbox is closed nothing is added.
        """
        with self._changed:
            if self._closed:
                return 0
            self._bytes += len(message.data)
            dropped = 0
            while self._bytes > self._max_bytes and (self._clouds or self._others):
                self._drop()
                dropped += 1
            self._count += 1
            queue = self._clouds if message.kind in CLOUDS else self._others
            queue.append((self._count, message))
            self._changed.notify()
            return dropped

    def _drop(self) -> None:
        _, oldest = (self._clouds or self._others).popleft()
        self._bytes -= len(oldest.data)
        self.dropped[oldest.topic] += 1

    def close(self, error: BaseException | None = None) -> None:
        """End it: what lies in it is still read, then the reader ends, or gets ``error``; may be repeated."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._changed.notify()

    def __len__(self) -> int:
        """Messages that wait to be read."""
        with self._changed:
            return len(self._clouds) + len(self._others)

    def __iter__(self) -> Iterator[LoggedMessage]:
        """Messages until the inbox is closed; waits for the next one.  Raises what ``close`` was given"""
        while (message := self._take()) is not None:
            yield message

    def _take(self) -> LoggedMessage | None:
        with self._changed:
            self._changed.wait_for(lambda: self._clouds or self._others or self._closed)
            queues = [queue for queue in (self._clouds, self._others) if queue]
            if queues:
                _, message = min(queues, key=lambda queue: queue[0][0]).popleft()
                self._bytes -= len(message.data)
                return message
            if self._error is not None:
                raise self._error
            return None


class Losses:
    """Says what an inbox drops: at once, then every ten seconds while it goes on."""

    def __init__(self, inbox: Inbox, say: Say, clock: Callable[[], float] = time.monotonic) -> None:
        self._inbox, self._say, self._clock = inbox, say, clock
        self._said = 0
        self._next = float("-inf")

    def put(self, message: LoggedMessage) -> None:
        """Put a message into the inbox, and say what that cost."""
        self._inbox.put(message)
        total = self._inbox.dropped.total()
        if total > self._said and self._clock() >= self._next:
            new, self._said = total - self._said, total
            self._next = self._clock() + SAY_SECONDS
            worst = ", ".join(f"{topic} {count:,}" for topic, count in self._inbox.dropped.most_common(3))
            self._say(f"too slow: {new:,} messages dropped, the oldest clouds first; in all {worst}")
