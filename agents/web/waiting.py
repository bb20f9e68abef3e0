"""Work in a thread for a request, which ends soon after nobody waits for the answer any more."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from starlette.concurrency import run_in_threadpool

Look = Callable[[], None]
T = TypeVar("T")


class Abandoned(Exception):
    """Nobody waits for what is being done."""


async def while_waited_for(work: Callable[[Look], T]) -> T:
    """What ``work`` returns; a thread goes on by itself when its request has taken too long.

    work : calls what it is given now and then, which raises Abandoned from then on
    """
    gone = threading.Event()

    def look() -> None:
        if gone.is_set():
            raise Abandoned

    try:
        return await run_in_threadpool(work, look)
    finally:
        gone.set()
