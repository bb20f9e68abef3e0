"""Every decision of a simulated run, drawn from one seed, and the faults among them by name and number."""

from __future__ import annotations

import random
import zlib
from collections import Counter
from collections.abc import Mapping

Fault = tuple[str, int]
"""A fault that struck: its name, and the how-manieth opportunity for it that was."""

ENABLED_SHARE = 0.3
"""Share of the fault kinds that a seed uses: few at a time go deeper than all at once (swarm testing)."""

_MASK = (1 << 64) - 1


class Dice:
    """Decides by seed, name and number, so that leaving one fault out does not change when others strike.

    rates : chance of each kind of fault at one opportunity, before the seed has chosen its kinds
    without : faults that do not strike although the seed says so; what a shrunk history leaves out
    enabled_share : share of the kinds that a seed uses
    Once ``calm`` is set, none strikes. ``fired`` are those that did, ``asked`` counts opportunities by kind.
    """

    def __init__(
        self,
        seed: int,
        rates: Mapping[str, float],
        without: frozenset[Fault] = frozenset(),
        enabled_share: float = ENABLED_SHARE,
    ) -> None:
        self._seed = seed
        self._without = without
        chosen = self.stream("kinds of faults")
        self._rates = {
            name: rate * chosen.choice((0.5, 1.0, 2.0)) if chosen.random() < enabled_share else 0.0
            for name, rate in sorted(rates.items())
        }
        self._salts = {name: zlib.crc32(name.encode()) << 24 for name in rates}
        self.asked: Counter[str] = Counter()
        self._picks = 0
        self.calm = False
        self.fired: list[Fault] = []

    def stream(self, name: str) -> random.Random:
        """Random numbers of their own for one purpose."""
        return random.Random(f"{self._seed} {name}")

    def fires(self, name: str) -> bool:
        """Whether a fault strikes now. Raises KeyError for an unknown name"""
        rate = self._rates[name]
        number = self.asked[name]
        self.asked[name] += 1
        if self.calm or rate == 0.0 or _unit(self._seed, self._salts[name] + number) >= rate:
            return False
        if (name, number) in self._without:
            return False
        self.fired.append((name, number))
        return True

    def pick(self, count: int) -> int:
        """One of 0..count - 1, evenly."""
        return int(self.share() * count)

    def share(self) -> float:
        """Evenly in [0, 1)."""
        self._picks += 1
        return _unit(self._seed, self._picks)


def _unit(seed: int, number: int) -> float:
    """A number in [0, 1) from two integers. Source: splitmix64, Steele et al. 2014."""
    z = (seed * 0x9E3779B97F4A7C15 + number * 0xD1B54A32D192ED03 + 0x632BE59BD9B4E019) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)
