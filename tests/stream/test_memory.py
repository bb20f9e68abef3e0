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


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is known to keep it")
def test_free_pages_below_what_is_in_use_go_back_to_the_system() -> None:
    environment = os.environ | {"MALLOC_ARENA_MAX": "1"}
    done = subprocess.run(
        [sys.executable, "-c", HOLES], env=environment, capture_output=True, text=True, check=True, timeout=60
    )
    assert int(done.stdout) > 100 * 2**20
