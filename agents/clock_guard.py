"""A clock that was set anew, told from one message with a wrong stamp: it takes two to believe a jump."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from stream.codecs.state import from_dict, to_dict

T = TypeVar("T")

MAX_JUMP_NS = 60_000_000_000
"""A minute: no sender of a running robot is silent for so long."""

MAX_SUSPECTS = 8


@dataclass(slots=True)
class ClockGuard(Generic[T]):
    """Holds back what is far ahead of all before it, until another stamp out there agrees.

    max_jump_ns : farther ahead than this is suspect; newest_ns : newest stamp believed, 0 before the first,
    which is believed as it is; suspects : at most MAX_SUSPECTS messages by stamp, in the order they came
    """

    max_jump_ns: int = MAX_JUMP_NS
    newest_ns: int = 0
    suspects: list[tuple[int, T]] = field(default_factory=list)

    def admit(self, stamp_ns: int, item: T) -> tuple[list[T], list[T]]:
        """Take one message; returns those to go on with, in the order they came, and those refused.

        A stamp that is not far ahead refutes every suspect; two different ones near each other are a new
        time. The same stamp again (a redelivery, another part) is no second witness.
        """
        if not self.newest_ns or stamp_ns <= self.newest_ns + self.max_jump_ns:
            self.newest_ns = max(self.newest_ns, stamp_ns)
            return [item], self.give_up()
        near = [(stamp, held) for stamp, held in self.suspects if abs(stamp - stamp_ns) <= self.max_jump_ns]
        if all(stamp == stamp_ns for stamp, _ in near):
            refused = [held for _, held in self.suspects[: 1 - MAX_SUSPECTS]]
            self.suspects = [*self.suspects[1 - MAX_SUSPECTS :], (stamp_ns, item)]
            return [], refused
        self.suspects = [suspect for suspect in self.suspects if suspect not in near]
        self.newest_ns = max(stamp_ns, *(stamp for stamp, _ in near))
        return [*(held for _, held in near), item], self.give_up()

    def give_up(self) -> list[T]:
        """The suspects, which are held no longer: no stamp agrees with theirs."""
        held, self.suspects = [held for _, held in self.suspects], []
        return held

    def state(self) -> dict[str, Any]:
        """Plain values; items are dataclasses."""
        suspects = [[stamp, to_dict(held)] for stamp, held in self.suspects]
        return {"newest_ns": self.newest_ns, "suspects": suspects}

    @classmethod
    def from_state(cls, state: dict[str, Any], kind: type[T]) -> ClockGuard[T]:
        """Rebuild from ``state``; ``kind`` is what an item is."""
        suspects = [(stamp, from_dict(kind, values)) for stamp, values in state["suspects"]]
        return cls(newest_ns=state["newest_ns"], suspects=suspects)
