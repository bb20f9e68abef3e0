"""Seeds hold; a seed repeats to the last line; a failure replays and shrinks."""

from __future__ import annotations

import pytest

from agents.simulation.faults import RATES
from agents.simulation.many import run_many
from agents.simulation.run import Cut, simulate, stage
from agents.simulation.shrink import shrink
from agents.simulation.trace import trace_lines
from tests.agents.simulation.planted import BUGS

CI_SEEDS = 12
"""`make simulate SEEDS=10000` runs more."""


def test_nothing_is_lost_whatever_happens() -> None:
    tally = run_many(range(CI_SEEDS))
    assert [(result.seed, result.violations[:3]) for result in tally.failed] == []
    assert tally.records.total() > 100 * CI_SEEDS
    assert tally.struck.total() > 5 * CI_SEEDS


def test_a_seed_repeats_to_the_last_line() -> None:
    first, second = simulate(3), simulate(3)
    assert list(trace_lines(first)) == list(trace_lines(second))
    assert first.counts == second.counts
    assert first.history != simulate(4).history


def test_the_number_of_processes_changes_nothing() -> None:
    alone, together = run_many(range(2)), run_many(range(2), jobs=2)
    assert (alone.struck, alone.records, alone.steps) == (together.struck, together.records, together.steps)


def test_every_kind_of_fault_has_its_opportunities() -> None:
    asked: set[str] = set()
    for seed in range(8):
        cluster = stage(seed)
        cluster.run()
        asked |= set(cluster.dice.asked)
    assert sorted(set(RATES) - asked) == []


@pytest.mark.long
def test_a_failure_shrinks_to_less_that_still_fails() -> None:
    bug = BUGS["dedupe by stamp without part"]
    whole = simulate(0, bug.focused)
    runs: list[int] = []
    cut, short = shrink(whole, bug.focused, runs.append)
    assert "lost" in short.checkers
    assert len(short.inputs) <= 2 < len(whole.inputs)
    assert len(short.faults) < len(whole.faults)
    assert list(trace_lines(simulate(0, bug.focused, cut))) == list(trace_lines(short))
    assert cut != Cut()
    assert runs == list(range(1, len(runs) + 1))
