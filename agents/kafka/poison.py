"""Inputs that crash whoever handles them: counted over all processes, given up after three crashes.

``folder/crashes/<task>.json`` holds the counts. An exception is counted where it is raised. A crash in native
code leaves nobody to count: so each process has a file that says what it has in hand, mapped into its memory,
and faulthandler writes behind that when a signal such as SIGSEGV or SIGABRT ends the process. Whoever goes on
counts what such files name. SIGKILL writes nothing there, so it never counts.
"""

from __future__ import annotations

import faulthandler
import json
import logging
import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, TypeVar

from agents.journal import Receipt
from agents.task_id import TaskId

LOGGER = logging.getLogger(__name__)

MAX_CRASHES = 3
HAND_BYTES = 512
"""What is in hand, at the start of a process's file; behind it lies the traceback."""
OLD_SECONDS = 24 * 3600.0

T = TypeVar("T")


class Crashes:
    """What crashed which task how often, and what this process has in hand.

    folder : that all workers share; process : names this one
    Handling is one at a time in a process, so there is one hand.
    """

    def __init__(self, folder: Path, process: str) -> None:
        self._folder = folder / "crashes"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"{process}-{time.time_ns()}.hand"
        self._path.write_bytes(b" " * HAND_BYTES)  # not sparse: a full disk must show here, not as SIGBUS
        with self._path.open("r+b") as file:
            self._hand = mmap.mmap(file.fileno(), HAND_BYTES)
        self._trace: IO[bytes] | None = None

    def watch_signals(self) -> None:
        """From here on a signal that ends this process for what it did is seen by those who go on."""
        self._trace = self._path.open("ab", buffering=0)
        faulthandler.enable(self._trace)

    def close(self) -> None:
        """End in good order, or after the crash has been counted."""
        if self._trace is not None:
            faulthandler.disable()
            self._trace.close()
        self._path.unlink(missing_ok=True)

    # ---- what is in hand -------------------------------------------------------------------------------

    def run(self, task: TaskId, receipt: Receipt, do: Callable[[Any], T], argument: Any) -> T:
        """Handle an input; an exception is counted, and raised."""
        (topic, partition), offset = receipt
        text = json.dumps([str(task), topic, partition, offset])
        self._hand[:] = text.encode().ljust(HAND_BYTES)
        try:
            return do(argument)
        except Exception:
            self._count(str(task), receipt)
            raise
        finally:
            self._hand[:1] = b" "

    def count_hung(self) -> None:
        """Count what is in hand, if there is anything: the process ends because of it."""
        self._count_hand(self._hand[:])

    def _count_hand(self, hand: bytes) -> None:
        if hand.startswith(b"["):
            task, topic, partition, offset = json.loads(hand)
            self._count(task, ((topic, partition), offset))

    # ---- counts ----------------------------------------------------------------------------------------

    def poisoned(self, task: TaskId) -> frozenset[Receipt]:
        """Inputs of a task that are not to be handled any more; the same for whoever recovers it."""
        self._collect()
        counts = self._counts(str(task))
        return frozenset(receipt for receipt, count in counts.items() if count >= MAX_CRASHES)

    def _collect(self) -> None:
        """Count what processes had in hand that were ended by a signal of their own making."""
        for path in self._folder.glob("*.hand"):
            try:
                found = path.stat()
                if found.st_size == HAND_BYTES:  # of one that runs, or was killed
                    if time.time() - found.st_mtime > OLD_SECONDS and path != self._path:
                        path.unlink()
                    continue
                counted = path.rename(path.with_suffix(".counted"))
            except FileNotFoundError:  # another worker was faster
                continue
            data = counted.read_bytes()
            LOGGER.error("%s crashed:\n%s", path.stem, data[HAND_BYTES:].decode(errors="replace"))
            self._count_hand(data[:HAND_BYTES])
            counted.unlink()

    def _count(self, task: str, receipt: Receipt) -> None:
        counts = self._counts(task)
        counts[receipt] = counts.get(receipt, 0) + 1
        (topic, partition), at = receipt
        times = f"{counts[receipt]} of {MAX_CRASHES}"
        LOGGER.error("%s: crash %s on %s-%s@%s", task, times, topic, partition, at)
        values = [[*place, offset, count] for (place, offset), count in sorted(counts.items())]
        path = self._folder / f"{task}.json"
        writing = path.with_suffix(f".{os.getpid()}")
        try:
            writing.write_text(json.dumps(values))
            writing.replace(path)
        except OSError as error:  # the crash itself is the news; it will come again
            LOGGER.error("%s: not counted: %s", path, error)

    def _counts(self, task: str) -> dict[Receipt, int]:
        path = self._folder / f"{task}.json"
        if not path.exists():
            return {}
        return {
            ((topic, partition), offset): count
            for topic, partition, offset, count in json.loads(path.read_text())
        }
