"""Where records come from: something that runs in a thread of its own until it is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from agents.tempo import Tempo
from agents.web.world import World
from stream.config import Config
from stream.sources.base import Damage
from stream.sweep import Sweep
from stream.transform import Transform

T = TypeVar("T")


class FeedStopped(Exception):
    """Somebody has told the feed to stop; nothing is wrong."""


class Feed(Protocol):
    """Feeds a World.

    config : that its records are made with
    name : for people, where records come from
    """

    config: Config
    name: str

    @property
    def models(self) -> Path | None:
        """Registry of the models that serve; None where there is none."""
        ...

    def run(self, world: World, stop: threading.Event) -> None:
        """Feed until told to stop, or until the log has ended.  Raises what ends it before"""
        ...

    @property
    def folder(self) -> Path:
        """Where what people give is kept."""
        ...

    def runs(self) -> list[Path]:
        """Run folders, or archives like them, that hold forecasts which are not remembered."""
        ...

    def lag(self) -> int:
        """Records that are there and not folded yet."""
        ...

    def unready(self) -> str:
        """Why what is served may be out of date; empty while it is not."""
        ...

    def unhealthy(self) -> str:
        """Why the process should be started again; empty while it should not."""
        ...


def paced(
    items: Iterable[T],
    stamp_of: Callable[[T], int],
    tempo: Tempo,
    stop: threading.Event,
) -> Iterator[T]:
    """Items, each when it is due.  Raises FeedStopped when told to stop"""
    for item in items:
        if stop.wait(tempo.wait_s(stamp_of(item))):
            raise FeedStopped
        yield item


def stamp_of_item(item: object) -> int:
    """Stamp of an item of a log; 0 for what holds for all time."""
    if isinstance(item, Damage) or (isinstance(item, Transform) and item.static):
        return 0
    assert isinstance(item, Sweep | Transform) or hasattr(item, "stamp_ns")
    return int(item.stamp_ns)
