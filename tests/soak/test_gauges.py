"""What is read of a process."""

from __future__ import annotations

import os
from contextlib import nullcontext
from types import SimpleNamespace

import psutil
import pytest

from tests.soak.gauges import read_process


def test_a_process_that_runs_is_read() -> None:
    found = read_process(os.getpid(), 5.0)
    assert found is not None
    assert (found.at_s, found.pid) == (5.0, os.getpid())
    assert found.rss_mib > 10
    assert found.handles > 2
    assert found.threads >= 1


def test_a_process_that_ends_has_no_memory_and_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was read in a soak: no memory and no handles, and two threads."""
    ending = SimpleNamespace(
        oneshot=nullcontext,
        memory_info=lambda: SimpleNamespace(rss=0),
        num_fds=lambda: 0,
        num_threads=lambda: 2,
    )
    monkeypatch.setattr(psutil, "Process", lambda _: ending)
    assert read_process(os.getpid(), 5.0) is None
