"""The pace at which a recorded log is played: as recorded, so many times as fast, or as fast as it goes."""

from __future__ import annotations

import time
from collections.abc import Callable

from stream.config import ConfigError


def speed_of(rate: str) -> float | None:
    """Times as fast as recorded; None for as fast as it goes.  Raises ConfigError"""
    try:
        speed = {"real": 1.0, "max": None}[rate] if rate in ("real", "max") else float(rate)
    except ValueError:
        speed = 0.0
    if speed is not None and not 0 < speed <= 1e6:
        raise ConfigError(f"--rate {rate!r}: must be real, max, or how many times as fast, for example 2")
    return speed


class Tempo:
    """When things of a log are due. The first one that has a stamp is due at once.

    speed : times as fast as recorded; None makes everything due at once
    clock : monotonic, seconds
    """

    def __init__(self, speed: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._speed, self._clock = speed, clock
        self._first_ns: int | None = None
        self._begin_s = 0.0

    def wait_s(self, stamp_ns: int) -> float:
        """Seconds until a thing with this stamp is due; 0 for one that is, and for what has no stamp (0)."""
        if self._speed is None or not stamp_ns:
            return 0.0
        if self._first_ns is None:
            self._first_ns, self._begin_s = stamp_ns, self._clock()
        due_s = self._begin_s + (stamp_ns - self._first_ns) / 1e9 / self._speed
        return max(0.0, due_s - self._clock())
