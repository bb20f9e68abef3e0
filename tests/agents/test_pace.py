"""The budget of learning: kept on average, one step at least, and measured."""

from __future__ import annotations

import pytest

from agents.pace import Pace


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_ms(self, milliseconds: float) -> None:
        self.now += milliseconds / 1e3


def train(pace: Pace, clock: Clock, budget_ms: float | None, step_ms: float = 10, lineage: str = "a") -> int:
    """Steps that a training takes, at most 50 of them."""
    steps = 0
    with pace.training(lineage, budget_ms) as go_on:
        while steps < 50 and go_on():
            clock.pass_ms(step_ms)
            steps += 1
    return steps


def spend(pace: Pace, clock: Clock, milliseconds: float) -> None:
    with pace.spending():
        clock.pass_ms(milliseconds)


@pytest.mark.fault(36)
def test_steps_fill_the_budget_and_do_not_exceed_it() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    assert train(pace, clock, 45) == 4
    assert train(pace, clock, 40.001) == 4
    assert train(pace, clock, 39) == 3
    assert train(pace, clock, None) == 50
    assert train(pace, clock, 45) == 4  # no budget, no debt


def test_what_else_learning_costs_is_part_of_the_budget() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    for _ in range(3):
        spend(pace, clock, 25)
        clock.pass_ms(1000)  # serving is not charged
        spend(pace, clock, 30)
        assert train(pace, clock, 90.001) == 3
        assert pace.take_ms() == pytest.approx(85)
    assert pace.take_ms() == 0


def test_one_step_is_always_taken() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    for _ in range(5):
        spend(pace, clock, 500)
        assert train(pace, clock, 20) == 1


def test_what_is_overdrawn_is_missing_the_next_time_and_what_is_left_is_lost() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    assert train(pace, clock, 50.001, step_ms=70) == 1  # 20 too many
    assert train(pace, clock, 50.001) == 3
    assert train(pace, clock, 50.001, step_ms=30) == 1  # 20 left
    assert train(pace, clock, 50.001) == 5


@pytest.mark.fault(36)
def test_a_stall_costs_one_sweep_at_most() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    spend(pace, clock, 10_000)
    assert train(pace, clock, 50.001) == 1
    assert train(pace, clock, 50.001) == 4  # the one step was on credit
    assert train(pace, clock, 50.001) == 5


def test_lineages_share_what_they_cause_together_and_pay_their_own_steps() -> None:
    clock = Clock()
    pace = Pace(clock, ["a", "b"])
    for _ in range(3):
        spend(pace, clock, 40)
        assert [train(pace, clock, 50.001, lineage=lineage) for lineage in "ab"] == [3, 3]
    spend(pace, clock, 40)
    assert train(pace, clock, 50.001, step_ms=90, lineage="a") == 1
    assert train(pace, clock, 50.001, lineage="b") == 3
    assert train(pace, clock, 50.001, lineage="a") == 1


def test_an_error_is_charged_too() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    with pytest.raises(OSError, match="full"), pace.spending():
        clock.pass_ms(30)
        raise OSError("full")
    with pytest.raises(ValueError, match="diverged"), pace.training("a", 50) as go_on:
        assert go_on()
        clock.pass_ms(40)
        raise ValueError("diverged")
    assert pace.take_ms() == pytest.approx(70)
    assert train(pace, clock, 50.001) == 3  # 20 owed


def test_without_a_clock_every_step_passes() -> None:
    pace = Pace()
    with pace.training("any", 1.0) as go_on:
        assert all(go_on() for _ in range(100))
    with pace.spending():
        pass
    assert pace.take_ms() == 0


def test_what_another_thread_spends_during_a_training_counts_for_the_next() -> None:
    clock = Clock()
    pace = Pace(clock, ["a"])
    with pace.training("a", 50.001) as go_on:
        assert go_on()
        spend(pace, clock, 30)
    assert train(pace, clock, 50.001) == 2
    assert train(pace, clock, 50.001) == 5
