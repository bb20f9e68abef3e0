"""What processes use, read again and again while they run."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil

READ_SECONDS = 5.0
MIB = 2**20
NAMES = ("rss_mib", "handles", "threads")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Of one process. at_s : since the beginning; pid : tells its lives apart; rss_mib : resident memory"""

    at_s: float
    pid: int
    rss_mib: float
    handles: int
    threads: int


class Gauges:
    """A thread that reads processes and folders every 5 s.

    pids : tells which processes run now, by name; folders : whose size is read, by name
    begin : on the monotonic clock, from which times are counted

    processes : readings by name; disk : seconds and MiB by folder
    """

    def __init__(
        self, pids: Callable[[], Mapping[str, int]], folders: Mapping[str, Path], begin: float
    ) -> None:
        self.processes: dict[str, list[Reading]] = defaultdict(list)
        self.disk: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self._pids, self._folders, self._begin = pids, dict(folders), begin
        self._over = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="gauges", daemon=True)

    def _run(self) -> None:
        try:
            while not self._over.wait(READ_SECONDS):
                self._read(time.monotonic() - self._begin)
        except Exception as error:
            self._error = error

    def _read(self, at_s: float) -> None:
        for name, pid in self._pids().items():
            reading = read_process(pid, at_s)
            if reading is not None:
                self.processes[name].append(reading)
        for name, folder in self._folders.items():
            self.disk[name].append((at_s, folder_bytes(folder) / MIB))

    def __enter__(self) -> Gauges:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._error is not None:
            raise self._error


def read_process(pid: int, at_s: float) -> Reading | None:
    """What a process uses now; None where it ends at this moment."""
    with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
        found = psutil.Process(pid)
        with found.oneshot():
            reading = Reading(
                at_s=at_s,
                pid=pid,
                rss_mib=found.memory_info().rss / MIB,
                handles=found.num_fds(),
                threads=found.num_threads(),
            )
        return reading if reading.rss_mib else None  # what ends has given its memory back before it is gone
    return None


def folder_bytes(folder: Path) -> int:
    """What the files below a folder take on the disk; those that go away meanwhile are left out."""
    return sum(_blocks(folder))


def _blocks(folder: Path) -> Iterator[int]:
    with contextlib.suppress(FileNotFoundError):
        for entry in os.scandir(folder):
            if entry.is_dir(follow_symlinks=False):
                yield from _blocks(Path(entry.path))
            else:
                with contextlib.suppress(FileNotFoundError):
                    yield 512 * entry.stat(follow_symlinks=False).st_blocks


def lives(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Readings of each process that had the name, one after the other."""
    found: list[list[Reading]] = []
    for reading in readings:
        if not found or found[-1][-1].pid != reading.pid:
            found.append([])
        found[-1].append(reading)
    return found
