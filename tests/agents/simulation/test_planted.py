"""A check of the checkers: every planted bug breaks a rule that holds without it."""

from __future__ import annotations

import pytest

from agents.simulation.checkers import CHECKERS
from agents.simulation.run import simulate
from tests.agents.simulation.planted import BUGS, Bug

MOST_SEEDS = 30
"""Of worlds in which little goes wrong but what brings the bug out; docs/simulation.md has the others."""


LONG = {
    "acknowledge a held sweep", "archive what comes again", "drop a training", "drop output on rebalance",
    "drop without a dead letter", "join across maps", "lose a request", "never fenced", "no journal",
    "number chunks anew", "replay an entry twice", "replay in any order", "replay without dedupe",
    "send and forget", "skip a removal", "swap without canary", "take a jump for motion",
    "train from nothing", "wrong partition",
}  # fmt: skip
"""Bugs that take many seeds to come out."""


def catches(bug: Bug, seed: int) -> bool:
    broken = bug.breaks & simulate(seed, bug.focused).checkers
    return bool(broken and broken - simulate(seed, bug.healthy).checkers)


@pytest.mark.parametrize(
    "bug",
    [pytest.param(bug, id=name, marks=[pytest.mark.long] * (name in LONG)) for name, bug in BUGS.items()],
)
def test_a_planted_bug_is_caught(bug: Bug) -> None:
    assert any(catches(bug, seed) for seed in range(MOST_SEEDS))


def test_those_that_take_long_are_planted() -> None:
    assert set(BUGS) >= LONG


def test_every_checker_catches_a_planted_bug() -> None:
    expected = set.union(*(set(bug.breaks) for bug in BUGS.values()))
    assert sorted(set(CHECKERS) - expected) == []
