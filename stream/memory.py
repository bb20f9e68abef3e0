"""Memory that a process no longer uses."""

from __future__ import annotations

import pyarrow as pa

from native.memory import trim


def give_back() -> None:
    """Return freed memory to the system, as after a large job of a process that lives for long.

    The C library and Arrow keep what was freed for the next time. What lies below memory that is still in use
    is kept for good, by chance: a worker that wrote snapshots of 15 MB all day grew by steps.
    """
    pa.default_memory_pool().release_unused()
    trim()
