"""What a soak shows: waits of sweeps, growth of processes, and what is not as it must be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.kafka.ledger import Ledger
from tests.soak.gauges import NAMES, Reading, lives
from tests.soak.mishaps import Mishap
from tests.soak.slope import LEVEL, Slope, slope_of

WARM_UP = 1 / 3
"""Of a life, and at most ten minutes: what is loaded and filled for the first time."""
MAX_WARM_UP_SECONDS = 600.0
LEAST = {"rss_mib": 0.125, "handles": 1.0, "threads": 1.0}
"""Within what was read: one more that stays is a step, and no growth. Of memory it is one by which glibc
grows a heap (M_TOP_PAD, 128 KiB): where nothing else varies, a few pages make an interval above zero."""
MINUTE_MS = 60_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Of a process in its longest life, after its warm-up.

    minutes : that were read; slopes : by what is read, an hour; None where too little was read
    """

    minutes: float
    slopes: dict[str, Slope | None]

    @property
    def measured(self) -> bool:
        """Whether enough was read for every slope."""
        return None not in self.slopes.values()


def joint_level(processes: int) -> float:
    """Confidence of each interval of so many processes, for 95 % that all of them hold.

    Bonferroni's: at 95 % each, one of nine that do not grow would seem to in every fifth soak, by memory
    alone.
    """
    return 1 - (1 - LEVEL) / (processes * len(NAMES))


def growth_of(readings: Sequence[Reading], since_s: float, level: float = LEVEL) -> Growth:
    """The slopes of the longest life that goes on after a time.

    level : confidence of their intervals
    """
    life = max(lives(readings), key=lambda life: sum(item.at_s >= since_s for item in life), default=[])
    if not life or life[-1].at_s < since_s:
        return Growth(minutes=0.0, slopes=dict.fromkeys(NAMES))
    born, died = life[0].at_s, life[-1].at_s
    warm_s = born + min(WARM_UP * (died - born), MAX_WARM_UP_SECONDS)
    kept = [item for item in life if item.at_s >= max(since_s, warm_s)]
    at_s = [item.at_s for item in kept]
    return Growth(
        minutes=(at_s[-1] - at_s[0]) / 60,
        slopes={name: slope_of(at_s, [getattr(item, name) for item in kept], level) for name in NAMES},
    )


def grows(name: str, growth: Growth) -> list[str]:
    """What of a process grows for certain: the interval is above zero; what is counted, by a whole one."""
    return [
        f"{name}: {what} grows by {slope.per_hour:.2f} an hour ({slope.low:.2f} to {slope.high:.2f})"
        for what, slope in growth.slopes.items()
        if slope is not None and slope.low > 0 and slope.low * growth.minutes / 60 >= LEAST.get(what, 0.0)
    ]


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Waits:
    """Of all sweeps that were predicted, by when they were appended.

    at_ms : int64 (N,) since the beginning, rising; wait_ms : int64 (N,) from a sweep's append to that of its
    prediction, by the broker's clock; struck : bool (N,), that waited while a mishap lasted
    """

    at_ms: np.ndarray
    wait_ms: np.ndarray
    struck: np.ndarray

    def summary(self) -> dict[str, Any]:
        """Percentiles of all, and of those that no mishap struck."""
        return {
            "sweeps": len(self.wait_ms),
            "struck_share": float(self.struck.mean()) if len(self.struck) else 0.0,
            "all": percentiles(self.wait_ms),
            "calm": percentiles(self.wait_ms[~self.struck]),
        }

    def by_minute(self) -> list[dict[str, float]]:
        """Median and 99th percentile of each minute that had sweeps."""
        minutes = self.at_ms // MINUTE_MS
        return [
            {"minute": int(minute), **percentiles(self.wait_ms[minutes == minute])}
            for minute in np.unique(minutes)
        ]


def percentiles(values: np.ndarray) -> dict[str, float]:
    """Of milliseconds."""
    if not len(values):
        return {}
    p50, p99 = np.percentile(values, [50, 99])
    return {"p50": float(p50), "p99": float(p99), "max": float(values.max())}


def waits_of(ledgers: Sequence[Ledger], mishaps: Sequence[Mishap], begin_ms: float) -> Waits:
    """From the broker's stamps.

    begin_ms : when times of mishaps begin, milliseconds since 1970
    """
    pairs = sorted(
        (ledger.sweep_ms[name], at) for ledger in ledgers for name, at in ledger.prediction_ms.items()
    )
    sent, predicted = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    struck = np.zeros(len(sent), dtype=bool)
    for mishap in mishaps:
        first, last = begin_ms + 1000 * mishap.begin_s, begin_ms + 1000 * mishap.end_s
        struck |= (sent <= last) & (predicted >= first)
    return Waits(at_ms=sent - int(begin_ms), wait_ms=predicted - sent, struck=struck)


def plain(value: Any) -> Any:
    """Values as JSON has them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return round(value, 3) if isinstance(value, float) else value
