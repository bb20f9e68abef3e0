"""What is given back of freed memory."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

HOLES = """
import psutil
from stream.memory import give_back
own = psutil.Process()
blocks = [bytearray(60_000) for _ in range(2000)]
del blocks[:-1]
held = own.memory_info().rss
give_back()
print(held - own.memory_info().rss)
"""
"""114 MiB below one block that stays: glibc keeps them, as none is at the top of the heap."""

LARGE = """
import psutil, sys
from native.memory import LARGE_BYTES, keep_large_apart
if sys.argv[1] == "apart":
    keep_large_apart()
own = psutil.Process()
snapshot = bytearray(30 * 2**20)
del snapshot
blocks, small = [], []
for _ in range(100):
    blocks.append(bytearray(LARGE_BYTES))
    small.append(bytearray(60_000))
held = own.memory_info().rss
blocks.clear()
print(held - own.memory_info().rss)
"""
"""100 MiB in large blocks, each below a small one that stays."""


def run(code: str, *arguments: str) -> int:
    """What a process of its own prints."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=os.environ | {"MALLOC_ARENA_MAX": "1"},
        capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is known to keep it")
def test_large_blocks_go_back_when_they_are_freed_also_after_a_larger_one_was() -> None:
    """A Judge that began with a snapshot grew: one freed block moved all others into the heap."""
    assert run(LARGE, "as usual") < 10 * 2**20
    assert run(LARGE, "apart") > 90 * 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is known to keep it")
def test_free_pages_below_what_is_in_use_go_back_to_the_system() -> None:
    assert run(HOLES) > 100 * 2**20
