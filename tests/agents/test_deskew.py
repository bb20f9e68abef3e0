"""Perceive undoes the motion within a sweep where points say when they were measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native.binning import Binner
from stream.config import Config
from stream.container import RollingContainer, grid_of
from stream.features import digest
from stream.frames import FrameRegistry
from stream.records import Binned, EndOfLog, Event, Prediction, SweepRejected
from stream.sources import open_source
from stream.sources.simulator import FIRINGS
from stream.sweep import Sweep, cut
from stream.transform import Transform
from tests.agents.worlds import config_of, feed, of_type, perceive_of, plain
from tests.spinning_room import FIRST_NS, PERIOD_NS, transform_at, transforms, turn

Ids = set[int]
ROOM = ("grid.lod=8", "grid.range_min_m=0.5")


def hit_cells(record: Binned) -> Ids:
    return set(record.cell_id[record.hits > 0].tolist())


def true_cells(places: NDArray[np.float64], config: Config) -> Ids:
    """Cells that hold these places of the map, in reach or not."""
    config = replace(config, grid=replace(config.grid, range_min_m=0.0, range_max_m=10_000.0))
    points = places.astype(np.float32)
    bins = Binner(grid_of(config)).run(points, np.ones(len(points), np.float32), np.eye(3, 4).reshape(12))
    return set(bins.cell_id.tolist())


def drive(sweeps: int, **turns: Any) -> list[Sweep | Transform]:
    """Each sweep comes when its turn is over, before the transform that follows it."""
    last = FIRST_NS + sweeps * PERIOD_NS
    items: list[tuple[int, Any]] = [(t.stamp_ns, t) for t in transforms(FIRST_NS - PERIOD_NS, last)]
    items += [(FIRST_NS + (index + 1) * PERIOD_NS, turn(index, **turns)[0]) for index in range(sweeps)]
    return [item for _, item in sorted(items, key=lambda entry: entry[0])]


def test_cells_are_those_of_the_walls_only_with_the_motion_undone() -> None:
    sharp, smeared = config_of(*ROOM), config_of(*ROOM, "sweep.deskew=off")
    items = drive(4)
    for index, record in enumerate(of_type(feed(perceive_of(sharp), items), Binned)):
        cells = true_cells(turn(index)[1], sharp)
        assert len(hit_cells(record) - cells) < 0.01 * len(cells)  # points on the border of two cells
    for index, record in enumerate(of_type(feed(perceive_of(smeared), items), Binned)):
        cells = true_cells(turn(index)[1], smeared)
        assert len(hit_cells(record) - cells) > 0.4 * len(cells)


def test_every_sweep_is_rebuilt_from_its_record() -> None:
    config = config_of(*ROOM)
    outputs = feed(perceive_of(config), [*drive(4), EndOfLog()])
    records, predictions = of_type(outputs, Binned), of_type(outputs, Prediction)
    assert len(records) == len(predictions) == 4
    container = RollingContainer(config)
    for record, prediction in zip(records, predictions, strict=True):
        container.fold(record)
        assert digest(container.features(record)) == prediction.feature_digest
    assert of_type(outputs, Event) == []


def test_a_sweep_waits_until_transforms_reach_its_end() -> None:
    sweep, _ = turn(0)
    end = FIRST_NS + PERIOD_NS
    all_of_them = transforms(FIRST_NS - PERIOD_NS, end)
    early = [each for each in all_of_them if each.stamp_ns <= end - 20_000_000]
    late = [each for each in all_of_them if each.stamp_ns > end - 20_000_000]
    agent = perceive_of(config_of())
    assert of_type(feed(agent, [*early, sweep]), Binned) == []
    restored = perceive_of(config_of())
    restored.restore(agent.snapshot())
    outputs = feed(agent, late)
    assert len(of_type(outputs, Binned)) == 1
    assert of_type(outputs, Event) == []
    assert plain(feed(restored, late)) == plain(outputs)
    in_time = feed(perceive_of(config_of()), [*all_of_them, sweep])
    assert plain(in_time) == plain(outputs)


def skewed(config: Config, items: list[Any]) -> tuple[list[Binned], list[str]]:
    """Records, and why sweeps kept their motion."""
    outputs = feed(perceive_of(config), items)
    assert of_type(outputs, SweepRejected) == []
    events = of_type(outputs, Event)
    assert {event.kind for event in events} <= {"not_deskewed"}
    return of_type(outputs, Binned), [event.fields["reason"] for event in events]


def test_a_sweep_whose_end_never_gets_a_pose_is_taken_as_it_is() -> None:
    sweep, _ = turn(0)
    some = transforms(FIRST_NS - PERIOD_NS, FIRST_NS + 20_000_000)
    off = perceive_of(config_of("sweep.deskew=off"))
    (as_it_is,) = of_type(feed(off, [*some, sweep]), Binned)
    records, reasons = skewed(config_of(), [*some, sweep, EndOfLog()])
    assert plain(records) == plain([as_it_is])
    assert len(reasons) == 1 and "newest transform" in reasons[0]


def test_waiting_for_the_end_has_an_end() -> None:
    some = transforms(FIRST_NS - PERIOD_NS, FIRST_NS + 20_000_000)
    later = replace(turn(0)[0], stamp_ns=FIRST_NS + 2_100_000_000)
    records, reasons = skewed(config_of("pose.max_wait_ns=2000000000"), [*some, turn(0)[0], later, some[-1]])
    assert [record.stamp_ns for record in records] == [FIRST_NS]
    assert len(reasons) == 1


@pytest.mark.parametrize(
    ("begin_ns", "missing", "why"),
    [
        (0, (FIRST_NS + 30_000_000, FIRST_NS + 90_000_000), "no transform for"),
        (-PERIOD_NS, (0, FIRST_NS - 20_000_000), "oldest transform known"),
    ],
)
def test_where_poses_are_missing_within_a_sweep_it_is_taken_as_it_is(
    begin_ns: int, missing: tuple[int, int], why: str
) -> None:
    low, high = missing
    known = [
        each
        for each in transforms(FIRST_NS - 2 * PERIOD_NS, FIRST_NS + PERIOD_NS)
        if not low < each.stamp_ns < high
    ]
    config = config_of("pose.max_gap_ns=50000000")
    records, (reason,) = skewed(config, [*known, turn(0, begin_ns=begin_ns)[0]])
    assert len(records) == 1 and why in reason


def test_points_without_times_are_the_same_whatever_the_option_says() -> None:
    items = [replace(item, time_offset_ns=None) if isinstance(item, Sweep) else item for item in drive(3)]
    auto, off = (feed(perceive_of(config_of(f"sweep.deskew={mode}")), items) for mode in ("auto", "off"))
    assert plain(auto) == plain(off)


def test_parts_undo_their_own_motion() -> None:
    whole, *_ = of_type(feed(perceive_of(config_of(*ROOM)), drive(1)), Binned)
    known = transforms(FIRST_NS - PERIOD_NS, FIRST_NS + PERIOD_NS)
    parts = of_type(feed(perceive_of(config_of(*ROOM)), [*known, *cut(turn(0)[0], 1000)]), Binned)
    assert len(parts) == 3
    cells = set().union(*map(hit_cells, parts))
    assert len(cells ^ hit_cells(whole)) < 0.01 * len(cells)  # knots differ, and so do the last bits


# ---- rays ----------------------------------------------------------------------------------------------


def passed(sweep: Sweep, config: Config, places: list[list[float]]) -> list[bool]:
    """Whether a sweep sees through the cells of these places, which an earlier one hit."""
    known = transforms(FIRST_NS - 3 * PERIOD_NS, FIRST_NS + PERIOD_NS)
    before = transform_at(FIRST_NS - PERIOD_NS)
    (inverse,) = [np.array(before.translation)]
    yaw = 2 * np.arctan2(before.rotation[2], before.rotation[3])
    c, s = np.cos(yaw), np.sin(yaw)
    local = (np.array(places) - inverse) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    first = replace(
        sweep, stamp_ns=FIRST_NS - PERIOD_NS, points=local.astype(np.float32), time_offset_ns=None,
        intensity=np.ones(len(local), np.float32), misses=np.empty((0, 3), np.float32),
    )  # fmt: skip
    records = of_type(feed(perceive_of(config), [*known, first, sweep]), Binned)
    cells = [next(iter(true_cells(np.array([place]), config))) for place in places]
    rows = np.searchsorted(records[1].cell_id, cells)
    assert records[1].cell_id[rows].tolist() == cells
    return [bool(value) for value in records[1].passes[rows] > 0]


def one_ray(offset_ns: int, place: list[float]) -> Sweep:
    """A sweep with one point, measured so long after the stamp."""
    at = transform_at(FIRST_NS + offset_ns)
    yaw = 2 * np.arctan2(at.rotation[2], at.rotation[3])
    c, s = np.cos(yaw), np.sin(yaw)
    local = (np.array(place) - at.translation) @ np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    return Sweep(
        stream_id="robot/lidar", stamp_ns=FIRST_NS, frame="lidar", points=local[None].astype(np.float32),
        intensity=np.ones(1, np.float32), time_offset_ns=np.array([offset_ns], np.int32),
    )  # fmt: skip


def test_a_ray_begins_where_the_sensor_was_when_it_fired() -> None:
    """2 m on its way after 0.1 s: at x = -3, and from there straight to the side."""
    config = config_of(*ROOM)
    fired = one_ray(100_000_000, [-3.0, 10.0, 0.2])
    on_it, on_the_way_from_the_stamp = [-3.0, 5.0, 0.2], [-4.2, 4.0, 0.2]
    assert passed(fired, config, [on_it, on_the_way_from_the_stamp]) == [True, False]


def test_far_points_become_rays_from_where_they_were_fired() -> None:
    config = config_of(*ROOM, "mask.miss_beyond_m=60")
    fired = one_ray(100_000_000, [-3.0, 80.0, 0.2])
    assert passed(fired, config, [[-3.0, 5.0, 0.2], [-4.2, 4.0, 0.2]]) == [True, False]


def test_rays_without_return_that_do_not_say_when_are_left_out() -> None:
    up = np.float32([[0, 0, 1]])
    known = transforms(FIRST_NS - PERIOD_NS, FIRST_NS + PERIOD_NS)
    sweep = replace(turn(0)[0], misses=up)
    for mode, count in (("auto", 0), ("off", 1)):
        (record,) = of_type(feed(perceive_of(config_of(f"sweep.deskew={mode}")), [*known, sweep]), Binned)
        assert record.misses == count


def test_the_simulators_spinning_sensor_is_straightened() -> None:
    """A motorway at 25 m/s: cells are those of each sector's points, placed by the pose at its own time."""
    items = list(open_source("sim:highway?sweeps=2&azimuths=256&spin=1&seed=2"))
    config = config_of("grid.map_frame=odom", *ROOM)
    frames = FrameRegistry(max_gap_ns=10**9)
    for item in items:
        if isinstance(item, Transform):
            frames.add(item)
    sweep = next(item for item in items if isinstance(item, Sweep))
    assert sweep.time_offset_ns is not None
    places = [
        sweep.points[sweep.time_offset_ns == offset] @ matrix[:, :3].T + matrix[:, 3]
        for offset in np.unique(sweep.time_offset_ns).tolist()
        for matrix in [frames.look_up("odom", "lidar", sweep.stamp_ns + offset).reshape(3, 4)]
    ]
    assert len(places) == FIRINGS
    near = np.concatenate(places)
    near = near[np.abs(near - near.mean(axis=0)).max(axis=1) < 25]
    off = config_of("grid.map_frame=odom", "sweep.deskew=off", *ROOM)
    cells = true_cells(near, config)
    straight, smeared = (
        hit_cells(of_type(feed(perceive_of(each), items), Binned)[0]) for each in (config, off)
    )
    assert len(cells - straight) < 0.02 * len(cells)
    assert len(cells - smeared) > 0.4 * len(cells)
