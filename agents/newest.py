"""How far each of many names has got: a number a name, for so many names at most."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Newest:
    """A number by name, of the ``most`` names that were noted last; those noted longest ago drop out.

    most : names at most, > 0; items : name and number, the longest ago first
    """

    def __init__(self, most: int, items: Iterable[Any] = ()) -> None:
        self._most = most
        self._numbers: dict[str, int] = dict(items)

    def get(self, name: str) -> int:
        """The number noted last, -1 for a name that is not known."""
        return self._numbers.get(name, -1)

    def note(self, name: str, number: int) -> None:
        """Note a number; the name is the last one noted from now on."""
        self._numbers.pop(name, None)
        self._numbers[name] = number
        while len(self._numbers) > self._most:
            del self._numbers[next(iter(self._numbers))]

    def pop(self, name: str) -> int:
        """The number noted last, -1 for a name that is not known; the name is not known from now on."""
        return self._numbers.pop(name, -1)

    def items(self) -> list[list[Any]]:
        """Every name and its number, the longest ago first: what another one is made from."""
        return [[name, number] for name, number in self._numbers.items()]
