"""A log, played through all agents in this process, as ``octastream replay`` does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from agents.outfolder import claim
from agents.replay import ReplayOptions, replay, with_map_frame
from agents.tempo import Tempo
from agents.web.feed import FeedStopped, paced, stamp_of_item
from agents.web.world import World
from stream.config import Config
from stream.sources.base import Item, Source, SourceInfo

Say = Callable[[str], None]


class ReplayFeed:
    """Plays logs, one after the other, into a run folder and a World.

    out : run folder; a run that lies there is replaced, at each pass again
    speed : times as fast as recorded, None for as fast as it goes; loop : begin anew after the last log
    say : told in a line what came of a pass
    Raises SourceError, ConfigError for logs that cannot be replayed
    """

    def __init__(
        self,
        sources: Sequence[Source],
        config: Config,
        out: Path,
        *,
        speed: float | None,
        loop: bool,
        say: Say,
    ) -> None:
        infos = [source.info() for source in sources]
        self.config = with_map_frame(config, [info.root_frame for info in infos])
        self.name = ", ".join(info.location for info in infos)
        self._out = out
        self._sources, self._speed, self._loop, self._say = list(sources), speed, loop, say

    def run(self, world: World, stop: threading.Event) -> None:
        """Play until the last log ends, or until told to stop; with ``loop`` again and again."""
        try:
            self._play(world, stop)
            while self._loop:
                world.begin_again()
                self._play(world, stop)
        except FeedStopped:
            return

    def _play(self, world: World, stop: threading.Event) -> None:
        tempo = Tempo(self._speed)
        sources = [_Paced(source, tempo, stop) for source in self._sources]
        result = replay(
            sources,
            self.config,
            claim(self._out, force=True),
            ReplayOptions(observe=world.fold),
            progress=lambda done, total, text: None,
        )
        sweeps, damage = result.summary["sweeps"], result.damage
        self._say(f"replayed {sweeps:,} sweeps" + (f", up to the damage: {damage}" if damage else ""))

    @property
    def models(self) -> Path:
        """Registry of the run."""
        return self._out / "models"

    @property
    def folder(self) -> Path:
        """The run folder."""
        return self._out

    def runs(self) -> list[Path]:
        """The run folder."""
        return [self._out]

    def lag(self) -> int:
        """None: each is folded before the next one is made."""
        return 0

    def unready(self) -> str:
        """Never: it says when something is wrong, and ends."""
        return ""

    def unhealthy(self) -> str:
        """Never, likewise."""
        return ""


class _Paced:
    """A source whose items come when they are due."""

    def __init__(self, source: Source, tempo: Tempo, stop: threading.Event) -> None:
        self._source, self._tempo, self._stop = source, tempo, stop

    def info(self) -> SourceInfo:
        return self._source.info()

    def __iter__(self) -> Iterator[Item]:
        return paced(self._source, stamp_of_item, self._tempo, self._stop)
