"""Which of several models answers a key: the same one each time, on every machine and in every release."""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_64_intdigest

HASHES = 2**64
MOST_PARTS = 2**32
MOST_DIGITS = 32
NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")

Weight = int | str | Fraction | float


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One of the models that a split chooses from.  weight : exact, parts of the sum of all, >= 0"""

    name: str
    weight: Fraction | int

    def __post_init__(self) -> None:
        if NAME.fullmatch(self.name) is None:
            raise ValueError(f"arm {self.name!r}: names match {NAME.pattern}")
        if not 0 <= self.weight <= MOST_PARTS:
            raise ValueError(f"arm {self.name}: weight {self.weight} must be 0..{MOST_PARTS}")


class Split:
    """Arms by ranges of a hash of the key.

    arms : in order; salt : another one makes another split of the same keys
    The hash is XXH3 of 64 bits of the key's UTF-8, seeded by that of the salt (0 for none). With weights w
    and their sum W, arm i has the hashes from floor(2^64 (w_0 + … + w_{i-1}) / W) on: its share of all
    hashes is exact to one in 2^64. Changing a weight moves the keys at the borders between arms, no others.
    Raises ValueError for arms of the same name, and where no weight is above 0
    """

    def __init__(self, arms: Sequence[Arm], salt: str = "") -> None:
        self.arms, self.salt = tuple(arms), salt
        names = [arm.name for arm in arms]
        if len(set(names)) < len(names):
            raise ValueError(f"arms: {', '.join(names)}: each name once")
        served = [arm for arm in arms if arm.weight]
        if not served:
            raise ValueError("arms: one of the weights must be above 0")
        weights = [Fraction(arm.weight) for arm in served]
        self._ends = [math.floor(HASHES * upto / sum(weights)) for upto in accumulate(weights)]
        self._names = [arm.name for arm in served]
        self._seed = xxh3_64_intdigest(salt.encode()) if salt else 0

    def name_of(self, key: str) -> str:
        """The arm of a key."""
        return self._names[bisect_right(self._ends, self.hash_of(key))]

    def hash_of(self, key: str) -> int:
        """Where a key lies, 0..2^64-1."""
        return xxh3_64_intdigest(key.encode("utf-8", "surrogatepass"), self._seed)

    def share_of(self, name: str) -> Fraction:
        """The part of all hashes that an arm has."""
        if name not in self._names:
            return Fraction(0)
        place = self._names.index(name)
        return Fraction(self._ends[place] - (self._ends[place - 1] if place else 0), HASHES)

    def counts(self, keys: Sequence[str]) -> dict[str, int]:
        """How many of these keys each arm has."""
        hashes: NDArray[np.uint64] = np.fromiter(map(self.hash_of, keys), np.uint64, len(keys))
        place = np.searchsorted(np.array(self._ends[:-1], np.uint64), hashes, side="right")
        found = np.bincount(place, minlength=len(self._names)).tolist()
        return {arm.name: 0 for arm in self.arms} | dict(zip(self._names, found, strict=True))


def arms_of(weights: Mapping[str, Weight]) -> tuple[Arm, ...]:
    """Arms of weights in any unit, as 0.9 and "0.1": decimals are taken as they are written.

    Raises ValueError for a weight that is none
    """
    return tuple(Arm(name=name, weight=_exact(name, weight)) for name, weight in weights.items())


def _exact(name: str, weight: Weight) -> Fraction:
    text = str(weight)
    try:
        if len(text) > MOST_DIGITS:
            raise ValueError(text)
        return Fraction(text)
    except (ValueError, ZeroDivisionError) as error:
        raise ValueError(f"arm {name}: weight {text[:80]!r} is no number") from error
