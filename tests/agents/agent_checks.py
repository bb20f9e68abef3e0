"""What every agent must pass, whatever it does: the checks that make replay, recovery and scaling safe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from agents.protocol import Agent, Key
from stream.codecs.state import StateError, pack
from stream.records import EndOfLog
from tests.agents.worlds import plain

CUTS = 6
"""Places in the log at which an agent is stopped and started again."""


def no_key(record: Any) -> None:
    """The agent acknowledges nothing for this record."""


def nothing_to_do(agent: Any, seen: Sequence[Any]) -> None:
    """The agent needs nothing after a restart."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One agent and what it is fed.

    make : a new agent; records : its inputs, the last an EndOfLog
    key : the key that must be released for a record, None for none
    after_restore : what a runtime must do after a restart, given the records so far
    """

    name: str
    make: Callable[[], Any]
    records: Sequence[Any]
    key: Callable[[Any], Key | None] = no_key
    after_restore: Callable[[Any, Sequence[Any]], None] = nothing_to_do


def run(agent: Agent, records: Sequence[Any]) -> list[Any]:
    """Every step, as plain values that compare bit for bit."""
    return [plain(agent.handle(record)) for record in records]


def cuts(case: Case) -> list[int]:
    """Places spread over the log, the very beginning and end among them."""
    last = len(case.records) - 1
    return sorted({round(last * place / (CUTS - 1)) for place in range(CUTS)})


def check_the_case_says_something(case: Case) -> None:
    """The log is long enough and the agent does something: else the other checks cannot fail."""
    assert isinstance(case.records[-1], EndOfLog)
    agent = case.make()
    steps = [agent.handle(record) for record in case.records]
    assert len(case.records) > 20
    assert sum(len(step.outputs) + len(step.effects) for step in steps) > 4


def check_deterministic(case: Case) -> None:
    """Two agents fed the same records give the same steps."""
    assert run(case.make(), case.records) == run(case.make(), case.records)


def check_snapshots_are_deterministic(case: Case) -> None:
    """Equal states give equal bytes, and taking a snapshot changes nothing."""
    first, second = case.make(), case.make()
    places = cuts(case)
    for number, record in enumerate(case.records):
        assert plain(first.handle(record)) == plain(second.handle(record))
        if number in places:
            assert first.snapshot() == first.snapshot() == second.snapshot()


def check_survives_a_restart(case: Case) -> None:
    """An agent restored in mid-log goes on as if nothing had happened, and its state is the same bytes."""
    whole = run(case.make(), case.records)
    for cut in cuts(case):
        original = case.make()
        run(original, case.records[:cut])
        restored = case.make()
        restored.restore(original.snapshot())
        case.after_restore(restored, case.records[:cut])
        assert restored.snapshot() == original.snapshot(), f"after {cut} records"
        assert run(restored, case.records[cut:]) == whole[cut:], f"after {cut} records"


def check_refuses_unknown_records(case: Case) -> None:
    """A record it does not know is a TypeError that names agent and record, and changes nothing."""
    agent = case.make()
    run(agent, case.records[: len(case.records) // 2])
    before = agent.snapshot()
    for unknown in (object(), None, "sweep", {"stream_id": "a/b"}):
        with pytest.raises(
            TypeError, match=rf"{type(agent).__name__} does not handle {type(unknown).__name__}"
        ):
            agent.handle(unknown)
    assert agent.snapshot() == before


def check_refuses_foreign_state(case: Case) -> None:
    """Bytes that are no snapshot are a StateError, and the agent stays as it was."""
    agent = case.make()
    run(agent, case.records[: len(case.records) // 2])
    before = agent.snapshot()
    for foreign in (b"", b"junk", pack({}), pack([1]), before[:-1], before[: len(before) // 2]):
        with pytest.raises(StateError):
            agent.restore(foreign)
    assert agent.snapshot() == before


def check_releases_every_input_once(case: Case) -> None:
    """By the end of the log every input has been acknowledged, none twice, none that never came."""
    agent = case.make()
    released = Counter(key for record in case.records for key in agent.handle(record).released)
    expected = [case.key(record) for record in case.records]
    assert released == Counter(key for key in expected if key is not None)


def check_leaves_its_inputs_alone(case: Case) -> None:
    """Records are values: nobody writes into them."""
    before = plain(list(case.records))
    run(case.make(), case.records)
    assert plain(list(case.records)) == before


CHECKS: tuple[Callable[[Case], None], ...] = (
    check_the_case_says_something,
    check_deterministic,
    check_snapshots_are_deterministic,
    check_survives_a_restart,
    check_refuses_unknown_records,
    check_refuses_foreign_state,
    check_releases_every_input_once,
    check_leaves_its_inputs_alone,
)
