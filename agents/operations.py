"""What a task asks of whoever drives it: one operation at a time, each done before it goes on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from agents.journal import Claim, Order, Place, Receipt
from agents.protocol import Key, Request, Restore, Storage
from stream.codecs.state import Frozen, chunks_of


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Memory:
    """What a task itself remembers after an entry of its journal.

    claim : under which it folds; journal : offset of the first entry that it has not folded
    positions : of every source; waiting : inputs folded and not released; open : requests without an answer
    """

    claim: int
    journal: int
    positions: dict[Place, int]
    waiting: dict[Key, list[Receipt]]
    open: dict[str, Request]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Snapshot:
    """State of a task after an entry of its journal; ``agent`` is that of its agent."""

    agent: bytes
    digest: str
    memory: Memory

    @classmethod
    def of(cls, agent: Frozen, memory: Memory) -> Snapshot:
        """Make the bytes; it takes its time, and nothing that is folded meanwhile shows."""
        data = agent.pack()
        return cls(agent=data, digest=digest_of(data), memory=memory)

    @property
    def whole(self) -> bool:
        """The bytes are those that were written."""
        return digest_of(self.agent) == self.digest


def digest_of(data: bytes | Frozen) -> str:
    """Digest of a snapshot's bytes."""
    sha = hashlib.sha256()
    for chunk in chunks_of(data):
        sha.update(chunk)
    return sha.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Mark:
    """A place at which the process may die; the driver may do other things here. Nothing is sent back.

    ``waiting`` means that there is nothing to do.
    """

    label: str


@dataclass(frozen=True, slots=True, eq=False)
class Next:
    """Send back the entry to fold next, or None when none may be folded now."""


@dataclass(frozen=True, slots=True, eq=False)
class Handle:
    """Have the agent handle a record; send back its Step."""

    record: Any


@dataclass(frozen=True, slots=True, eq=False)
class AppendJournal:
    """Append to the task's journal; send back the offset."""

    entry: Order | Claim


@dataclass(frozen=True, slots=True, eq=False)
class ReadJournal:
    """Send back the journal's entries from ``first`` up to but without ``end``."""

    first: int
    end: int


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Send back the entries of inputs that were folded before, in the same order."""

    inputs: tuple[Receipt, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Store:
    """Make an effect durable under a name; the same name again changes nothing."""

    name: str
    effect: Storage


@dataclass(frozen=True, slots=True, eq=False)
class Send:
    """Append records, each to a topic of its own, and come back only when all are confirmed.

    Until then each may be there or not, whatever the others are.
    """

    records: tuple[Any, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Ask:
    """Start on an open request, unless this process has; its answer comes as a record."""

    request: str
    effect: Request


@dataclass(frozen=True, slots=True, eq=False)
class Steer:
    """Give a trainer of this process other weights."""

    effect: Restore


@dataclass(frozen=True, slots=True, eq=False)
class FindSnapshot:
    """Send back the newest whole snapshot, or None."""


@dataclass(frozen=True, slots=True, eq=False)
class LoadMissing:
    """Load a model that a restored agent serves, and send back a ModelLoaded; without it the process ends."""

    model_id: str


@dataclass(frozen=True, slots=True, eq=False)
class Capture:
    """Send back the agent's state, frozen."""


@dataclass(frozen=True, slots=True, eq=False)
class Save:
    """Write a snapshot of both, perhaps later. One that fails costs time at a recovery, nothing else."""

    agent: Frozen
    memory: Memory


Operation = (
    Mark | Next | Handle | AppendJournal | ReadJournal | Read | Store | Send | Ask | Steer | FindSnapshot
    | LoadMissing | Capture | Save
)  # fmt: skip
