"""Who is known: names by how lately they were heard, and at most so many of them."""

from __future__ import annotations

from collections.abc import Iterable


class Roster:
    """Names in the order in which they were last heard; when one is too many, the longest silent one leaves.

    most : names at most, > 0; names : in their order, the longest silent first
    Lately is in the order of calls, not by a clock, so a fold that keeps a roster repeats.
    """

    def __init__(self, most: int, names: Iterable[str] = ()) -> None:
        self._most = most
        self._names = dict.fromkeys(names)

    def hear(self, name: str) -> list[str]:
        """Note that a name was heard; returns those that leave for it, the longest silent first."""
        self._names.pop(name, None)
        self._names[name] = None
        left = list(self._names)[: max(len(self._names) - self._most, 0)]
        for silent in left:
            del self._names[silent]
        return left

    def names(self) -> list[str]:
        """Every name, the longest silent first: what a roster is made from again."""
        return list(self._names)
