"""Decisions by seed: repeatable, and each independent of whether the others are left out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agents.simulation.dice import Dice

RATES = {"flood": 0.5, "fire": 0.5, "frost": 0.5, "famine": 0.5}
SEEDS = st.integers(0, 2**40)


def draws(dice: Dice, count: int = 100) -> list[tuple[str, bool]]:
    return [(name, dice.fires(name)) for _ in range(count) for name in RATES]


@given(SEEDS)
def test_a_seed_decides_everything(seed: int) -> None:
    first, second = Dice(seed, RATES), Dice(seed, RATES)
    assert draws(first) == draws(second)
    assert [first.pick(7) for _ in range(50)] == [second.pick(7) for _ in range(50)]
    assert first.stream("a").random() == second.stream("a").random()


@given(SEEDS)
def test_leaving_a_fault_out_changes_no_other(seed: int) -> None:
    whole = Dice(seed, RATES)
    draws(whole)
    for left_out in whole.fired[:3]:
        partly = Dice(seed, RATES, frozenset([left_out]))
        draws(partly)
        assert partly.fired == [fault for fault in whole.fired if fault != left_out]


def test_seeds_use_few_kinds_each_and_all_together() -> None:
    kinds = [{name for name, fired in draws(Dice(seed, RATES)) if fired} for seed in range(200)]
    assert set.union(*kinds) == set(RATES)
    assert sum(len(kind) for kind in kinds) / len(kinds) < 2


@given(SEEDS)
def test_picks_are_within_range(seed: int) -> None:
    dice = Dice(seed, RATES)
    picks = [dice.pick(3) for _ in range(100)]
    assert set(picks) == {0, 1, 2}


def test_no_fault_strikes_in_calm() -> None:
    dice = Dice(1, RATES)
    dice.calm = True
    assert not any(fired for _, fired in draws(dice))
    assert dice.fired == []


def test_a_fault_that_nobody_declared_is_an_error() -> None:
    with pytest.raises(KeyError):
        Dice(1, RATES).fires("locusts")
