"""The world of a seed: what is sent without a fault must be good, and cuts leave the rest as it is."""

from __future__ import annotations

import numpy as np

from agents.simulation.dice import Dice
from agents.simulation.faults import INPUT_FAULTS, RATES
from agents.simulation.world import World, make_world
from stream.sweep import Sweep
from stream.transform import Transform


def worlds(count: int) -> list[World]:
    return [make_world(Dice(seed, RATES)) for seed in range(count)]


def test_inputs_without_a_fault_are_good() -> None:
    for world in worlds(60):
        for item in (*world.story, *world.closing):
            if item.fault:
                continue
            if isinstance(item.record, Sweep):
                assert np.isfinite(item.record.points).all()
                assert item.record.frame != "unknown"
            elif isinstance(item.record, Transform):
                assert abs(np.linalg.norm(item.record.rotation) - 1) < 1e-9


def test_every_input_fault_strikes_in_some_world() -> None:
    struck: set[str] = set()
    for seed in range(300):
        dice = Dice(seed, RATES)
        make_world(dice)
        struck |= {name for name, _ in dice.fired}
    assert struck == set(INPUT_FAULTS)


def test_repeats_are_known() -> None:
    for world in worlds(60):
        keys = [
            (i.record.stream_id, i.record.stamp_ns, i.record.part)
            for i in world.story
            if isinstance(i.record, Sweep)
        ]
        assert {key for key in keys if keys.count(key) > 1} <= world.repeats


def test_a_cut_leaves_the_rest_as_it_is() -> None:
    whole = make_world(Dice(5, RATES))
    left_out = frozenset(item.number for item in whole.story[::3])
    cut = make_world(Dice(5, RATES), left_out)
    assert [i.number for i in cut.story] == [i.number for i in whole.story if i.number not in left_out]
    robot = next(item.robot for item in whole.story if item.robot)
    without = make_world(Dice(5, RATES), without_robots=frozenset([robot]))
    assert [i.number for i in without.story] == [i.number for i in whole.story if i.robot != robot]
