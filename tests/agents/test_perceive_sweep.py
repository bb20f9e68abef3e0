"""One sweep in Perceive: the mask, rays without return, and what a binned record says of them."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native import index64
from native.binning import MAX_POINTS
from stream.config import Config, load_config
from stream.container import RollingContainer
from stream.features import digest
from stream.records import HIT, SEEN_THROUGH, UNOBSERVED, Binned, Prediction, SweepRejected
from stream.sources.base import SourceOptions
from stream.sources.simulator import Simulator, open_simulator
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.worlds import config_of, feed, of_type, perceive_of, plain, sweep_of, transforms_to

Floats = NDArray[np.float32]
NONE = np.empty((0, 3), np.float32)


def mount(parent: str = "map", child: str = "lidar") -> Transform:
    """A frame that stands still at its parent's origin."""
    return Transform(
        robot_id="robot", stamp_ns=0, parent=parent, child=child, translation=(0.0, 0.0, 0.0),
        rotation=(0.0, 0.0, 0.0, 1.0), static=True,
    )  # fmt: skip


def patch(x: float, y: float) -> Floats:
    """A wall 2 m wide and high across the way from the sensor to (x, y), both 10 m or more away."""
    side, up = np.meshgrid(np.arange(-1, 1.01, 0.1), np.arange(-1, 1.01, 0.1))
    along = np.array([x, y]) / np.hypot(x, y)
    flat = np.array([x, y]) + side.reshape(-1, 1) * [-along[1], along[0]]
    return np.column_stack([flat, up.ravel()]).astype(np.float32)


def directions(points: Floats) -> Floats:
    wide = points.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=1, keepdims=True)).astype(np.float32)


def cells_of(points: Floats, config: Config) -> NDArray[np.uint64]:
    """Cells with a return among these points."""
    (record,) = of_type(feed(perceive_of(config), [mount(), sweep_of(0, points=points)]), Binned)
    return record.cell_id[record.hits > 0]


def states(prediction: Prediction, cells: NDArray[np.uint64]) -> set[int]:
    """Of these cells, at the prediction's own sweep."""
    assert np.isin(cells, prediction.cell_id).all()
    return {int(value) for value in prediction.before[np.isin(prediction.cell_id, cells)]}


def reports(index: int, points: Floats, misses: Floats = NONE) -> Sweep:
    return replace(sweep_of(index, points=points), misses=misses)


# ---- rays without return -------------------------------------------------------------------------------

OPEN, BACKED = patch(10, 0), patch(0, 10)
"""Two objects: nothing is behind the first, a wall is behind the second."""

BEHIND = 2 * BACKED


@pytest.mark.parametrize(("misses", "open_state"), [(directions(OPEN), SEEN_THROUGH), (NONE, UNOBSERVED)])
def test_a_ghost_before_the_open_sky_clears_only_by_misses(misses: Floats, open_state: int) -> None:
    config = config_of()
    agent = perceive_of(config)
    there = reports(0, np.concatenate([OPEN, BACKED]))
    gone = reports(1, BEHIND, misses)
    first, second = of_type(feed(agent, [mount(), there, gone]), Prediction)
    assert states(first, cells_of(OPEN, config)) == {HIT}
    assert states(first, cells_of(BACKED, config)) == {HIT}
    assert states(second, cells_of(OPEN, config)) == {open_state}
    assert states(second, cells_of(BACKED, config)) == {SEEN_THROUGH}


@pytest.mark.parametrize(("reach", "state"), [(8.0, UNOBSERVED), (14.0, SEEN_THROUGH)])
def test_a_miss_says_nothing_beyond_its_range(reach: float, state: int) -> None:
    config = config_of(f"grid.miss_range_m={reach}")
    outputs = feed(perceive_of(config), [mount(), reports(0, OPEN), reports(1, NONE, directions(OPEN))])
    assert states(of_type(outputs, Prediction)[1], cells_of(OPEN, config)) == {state}


def test_a_cell_with_a_return_is_hit_whatever_passes_through() -> None:
    config = config_of()
    outputs = feed(perceive_of(config), [mount(), reports(0, OPEN, directions(OPEN))])
    (record,), (prediction,) = of_type(outputs, Binned), of_type(outputs, Prediction)
    assert record.passes[record.hits > 0].all()
    assert states(prediction, cells_of(OPEN, config)) == {HIT}


def test_misses_are_rays_in_the_record_and_among_its_beams() -> None:
    points = np.concatenate([OPEN, np.full((3, 3), np.nan, np.float32)])
    upward = directions(np.column_stack([OPEN[:, 1:], np.full(len(OPEN), 9.0)]).astype(np.float32))
    config = config_of()
    outputs = feed(perceive_of(config), [mount(), reports(0, points, upward)])
    (record,), (prediction,) = of_type(outputs, Binned), of_type(outputs, Prediction)
    assert (record.points, record.misses, record.masked) == (len(OPEN) + 3, len(upward), 0)
    assert record.rays == len(OPEN) + len(upward)
    assert record.binned == len(OPEN)
    assert len(record.beams) == record.rays
    np.testing.assert_allclose(record.beams[-len(upward) :] / 32767, upward, atol=3e-5)
    container = RollingContainer(config)
    container.fold(record)
    assert digest(container.features(record)) == prediction.feature_digest


def test_points_at_the_far_end_count_as_misses_do() -> None:
    config = config_of("mask.miss_beyond_m=99")
    far = np.concatenate([BEHIND, 100 * directions(OPEN)])
    reported = feed(perceive_of(config), [mount(), reports(0, OPEN), reports(1, BEHIND, directions(OPEN))])
    written = feed(perceive_of(config), [mount(), reports(0, OPEN), reports(1, far)])
    a, b = of_type(reported, Binned)[1], of_type(written, Binned)[1]
    assert (b.points, b.rays, b.misses) == (len(far), a.rays, a.misses)
    assert np.array_equal(a.passes, b.passes)
    assert of_type(written, Prediction)[1].before.tolist() == of_type(reported, Prediction)[1].before.tolist()


def test_a_sweep_of_nothing_but_misses_is_valid() -> None:
    outputs = feed(perceive_of(config_of()), [mount(), reports(0, NONE, directions(OPEN))])
    (record,) = of_type(outputs, Binned)
    assert (record.points, record.rays, record.misses) == (0, len(OPEN), len(OPEN))


def test_misses_count_towards_the_size_of_a_message() -> None:
    points, up = np.full((MAX_POINTS, 3), 5.0, np.float32), np.float32([[0, 0, 1]])
    agent = perceive_of(config_of())
    feed(agent, [mount()])
    (letter,) = of_type(feed(agent, [reports(0, points, up)]), SweepRejected)
    assert letter.reason == "too_many"
    assert len(of_type(feed(agent, [reports(0, points[1:], up)]), Binned)) == 1


def test_a_waiting_sweep_keeps_its_misses_in_a_snapshot() -> None:
    sweep = reports(0, OPEN, directions(OPEN))
    usual = feed(perceive_of(config_of()), [sweep, mount()])
    before, after = perceive_of(config_of()), perceive_of(config_of())
    assert feed(before, [sweep]) == []
    after.restore(before.snapshot())
    assert plain(feed(after, [mount()])) == plain(usual)
    assert of_type(usual, Binned)[0].misses == len(OPEN)


# ---- the mask ------------------------------------------------------------------------------------------


def test_what_is_masked_leaves_no_trace_but_its_count() -> None:
    body = np.float32([[4, 0.5, 0], [4, -0.5, 0.2], [6, 0, 0]])
    masked = config_of("mask.ego_box_m=[3, -1, -1, 7, 1, 1]", "mask.drop_sectors_deg=[[80, 100]]")
    with_it = feed(perceive_of(masked), [mount(), reports(0, np.concatenate([body, OPEN, BACKED]))])
    without = feed(perceive_of(config_of()), [mount(), reports(0, OPEN)])
    a, b = of_type(with_it, Binned)[0], of_type(without, Binned)[0]
    assert (a.masked, b.masked) == (len(body) + len(BACKED), 0)
    assert a.points == len(body) + len(OPEN) + len(BACKED)
    assert plain(replace(a, points=b.points, masked=0)) == plain(b)
    assert plain(of_type(with_it, Prediction)) == plain(of_type(without, Prediction))


def test_a_sweep_waits_for_the_frame_of_the_ego_box() -> None:
    config = config_of("mask.ego_frame=body", "mask.ego_box_m=[9, -2, -2, 11, 2, 2]")
    agent = perceive_of(config)
    assert feed(agent, [mount("body", "base"), mount("map", "lidar"), reports(0, OPEN)]) == []
    joint = replace(mount("lidar", "body"), translation=(2.0, 0.0, 0.0))
    (record,) = of_type(feed(agent, [joint]), Binned)
    assert (record.masked, record.rays) == (0, len(OPEN))  # in the body's frame they are at 8 m
    there = perceive_of(config_of("mask.ego_frame=body", "mask.ego_box_m=[7, -2, -2, 9, 2, 2]"))
    (record,) = of_type(feed(there, [mount(), joint, reports(0, OPEN)]), Binned)
    assert (record.masked, record.rays) == (len(OPEN), 0)


def test_an_ego_frame_that_never_comes_is_no_pose_and_named() -> None:
    agent = perceive_of(config_of("mask.ego_frame=body", "mask.ego_box_m=[9, -2, -2, 11, 2, 2]"))
    waiting = [sweep_of(index) for index in range(30)]
    letters = of_type(feed(agent, [*transforms_to(30), *waiting]), SweepRejected)
    assert letters
    assert {letter.reason for letter in letters} == {"no_pose"}
    assert "body" in letters[0].detail


def test_masked_points_do_not_make_a_sweep_bad() -> None:
    """The share of points that are not finite is one of all points of the sweep."""
    points = np.concatenate([OPEN, np.full((len(OPEN), 3), np.nan, np.float32)])
    agent = perceive_of(config_of("mask.ego_box_m=[9, -2, -2, 11, 2, 2]", "grid.max_not_finite_share=0.5"))
    (record,) = of_type(feed(agent, [mount(), reports(0, points)]), Binned)
    assert (record.masked, record.rays) == (len(OPEN), 0)


# ---- in the simulator ----------------------------------------------------------------------------------

DRIVE = "sim:highway?seed=1&sweeps=16&beams=32&azimuths=512"
LAG = 5


@cache
def driven(misses: int) -> list[Binned]:
    config = load_config(None, ["grid.map_frame=odom", "grid.lod=6"])
    items: Any = open_simulator(f"{DRIVE}&misses={misses}", SourceOptions())
    return of_type(feed(perceive_of(config), items), Binned)


def in_boxes(cell_id: NDArray[np.uint64], boxes: list[Any], margin: float) -> NDArray[np.bool_]:
    """Cells whose site is in one of the boxes."""
    points = index64.decode(cell_id)[0] * 0.8
    inside = np.zeros(len(points), np.bool_)
    for box in boxes:
        cos, sin = np.cos(box.yaw), np.sin(box.yaw)
        local = (points - np.array(box.centre)) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
        inside |= (np.abs(local) < np.array(box.size) / 2 + margin).all(axis=1)
    return inside


def test_misses_change_passes_only_and_never_take_one_away() -> None:
    for without, with_them in zip(driven(0), driven(1), strict=True):
        assert np.array_equal(without.cell_id, with_them.cell_id)
        assert np.array_equal(without.hits, with_them.hits)
        assert np.array_equal(without.sums, with_them.sums)
        assert (without.passes <= with_them.passes).all()
        assert with_them.rays == without.rays + with_them.misses
        assert with_them.misses > 0.1 * with_them.rays


def test_ghosts_of_vehicles_before_the_sky_clear_by_misses() -> None:
    source = open_simulator(DRIVE, SourceOptions())
    assert isinstance(source, Simulator)
    by_returns = only_by_misses = unseen = 0
    for first in range(0, 11, 5):
        was, now, with_misses = driven(0)[first], driven(0)[first + LAG], driven(1)[first + LAG]
        moving = [box for box in source.boxes(was.stamp_ns) if np.hypot(*box.velocity[:2]) > 2]
        there = in_boxes(now.cell_id, moving, 0.0) & ~in_boxes(now.cell_id, source.boxes(now.stamp_ns), 1.2)
        ghost = there & np.isin(now.cell_id, was.cell_id[was.hits > 0]) & (now.hits == 0)
        by_returns += int((now.passes[ghost] > 0).sum())
        only_by_misses += int(((now.passes[ghost] == 0) & (with_misses.passes[ghost] > 0)).sum())
        unseen += int((with_misses.passes[ghost] == 0).sum())
    assert by_returns > 50
    assert only_by_misses > 10
    assert unseen < only_by_misses


# ---- hits only -----------------------------------------------------------------------------------------


def only_hits(index: int, points: Floats, **changed: Any) -> Sweep:
    return replace(sweep_of(index, points=points, **changed), hits_only=True)


def test_hits_only_make_nothing_free() -> None:
    """The wall behind would free both objects if there were rays to it."""
    config = config_of()
    log = [mount(), only_hits(0, np.concatenate([OPEN, BACKED])), only_hits(1, BEHIND)]
    outputs = feed(perceive_of(config), log)
    for record in of_type(outputs, Binned):
        assert (record.rays, record.misses, len(record.beams), int(record.passes.sum())) == (0, 0, 0, 0)
        assert record.binned > 0
    second = of_type(outputs, Prediction)[1]
    assert states(second, cells_of(np.concatenate([OPEN, BACKED]), config)) == {UNOBSERVED}
    assert states(second, cells_of(BEHIND, config)) == {HIT}


def test_rays_of_another_sensor_free_what_was_hit_only() -> None:
    config = config_of()
    log = [mount(), only_hits(0, BACKED, stream_id="robot/map"), reports(1, BEHIND)]
    (_, prediction) = of_type(feed(perceive_of(config), log), Prediction)
    assert states(prediction, cells_of(BACKED, config)) == {SEEN_THROUGH}


def test_far_points_of_hits_only_are_no_rays_either() -> None:
    config = config_of("mask.miss_beyond_m=15", "grid.miss_range_m=15")
    (record,) = of_type(
        feed(perceive_of(config), [mount(), only_hits(0, np.concatenate([OPEN, BEHIND]))]), Binned
    )
    assert (record.rays, record.misses, record.binned) == (0, 0, len(OPEN))


def test_hits_only_wait_for_their_pose_through_a_snapshot() -> None:
    config = config_of()
    agent, other = perceive_of(config), perceive_of(config)
    assert of_type(feed(agent, [only_hits(0, OPEN)]), Binned) == []
    other.restore(agent.snapshot())
    (record,) = of_type(feed(other, [mount()]), Binned)
    assert (record.rays, record.binned) == (0, len(OPEN))
