"""Poses made of the sweeps: against poses that are known, and where sweeps do not fit each other."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from stream.frames import FrameRegistry
from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Damage, Item, Source, SourceError, SourceInfo, SourceOptions
from stream.sources.odometry import PAUSE_NS, Odometry
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path

Array = NDArray[np.float64]
CITY = "sim:city?sweeps=10&beams=64&azimuths=1024&seed=2"


@dataclass(frozen=True)
class Items:
    """A source of these items."""

    items: list[Item]

    def info(self) -> SourceInfo:
        return SourceInfo(location="items", format="list", sweeps=None, start_ns=None, end_ns=None)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)


def poses_of(transforms: list[Transform], stamps: list[int], frame: str) -> list[Array]:
    """Sensor to odom, 4 x 4 each."""
    frames = FrameRegistry(max_gap_ns=10**9)
    for transform in transforms:
        frames.add(transform)
    rows = [frames.look_up("odom", frame, stamp).reshape(3, 4) for stamp in stamps]
    return [np.vstack([row, [0, 0, 0, 1]]) for row in rows]


def steps(poses: list[Array]) -> list[Array]:
    return [np.linalg.inv(before) @ after for before, after in pairwise(poses)]


def errors_m(found: list[Array], true: list[Array]) -> list[float]:
    """How far each step from sweep to sweep is off."""
    pairs = zip(steps(found), steps(true), strict=True)
    return [float(np.linalg.norm((np.linalg.inv(right) @ step)[:3, 3])) for step, right in pairs]


def compared(location: str, rate_hz: float | None = None) -> tuple[list[Array], list[Array]]:
    """Poses by odometry and those of the log, where odometry gives any."""
    log = list(open_source(location, SourceOptions(rate_hz=rate_hz)))
    made = list(open_source(location, SourceOptions(rate_hz=rate_hz, odometry=True)))
    own = [item for item in made if isinstance(item, Transform)]
    assert [type(item) for item in made] == [Transform, Sweep] * len(own)
    stamps, frame = [item.stamp_ns for item in own], own[0].child
    return poses_of(own, stamps, frame), poses_of(
        [item for item in log if isinstance(item, Transform)], stamps, frame
    )


@pytest.mark.data
@pytest.mark.parametrize(("name", "rate_hz", "count"), [("kitti_pcd", 10.0, 22)])
def test_recorded_sweeps_get_the_poses_that_kiss_icp_gave_them(name: str, rate_hz: float, count: int) -> None:
    """The poses of this log come from the same program: frames and stamps lose nothing of them."""
    found, true = compared(str(data_path(name)), rate_hz)
    assert len(found) == count
    assert max(errors_m(found, true)) < 1e-6


@pytest.mark.long
def test_a_drive_through_a_city_is_found_again() -> None:
    """Poses are known here, and not by odometry."""
    found, true = compared(CITY)
    way = sum(np.linalg.norm(step[:3, 3]) for step in steps(true))
    end = np.linalg.inv(np.linalg.inv(true[0]) @ true[-1]) @ np.linalg.inv(found[0]) @ found[-1]
    assert way > 6
    assert np.linalg.norm(end[:3, 3]) < 0.06 * way


def test_the_same_sweeps_give_the_same_bits() -> None:
    source = Odometry(Items([*sweeps_of(CITY, 4)]))
    first, second = ([item for item in source if isinstance(item, Transform)] for _ in range(2))
    assert len(first) == 4 and first == second


def sweeps_of(location: str, count: int) -> list[Sweep]:
    return [item for item in open_source(location) if isinstance(item, Sweep)][:count]


def test_the_environment_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Odometry(Items([*sweeps_of(CITY, 3)]))
    usual = [item for item in source if isinstance(item, Transform)]
    monkeypatch.setenv("KISS_ICP_MAPPING", '{"voxel_size": 5.0}')
    monkeypatch.setenv("KISS_ICP_DATA", '{"max_range": 20.0}')
    assert [item for item in source if isinstance(item, Transform)] == usual


def test_transforms_of_the_log_are_left_out_and_all_else_is_passed_on() -> None:
    log: list[Item] = list(open_source("sim:city?sweeps=2&azimuths=256"))
    letter = SweepRejected(
        robot_id="robot", stream_id="robot/lidar", stamp_ns=5, part=0, reason="corrupt", detail="x"
    )
    damage = Damage(location="here", detail="cut off")
    found = list(Odometry(Items([letter, *log, damage])))
    assert found[0] is letter and found[-1] is damage
    transforms = [item for item in found if isinstance(item, Transform)]
    assert {(item.parent, item.child, item.static) for item in transforms} == {("odom", "lidar", False)}
    info = Odometry(open_source("sim:city?sweeps=2")).info()
    assert info.root_frame == "odom" and info.odometry is not None and "kiss-icp" in info.odometry


def jumping() -> list[Sweep]:
    """A drive, the next sweeps of which are from another city, far away, and then of the drive again."""
    here, there = (sweeps_of(f"sim:city?sweeps=8&seed={seed}&azimuths=512", 8) for seed in (2, 11))
    return [*here[:4], *there[4:6], *here[6:]]


def test_sweeps_of_another_place_have_no_pose_and_the_drive_goes_on() -> None:
    sweeps = jumping()
    found = list(Odometry(Items([*sweeps])))
    letters = [item for item in found if isinstance(item, SweepRejected)]
    assert [letter.stamp_ns for letter in letters] == [sweep.stamp_ns for sweep in sweeps[4:6]]
    assert {letter.reason for letter in letters} == {"no_pose"}
    assert all(letter.detail.startswith("odometry: ") for letter in letters)
    kept = [item for item in found if isinstance(item, Sweep)]
    assert [sweep.stamp_ns for sweep in kept] == [sweep.stamp_ns for sweep in sweeps[:4] + sweeps[6:]]


def test_where_nothing_fits_for_long_odometry_begins_anew() -> None:
    sweeps = jumping()
    later = [replace(sweep, stamp_ns=sweep.stamp_ns + PAUSE_NS) for sweep in sweeps[4:6]]
    found = list(Odometry(Items([*sweeps[:4], *later])))
    transforms = [item for item in found if isinstance(item, Transform)]
    assert [item.stamp_ns for item in transforms] == [item.stamp_ns for item in (*sweeps[:4], *later)]
    assert [item.resets_map for item in transforms] == [False] * 4 + [True, False]


def test_a_sweep_without_points_has_no_pose() -> None:
    first, second, third = sweeps_of("sim:city?sweeps=3&azimuths=256", 3)
    empty = replace(second, points=second.points[:9], intensity=second.intensity[:9])
    found = list(Odometry(Items([first, empty, third])))
    (letter,) = [item for item in found if isinstance(item, SweepRejected)]
    assert letter.stamp_ns == empty.stamp_ns and "voxels" in letter.detail


def test_a_motorway_that_looks_alike_all_along_is_said_to_tell_nothing() -> None:
    found = list(open_source("sim:highway?sweeps=6", SourceOptions(odometry=True)))
    letters = [item for item in found if isinstance(item, SweepRejected)]
    assert len(letters) >= 3 and all("cannot be told" in letter.detail for letter in letters)


def test_a_repeated_or_late_sweep_moves_nothing() -> None:
    first, second, *_ = sweeps_of("sim:city?sweeps=2&azimuths=256", 2)
    found = list(Odometry(Items([first, second, second, first])))
    assert [type(item) for item in found] == [Transform, Sweep, Transform, Sweep, Sweep, Sweep]


@pytest.mark.long
def test_a_spinning_sensor_is_followed_from_the_middle_of_its_sweeps() -> None:
    found, true = compared("sim:city?sweeps=7&spin=1")
    assert max(errors_m(found, true)[1:]) < 0.2  # 0.3 when seen from their beginning, and growing


def test_two_sensors_of_a_robot_are_refused() -> None:
    (sweep,) = sweeps_of("sim:city?sweeps=1&azimuths=64", 1)
    other = replace(sweep, stream_id="robot/rear")
    with pytest.raises(SourceError, match=r"two sensors, robot/lidar and robot/rear.*--topic"):
        list(Odometry(Items([sweep, other])))


def test_points_of_a_map_are_refused() -> None:
    (sweep,) = sweeps_of("sim:city?sweeps=1&azimuths=64", 1)
    with pytest.raises(SourceError, match="lie in a map"):
        list(Odometry(Items([replace(sweep, hits_only=True)])))


def test_files_without_poses_need_none(tmp_path: Path) -> None:
    sweep, *_ = sweeps_of("sim:city?sweeps=1&azimuths=256", 1)
    table = np.column_stack([sweep.points, sweep.intensity]).astype("<f4")
    for number in range(2):
        (tmp_path / f"{number:06}.bin").write_bytes(table.tobytes())
    with pytest.raises(SourceError, match="--odometry"):
        list(open_source(str(tmp_path), SourceOptions(rate_hz=10)))
    source: Source = open_source(str(tmp_path), SourceOptions(rate_hz=10, odometry=True))
    assert [type(item) for item in source] == [Transform, Sweep] * 2
    (tmp_path / "poses.txt").write_text("not a pose\n")
    assert [type(item) for item in source] == [Transform, Sweep] * 2


def test_without_kiss_icp_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kiss_icp", None)
    with pytest.raises(SourceError, match=r"pip install 'octastream\[odometry\]'"):
        open_source("sim:city?sweeps=1", SourceOptions(odometry=True))
