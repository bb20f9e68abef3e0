"""Promotion needs proof, rollback needs harm, and both survive a snapshot."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from models.online.gate import PromotionGate, UpdateGuard, mean_and_margin
from models.scores.tally import SweepScore


def score(loss, precision=0.9, n=100):
    return SweepScore(n=n, average_precision=precision, log_loss=loss, brier=0.1)


def fill(gate, differences, gain=0.0):
    for index, difference in enumerate(differences):
        base = 0.4 + 0.1 * (index % 3)
        gate.add(score(base), score(base + difference, 0.9 + gain))
    return gate


def guarded(differences, sweeps=10, margin=0.02):
    guard = UpdateGuard(sweeps, margin)
    for difference in differences:
        guard.add(0.4 + difference, 0.4)
    return guard


def correlated(rng, count, memory=0.8):
    values = np.empty(count)
    values[0] = rng.normal()
    for t in range(1, count):
        values[t] = memory * values[t - 1] + math.sqrt(1 - memory**2) * rng.normal()
    return values


def test_margin_is_students_interval_of_block_means():
    mean, margin = mean_and_margin([9.0, 1.0, 3.0, 2.0, 2.0, 5.0, 7.0, 4.0, 4.0, 0.0, 6.0])
    blocks = np.array([2.0, 2.0, 6.0, 4.0, 3.0])  # the oldest of eleven is left out
    assert mean == pytest.approx(blocks.mean())
    assert margin == pytest.approx(2.776 * blocks.std(ddof=1) / math.sqrt(5))
    assert mean_and_margin([1.0, 3.0]) == (2.0, pytest.approx(12.706))
    assert mean_and_margin([1.0]) == (1.0, math.inf)
    assert mean_and_margin([]) == (0.0, math.inf)


def test_margin_covers_correlated_series_that_a_plain_standard_error_does_not():
    rng = np.random.default_rng(0)
    blocks = plain = 0
    for _ in range(400):
        values = correlated(rng, 100)
        mean, margin = mean_and_margin(values.tolist())
        blocks += abs(mean) > margin
        plain += abs(values.mean()) > 2 * values.std(ddof=1) / 10
    assert blocks / 400 < 0.12
    assert plain / 400 > 0.3


def test_a_better_challenger_is_promoted_at_the_gate_and_not_before():
    gate = PromotionGate(5)
    assert gate.decide().verdict == "wait"
    differences = [-0.04, -0.05, -0.03, -0.045, -0.05]
    assert fill(gate, differences[:4]).decide().verdict == "wait"
    fill(gate, differences[4:])
    decision = gate.decide()
    assert decision.verdict == "promote"
    assert decision.reason["difference"] == pytest.approx(np.mean(differences))
    assert decision.reason["difference"] + decision.reason["margin"] < 0
    assert decision.reason["challenger_log_loss"] < decision.reason["champion_log_loss"]
    json.dumps(decision.reason, allow_nan=False)


def test_lower_loss_with_worse_ranking_is_not_promoted():
    assert fill(PromotionGate(5), [-0.04] * 5, gain=-0.01).decide().verdict == "wait"
    assert fill(PromotionGate(5), [-0.04] * 5, gain=-0.0005).decide().verdict == "promote"
    rejected = fill(PromotionGate(5, max_sweeps=10), [-0.04] * 10, gain=-0.01).decide()
    assert (rejected.verdict, rejected.reason["why"]) == ("reject", "average precision is worse")


@pytest.mark.parametrize("level", [0.0, 0.01])
def test_no_proof_ends_in_rejection(level):
    differences = [level + 0.02 * (-1) ** index for index in range(20)]
    gate = PromotionGate(5, max_sweeps=20)
    for count in range(1, 20):
        assert fill(gate, differences[count - 1 : count]).decide().verdict == "wait", count
    assert fill(gate, differences[19:]).decide().verdict == "reject"


def test_a_challenger_that_starts_bad_is_promoted_by_its_first_good_batch():
    noise = 0.01 * np.random.default_rng(3).uniform(-1, 1, size=38)
    differences = [0.3, 0.1, *(noise - 0.03)]
    gate = PromotionGate(5)
    assert fill(gate, differences[:9]).decide().verdict == "wait"
    decision = fill(gate, differences[9:10]).decide()
    assert decision.verdict == "promote"
    assert decision.reason["difference"] == pytest.approx(np.mean(differences[5:10]))
    mean, margin = mean_and_margin(differences)
    assert mean + margin > 0  # all forty sweeps together would prove nothing


def test_a_good_streak_across_two_batches_does_not_count():
    bad, good = [0.2, 0.19, 0.21], [-0.03, -0.031]
    differences = [*bad, *good, *good, -0.029, *bad[:2]]
    assert sum(mean_and_margin(differences[3:8])) < 0
    assert fill(PromotionGate(5), differences).decide().verdict == "wait"


def test_while_waiting_the_reason_is_that_of_the_last_finished_batch():
    gate = fill(PromotionGate(5), [0.01] * 4)
    assert gate.decide().reason["why"] == "no batch finished yet"
    finished = fill(gate, [0.01]).decide()
    assert finished.reason["sweeps"] == 5
    assert finished.reason["difference"] == pytest.approx(0.01)
    assert fill(gate, [-0.5] * 4).decide() == finished
    assert gate.sweeps == 9


def test_an_unfinished_last_batch_is_not_judged():
    rejected = fill(PromotionGate(5, max_sweeps=7), [0.01] * 5 + [-0.5] * 2).decide()
    assert rejected.verdict == "reject"
    assert (rejected.reason["sweeps"], rejected.reason["difference"]) == (7, pytest.approx(0.01))


def test_the_first_decision_stands():
    promoted = fill(PromotionGate(5), [-0.04] * 5)
    decision = promoted.decide()
    assert fill(promoted, [5.0] * 30 + [math.nan]).decide() == decision
    assert (decision.verdict, promoted.sweeps) == ("promote", 5)
    rejected = fill(PromotionGate(5, max_sweeps=5), [0.04] * 5)
    assert fill(rejected, [-0.04] * 5).decide().verdict == "reject"


@pytest.mark.parametrize(
    ("memory", "gate_sweeps", "documented"),
    [(0.0, 5, 0.18), (0.5, 5, 0.56), (0.8, 5, 0.77), (0.0, 10, 0.18), (0.5, 10, 0.43), (0.8, 10, 0.74)],
)
def test_equal_challengers_are_promoted_as_often_as_documented(memory, gate_sweeps, documented):
    rng = np.random.default_rng(1)
    promoted = 0
    for _ in range(300):
        differences = 0.01 * correlated(rng, 8 * gate_sweeps, memory)
        promoted += fill(PromotionGate(gate_sweeps), differences).decide().verdict == "promote"
    assert promoted / 300 == pytest.approx(documented, abs=0.09)


def test_a_challenger_that_is_not_finite_is_rejected_at_once():
    for loss in (math.nan, math.inf):
        gate = PromotionGate(5)
        gate.add(score(0.4), score(loss))
        assert gate.decide().verdict == "reject"
        assert gate.decide().reason["why"] == "loss is not finite"
        json.dumps(gate.decide().reason, allow_nan=False)


def test_sweeps_without_cells_do_not_count_and_ranking_may_be_unsupported():
    gate = PromotionGate(2)
    empty = SweepScore(n=0, average_precision=None, log_loss=None, brier=None)
    gate.add(empty, empty)
    assert gate.sweeps == 0
    for difference in (-0.1, -0.1):
        gate.add(score(0.4, None), score(0.4 + difference, None))
    decision = gate.decide()
    assert (decision.verdict, decision.reason["average_precision_difference"]) == ("promote", None)


def test_gate_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="scored on 5 cells"):
        PromotionGate(5).add(score(0.4), score(0.4, n=5))
    with pytest.raises(ValueError, match="champion"):
        PromotionGate(5).add(score(math.nan), score(0.4))
    with pytest.raises(ValueError, match="gate_sweeps"):
        PromotionGate(0)
    with pytest.raises(ValueError, match="max_sweeps"):
        PromotionGate(5, max_sweeps=4)


def test_one_sweep_is_no_proof():
    assert fill(PromotionGate(1), [-1.0] * 7).decide().verdict == "wait"
    assert fill(PromotionGate(1), [-1.0] * 8).decide().verdict == "reject"


@pytest.mark.parametrize("differences", [[], [-0.04] * 7, [0.01, -0.01] * 4, [0.01] * 13, [math.nan]])
def test_gate_state_continues_the_same_decision(differences):
    gate = fill(PromotionGate(5, 12, 0.002), differences, gain=-0.001)
    again = PromotionGate.from_state(json.loads(json.dumps(gate.state(), allow_nan=False)))
    assert again.state() == gate.state()
    for difference in [-0.03, -0.031, -0.032] * 4:
        for one in (gate, again):
            fill(one, [difference], gain=-0.001)
        assert again.decide() == gate.decide()
        assert (again.state(), again.sweeps) == (gate.state(), gate.sweeps)


def test_guard_needs_three_sweeps():
    assert guarded([]).verdict().verdict == "ok"
    assert guarded([0.5, 0.5]).verdict().verdict == "ok"
    decision = guarded([0.5, 0.5, 0.52]).verdict()
    assert decision.verdict == "rollback"
    assert decision.reason["difference"] == pytest.approx(0.506667, abs=1e-6)
    json.dumps(decision.reason, allow_nan=False)


def test_guard_tolerates_the_margin_and_noise():
    assert guarded([0.015] * 9).verdict().verdict == "ok"
    assert guarded([0.03, -0.02, 0.05, 0.0, 0.04]).verdict().verdict == "ok"
    assert guarded([0.03, 0.031, 0.029, 0.03, 0.03]).verdict().verdict == "rollback"


def test_guard_moves_the_anchor_only_to_weights_that_are_not_worse():
    better = guarded([-0.01] * 9)
    assert better.verdict().verdict == "ok"
    better.add(0.39, 0.4)
    assert better.verdict().verdict == "accept"
    better.reset()
    assert better.verdict().verdict == "ok"
    assert guarded([0.01] * 30).verdict().verdict == "ok"  # else 0.01 a window would add up unseen


def test_guard_sees_a_sudden_break_at_once_and_a_slow_one_in_a_window():
    guard = guarded([0.001, -0.001] * 5)
    for _ in range(3):
        guard.add(1.4, 0.4)
    assert guard.verdict().verdict == "rollback"
    assert guarded([0.001, -0.001] * 5 + [0.05] * 9).verdict().verdict == "rollback"


def test_guard_forgets_what_left_the_window():
    assert guarded([0.3] * 3 + [-0.01] * 10).verdict().verdict == "accept"


def test_guard_rolls_back_weights_that_are_not_finite():
    for loss in (math.nan, math.inf):
        guard = guarded([])
        guard.add(loss, 0.4)
        assert guard.verdict().verdict == "rollback"
        guard.reset()
        assert guard.verdict().verdict == "ok"
    with pytest.raises(ValueError, match="loss_anchor"):
        guarded([]).add(0.4, math.nan)


def test_guard_false_alarms_are_rare():
    rng = np.random.default_rng(2)
    alarms = 0
    for _ in range(100):
        guard = UpdateGuard(10, 0.02)
        for difference in 0.01 * correlated(rng, 60, 0.5):
            guard.add(0.4 + difference, 0.4)
            verdict = guard.verdict().verdict
            alarms += verdict == "rollback"
            if verdict != "ok":
                guard.reset()
    assert alarms <= 3


def test_guard_state_continues_the_same_comparison():
    guard = guarded([0.01, -0.02, 0.03])
    again = UpdateGuard.from_state(json.loads(json.dumps(guard.state())))
    for one in (guard, again):
        one.add(0.41, 0.4)
    assert again.verdict() == guard.verdict()
    assert again.state() == guard.state()


def test_guard_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="guard_sweeps"):
        UpdateGuard(0, 0.02)
    for margin in (-0.1, math.nan):
        with pytest.raises(ValueError, match="guard_margin"):
            UpdateGuard(10, margin)
