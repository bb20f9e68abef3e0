"""The topics of a cluster, followed as they grow."""

from __future__ import annotations

import threading
from pathlib import Path

from agents.kafka.admin import run
from agents.kafka.follow import Follower
from agents.kafka.settings import KafkaSettings
from agents.web.world import World
from stream.config import Config


class KafkaFeed:
    """Feeds what agents have sent to a cluster.

    settings : with the folder that the workers share, for models and what is archived
    lookback_s : what was appended so long ago or later is read at first
    """

    def __init__(self, settings: KafkaSettings, config: Config, lookback_s: float) -> None:
        self.config, self.name = config, settings.bootstrap
        self._settings, self._lookback_s = settings, lookback_s
        self._follower: Follower | None = None

    def run(self, world: World, stop: threading.Event) -> None:
        """Follow until told to stop.  Raises ClusterError, KafkaError"""
        folder = self._settings.folder
        store = folder if folder.is_dir() else None
        self._follower = Follower(self._settings, world.fold, lookback_s=self._lookback_s, store=store)
        run(self._follower.run(stop.is_set))

    @property
    def models(self) -> Path:
        """The workers' registry."""
        return self._settings.folder / "models"

    @property
    def folder(self) -> Path:
        """What the workers share."""
        return self._settings.folder

    def runs(self) -> list[Path]:
        """The archives of all partitions."""
        return sorted((self._settings.folder / "archive").glob("[0-9]*"))

    def lag(self) -> int:
        """Messages that are not folded yet."""
        return sum(self._follower.lag.values()) if self._follower else 0

    def unready(self) -> str:
        """Why it may be behind; empty while it is not."""
        return self._follower.unready() if self._follower else "connects to the cluster"

    def unhealthy(self) -> str:
        """Why it does not go on; empty while it does."""
        return self._follower.vitals.unhealthy() if self._follower else ""
