"""Containers that are fed with sweeps: at rest, following a robot, an object's own, of several robots."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from native.cells import FREE, OCCUPIED
from native.container import Container, ContainerOptions, Counts, Extent
from native.errors import RangeError
from native.freecells import FreeCells
from native.index64 import decode
from native.schema import Column, most_frequent
from stream.config import Config, ConfigError, load_config
from stream.container import RollingContainer, grid_of
from stream.framed import FramedContainer, key_of, rows_of, source_of, united
from stream.frames import BeforeFirstError, FrameRegistry, NotYet
from stream.records import Binned
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.worlds import config_of, of_type, perceived

MS = 1_000_000
CONFIG = load_config(overrides=["grid.map_frame=map", "grid.frame_ids.car=9", "grid.range_min_m=0.5"])
OPTIONS = ContainerOptions(levels=3, free_level=1)
NEAR = ContainerOptions(levels=3, free_level=1, extent=Extent.around((0, 0, 0), 8.0, 0.4))


def wall(x: float) -> NDArray[np.float32]:
    """Points of a wall across x, half a metre apart."""
    y, z = np.meshgrid(np.arange(-4, 4, 0.5), np.arange(-1, 2, 0.5))
    return np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1).astype(np.float32)


def transform(child: str, stamp_ns: int, x: float, y: float = 0.0) -> Transform:
    return Transform(
        robot_id="r",
        stamp_ns=stamp_ns,
        parent="map",
        child=child,
        translation=(x, y, 0.0),
        rotation=(0, 0, 0, 1),
    )


def moving(speed: float = 10.0) -> FrameRegistry:
    """A lidar that drives along x at 10 m/s, and a car before it that drives along."""
    frames = FrameRegistry(max_gap_ns=10**9)
    for step in range(11):
        frames.add(transform("lidar", step * 100 * MS, speed * 0.1 * step))
        frames.add(transform("car", step * 100 * MS, speed * 0.1 * step + 6.0, 1.0))
    return frames


def sweep(stamp_ns: int, points: NDArray[np.float32], stream: str = "r/lidar", **more: Any) -> Sweep:
    return Sweep(
        stream_id=stream, stamp_ns=stamp_ns, frame="lidar", points=points,
        intensity=np.ones(len(points), np.float32), **more,
    )  # fmt: skip


def seen_from(frames: FrameRegistry, stamp_ns: int, world: NDArray[np.float32]) -> NDArray[np.float32]:
    """Points of the map as the lidar sees them."""
    return (world - frames.look_up("map", "lidar", stamp_ns)[[3, 7, 11]]).astype(np.float32)


def test_the_world_stands_still_in_the_map() -> None:
    frames, framed = moving(), FramedContainer(CONFIG, OPTIONS)
    for stamp in (100 * MS, 300 * MS, 500 * MS):
        assert framed.add(sweep(stamp, seen_from(frames, stamp, wall(20.1))), frames) == Counts(added=1)
    cells = framed.container.cells(0)
    hit = cells.hits > 0
    assert (decode(cells.cell_id[hit]).frame == 1).all() and cells.hits.sum() == 3 * len(wall(0))
    assert np.abs(cells.centroids()[hit][:, 0] - 20.1).max() < 0.01
    assert (framed.container.cells(1).state() == FREE).sum() > 20
    assert framed.container.keys() == [key_of(sweep(s * MS, wall(1))) for s in (100, 300, 500)]


def test_an_extent_follows_the_robot() -> None:
    frames, framed = moving(), FramedContainer(CONFIG, NEAR, center="lidar")
    for stamp in (100 * MS, 500 * MS, 900 * MS, 300 * MS):  # the last one is late, and does not pull it back
        framed.add(sweep(stamp, seen_from(frames, stamp, wall(12.1))), frames)
        framed.container.validate()
    expected = Container(
        grid_of(CONFIG), dataclasses.replace(NEAR, extent=Extent.around((9.0, 0, 0), 8.0, 0.4))
    )
    whole = FramedContainer(CONFIG, OPTIONS)
    for stamp in (100 * MS, 500 * MS, 900 * MS, 300 * MS):
        whole.add(sweep(stamp, seen_from(frames, stamp, wall(12.1))), frames)
    expected.merge(whole.container)
    for level in range(3):
        one, two = framed.container.cells(level), expected.cells(level)
        assert np.array_equal(one.cell_id, two.cell_id) and np.array_equal(one.sums, two.sums)
    assert (framed.container.cells(0).hits.sum(), whole.container.cells(0).hits.sum()) == (4 * 96, 4 * 96)


def test_an_object_has_a_lattice_of_its_own() -> None:
    """What moves with the object stays in its cells; in the map it smears."""
    frames = moving()
    own, smeared = FramedContainer(CONFIG, NEAR, frame="car"), FramedContainer(CONFIG, OPTIONS)
    for stamp in (100 * MS, 300 * MS, 500 * MS):
        seen = sweep(stamp, wall(6.1))  # always as far away: on the car
        for framed in (own, smeared):
            framed.add(seen, frames)
    cells, map_cells = own.container.cells(0), smeared.container.cells(0)
    assert (decode(cells.cell_id).frame == 9).all()
    assert (map_cells.hits > 0).sum() > 2.5 * (cells.hits > 0).sum()
    assert np.abs(cells.centroids()[cells.hits > 0][:, 0] - 0.1).max() < 0.01


def test_rays_without_return_free_cells_in_columns_of_their_own() -> None:
    frames, framed = moving(0.0), FramedContainer(CONFIG, OPTIONS)
    up = np.array([[0, 0, 1]], np.float32)
    framed.add(sweep(100 * MS, wall(6.1), misses=up), frames)
    cells = framed.container.cells(1)
    missed = cells.free_misses > 0
    assert cells.free_misses[missed].max() == 1 and 20 < missed.sum() < 40
    assert np.abs(cells.positions()[missed][:, :2]).max() < 1.7
    assert (cells.state()[cells.hits > 0] == OCCUPIED).all() and cells.free_passes.sum() > 500


def test_hits_only_free_nothing() -> None:
    framed = FramedContainer(CONFIG, OPTIONS)
    framed.add(sweep(100 * MS, wall(6.1), hits_only=True), moving())
    assert not framed.container.cells(1).free_passes.any() and len(framed.container) > 0


def test_points_with_times_are_where_they_were() -> None:
    """A wall seen while driving: each point from where the lidar was at its own time."""
    frames, config = moving(), CONFIG
    offsets = np.linspace(0, 90 * MS, len(wall(0))).astype(np.int32)
    world = wall(15.1)
    points = world.copy()
    points[:, 0] -= np.float32(1.0) + offsets.astype(np.float32) * np.float32(1e-8)
    timed = sweep(100 * MS, points, time_offset_ns=offsets)
    deskewed, skewed = (
        FramedContainer(config, OPTIONS),
        FramedContainer(
            dataclasses.replace(config, sweep=dataclasses.replace(config.sweep, deskew="off")), OPTIONS
        ),
    )
    for framed in (deskewed, skewed):
        framed.add(timed, frames)
    spread = [
        np.ptp(framed.container.cells(0).centroids()[framed.container.cells(0).hits > 0][:, 0])
        for framed in (deskewed, skewed)
    ]
    assert spread[0] < 0.01 and spread[1] > 0.5
    assert deskewed.container.cells(1).free_passes.sum() > 500


def test_labels_of_points_become_counts_and_return() -> None:
    column = Column(name="class", categories=("wall", "door"))
    framed = FramedContainer(CONFIG, dataclasses.replace(OPTIONS, columns=(column,)))
    points, frames = wall(6.1), moving(0.0)
    label = (points[:, 1] > 0).astype(np.int64)
    label[0] = -1
    framed.add(sweep(100 * MS, points), frames, {"class": label})
    cells = framed.container.cells(0)
    assert cells.values("class").sum() == len(points) - 1
    place = framed.point_map()
    hit = cells.hits > 0
    back = place.to_points(most_frequent(cells.values("class")[hit]), -1)
    agree = back == (points[:, 1] > 0)
    assert agree.mean() > 0.9
    with pytest.raises(KeyError, match="no column of categories 'kind'"):
        framed.add(sweep(200 * MS, points), frames, {"kind": label})
    with pytest.raises(ValueError, match="label: expected 96 points"):
        framed.add(sweep(200 * MS, points), frames, {"class": label[1:]})
    assert framed.container.records == 1


def test_a_missing_pose_changes_nothing() -> None:
    frames, framed = moving(), FramedContainer(CONFIG, NEAR, center="car")
    with pytest.raises(NotYet):
        framed.add(sweep(2000 * MS, wall(6.1)), frames)
    with pytest.raises(BeforeFirstError):
        framed.add(sweep(5 * MS, wall(6.1), time_offset_ns=np.full(96, -50 * MS, np.int32)), frames)
    far = FrameRegistry(max_gap_ns=10**9)
    for child in ("lidar", "car"):
        far.add(dataclasses.replace(transform(child, 0, 1e9), static=True))
    with pytest.raises(RangeError):
        framed.add(sweep(100 * MS, wall(6.1)), far)
    assert (framed.container.records, len(framed.container)) == (0, 0)


def test_what_cannot_be_placed_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"grid\.map_frame: 'truck' has no 8-bit id"):
        FramedContainer(CONFIG, OPTIONS, frame="truck")
    with pytest.raises(ValueError, match="center: 'car' cannot be followed"):
        FramedContainer(CONFIG, OPTIONS, center="car")


# ---- binned records of several robots


def records_of(config: Config, sweeps: int = 12) -> list[Binned]:
    return of_type(perceived(config, sweeps), Binned)


def test_records_of_two_robots_merge_into_one_map() -> None:
    config = config_of()
    one = records_of(config)
    two = [dataclasses.replace(record, stream_id="other/lidar", robot_id="other") for record in one[::2]]
    grid, options = grid_of(config), ContainerOptions(levels=3)
    apart = []
    for records in (one, two):
        container = Container(grid, options)
        for record in records:
            container.add(key_of(record), rows_of(record))
        apart.append(container)
    together = Container(grid, options)
    for record in [*two[::-1], *one]:
        together.add(key_of(record), rows_of(record))
    merged = Container(grid, options)
    for part in apart[::-1]:
        merged.merge(part)
    assert merged.keys() == together.keys() and merged.records == len(one) + len(two)
    for level in range(3):
        a, b = merged.cells(level), together.cells(level)
        assert np.array_equal(a.cell_id, b.cell_id) and np.array_equal(a.sums, b.sums)
    assert merged.unmerge(apart[1]) == Counts(removed=len(two))
    assert np.array_equal(merged.cells(0).hits, apart[0].cells(0).hits)


def test_a_map_of_records_holds_what_the_rolling_container_holds() -> None:
    config = config_of()
    records = records_of(config, 8)
    rolling, container = RollingContainer(config), Container(grid_of(config), ContainerOptions(levels=2))
    for record in records:
        rolling.fold(record)
        container.add(key_of(record), rows_of(record))
    for level in range(2):
        want, got = rolling.coarser(level), container.cells(level)
        hit = got.hits > 0
        assert np.array_equal(got.cell_id[hit], want.cell_id[want.hits > 0])
        assert np.array_equal(got.sums[hit], want.sums[want.hits > 0])


def test_a_source_is_a_number_of_the_stream() -> None:
    assert source_of("robot/lidar") == source_of("robot/lidar") != source_of("robot/radar")
    assert 0 <= source_of("robot/lidar") < 2**64


def test_free_cells_in_parts_add_up() -> None:
    a = FreeCells(
        cell_id=np.array([3, 5], np.uint64), passes=np.array([1, 2], np.uint32), misses=np.zeros(2, np.uint32)
    )
    b = FreeCells(
        cell_id=np.array([5, 9], np.uint64), passes=np.array([4, 1], np.uint32), misses=np.ones(2, np.uint32)
    )
    both = united([a, b])
    assert both.cell_id.tolist() == [3, 5, 9] and both.passes.tolist() == [1, 6, 1]
    assert both.misses.tolist() == [0, 1, 1] and united([a]) is a
