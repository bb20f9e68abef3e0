"""A robot that sends right now, as a source of sweeps and transforms."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from stream.sources.base import Item
from stream.sources.inbox import Inbox
from stream.sources.logged_message import LoggedMessage, items_of
from stream.sources.offers import LiveOptions, Say
from stream.sweep import Sweep
from stream.transform import Transform

END_SECONDS = 2.0
"""That a thread which was told to stop is waited for."""


class Live(Protocol):
    """A robot that sends; one thread receives, whoever iterates reads.

    inbox : what waits to be read
    """

    @property
    def inbox(self) -> Inbox: ...

    def __iter__(self) -> Iterator[Item]:
        """Items as they come, until it is stopped.  Raises SourceError where nothing can come"""
        ...

    def stop(self) -> None:
        """Receive no more: what is in the inbox is still read, then the items end. Called from any thread."""
        ...


class LiveItems:
    """Messages of a robot as items.

    Two clouds of one frame would be one stream, with every stamp twice: the first that comes is taken, the
    other is named once and left out.
    """

    def __init__(self, options: LiveOptions, say: Say) -> None:
        self._options, self._say = options, say
        self._topics: dict[str, str] = {}  # by stream
        self._twins: set[str] = set()

    def of(self, messages: Iterable[LoggedMessage]) -> Iterator[Item]:
        """Items of the messages, in their order."""
        for message in messages:
            for item in items_of(message, self._options.robot_id):
                if isinstance(item, Transform) and message.topic in self._options.static_topics:
                    yield dataclasses.replace(item, static=True)
                elif not isinstance(item, Sweep) or self._first(message.topic, item):
                    yield item

    def _first(self, topic: str, sweep: Sweep) -> bool:
        first = self._topics.setdefault(sweep.stream_id, topic)
        if first != topic and topic not in self._twins:
            self._twins.add(topic)
            self._say(
                f"not taken: {topic}: its frame {sweep.frame} is that of {first} already; "
                f"choose one with --topic"
            )
        return first == topic


def received(live: Live, receiver: Receiver, items: LiveItems) -> Iterator[Item]:
    """Items from now on, while a thread receives them; it is told to stop when nobody reads any more."""
    receiver.start()
    try:
        yield from items.of(live.inbox)
    finally:
        live.stop()
        receiver.join(END_SECONDS)


class Receiver:
    """A thread that receives until it is told to stop; how it ends is how the inbox ends."""

    def __init__(self, work: Callable[[], None], inbox: Inbox, name: str) -> None:
        self._work, self._inbox = work, inbox
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def _run(self) -> None:
        try:
            self._work()
            self._inbox.close()
        except BaseException as error:  # whatever it is, the reader has to hear of it
            self._inbox.close(error)

    def start(self) -> None:
        """Begin; once only."""
        self._thread.start()

    def join(self, seconds: float) -> bool:
        """Wait until it has ended; whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()
