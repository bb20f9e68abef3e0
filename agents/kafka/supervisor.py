"""Several workers of one machine: started, started again after a crash, and stopped together."""

from __future__ import annotations

import logging
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agents.failure import EXIT_INTERNAL
from agents.stop import stop_signals

LOGGER = logging.getLogger(__name__)

POLL_SECONDS = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """pauses_s : before a child is started again, growing; one more crash than there are pauses ends all
    healthy_s : a child that ran for so long begins with the first pause again
    grace_s : from SIGTERM to SIGKILL, which loses nothing
    """

    pauses_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
    healthy_s: float = 300.0
    grace_s: float = 30.0


class _Child:
    """A process that is started again when it crashes."""

    def __init__(self, name: str, command: Sequence[str], patience: Patience) -> None:
        self.name, self._command, self._patience = name, list(command), patience
        self._crashes = 0
        self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self.code: int | None = None

    def start(self) -> None:
        """Start it; in a session of its own, so that Ctrl-C comes to it through us, and once."""
        self._process = subprocess.Popen(self._command, start_new_session=True)
        self._started = time.monotonic()

    def look(self) -> None:
        """Start it again when it is time; note its exit code when it has ended for good."""
        if self._process is None:
            if time.monotonic() >= self._due:
                self.start()
            return
        code = self._process.poll()
        if code is None:
            return
        self._process = None
        ran_s = time.monotonic() - self._started
        if ran_s >= self._patience.healthy_s:
            self._crashes = 0
        if not _is_crash(code) or self._crashes == len(self._patience.pauses_s):
            self.code = _exit_code(code)
            LOGGER.error(
                "%s: ended with exit code %s after %.0f s; stopping all", self.name, self.code, ran_s
            )
            return
        pause = self._patience.pauses_s[self._crashes]
        self._crashes += 1
        self._due = time.monotonic() + pause
        LOGGER.error("%s: exit code %s, starts again in %g s", self.name, _exit_code(code), pause)

    def terminate(self) -> None:
        """SIGTERM, where it runs."""
        if self._process is not None:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until it has ended; SIGKILL after the deadline, of the monotonic clock."""
        if self._process is None:
            self.code = 0 if self.code is None else self.code  # stopped during a pause
            return
        try:
            code = self._process.wait(max(0.0, deadline - time.monotonic()))
            self.code = 0 if code == -signal.SIGTERM else _exit_code(code)  # told before it could listen
        except subprocess.TimeoutExpired:
            LOGGER.error("%s: does not stop, killed", self.name)
            self._process.kill()
            self.code = _exit_code(self._process.wait())


def supervise(commands: Mapping[str, Sequence[str]], patience: Patience | None = None) -> int:
    """Run commands by name until told to stop, or until one ends for good; returns the worst exit code.

    A child that ends with exit code 70, or by a signal that is not ours, is started again after a pause: what
    it had not acknowledged comes again. Any other end, 0 as well, stops all. SIGTERM, SIGINT and SIGHUP are
    passed on as SIGTERM.
    """
    patience = patience or Patience()
    children = [_Child(name, command, patience) for name, command in commands.items()]
    with stop_signals(patient=True) as stop:
        try:
            for child in children:
                child.start()
            while not stop.told and all(child.code is None for child in children):
                time.sleep(POLL_SECONDS)
                for child in children:
                    child.look()
        finally:
            for child in children:
                child.terminate()
            deadline = time.monotonic() + patience.grace_s
            for child in children:
                child.end(deadline)
    return max(child.code or 0 for child in children)


def _is_crash(code: int) -> bool:
    return code == EXIT_INTERNAL or code < 0


def _exit_code(code: int) -> int:
    """As shells count: 128 and the number of the signal."""
    return 128 - code if code < 0 else code
