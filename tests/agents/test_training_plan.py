"""Triggers in the loop: who trains when, how many steps, what is given meanwhile, and challengers renewed."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from agents.drift_alarms import Look
from agents.learn_robot import StreamState
from agents.protocol import Restore, Train
from agents.training_plan import TrainingPlan
from stream.config import Config, NetworkConfig
from stream.records import Event, Outcome
from tests.agents.loops import Loop, ScriptedEffects, learn_of, scripted_loop, scripted_prior
from tests.agents.worlds import config_of, drive, plain

OFF = "learn.triggers.steady=null"
GOOD, BAD = 1.5, 0.5


def run(
    path: Path, config: Config, sweeps: int = 24, lineages: tuple[str, ...] = ("network",)
) -> tuple[Loop, ScriptedEffects]:
    """A drive, learning from a prior by a script."""
    loop, effects = scripted_loop(
        config, path, lambda request, number: GOOD, lineages, priors={"network": scripted_prior(config, GOOD)}
    )
    return loop.run(drive(sweeps)), effects


def events(loop: Loop, kind: str) -> list[Event]:
    return [event for event in loop.learn.outputs(Event) if event.kind == kind]


def labelled(loop: Loop, config: Config) -> list[int]:
    """Stamps of the sweeps that revealed outcomes at the primary horizon."""
    primary = config.task.primary_horizon_ns
    return [o.observed_stamp_ns for o in loop.judge.outputs(Outcome) if o.horizon_ns == primary]


def requests(loop: Loop) -> list[Train]:
    return [effect for step in loop.learn.steps for effect in step.effects if isinstance(effect, Train)]


def test_every_labelled_sweep_trains_unless_told_otherwise(tmp_path: Path) -> None:
    config = config_of()
    loop, _ = run(tmp_path, config)
    asked = requests(loop)
    assert [request.stamp_ns for request in asked] == labelled(loop, config)
    assert {request.steps for request in asked} == {config.learn.steps_per_sweep}
    assert events(loop, "triggered") == []


def test_between_two_trainings_the_sweeps_are_given_all_the_same(tmp_path: Path) -> None:
    config = config_of(OFF, "learn.triggers.slow={when: amount, sweeps: 4, steps: 90}")
    loop, _ = run(tmp_path / "slow", config)
    asked, stamps = requests(loop), labelled(loop, config)
    assert [request.stamp_ns for request in asked] == stamps
    assert [request.steps for request in asked] == [90 if (n + 1) % 4 == 0 else 0 for n in range(len(stamps))]
    fired = events(loop, "triggered")
    assert [event.stamp_ns for event in fired] == stamps[3::4]
    assert fired[0].fields == {
        "trigger": "slow", "when": "amount", "lineages": ["network"], "steps": 90, "sweeps": 4,
    }  # fmt: skip
    steady, _ = run(tmp_path / "steady", config_of())

    def given(requests: list[Train]) -> list[list[str]]:
        return [[example.prediction_id for example in request.examples] for request in requests]

    assert given(asked) == given(requests(steady))


@pytest.mark.parametrize("ahead", [0, 3600 * 10**9, -(10**9)])
def test_time_passes_by_stream_however_clocks_of_robots_differ(tmp_path: Path, ahead: int) -> None:
    config = config_of(OFF, "learn.triggers.now_and_then={when: time, seconds: 0.4}")
    alone, _ = run(tmp_path / "alone", config)
    expected = [(event.stamp_ns, event.fields["seconds"]) for event in events(alone, "triggered")]
    assert len(expected) == 4

    loop, _ = scripted_loop(config, tmp_path / "both", lambda request, number: GOOD)
    log = [(item, 0) for item in drive(24)] + [(item, ahead) for item in drive(24, robot_id="other")]
    log.sort(key=lambda pair: pair[0].stamp_ns)  # as they come, each with the stamp of its robot's clock
    loop.run([dataclasses.replace(item, stamp_ns=item.stamp_ns + lead) for item, lead in log])
    found = [(event.stamp_ns, event.fields["seconds"]) for event in events(loop, "triggered")]
    assert found == expected


def test_when_the_stream_furthest_on_falls_silent_time_goes_on_by_the_others() -> None:
    """A recording that is played fast beside a robot that drives."""
    played, driving = StreamState(newest_ns=0), StreamState(newest_ns=0)
    second, now_ns = 10**9, 0
    for number in range(100):
        now_ns = played.clock(now_ns, 500 * second + 60 * number * second)
        now_ns = driving.clock(now_ns, 9_000 * second + number * second)
    assert now_ns == 99 * 60 * second
    ended_ns = now_ns
    for number in range(100, 200):
        now_ns = driving.clock(now_ns, 9_000 * second + number * second)
    assert now_ns - ended_ns == 100 * second


def test_streams_that_come_by_turns_do_not_make_time_pass_twice() -> None:
    """As those of partitions that are read one after the other while a worker catches up."""
    streams, second, now_ns = [StreamState(newest_ns=0) for _ in range(3)], 10**9, 0
    for stretch in range(0, 40, 8):
        for stream in streams:
            for number in range(8):
                now_ns = stream.clock(now_ns, (stretch + number) * second)
    assert 39 * second <= now_ns <= (39 + 2 * 8) * second  # two began when others had got so far


def test_a_lineage_that_no_trigger_names_is_given_sweeps_and_never_trains(tmp_path: Path) -> None:
    config = config_of("learn.challengers={wide: {width: 8}}", "learn.triggers.steady.lineages=[wide]")
    loop, _ = run(tmp_path, config, lineages=("network", "wide"))
    steps = {(request.lineage, request.steps) for request in requests(loop)}
    assert steps == {("network", 0), ("wide", config.learn.steps_per_sweep)}


def test_of_triggers_that_fire_together_the_most_steps_count(tmp_path: Path) -> None:
    config = config_of("learn.triggers.more={when: amount, sweeps: 3, steps: 100}")
    loop, _ = run(tmp_path, config)
    assert [request.steps for request in requests(loop)][:6] == [24, 24, 100, 24, 24, 100]


def test_drift_trains_at_the_sweep_of_its_alarm() -> None:
    """Every sweep's alarm is heard, whatever is watched."""
    learn = config_of(OFF, "learn.triggers.shift={when: drift, detector: adwin, steps: 200}").learn
    plan = TrainingPlan(learn, ("network",))
    calm = plan.labelled(1, 1, Look(loss=0.4, detectors=frozenset({"page_hinkley"})))
    assert (calm.steps, calm.events) == ({}, ())
    shift = plan.labelled(2, 2, Look(loss=0.4, detectors=frozenset({"adwin", "page_hinkley"})))
    assert shift.steps == {"network": 200}
    (event,) = shift.events
    assert (event.kind, event.stamp_ns, event.fields["detectors"]) == ("triggered", 2, ["adwin"])


def test_without_lineages_nothing_is_planned_and_nothing_is_said() -> None:
    learn = config_of("learn.triggers.a={when: amount, sweeps: 2}").learn
    plan = TrainingPlan(learn, ())
    plans = [plan.labelled(stamp, stamp, Look(loss=0.4)) for stamp in range(6)]
    assert {len(item.steps) + len(item.events) + len(item.renewed) for item in plans} == {0}


def test_a_challenger_takes_over_the_champions_weights_before_it_trains(tmp_path: Path) -> None:
    config = config_of(
        "network={width: 4, layers: 1}",
        "learn.challengers={burst: {width: 4, layers: 1}}",
        "learn.triggers.steady.lineages=[network]",
        "learn.triggers.burst={when: amount, sweeps: 5, lineages: [burst], steps: 99, renew: true}",
    )
    loop, effects = run(tmp_path, config, lineages=("network", "burst"))
    renewed = events(loop, "renewed")
    assert len(renewed) >= 3
    trained = {event.fields["model_id"]: event for event in events(loop, "trained")}
    for event in renewed:
        assert event.fields["lineage"] == "burst"
        assert trained[event.fields["model_id"]].fields["lineage"] == "network"
    for step in loop.learn.steps:
        kinds = [
            (type(effect), effect.lineage) for effect in step.effects if isinstance(effect, Restore | Train)
        ]
        if (Restore, "burst") in kinds:
            assert kinds.index((Restore, "burst")) < kinds.index((Train, "burst"))
    assert {request.steps for request in requests(loop) if request.lineage == "burst"} == {0, 99}
    assert {restore.lineage for restore in effects.restored} == {"burst"}


def test_a_prior_has_no_weights_to_hand_on(tmp_path: Path) -> None:
    """The champion never trains here, so there is nothing yet for a challenger to take over."""
    config = config_of(
        "network={width: 4, layers: 1}",
        "learn.challengers={burst: {width: 4, layers: 1}}",
        OFF,
        "learn.triggers.burst={when: amount, sweeps: 5, lineages: [burst], renew: true}",
    )
    loop, effects = run(tmp_path, config, lineages=("network", "burst"))
    assert events(loop, "triggered")
    assert events(loop, "renewed") == []
    assert effects.restored == []


@pytest.mark.parametrize("cut", [40, 60])
def test_a_restored_learn_fires_as_the_one_before(tmp_path: Path, cut: int) -> None:
    config = config_of(OFF, "learn.triggers.slow={when: amount, sweeps: 4}", "learn.gate_sweeps=3")
    loop, _ = run(tmp_path, config, sweeps=30)
    priors = {"network": scripted_prior(config, GOOD)}
    networks = {"network": NetworkConfig(width=4, layers=1)}
    first, second = (learn_of(config, networks, priors=priors) for _ in range(2))
    for record in loop.learn.inputs[:cut]:
        first.handle(record)
    second.restore(first.snapshot())
    for record in loop.learn.inputs[cut:]:
        assert plain(second.handle(record)) == plain(first.handle(record))
    assert second.snapshot() == first.snapshot()
