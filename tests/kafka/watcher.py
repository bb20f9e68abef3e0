"""A child process that does not outlive its parent, however the parent dies.

``PR_SET_PDEATHSIG`` would do it on Linux, but it fires when the *thread* that started the child ends, and
fault tests start brokers from threads.
"""

from __future__ import annotations

import subprocess


class Watcher:
    """Kills process ``pid`` (SIGKILL) when this process is gone, unless ``release`` came first.

    The watcher waits on a pipe whose other end only this process holds, so the kernel tells it of a death
    that no code of ours sees. Its own session keeps it out of reach of what is sent to our process group.
    """

    def __init__(self, pid: int) -> None:
        command = ["sh", "-c", 'read -r _ || kill -9 "$1"', "watcher", str(pid)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Watch no longer: the process may live on, or has ended and its number may be given to another."""
        self._process.communicate(b"\n")
