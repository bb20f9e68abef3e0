"""The processes of a Procfile: started, heard, and stopped together, in order.

honcho starts them and writes what they say; it stops all at once and kills after 5 s, so ends are our own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TextIO

from honcho.colour import get_colours
from honcho.environ import parse_procfile
from honcho.printer import Message, Printer
from honcho.process import Process

from tests.kafka.watcher import Watcher

STOP_SECONDS = 60.0
"""From SIGTERM to SIGKILL: a worker finishes what it has in hand and writes its last snapshots."""
START_SECONDS = 20.0
LINES = 500
POLL_SECONDS = 0.05


class Child:
    """One process, in a session of its own; it does not outlive this one, even when this one is killed.

    code : its exit code, as subprocess has it; None while it runs
    lines : what it said last
    """

    def __init__(self, name: str, process: Process, printer: Printer, turn: threading.Lock) -> None:
        self.name = name
        self.code: int | None = None
        self.lines: deque[str] = deque(maxlen=LINES)
        self._process, self._printer, self._turn = process, printer, turn
        self._pid: int | None = None
        self._watcher: Watcher | None = None
        self._begun = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start it, and return when it has a number."""
        self._thread.start()
        if not self._begun.wait(START_SECONDS) or self._pid is None:
            raise RuntimeError(f"{self.name}: could not be started")

    def put(self, message: Message) -> None:
        """What honcho has to tell of it."""
        if message.type == "start":
            self._pid = message.data["pid"]
            self._watcher = Watcher(self._pid)
            self._begun.set()
        elif message.type == "line":
            self.lines.append(message.data.decode(errors="replace").rstrip("\n"))
            self._write(message)
        else:
            assert self._watcher is not None
            self._watcher.release()
            self.code = message.data["returncode"]
            self._write(message._replace(type="line", data=f"ended with exit code {self.code}"))

    @property
    def pid(self) -> int | None:
        """Its number; None where it has ended."""
        return self._pid if self.code is None else None

    def signal(self, number: int) -> None:
        """Send a signal, where it runs."""
        pid = self.pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it ends at this moment
                os.kill(pid, number)

    def _run(self) -> None:
        try:
            self._process.run(events=self)
        finally:
            self._begun.set()

    def _write(self, message: Message) -> None:
        with self._turn:
            self._printer.write(message)


class Composition:
    """The processes of a Procfile by name, in its order.

    procfile : ``name: command`` a line, run by a shell in ``folder``
    environment : of all of them; port : of the first, as PORT, then the next; 0 leaves PORT 0 everywhere
    output : gets their lines, each with the time and the name of its process

    On leaving, those that run are stopped, the group that was started last first.
    """

    def __init__(
        self, procfile: Path, folder: Path, environment: Mapping[str, str], output: TextIO, port: int = 0
    ) -> None:
        self._commands: dict[str, str] = parse_procfile(procfile.read_text()).processes
        self._folder, self._environment, self._port = folder, dict(environment), port
        self._printer = Printer(output, width=max(map(len, self._commands)))
        self._turn, self._colours = threading.Lock(), get_colours()
        self._groups: list[tuple[str, ...]] = []
        self._children: dict[str, Child] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """All names, in the order of the file."""
        return tuple(self._commands)

    def port(self, name: str) -> int:
        """The port that a process is given; 0 for any."""
        return self._port + self.names.index(name) if self._port else 0

    def start(self, names: Sequence[str]) -> None:
        """Start a group, or start again what has ended of one."""
        if not set(names) <= set(self._children):
            self._groups.append(tuple(names))
        for name in names:
            process = Process(
                self._commands[name],
                name=name,
                colour=next(self._colours),
                env=self._environment | {"PORT": str(self.port(name))},
                cwd=self._folder,
            )
            child = self._children[name] = Child(name, process, self._printer, self._turn)
            child.start()

    def lines(self, name: str) -> list[str]:
        """What a process said last."""
        return list(self._children[name].lines)

    def pids(self) -> dict[str, int]:
        """Numbers of those that run."""
        found = {name: child.pid for name, child in self._children.items()}
        return {name: pid for name, pid in found.items() if pid is not None}

    def signal(self, name: str, number: int) -> None:
        """Send a signal to one, where it runs."""
        self._children[name].signal(number)

    def ended(self) -> dict[str, int]:
        """Exit codes of those that have ended, as subprocess has them."""
        return {name: child.code for name, child in self._children.items() if child.code is not None}

    def stop(self, names: Sequence[str], seconds: float = STOP_SECONDS) -> None:
        """Stop a group: SIGTERM, and SIGKILL for those that run after so many seconds."""
        group = [self._children[name] for name in names if name in self._children]
        for child in group:
            child.signal(signal.SIGTERM)
        end = time.monotonic() + seconds
        while any(child.code is None for child in group):
            if time.monotonic() > end:
                for child in group:
                    child.signal(signal.SIGKILL)
            time.sleep(POLL_SECONDS)

    def __enter__(self) -> Composition:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for group in reversed(self._groups):
            self.stop(group)
