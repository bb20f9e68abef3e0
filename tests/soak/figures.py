"""What a soak shows: waits of sweeps, growth of processes, and what is not as it must be."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tests.kafka.ledger import Ledger
from tests.soak.gauges import NAMES, Reading, lives
from tests.soak.mishaps import LASTS_SECONDS, Mishap
from tests.soak.slope import LEVEL, Slope, slope_of

WARM_UP = 1 / 3
"""Of a life, and at most ten minutes: what is loaded and filled for the first time."""
MAX_WARM_UP_SECONDS = 600.0
LEAST = {"rss_mib": 0.125, "handles": 1.0, "threads": 1.0}
"""Within what was read: one more that stays is a step, and no growth. Of memory it is one by which glibc
grows a heap (M_TOP_PAD, 128 KiB): where nothing else varies, a few pages make an interval above zero."""
UNSHOWN_MIB = 32.0
"""An hour: a process whose interval of memory reaches so far up was not shown not to grow."""
STRUCK_SHARE = 0.5
"""Of sweeps that may be left out at most, for what was waited outside of mishaps to speak for the drive."""
MINUTE_MS = 60_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """Of a process in its longest life, after its warm-up.

    minutes : that were read; slopes : by what is read, an hour, at 95 % for this process alone; None where
        too little was read; joint : the same at 95 % for all processes together
    """

    minutes: float
    slopes: dict[str, Slope | None]
    joint: dict[str, Slope | None]

    @property
    def measured(self) -> bool:
        """Whether enough was read for every slope."""
        return None not in self.slopes.values()


def joint_level(processes: int) -> float:
    """Confidence of each interval of so many processes, for 95 % that all of them hold: Bonferroni's."""
    return 1 - (1 - LEVEL) / processes


def growth_of(readings: Sequence[Reading], since_s: float, processes: int = 1) -> Growth:
    """The slopes of the longest life that goes on after a time.

    processes : that are judged together
    """
    life = max(lives(readings), key=lambda life: sum(item.at_s >= since_s for item in life), default=[])
    if not life or life[-1].at_s < since_s:
        return Growth(minutes=0.0, slopes=dict.fromkeys(NAMES), joint=dict.fromkeys(NAMES))
    born, died = life[0].at_s, life[-1].at_s
    warm_s = born + min(WARM_UP * (died - born), MAX_WARM_UP_SECONDS)
    kept = [item for item in life if item.at_s >= max(since_s, warm_s)]
    at_s = [item.at_s for item in kept]
    values = {name: [getattr(item, name) for item in kept] for name in NAMES}
    return Growth(
        minutes=(at_s[-1] - at_s[0]) / 60,
        slopes={name: slope_of(at_s, read) for name, read in values.items()},
        joint={name: slope_of(at_s, read, joint_level(processes)) for name, read in values.items()},
    )


def grows(name: str, growth: Growth) -> list[str]:
    """What of a process grows: its own interval is above zero; by a whole one of what is counted.

    The joint interval decides nothing. Of nine processes that do not grow, one may seem to in every fifth
    soak; where the joint interval reaches below zero, that is what to think of first.
    """
    return [
        f"{name}: {what} grows by {told(slope)} an hour; joint with the others {told(growth.joint[what])}"
        for what, slope in growth.slopes.items()
        if slope is not None and slope.low > 0 and slope.low * growth.minutes / 60 >= LEAST[what]
    ]


def unshown(name: str, growth: Growth) -> list[str]:
    """Whether the memory of a process may grow by more than 32 MiB an hour, for all that was read."""
    slope = growth.slopes["rss_mib"]
    if slope is None or slope.high <= UNSHOWN_MIB:
        return []
    return [f"{name}: memory was not shown not to grow: {told(slope)} MiB an hour"]


def told(slope: Slope | None) -> str:
    """A slope and its interval."""
    if slope is None:
        return "too short"
    return f"{slope.per_hour:+.2f} ({slope.low:+.2f} to {slope.high:+.2f})"


def too_slow(summary: Mapping[str, Any], period_ms: float, judged: bool) -> list[str]:
    """Whether sweeps outside of mishaps waited for longer than until the next one, or were too few to tell.

    summary : of waits; judged : whether the drive was long enough for the share to say anything
    """
    calm, share = summary["calm"], summary["struck_share"]
    if not calm:
        return ["no sweep was predicted outside of mishaps"]
    found = []
    if calm["p99"] > period_ms:
        found.append(f"99th percentile {calm['p99']:.0f} ms outside of mishaps, period {period_ms:.0f} ms")
    if judged and share > STRUCK_SHARE:
        found.append(f"{100 * share:.1f} % of sweeps left out, more than {100 * STRUCK_SHARE:.0f} %")
    return found


@dataclasses.dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Waits:
    """Of all sweeps that were predicted, by when they were appended.

    at_ms : int64 (N,) since the beginning, rising; wait_ms : int64 (N,) from a sweep's append to that of its
    prediction, by the broker's clock; struck : bool (N,), predicted while a mishap lasted, or its first 60 s
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

    Sweeps that are slow draw a mishap out, so they must not leave themselves out: what is predicted after a
    mishap's first 60 s counts, whenever it was sent.
    """
    pairs = sorted(
        (ledger.sweep_ms[name], at) for ledger in ledgers for name, at in ledger.prediction_ms.items()
    )
    sent, predicted = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    struck = np.zeros(len(sent), dtype=bool)
    for mishap in mishaps:
        last_s = min(mishap.end_s, mishap.begin_s + LASTS_SECONDS)
        struck |= (predicted >= begin_ms + 1000 * mishap.begin_s) & (predicted <= begin_ms + 1000 * last_s)
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
