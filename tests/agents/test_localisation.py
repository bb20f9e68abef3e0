"""Localisation that jumps: a new map begins, nothing is in two, and what waited for the old one is told."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest

from agents.in_order import epoch_of, first_seq
from agents.judge import Judge
from agents.perceive import Perceive
from agents.prior import _labelled
from stream.container import RollingContainer
from stream.features import digest, schema_of
from stream.records import Binned, EndOfLog, Event, Outcome, Prediction, Shadow, SweepRejected
from stream.sources.base import Item
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.loops import learn_of
from tests.agents.worlds import (
    config_of,
    feed,
    interleave,
    joined,
    of_type,
    parts_of,
    perceive_of,
    perceived,
    plain,
    stamp_of,
    sweep_of,
    transform_at,
    transforms_to,
)

CONFIG = config_of("grid.lod=5")
SWEEPS, JUMP = 24, 12
"""From sweep 12 on poses are of another map; the first transform in it comes 30 ms before the sweep."""
FIRST_NS = stamp_of(JUMP) - 30_000_000


def elsewhere(transform: Transform, metres: float, degrees: float = 0.0) -> Transform:
    """The same pose in a map that lies to the side, turned about its origin."""
    half = math.radians(degrees) / 2
    (x, y, z), (c, s) = transform.translation, (math.cos(2 * half), math.sin(2 * half))
    return dataclasses.replace(
        transform,
        translation=(c * x - s * y, s * x + c * y + metres, z),
        rotation=(0.0, 0.0, math.sin(half), math.cos(half)),
    )


def poses(
    metres: float, *, last: float = SWEEPS - 1, child: str = "lidar", told: bool = False
) -> list[Transform]:
    made = [
        transform if transform.stamp_ns < FIRST_NS else elsewhere(transform, metres)
        for transform in transforms_to(last, child=child)
    ]
    if told:
        place = next(place for place, transform in enumerate(made) if transform.stamp_ns >= FIRST_NS)
        made[place] = dataclasses.replace(made[place], resets_map=True)
    return made


def in_order(items: Iterable[Any]) -> list[Item]:
    return sorted(items, key=lambda item: item.stamp_ns)


def log(metres: float, told: bool = False) -> list[Item]:
    """A drive with a planted loop closure: the sensor goes on smoothly, its pose does not."""
    return in_order([*(sweep_of(number) for number in range(SWEEPS)), *poses(metres, told=told)])


@pytest.fixture(scope="module")
def jumped() -> list[Any]:
    """What Perceive makes of a jump by 3 m."""
    return feed(perceive_of(CONFIG), log(3.0))


@pytest.fixture(scope="module")
def smooth() -> list[Any]:
    """What it makes of the same drive without one."""
    return perceived(CONFIG, SWEEPS)


def resets(records: Iterable[Any]) -> list[Event]:
    return [event for event in of_type(records, Event) if event.kind == "map_reset"]


def epochs(records: Iterable[Any]) -> list[int]:
    return [epoch_of(record.seq) for record in of_type(records, Binned)]


# ---- Perceive ------------------------------------------------------------------------------------------


def test_a_jump_begins_a_new_epoch(jumped: list[Any]) -> None:
    binned = of_type(jumped, Binned)
    assert [record.seq for record in binned] == [
        *range(JUMP),
        *range(first_seq(1), first_seq(1) + SWEEPS - JUMP),
    ]
    [event] = resets(jumped)
    assert (event.stamp_ns, event.robot_id) == (FIRST_NS, "robot")
    assert event.fields["reason"] == "jump"
    assert (event.fields["epoch"], event.fields["degrees"]) == (1, 0.0)
    assert event.fields["metres"] == pytest.approx(3.0)
    assert event.fields["bound_m"] == pytest.approx(0.5 + 10 * 0.05 * (0.05 + 0.1) / 2, abs=1e-3)
    assert jumped.index(event) == jumped.index(binned[JUMP]) - 1  # readers learn why before they see it
    assert of_type(jumped, SweepRejected) == []


def test_nothing_smears(jumped: list[Any], smooth: list[Any]) -> None:
    """From the jump on, all is as if the robot had been switched on there."""
    begun = feed(perceive_of(CONFIG), [item for item in log(3.0) if item.stamp_ns >= FIRST_NS])
    again = dict(
        zip([r.prediction_id for r in of_type(begun, Prediction)], of_type(begun, Prediction), strict=True)
    )
    after = [record for record in of_type(jumped, Prediction) if record.stamp_ns >= FIRST_NS]
    assert len(after) == SWEEPS - JUMP == len(again)
    for record in after:
        other = again[record.prediction_id]
        assert (record.feature_digest, record.state_digest) == (other.feature_digest, other.state_digest)
        assert plain(record.cell_id) == plain(other.cell_id)
    before = [record for record in of_type(jumped, Prediction) if record.stamp_ns < FIRST_NS]
    assert plain(before) == plain(of_type(smooth, Prediction)[:JUMP])


def test_without_bounds_it_smears(jumped: list[Any]) -> None:
    """The wall is there twice: what the bounds are for."""
    config = config_of("grid.lod=5", "pose.jump_m=null", "pose.jump_deg=null")
    smeared = feed(perceive_of(config), log(3.0))
    assert set(epochs(smeared)) == {0}
    [one, two] = [
        next(r for r in of_type(records, Prediction) if r.stamp_ns == stamp_of(JUMP + 3))
        for records in (jumped, smeared)
    ]
    assert len(two.cell_id) > 1.4 * len(one.cell_id)


def test_motion_from_before_is_not_that_of_the_new_map(jumped: list[Any]) -> None:
    """The forecast of the sensor's own way never reads a pose of another map."""
    after = of_type(jumped, Binned)[JUMP:]
    assert [len(record.pose_history) for record in after[:3]] == [0, 1, 2]
    for record in after:
        assert abs(record.pose[7] - 3.0) < 1e-9
        assert (np.abs(record.pose_history[:, 7] - 3.0) < 1e-9).all()


@pytest.mark.parametrize("metres", [1.0, -1.0, 0.7, 250.0])
def test_a_jump_across_the_bound_is_found(metres: float) -> None:
    made = feed(perceive_of(CONFIG), log(metres)[: 2 * JUMP + 30])
    assert [event.fields["metres"] for event in resets(made)] == pytest.approx([abs(metres)])


def test_a_small_correction_is_none(smooth: list[Any]) -> None:
    made = feed(perceive_of(CONFIG), log(0.3))
    assert resets(made) == resets(smooth) == []
    assert set(epochs(made)) == {0}


def test_a_transform_may_say_so() -> None:
    """However small the jump: the localisation knows best."""
    made = feed(perceive_of(CONFIG), log(0.3, told=True))
    [event] = resets(made)
    assert (event.fields["reason"], event.fields["metres"]) == ("message", 0.3)
    assert epochs(made) == [0] * JUMP + [1] * (SWEEPS - JUMP)


def test_a_transform_that_says_so_is_believed_without_bounds() -> None:
    config = config_of("grid.lod=5", "pose.jump_m=null", "pose.jump_deg=null")
    assert len(resets(feed(perceive_of(config), log(0.0, told=True)))) == 1


def test_a_sweep_between_two_maps_has_no_pose() -> None:
    """Half way between two maps is nowhere; transforms lie 80 and 30 ms before sweep 12."""
    between = sweep_of(JUMP - 0.5, stream_id="robot/rear")
    assert FIRST_NS - 50_000_000 < between.stamp_ns < FIRST_NS
    made = feed(perceive_of(CONFIG), in_order([*log(3.0), between]))
    [rejected] = of_type(made, SweepRejected)
    assert (rejected.reason, rejected.stream_id) == ("no_pose", "robot/rear")
    assert (
        "localisation jumped by 3 m and 0 degrees (at most 0.537 m and 3.38 degrees may be motion)"
        in rejected.detail
    )


def test_another_sensor_that_is_behind_is_late() -> None:
    """Its sweep is good, but the map that it belongs to has ended."""
    behind = sweep_of(JUMP - 2, stream_id="robot/rear")
    items = log(3.0)
    items.insert(
        items.index(next(i for i in items if isinstance(i, Sweep) and i.stamp_ns > stamp_of(JUMP))), behind
    )
    made = feed(perceive_of(CONFIG), [*items, EndOfLog()])
    [rejected] = of_type(made, SweepRejected)
    assert (rejected.reason, rejected.stream_id) == ("late", "robot/rear")
    assert "localisation jumped" in rejected.detail
    assert len(resets(made)) == 1


def test_a_sensor_that_comes_after_the_jump_finds_it_too() -> None:
    """The other one has sent nothing since, so its evidence is still that of the old map."""
    front = [sweep_of(number) for number in range(JUMP - 3)]
    rear = [sweep_of(number, stream_id="robot/rear") for number in range(JUMP + 6, SWEEPS)]
    made = feed(perceive_of(CONFIG), in_order([*front, *rear, *poses(3.0)]))
    assert epochs(made) == [0] * len(front) + [1] * len(rear)


def test_a_sweep_that_waits_for_a_part_is_predicted_in_its_own_map() -> None:
    whole, missing = parts_of(JUMP - 1, 2)
    rest = [item for item in log(3.0) if item.stamp_ns != whole.stamp_ns]
    place = next(place for place, item in enumerate(rest) if item.stamp_ns > stamp_of(JUMP))
    made = feed(perceive_of(CONFIG), [*in_order([*rest[:place], whole]), *rest[place:], missing])
    prediction = next(r for r in of_type(made, Prediction) if r.stamp_ns == whole.stamp_ns)
    assert epoch_of(prediction.seq) == 0
    assert made.index(prediction) < made.index(resets(made)[0])
    assert [(r.part, r.reason) for r in of_type(made, SweepRejected)] == [(1, "late")]


def test_a_sweep_whose_map_ends_between_its_parts_is_predicted_once() -> None:
    """The transform that tells of the jump comes after a part of the sweep that lies behind it."""
    sweeps = [part for number in range(SWEEPS) for part in parts_of(number, 2)]
    items = in_order([*sweeps, *poses(0.4, told=True)])
    told = next(item for item in items if isinstance(item, Transform) and item.resets_map)
    first, second = (item for item in sweeps if item.stamp_ns == stamp_of(JUMP))
    needed = next(item for item in items if isinstance(item, Transform) and item.stamp_ns > first.stamp_ns)
    rest = [item for item in items if item not in (told, first, second, needed)]
    cut = next(place for place, item in enumerate(rest) if item.stamp_ns > first.stamp_ns)
    made = feed(perceive_of(CONFIG), [*rest[:cut], first, needed, told, second, *rest[cut:], EndOfLog()])
    of_it = [record for record in of_type(made, Binned) if record.stamp_ns == stamp_of(JUMP)]
    assert (epochs(of_it), [record.late for record in of_it]) == ([0, 1], [False, True])
    names = [record.prediction_id for record in of_type(made, Prediction)]
    assert sorted(names) == sorted({sweep.prediction_id for sweep in sweeps})


def test_jumping_back_is_another_jump() -> None:
    back = [
        transform if transform.stamp_ns < FIRST_NS + 200_000_000 else transform_at(transform.stamp_ns)
        for transform in poses(3.0)
    ]
    made = feed(perceive_of(CONFIG), in_order([*(sweep_of(number) for number in range(SWEEPS)), *back]))
    assert [event.fields["epoch"] for event in resets(made)] == [1, 2]
    assert epochs(made) == [0] * JUMP + [1, 1] + [2] * (SWEEPS - JUMP - 2)


def test_a_gap_in_sweeps_hides_no_jump_and_is_none() -> None:
    items = [i for i in log(3.0) if not (isinstance(i, Sweep) and stamp_of(5) < i.stamp_ns < stamp_of(15))]
    assert epochs(feed(perceive_of(CONFIG), items)) == [0] * 6 + [1] * (SWEEPS - 15)
    items = [i for i in log(0.0) if not (isinstance(i, Sweep) and stamp_of(5) < i.stamp_ns < stamp_of(15))]
    assert set(epochs(feed(perceive_of(CONFIG), items))) == {0}


def test_it_does_not_depend_on_what_comes_first() -> None:
    sweeps = [sweep_of(number) for number in range(6, 18)]
    expected = None
    for seed in range(5):
        made = feed(perceive_of(CONFIG), interleave(seed, sweeps, poses(3.0)))
        kept = [plain(r) for r in made if isinstance(r, Binned | Prediction | Event)]
        expected = expected or kept
        assert kept == expected
    assert expected


@pytest.mark.parametrize("cut", [JUMP + 18, 2 * JUMP + 24, 2 * JUMP + 27])
@pytest.mark.parametrize("told", [False, True])
def test_a_snapshot_goes_on_with_the_same_map(cut: int, told: bool) -> None:
    items = log(0.3 if told else 3.0, told=told)
    whole = perceive_of(CONFIG)
    feed(whole, items[:cut])
    restored = perceive_of(CONFIG)
    restored.restore(whole.snapshot())
    assert restored.snapshot() == whole.snapshot()
    assert plain(feed(restored, items[cut:])) == plain(feed(whole, items[cut:]))
    assert restored.snapshot() == whole.snapshot()


def test_what_is_told_and_never_reached_is_bounded() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [dataclasses.replace(t, resets_map=True) for t in transforms_to(60)])
    assert len(agent.state()["robots"][0][1]["localisation"]["declared"]) == 16


# ---- Judge, Learn and whoever rebuilds ----------------------------------------------------------------


def judged(records: Sequence[Any]) -> tuple[Judge, list[Any]]:
    judge = Judge(CONFIG)
    return judge, feed(judge, [*joined(records), EndOfLog()])


def test_no_outcome_joins_two_maps(jumped: list[Any]) -> None:
    judge, made = judged(jumped)
    outcomes = of_type(made, Outcome)
    assert {(o.stamp_ns < FIRST_NS, o.observed_stamp_ns < FIRST_NS) for o in outcomes} == {
        (True, True),
        (False, False),
    }
    missed = [event for event in of_type(made, Event) if event.kind == "outcome_missed"]
    lost = {
        (record.prediction_id, horizon)
        for record in of_type(jumped, Prediction)
        for horizon in record.horizons_ns
        if record.stamp_ns < FIRST_NS <= record.stamp_ns + horizon
    }
    assert {(e.fields["prediction_id"], e.fields["horizon_ns"]) for e in missed} == lost
    assert len(missed) == len(lost) == 2 + 5 == sum(judge.missed.values())
    assert {event.fields["reason"] for event in missed} == {"another epoch"}


def test_what_is_missed_is_in_no_score(jumped: list[Any], smooth: list[Any]) -> None:
    """Not a single cell of it, free or not."""
    for records, missing in ((jumped, 2 + 5), (smooth, 0)):
        judge, made = judged(records)
        predicted = len(of_type(records, Prediction))
        outcomes = of_type(made, Outcome)
        assert len(outcomes) == predicted * 2 - missing - (2 + 5)  # the last ones are open when the log ends
        assert sum(judge.missed.values()) == missing


def test_a_prediction_that_comes_after_its_map_is_missed(jumped: list[Any]) -> None:
    """More records of the new map than may wait came before it."""
    config = config_of("grid.lod=5", "window.max_records=4")
    judge, last = Judge(config), of_type(jumped, Prediction)[JUMP - 1]
    records = [r for r in joined(jumped) if isinstance(r, Binned)]
    made = feed(judge, [*records, last])
    assert of_type(made, Outcome) == []
    assert sum(judge.missed.values()) == 2


def test_judge_goes_on_from_a_snapshot(jumped: list[Any]) -> None:
    records = joined(jumped)
    for cut in (2 * JUMP - 2, 2 * JUMP + 1, 2 * JUMP + 5):
        whole, restored = Judge(CONFIG), Judge(CONFIG)
        feed(whole, records[:cut])
        restored.restore(whole.snapshot())
        assert plain(feed(restored, records[cut:])) == plain(feed(whole, records[cut:]))


def test_learn_rebuilds_every_feature_and_forgets_what_was_missed(jumped: list[Any]) -> None:
    learn, (_, outcomes) = learn_of(CONFIG), judged(jumped)
    made = feed(learn, [*joined(jumped), *of_type(outcomes, Outcome)])
    assert learn.skewed == 0
    assert len(of_type(made, Shadow)) == SWEEPS
    forgotten = [event for event in of_type(made, Event) if event.kind == "forgotten"]
    assert all(event.stamp_ns < stamp_of(SWEEPS - 10) for event in forgotten)


def test_records_alone_rebuild_every_feature(jumped: list[Any]) -> None:
    """As ``explain`` and batch jobs do."""
    container, checked = RollingContainer(CONFIG), 0
    for older, record in itertools.pairwise([None, *joined(jumped)]):
        if isinstance(record, Binned):
            if record.seq == first_seq(1):
                container = RollingContainer(CONFIG)
            container.fold(record)
        else:
            assert isinstance(older, Binned)
            assert digest(container.features(older)) == record.feature_digest
            checked += 1
    assert checked == SWEEPS


def test_a_prior_is_trained_on_what_was_predicted_from() -> None:
    found = [pending for pending, _ in _labelled(log(3.0), CONFIG, schema_of(CONFIG))]
    assert {epoch_of(pending.prediction.seq) for pending in found} == {0, 1}
    for pending in found:
        assert digest(pending.features) == pending.prediction.feature_digest


def test_a_robot_that_is_forgotten_after_a_jump_comes_back_above_it() -> None:
    """Epochs of a robot never come twice."""
    config = config_of("grid.lod=5", "limits.max_robots=1")
    agent: Perceive = perceive_of(config)
    made = feed(agent, log(3.0))
    feed(agent, [dataclasses.replace(transform_at(stamp_of(SWEEPS)), robot_id="other")])
    later = [sweep_of(number) for number in range(SWEEPS + 1, SWEEPS + 4)]
    made += feed(agent, in_order([*later, *transforms_to(SWEEPS + 5)]))
    seqs = [record.seq for record in of_type(made, Binned)]
    assert seqs == sorted(set(seqs))
    assert sorted(set(epochs(made))) == [0, 1, 2]
