"""Whether a worker lives, and whether it is ready."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from aiokafka.errors import KafkaError

HANDLER_SECONDS = 20
"""A handler that is in flight for longer hangs; neither a broker nor a long queue is waited for there."""
UNWELL_SECONDS = 10
"""Half of that: who asks is told before the process ends itself."""
LOOK_SECONDS = 2.0
SILENT_SECONDS = 30.0
"""A broker or a folder that has not answered for so long is away."""

STARTING = "waits for its group to assign partitions"
RECOVERING = "recovers its partitions"
REVOKED = "its group assigns partitions anew"
STOPPING = "was told to stop"

Clock = Callable[[], float]


class Vitals:
    """Written by a worker's loop and its watchdog, read by any thread.

    store : the folder of models, or of what else the worker cannot do without; None for nothing
    ask_broker : asks the broker for something, and notes how the worker stands
    clock : monotonic, seconds
    """

    def __init__(
        self, store: Path | None, ask_broker: Callable[[], Awaitable[None]], clock: Clock = time.monotonic
    ) -> None:
        self._store, self._ask_broker, self._clock = store, ask_broker, clock
        self.stage = STARTING
        self._call = 0
        self._looks = 0
        self._beat_s: float | None = None
        self._asked = ""
        self._answered_s = clock()
        self._fault = ""
        self._tasks: list[asyncio.Task[None]] = []

    # ---- life ------------------------------------------------------------------------------------------

    def look(self, call: int) -> int:
        """Once a second: note the number of the handler in flight, 0 for none; for how many looks it is.

        Looks are counted, not seconds: a process that is stopped does not look either.
        """
        self._looks = self._looks + 1 if call and call == self._call else 0
        self._call = call
        return self._looks

    def unhealthy(self) -> str:
        """Why the process should be started again; empty while it should not."""
        if self._looks >= UNWELL_SECONDS:
            return f"a handler is in flight for {self._looks} s"
        silent_s = 0.0 if self._beat_s is None else self._clock() - self._beat_s
        if silent_s >= UNWELL_SECONDS:
            return f"the event loop has not turned for {silent_s:.0f} s"
        return ""

    def unready(self) -> str:
        """Why the worker cannot do its work now; empty while it can."""
        if self.stage:
            return self.stage
        if self._fault:
            return self._fault
        silent_s = self._clock() - self._answered_s
        if silent_s >= SILENT_SECONDS:
            return f"{self._asked} has not answered for {silent_s:.0f} s"
        return ""

    # ---- in the worker's loop --------------------------------------------------------------------------

    async def attend(self, failed: Callable[[BaseException | None], None]) -> None:
        """Ask the broker and the folder, and go on doing so in the background.

        failed : told of what was not to be expected
        """
        await self._ask()
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._beat()), loop.create_task(self._watch())]
            for task in self._tasks:
                task.add_done_callback(lambda task: None if task.cancelled() else failed(task.exception()))

    async def leave(self) -> None:
        """Ask no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    async def _beat(self) -> None:
        """Show that the loop turns."""
        while True:
            self._beat_s = self._clock()
            await asyncio.sleep(1)

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self._ask()

    async def _ask(self) -> None:
        try:
            self._asked = "the broker"
            await self._ask_broker()
            if self._store is not None:
                self._asked = f"the folder {self._store}"
                await asyncio.to_thread(_reach, self._store)
        except (KafkaError, OSError) as error:
            self._fault = f"{self._asked}: {type(error).__name__}: {error}"
        else:
            self._fault, self._answered_s = "", self._clock()


def _reach(folder: Path) -> None:
    """Raises OSError for a folder that is not there or cannot be read."""
    with os.scandir(folder) as entries:
        next(entries, None)
