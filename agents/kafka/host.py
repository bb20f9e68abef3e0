"""What tasks of one process share: the log, the thread in which they fold, and how tests kill them."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from agents.kafka.log import KafkaLog
from agents.kafka.messages import Make
from agents.kafka.poison import Crashes
from agents.kafka.requests import Requests
from agents.kafka.snapshots import SnapshotStore

FAILPOINT = "OCTA_FAILPOINT"
"""``label:n`` kills the process the n-th time that a task reaches this mark; for tests of what follows."""


class FoldThread:
    """The one thread in which agents fold, so that the client's own loop runs on.

    busy : number of the call that it is in, from 1; 0 while it waits
    """

    def __init__(self) -> None:
        self.busy = 0
        self._calls = 0
        self._pool = ThreadPoolExecutor(1, "folds")

    async def run(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """Call something there."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, self._call, do, arguments)

    def _call(self, do: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
        self._calls += 1
        self.busy = self._calls
        try:
            return do(*arguments)
        finally:
            self.busy = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What tasks share in their process.

    make : makes a model of an ONNX file; source : who sends what they say
    """

    log: KafkaLog
    snapshots: SnapshotStore
    requests: Requests
    thread: FoldThread
    crashes: Crashes
    make: Make
    source: str

    async def run(self, do: Callable[..., Any], *arguments: Any) -> Any:
        """Call something that takes its time."""
        return await self.thread.run(do, *arguments)


class Failpoint:
    """Kills the process at a mark, when the environment says so."""

    def __init__(self) -> None:
        self._label, _, count = os.environ.get(FAILPOINT, "").partition(":")
        self._left = int(count or 1)

    def reached(self, label: str) -> None:
        """A task has come to a mark."""
        if label == self._label:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
