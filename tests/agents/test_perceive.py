"""Perceive: waiting for poses, dead letters, parts, sensors and robots, and which model serves."""

from __future__ import annotations

import dataclasses
import random
import weakref
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.perceive import Perceive, sweep_key
from agents.protocol import LoadModel, ModelLoaded
from models.runtime import ModelFailed
from native.binning import MAX_POINTS
from stream.config import Config
from stream.container import RollingContainer
from stream.features import digest
from stream.frames import MAX_FRAMES
from stream.records import (
    Binned,
    EndOfLog,
    Event,
    ModelActivated,
    ModelPublished,
    Prediction,
    SweepRejected,
)
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.loops import ScriptedModel
from tests.agents.worlds import (
    STREAM,
    builtin_of,
    config_of,
    drive,
    feed,
    interleave,
    of_type,
    parts_of,
    perceive_of,
    plain,
    points_at,
    stamp_of,
    sweep_of,
    transform_at,
    transforms_to,
    two_sensors,
)

CONFIG = config_of()


def ready(sweeps: float = 20, config: Config = CONFIG) -> Perceive:
    """A Perceive that knows every pose already."""
    agent = perceive_of(config)
    feed(agent, transforms_to(sweeps))
    return agent


def reasons(outputs: list[Any]) -> list[str]:
    return [record.reason for record in of_type(outputs, SweepRejected)]


def released(agent: Perceive, records: list[Any]) -> Counter[Any]:
    return Counter(key for record in records for key in agent.handle(record).released)


# ---- waiting for poses ---------------------------------------------------------------------------------


def test_a_sweep_waits_for_the_transform_after_it() -> None:
    agent, sweep = perceive_of(CONFIG), sweep_of(0)
    feed(agent, [transform_at(stamp_of(-0.3))])
    held = agent.handle(sweep)
    assert (held.outputs, held.released) == ((), ())
    before = agent.handle(transform_at(stamp_of(-0.1)))
    assert (before.outputs, before.released) == ((), ())
    after = agent.handle(transform_at(stamp_of(0.2)))
    assert [type(record) for record in after.outputs] == [Binned, ModelActivated, Prediction]
    assert after.released == (sweep_key(sweep),)
    np.testing.assert_allclose(
        after.outputs[0].pose.reshape(3, 4), np.eye(3, 4), atol=1e-9
    )  # x = 0 at sweep 0


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_outputs_do_not_depend_on_how_sweeps_and_transforms_interleave(seed: int) -> None:
    sweeps, transforms = [sweep_of(index) for index in range(8)], transforms_to(7)
    usual = plain(feed(perceive_of(CONFIG), [*transforms, *sweeps]))
    assert plain(feed(perceive_of(CONFIG), interleave(seed, sweeps, transforms))) == usual


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_sweeps_and_transforms_may_come_in_any_order_while_they_wait(seed: int) -> None:
    sweeps, transforms = [sweep_of(index) for index in range(6)], transforms_to(5)
    usual = plain(feed(perceive_of(CONFIG), [*transforms, *sweeps]))
    shuffle = random.Random(seed).shuffle
    shuffle(sweeps)
    assert plain(feed(perceive_of(CONFIG), [*sweeps, *transforms])) == usual
    shuffle(transforms)
    assert plain(feed(perceive_of(CONFIG), [*transforms, *sorted(sweeps, key=sweep_key)])) == usual


@pytest.mark.fault(20)
def test_a_gap_in_the_transforms_is_no_pose_at_once() -> None:
    agent = perceive_of(CONFIG)
    outputs = feed(agent, [transform_at(stamp_of(-3)), sweep_of(0)])
    assert outputs == []
    outputs = feed(agent, [transform_at(stamp_of(3))])  # 0.6 s apart, 0.5 s allowed
    assert reasons(outputs) == ["no_pose"]
    assert "at most 500 ms" in outputs[0].detail


def test_a_sweep_before_the_first_transform_is_no_pose() -> None:
    assert reasons(feed(perceive_of(CONFIG), [transform_at(stamp_of(1)), sweep_of(0)])) == ["no_pose"]


def test_sweeps_that_still_wait_at_the_end_are_no_pose() -> None:
    agent, sweeps = perceive_of(CONFIG), [sweep_of(0), sweep_of(1)]
    step = agent.handle(EndOfLog()) if feed(agent, sweeps) == [] else None
    assert step is not None
    assert reasons(list(step.outputs)) == ["no_pose", "no_pose"]
    assert step.released == tuple(sweep_key(sweep) for sweep in sweeps)
    assert agent.handle(EndOfLog()).outputs == ()


@pytest.mark.fault(20)
def test_a_sweep_waits_at_most_the_configured_event_time() -> None:
    agent = perceive_of(CONFIG)
    assert feed(agent, [sweep_of(0), sweep_of(20)]) == []  # exactly 2 s
    outputs = feed(agent, [sweep_of(21)])
    assert [record.stamp_ns for record in of_type(outputs, SweepRejected)] == [stamp_of(0)]
    assert reasons(outputs) == ["no_pose"]


def test_only_so_many_sweeps_wait() -> None:
    agent = perceive_of(config_of("pose.max_held_sweeps=3"))
    outputs = feed(agent, [sweep_of(index) for index in range(5)])
    assert [record.stamp_ns for record in outputs] == [stamp_of(0), stamp_of(1)]
    assert reasons(outputs) == ["no_pose", "no_pose"]


def test_a_frame_without_a_chain_to_the_map_is_no_pose() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, transforms_to(1))
    assert feed(agent, [sweep_of(0, frame="ghost")]) == []  # a static transform may still name it
    assert reasons(feed(agent, [EndOfLog()])) == ["no_pose"]


def test_a_late_static_transform_connects_the_frame() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [*transforms_to(1), sweep_of(0, frame="ghost")])
    mount = Transform(
        robot_id="robot", stamp_ns=0, parent="lidar", child="ghost", translation=(0.0, 0.0, 1.0),
        rotation=(0.0, 0.0, 0.0, 1.0), static=True,
    )  # fmt: skip
    (binned,) = of_type(feed(agent, [mount]), Binned)
    assert binned.pose[11] == 1.0


@pytest.mark.fault(20)
def test_a_transform_that_is_refused_is_an_event_and_changes_no_pose() -> None:
    agent = ready(1)
    loop = Transform(
        robot_id="robot", stamp_ns=stamp_of(0), parent="lidar", child="map", translation=(0.0, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0),
    )  # fmt: skip
    (event,) = agent.handle(loop).outputs
    assert event.kind == "transform_refused"
    assert "loop" in event.fields["reason"]
    assert len(of_type(feed(agent, [sweep_of(0)]), Prediction)) == 1


def test_poses_of_the_past_reach_as_far_as_the_transforms() -> None:
    transforms = [
        transform_at(stamp_of(0) + offset) for offset in range(-220_000_000, 70_000_000, 50_000_000)
    ]
    (binned,) = of_type(feed(perceive_of(CONFIG), [*transforms, sweep_of(0)]), Binned)
    np.testing.assert_allclose(binned.pose_history[:, 3], [-0.7, -1.4], atol=1e-9)


# ---- dead letters and duplicates -----------------------------------------------------------------------


@pytest.mark.fault(16)
def test_a_duplicate_is_counted_and_changes_nothing() -> None:
    agent = ready()
    sweeps = [sweep_of(index) for index in range(3)]
    feed(agent, sweeps)
    before = agent.snapshot()
    for sweep in sweeps:
        step = agent.handle(sweep)
        assert [record.kind for record in of_type(list(step.outputs), Event)] == ["duplicate"]
        assert len(step.outputs) == 1
        assert step.released == (sweep_key(sweep),)
    assert agent.snapshot() == before


def test_a_duplicate_of_a_waiting_sweep_is_one_too() -> None:
    agent = perceive_of(CONFIG)
    outputs = feed(agent, [sweep_of(0), sweep_of(0), *transforms_to(0)])
    assert [type(record) for record in outputs] == [Event, Binned, ModelActivated, Prediction]


def test_a_sweep_that_comes_twice_while_it_waits_is_released_once_its_fate_is_known() -> None:
    agent, sweep = perceive_of(CONFIG), sweep_of(0)
    steps = [agent.handle(item) for item in (transform_at(stamp_of(-0.3)), sweep, sweep)]
    assert [step.released for step in steps] == [(), (), ()]
    assert agent.handle(transform_at(stamp_of(0.2))).released == (sweep_key(sweep),)
    assert agent.handle(sweep).released == (sweep_key(sweep),)


@pytest.mark.fault(17)
def test_a_sweep_late_within_the_window_is_folded_but_not_predicted_from() -> None:
    agent = ready()
    feed(agent, [sweep_of(0), sweep_of(2)])
    late = agent.handle(sweep_of(1))
    (binned,) = late.outputs
    assert (binned.late, binned.seq, int(binned.hits.sum()), late.released) == (
        True, 2, binned.binned, (sweep_key(sweep_of(1)),)
    )  # fmt: skip
    with_it = of_type(feed(agent, [sweep_of(3)]), Prediction)[0]
    without = ready()
    missing = of_type(feed(without, [sweep_of(0), sweep_of(2), sweep_of(3)]), Prediction)[-1]
    assert with_it.state_digest != missing.state_digest
    assert with_it.seq == 3


@pytest.mark.fault(17)
def test_a_sweep_older_than_the_container_is_late() -> None:
    agent = ready(30)
    feed(agent, [sweep_of(0), sweep_of(25)])
    before = agent.snapshot()
    step = agent.handle(sweep_of(1))
    assert reasons(list(step.outputs)) == ["late"]
    assert step.released == (sweep_key(sweep_of(1)),)
    assert agent.snapshot() == before
    reach = RollingContainer(CONFIG).keep_ns
    edge = sweep_of(0, stamp_ns=stamp_of(25) - reach)
    assert [type(record) for record in feed(agent, [edge])] == [Binned]


@pytest.mark.fault(19)
@pytest.mark.parametrize("stamp_ns", [0, -1, -(2**62), 2**61 + 1, 2**62])
def test_a_stamp_that_cannot_be_is_bad(stamp_ns: int) -> None:
    agent = ready()
    feed(agent, [sweep_of(0)])
    before = agent.snapshot()
    sweep = sweep_of(0, stamp_ns=stamp_ns)
    step = agent.handle(sweep)
    assert reasons(list(step.outputs)) == ["bad_stamp"]
    assert step.released == (sweep_key(sweep),)
    assert agent.snapshot() == before


@pytest.mark.fault(22)
def test_more_points_than_a_message_may_hold_are_too_many() -> None:
    agent = ready()
    full = np.full((MAX_POINTS + 1, 3), 5.0, np.float32)
    outputs = feed(agent, [sweep_of(0, points=full)])
    assert reasons(outputs) == ["too_many"]
    assert str(MAX_POINTS) in outputs[0].detail
    assert of_type(feed(agent, [sweep_of(1, points=full[1:])]), Binned)[0].points == MAX_POINTS


@pytest.mark.fault(21)
def test_a_sweep_of_points_that_are_not_finite_is_bad() -> None:
    agent = ready()
    points = points_at(0).copy()
    few = len(points) // 10
    points[few:] = np.nan
    (binned, *_) = feed(agent, [sweep_of(0, points=points)])
    assert (binned.points, binned.rays) == (len(points), few)
    points[:] = np.nan
    assert reasons(feed(agent, [sweep_of(1, points=points)])) == ["bad_points"]


def test_a_rejected_sweep_leaves_no_trace_in_the_container() -> None:
    nothing = np.full((9, 3), np.nan, np.float32)
    with_it = of_type(feed(ready(), [sweep_of(0), sweep_of(1, points=nothing), sweep_of(2)]), Prediction)
    without = of_type(feed(ready(), [sweep_of(0), sweep_of(2)]), Prediction)
    assert plain(with_it) == plain(without)


def test_a_sensor_beyond_the_map_is_off_map() -> None:
    agent = perceive_of(CONFIG)
    far = Transform(
        robot_id="robot", stamp_ns=0, parent="map", child="lidar", translation=(1e7, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0), static=True,
    )  # fmt: skip
    assert reasons(feed(agent, [far, sweep_of(0)])) == ["off_map"]


@pytest.mark.fault(28)
def test_more_cells_than_the_window_may_hold_are_a_dead_letter() -> None:
    agent = ready(config=config_of("window.max_cells=20"))
    outputs = feed(agent, [sweep_of(0)])
    assert reasons(outputs) == ["too_many"]
    assert "window.max_cells" in outputs[0].detail
    few = points_at(1)[:6]
    assert len(of_type(feed(agent, [sweep_of(1, points=few)]), Prediction)) == 1


@pytest.mark.fault(22)
def test_an_empty_sweep_is_valid() -> None:
    agent = ready()
    nothing = np.empty((0, 3), np.float32)
    binned, _, prediction = feed(agent, [sweep_of(0, points=nothing)])
    assert (len(binned.cell_id), binned.points, len(prediction.cell_id)) == (0, 0, 0)
    feed(agent, [sweep_of(1)])
    binned, prediction = feed(agent, [sweep_of(2, points=nothing)])
    assert int(binned.hits.sum()) == 0
    assert len(prediction.cell_id) > 100
    assert not prediction.before.any()


# ---- what a binned record and a prediction hold --------------------------------------------------------


def test_records_carry_what_features_read() -> None:
    outputs = feed(ready(), [sweep_of(index) for index in range(6)])
    binned, predictions = of_type(outputs, Binned), of_type(outputs, Prediction)
    assert [record.seq for record in binned] == list(range(6))
    container = RollingContainer(CONFIG)
    for record, prediction in zip(binned, predictions, strict=True):
        assert np.all(np.diff(record.cell_id.astype(object)) > 0)
        assert int(record.hits.sum()) == record.binned <= record.rays <= record.points
        assert len(record.sums) == np.count_nonzero(record.hits)
        container.fold(record)
        features = container.features(record)
        assert digest(features) == prediction.feature_digest
        assert container.digest() == prediction.state_digest
        assert np.array_equal(features.cell_id, prediction.cell_id)
        assert prediction.seq == record.seq
        assert prediction.prediction_id == f"{STREAM}/{record.stamp_ns}"
        hit = np.isin(prediction.cell_id, record.cell_id[record.hits > 0])
        assert np.array_equal(prediction.before == 2, hit)
        assert prediction.probability.shape == (len(features.cell_id), 2)


def test_cells_that_left_the_window_are_still_tested() -> None:
    outputs = feed(ready(20), [sweep_of(index) for index in range(16)])
    first, last = of_type(outputs, Binned)[0], of_type(outputs, Binned)[-1]
    gone = np.setdiff1d(first.cell_id, of_type(outputs, Prediction)[-1].cell_id)
    assert len(gone) > 0  # hit at an age of 15 bins, the window holds 10
    assert np.isin(gone, last.cell_id).all()


# ---- parts, sensors, robots ----------------------------------------------------------------------------


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_a_prediction_waits_for_the_last_part(order: tuple[int, ...]) -> None:
    agent, parts = ready(), parts_of(0, 3)
    steps = [agent.handle(parts[place]) for place in order]
    kinds = [[type(record) for record in step.outputs] for step in steps]
    assert kinds == [[Binned], [Binned], [Binned, ModelActivated, Prediction]]
    whole = of_type(feed(ready(), [sweep_of(0)]), Prediction)[0]
    prediction = steps[-1].outputs[-1]
    assert np.array_equal(prediction.cell_id, whole.cell_id)
    assert np.array_equal(prediction.before == 2, whole.before == 2)
    assert prediction.seq == 2


def test_a_missing_part_is_waited_for_until_the_next_stamp() -> None:
    agent = ready()
    assert [type(record) for record in feed(agent, parts_of(0, 3)[:2])] == [Binned, Binned]
    outputs = feed(agent, [sweep_of(1)])
    assert [type(record) for record in outputs] == [ModelActivated, Prediction, Binned, Prediction]
    assert [record.stamp_ns for record in of_type(outputs, Prediction)] == [stamp_of(0), stamp_of(1)]
    (late,) = feed(agent, parts_of(0, 3)[2:])
    assert (type(late), late.late) == (Binned, True)


def test_a_part_beyond_those_announced_is_late() -> None:
    """A sweep is predicted once, whatever its producer says next."""
    agent, more = ready(), parts_of(0, 3)[2]
    outputs = feed(agent, [*parts_of(0, 2), more, sweep_of(1)])
    assert [record.stamp_ns for record in of_type(outputs, Prediction)] == [stamp_of(0), stamp_of(1)]
    assert [record.late for record in of_type(outputs, Binned)] == [False, False, True, False]


def test_an_incomplete_sweep_is_predicted_before_the_container_forgets_it() -> None:
    """Its own sensor has fallen silent; another one moves the container on."""
    agent = ready(40)
    half = sweep_of(0, stream_id="robot/rear", points=points_at(0), part=0, parts=2)
    outputs = feed(agent, [half, *(sweep_of(index) for index in range(1, 20))])
    made = [record.prediction_id for record in of_type(outputs, Prediction)]
    assert half.prediction_id in made
    keep = agent._robots["robot"].container.keep_ns
    assert made.index(half.prediction_id) == keep // 100_000_000
    assert of_type(feed(agent, [EndOfLog()]), Prediction) == []


def test_a_missing_part_is_waited_for_until_the_end() -> None:
    agent = ready()
    feed(agent, parts_of(0, 2)[:1])
    assert [type(record) for record in feed(agent, [EndOfLog()])] == [ModelActivated, Prediction]


def test_a_rejected_part_leaves_the_prediction_to_the_next_stamp() -> None:
    agent = ready()
    good, bad = parts_of(0, 2)
    bad.points[:] = np.nan
    outputs = feed(agent, [good, bad])
    assert (reasons(outputs), len(of_type(outputs, Prediction))) == (["bad_points"], 0)
    assert len(of_type(feed(agent, [sweep_of(1)]), Prediction)) == 2


def test_sensors_of_a_robot_share_a_container() -> None:
    predictions = of_type(feed(ready(), two_sensors(4)), Prediction)
    alone = of_type(feed(ready(), two_sensors(4)[::2]), Prediction)
    assert [record.stream_id for record in predictions[:2]] == ["robot/left", "robot/right"]
    assert [record.seq for record in predictions] == list(range(8))
    assert len(predictions[-1].cell_id) > len(alone[-1].cell_id) + 30
    activated = of_type(feed(ready(), two_sensors(2)), ModelActivated)
    assert [record.stream_id for record in activated] == ["robot/left", "robot/right"]


def test_a_sensor_without_a_frame_holds_up_no_other() -> None:
    agent = ready()
    ghost = [sweep_of(index, stream_id="robot/ghost", frame="ghost") for index in range(4)]
    good = [sweep_of(index + 0.5) for index in range(4)]
    outputs = feed(agent, [item for pair in zip(ghost, good, strict=True) for item in pair])
    assert [record.stamp_ns for record in of_type(outputs, Prediction)] == [item.stamp_ns for item in good]


def test_a_sweep_that_another_sensor_has_left_behind_is_late() -> None:
    """Its mount becomes known when the container has gone on: it is too old to be evidence."""
    agent, waiting = ready(40), sweep_of(0, stream_id="robot/rear", frame="rear")
    outputs = feed(agent, [waiting, *(sweep_of(index) for index in range(19))])
    assert reasons(outputs) == []
    keep = agent._robots["robot"].container.keep_ns
    assert waiting.stamp_ns < stamp_of(18) - keep
    step = agent.handle(dataclasses.replace(transform_at(0, child="rear"), parent="lidar", static=True))
    assert (reasons(list(step.outputs)), step.released) == (["late"], (sweep_key(waiting),))


def test_a_prediction_names_the_last_record_folded_whoever_sent_it() -> None:
    """The other sensor's sweep is folded while this one waits for its part, so it is in the features."""
    agent = ready()
    part, _ = parts_of(0, 2, stream_id="robot/left")
    outputs = feed(agent, [part, sweep_of(0.5, stream_id="robot/right"), sweep_of(1, stream_id="robot/left")])
    left = [record for record in of_type(outputs, Prediction) if record.stream_id == "robot/left"]
    assert [record.seq for record in left] == [1, 2]
    container = RollingContainer(CONFIG)
    first, second, _ = of_type(outputs, Binned)
    container.fold(first)
    container.fold(second)
    assert digest(container.features(first)) == left[0].feature_digest


def test_robots_are_independent() -> None:
    logs = [drive(6, robot_id="anna"), drive(8, robot_id="bert")]
    together = feed(perceive_of(CONFIG), [*interleave(5, *logs), EndOfLog()])
    for robot, log in zip(("anna", "bert"), logs, strict=True):
        alone = feed(perceive_of(CONFIG), [*log, EndOfLog()])
        assert plain([record for record in together if record.robot_id == robot]) == plain(alone)


def test_every_sweep_is_released_exactly_once() -> None:
    log = drive(12)
    sweeps = [item for item in log if isinstance(item, Sweep)]
    extra = [
        sweeps[3],
        sweep_of(0, stamp_ns=-1),
        sweep_of(30),
        sweep_of(4.5, frame="ghost"),
        *parts_of(11.5, 2),
    ]
    agent = perceive_of(CONFIG)
    found = released(agent, [*log, *extra, EndOfLog()])
    assert found == Counter(sweep_key(sweep) for sweep in [*sweeps, *extra])


def test_memory_of_keys_is_bounded() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, drive(60))
    sizes = [len(agent.snapshot())]
    feed(agent, [item for item in drive(120) if item.stamp_ns > stamp_of(59)])
    sizes.append(len(agent.snapshot()))
    assert sizes[1] < 1.2 * sizes[0]


def test_keys_of_sweeps_that_never_get_a_pose_are_forgotten_too() -> None:
    agent = perceive_of(CONFIG)
    tiny = np.ones((1, 3), np.float32)
    feed(agent, [sweep_of(index, points=tiny) for index in range(200)])
    size = len(agent.snapshot())
    feed(agent, [sweep_of(index, points=tiny) for index in range(200, 400)])
    assert len(agent.snapshot()) < 1.2 * size


# ---- clocks --------------------------------------------------------------------------------------------

HOUR = 36_000
"""Sweeps."""


@pytest.mark.fault(19)
def test_one_sweep_from_the_future_is_a_bad_stamp_and_holds_up_nothing() -> None:
    usual = feed(ready(), [sweep_of(index) for index in range(6)])
    agent = ready()
    wrong = sweep_of(HOUR)
    assert feed(agent, [sweep_of(0), sweep_of(1)]) != []
    held = agent.handle(wrong)
    assert (held.outputs, held.released) == ((), ())
    step = agent.handle(sweep_of(2))
    assert reasons(list(step.outputs)) == ["bad_stamp"]
    assert sweep_key(wrong) in step.released
    outputs = [*step.outputs, *feed(agent, [sweep_of(index) for index in range(3, 6)])]
    assert plain(of_type(outputs, Prediction)) == plain(of_type(usual, Prediction)[2:])


def test_parts_of_one_sweep_are_no_second_witness() -> None:
    agent = ready()
    wrong = [sweep_of(HOUR, part=part, parts=2, points=points_at(0)) for part in range(2)]
    outputs = feed(agent, [sweep_of(0), *wrong, sweep_of(1)])
    assert reasons(outputs) == ["bad_stamp", "bad_stamp"]


@pytest.mark.fault(18)
def test_a_clock_that_was_set_anew_is_believed_with_the_second_sweep() -> None:
    agent = ready()
    feed(agent, [sweep_of(0), *(transform_at(stamp_of(HOUR + index / 2)) for index in range(-2, 8))])
    first, second = (sweep_of(HOUR + index, points=points_at(0)) for index in range(2))
    assert feed(agent, [first]) == []
    outputs = feed(agent, [second])
    assert [made.stamp_ns for made in of_type(outputs, Prediction)] == [first.stamp_ns, second.stamp_ns]


def test_a_sweep_that_is_suspect_at_the_end_is_a_bad_stamp() -> None:
    agent, wrong = ready(), sweep_of(HOUR)
    feed(agent, [sweep_of(0), wrong])
    restored = perceive_of(CONFIG)
    restored.restore(agent.snapshot())
    step = restored.handle(EndOfLog())
    assert (reasons(list(step.outputs)), step.released) == (["bad_stamp"], (sweep_key(wrong),))


def test_a_transform_that_is_suspect_at_the_end_is_refused() -> None:
    agent = ready()
    outputs = feed(agent, [transform_at(stamp_of(HOUR)), EndOfLog(), EndOfLog()])
    assert [(event.kind, event.stamp_ns) for event in outputs] == [("transform_refused", stamp_of(HOUR))]


def test_the_first_sweep_must_suit_the_transforms() -> None:
    outputs = feed(ready(), [sweep_of(HOUR), sweep_of(0)])
    assert (reasons(outputs), len(of_type(outputs, Prediction))) == (["bad_stamp"], 1)


def test_one_transform_from_the_future_spoils_no_pose() -> None:
    agent, (*_, before, after) = perceive_of(CONFIG), transforms_to(3)
    feed(agent, transforms_to(3)[:-1])
    assert feed(agent, [transform_at(stamp_of(HOUR))]) == []
    outputs = feed(agent, [after, sweep_of(1), sweep_of(2)])
    assert [event.kind for event in of_type(outputs, Event)] == ["transform_refused"]
    assert len(of_type(outputs, Prediction)) == 2
    assert before.stamp_ns < after.stamp_ns


def test_edges_of_the_transform_tree_have_clocks_of_their_own() -> None:
    """A frame that moves once an hour is no reason to hold back the others."""
    agent = ready()
    seldom = [transform_at(stamp_of(index), child="arm") for index in (0, HOUR)]
    outputs = feed(agent, [*seldom, *transforms_to(22)[-4:], sweep_of(21)])
    assert len(of_type(outputs, Prediction)) == 1


def test_clocks_of_edges_are_bounded() -> None:
    agent = perceive_of(CONFIG)
    feed(agent, [transform_at(stamp_of(0), child=f"frame{number}") for number in range(MAX_FRAMES)])
    size = len(agent.snapshot())
    outputs = feed(agent, [transform_at(stamp_of(0), child=f"other{number}") for number in range(50)])
    assert {event.kind for event in outputs} == {"transform_refused"}
    assert len(agent.snapshot()) == size


# ---- models --------------------------------------------------------------------------------------------


def loaded(model: ScriptedModel, stamp_ns: int = 0) -> ModelLoaded:
    return ModelLoaded(model_id=model.model_id, stamp_ns=stamp_ns, sha256="ab", model=model)


def test_a_published_model_is_asked_for() -> None:
    published = ModelPublished(model_id="m", sha256="s", kind="update", parent_id="p", stamp_ns=7)
    step = perceive_of(CONFIG).handle(published)
    assert (step.outputs, step.effects) == ((), (LoadModel(model_id="m", stamp_ns=7, number=1, sha256="s"),))


def test_activation_is_written_before_the_first_prediction_under_a_model() -> None:
    agent, model = ready(), ScriptedModel(CONFIG, 2.0)
    outputs = feed(agent, [sweep_of(0), sweep_of(1), loaded(model), sweep_of(2), sweep_of(3)])
    said = [record for record in outputs if isinstance(record, ModelActivated | Prediction)]
    assert [(type(record).__name__, record.model_id) for record in said] == [
        ("ModelActivated", "frequency"),
        ("Prediction", "frequency"),
        ("Prediction", "frequency"),
        ("ModelActivated", model.model_id),
        ("Prediction", model.model_id),
        ("Prediction", model.model_id),
    ]
    assert (said[3].first_stamp_ns, said[3].sha256) == (stamp_of(2), "ab")
    rebuilt = of_type(outputs, Prediction)
    assert rebuilt[2].probability.mean() > rebuilt[1].probability.mean()  # surer of the wall


@pytest.mark.fault(33)
def test_a_model_changes_only_between_sweeps() -> None:
    agent, model = ready(), ScriptedModel(CONFIG, 2.0)
    first, second = parts_of(1, 2)
    outputs = feed(agent, [sweep_of(0), first, loaded(model), second, sweep_of(2)])
    ids = [record.model_id for record in of_type(outputs, Prediction)]
    assert ids == ["frequency", model.model_id, model.model_id]
    assert len({(p.prediction_id, p.model_id) for p in of_type(outputs, Prediction)}) == 3


def test_of_two_models_between_sweeps_the_newer_serves() -> None:
    agent, old, new = ready(), ScriptedModel(CONFIG, 2.0), ScriptedModel(CONFIG, 3.0)
    outputs = feed(agent, [sweep_of(0), loaded(old), loaded(new), sweep_of(1)])
    assert [record.model_id for record in of_type(outputs, ModelActivated)] == ["frequency", new.model_id]


def test_a_model_loaded_late_does_not_replace_one_published_after_it() -> None:
    agent, models = ready(), [ScriptedModel(CONFIG, skill) for skill in (2.0, 3.0, 4.0)]
    asked = []
    for model in models:
        published = ModelPublished(
            model_id=model.model_id, sha256="s", kind="update", parent_id="p", stamp_ns=7
        )
        asked += agent.handle(published).effects
    numbers = [effect.number for effect in asked if isinstance(effect, LoadModel)]
    answers = [
        ModelLoaded(model_id=model.model_id, stamp_ns=7, sha256="ab", model=model, number=number)
        for model, number in zip(models, numbers, strict=True)
    ]
    outputs = []
    for index, answer in enumerate((answers[1], answers[0], answers[2])):
        outputs += feed(agent, [answer, sweep_of(index)])
    served = [record.model_id for record in of_type(outputs, Prediction)]
    assert served == [models[1].model_id, models[1].model_id, models[2].model_id]


def test_a_model_that_serves_no_more_is_dropped_when_the_next_one_comes() -> None:
    """Not while a sweep waits for the exchange: to end a session takes longer."""
    agent = ready()
    feed(agent, [sweep_of(0)])
    alive: list[weakref.ref[ScriptedModel]] = []
    for index in range(1, 6):
        model = ScriptedModel(CONFIG, 1.0 + index)
        alive.append(weakref.ref(model))
        feed(agent, [loaded(model)])
        del model
        assert [reference() is not None for reference in alive][-3:] == [False, True, True][-len(alive) :]
        feed(agent, [sweep_of(index)])
        assert [reference() is not None for reference in alive][-2:] == [True, True][-len(alive) :]


@pytest.mark.fault(29, 30, 31, 32)
def test_a_refused_model_leaves_the_old_one() -> None:
    agent = ready()
    refused = ModelLoaded(model_id="m", stamp_ns=9, sha256="", model=None, reason="canary is off by 1")
    outputs = feed(agent, [sweep_of(0), refused, sweep_of(1)])
    (event,) = of_type(outputs, Event)
    assert (event.kind, event.fields) == ("refused", {"model_id": "m", "reason": "canary is off by 1"})
    assert [record.model_id for record in of_type(outputs, Prediction)] == ["frequency", "frequency"]
    assert len(of_type(outputs, ModelActivated)) == 1


class Failing(ScriptedModel):
    """Answers twice, then fails."""

    left = 2

    def predict(self, x: Any, neighbor_index: Any) -> Any:
        """As the frequency model, twice."""
        if self.left == 0:
            raise ModelFailed(f"{self.model_id}: output is not finite in 3 of {len(x)} cells")
        self.left -= 1
        return super().predict(x, neighbor_index)


@pytest.mark.fault(32)
def test_a_model_that_fails_gives_way_to_the_built_in_one_and_says_so() -> None:
    agent, model = ready(), Failing(CONFIG, 2.0)
    outputs = feed(agent, [loaded(model), *(sweep_of(index) for index in range(4))])
    ids = [record.model_id for record in of_type(outputs, Prediction)]
    assert ids == [model.model_id, model.model_id, "frequency", "frequency"]
    (event,) = of_type(outputs, Event)
    assert (event.kind, event.fields["model_id"], event.stamp_ns) == (
        "model_failed", model.model_id, stamp_of(2)
    )  # fmt: skip
    assert "not finite" in event.fields["reason"]
    activated = [(record.model_id, record.first_stamp_ns) for record in of_type(outputs, ModelActivated)]
    assert activated == [(model.model_id, stamp_of(0)), ("frequency", stamp_of(2))]
    again = feed(agent, [loaded(ScriptedModel(CONFIG, 3.0)), sweep_of(4)])
    assert of_type(again, Prediction)[0].model_id == ScriptedModel(CONFIG, 3.0).model_id


def test_a_restored_agent_asks_for_its_model_and_serves_as_before() -> None:
    """A sensor may be silent on an old one until that is gone; what predicts its next sweep is staged."""
    first, second = ScriptedModel(CONFIG, 2.0), ScriptedModel(CONFIG, 3.0)
    log = two_sensors(3)
    original = ready()
    feed(original, [loaded(first), log[0], log[1], loaded(second), log[2]])
    restored = Perceive(CONFIG, builtin_of(CONFIG))
    restored.restore(original.snapshot())
    assert restored.missing_models() == (second.model_id,)
    feed(restored, [loaded(second)])
    assert restored.missing_models() == ()
    outputs = of_type(feed(restored, log[3:]), Prediction)
    assert {record.model_id for record in outputs} == {second.model_id}
    assert len(outputs) == len(log[3:])


@pytest.mark.parametrize("parts", [1, 2])
def test_a_restart_between_parts_forgets_none(parts: int) -> None:
    agent, pieces = ready(), parts_of(0, 3)
    feed(agent, pieces[:parts])
    restored = perceive_of(CONFIG)
    restored.restore(agent.snapshot())
    assert plain(feed(restored, pieces[parts:])) == plain(feed(agent, pieces[parts:]))
    assert len(of_type(feed(restored, [sweep_of(1)]), Prediction)) == 1
