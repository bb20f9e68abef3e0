"""LAS and LAZ files written by laspy: coordinates, stamps, poses, and broken files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import laspy
import numpy as np
import pytest
from laspy.vlrs.known import GeoKeyDirectoryVlr, GeoKeyEntryStruct, WktCoordinateSystemVlr
from numpy.typing import NDArray

from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceInfo, SourceOptions
from stream.sources.hit_files import PART_POINTS
from stream.sweep import Sweep
from stream.transform import Transform

CORNER = np.array([457_000.25, 5_428_000.75, -12.5])
"""A place in UTM 32 N: float32 alone would place it to half a metre."""

WKT = 'PROJCS["WGS 84 / UTM zone 32N",AUTHORITY["EPSG","32632"]]'
GPS_S = 1_000_000_000 + 315_964_800
MOUNT = "0 -1 0 457010 1 0 0 5428005 0 0 1 -10\n"
"""Where the sensor stood: a quarter turn to the left, 9.75 m east and 4.25 m north of CORNER."""

SUFFIXES = pytest.mark.parametrize("suffix", ["las", "laz"])


def places(count: int = 40, seed: int = 1) -> NDArray[np.float64]:
    """Float64 (N, 3), whole millimetres within 30 m of CORNER, which is one of them."""
    spread = np.random.default_rng(seed).integers(0, 30_000, (count, 3)) / 1000
    spread[0] = 0
    return CORNER + spread


def write(
    path: Path,
    points: NDArray[np.float64] | None = None,
    times: NDArray[np.float64] | None = None,
    *,
    point_format: int = 6,
    records: tuple[Any, ...] = (),
    week_time: bool = False,
) -> Path:
    points = places() if points is None else points
    header = laspy.LasHeader(point_format=point_format, version="1.4")
    header.scales, header.offsets = np.full(3, 0.001), np.floor(CORNER)
    header.vlrs.extend(records)
    if not week_time:
        header.global_encoding.gps_time_type = laspy.header.GpsTimeType.STANDARD
    cloud = laspy.LasData(header)
    cloud.x, cloud.y, cloud.z = points.T
    cloud.intensity = np.arange(len(points), dtype=np.uint16) * 100
    if times is not None:
        cloud.gps_time = times
    cloud.write(str(path))
    return path


def source_of(location: Path, **options: object) -> Any:
    return open_source(str(location), SourceOptions(**options))  # type: ignore[arg-type]


def only_sweep(items: list[Item]) -> Sweep:
    (sweep,) = (item for item in items if isinstance(item, Sweep))
    return sweep


def info_of(location: Path, **options: object) -> SourceInfo:
    info: SourceInfo = source_of(location, **options).info()
    return info


@SUFFIXES
def test_points_keep_their_millimetres(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}")
    info = info_of(path, rate_hz=10)
    assert (info.format, info.sweeps, info.topics) == ("las", 1, {f"*.{suffix}": ("las", 1)})
    assert info.origin == (457_000.0, 5_428_000.0, -13.0)
    assert info.start_ns == info.end_ns == 1_000_000_000
    sweep = only_sweep(list(source_of(path, rate_hz=10)))
    assert (sweep.stream_id, sweep.frame, sweep.stamp_ns) == ("robot/las", "las", 1_000_000_000)
    middle = np.floor((places().min(axis=0) + places().max(axis=0)) / 2)
    assert np.abs(sweep.points + middle - places()).max() < 2e-6
    assert (sweep.points[0] + middle).tolist() == CORNER.tolist()
    assert np.array_equal(sweep.intensity, 100.0 * np.arange(40, dtype=np.float32))
    assert sweep.points.flags.c_contiguous


@SUFFIXES
def test_a_folder_has_one_origin(tmp_path: Path, suffix: str) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.{suffix}", places() + 100.0 * number)
    items = list(source_of(tmp_path, rate_hz=2))
    moves, sweeps = items[::2], items[1::2]
    assert [
        (move.translation, sweep.points[0] + move.translation)
        for move, sweep in zip(moves, sweeps, strict=True)
    ] == [
        (moves[0].translation, pytest.approx([0.25 + shift, 0.75 + shift, 0.5 + shift], abs=1e-5))
        for shift in (0, 100, 200)
    ]
    assert [item.stamp_ns for item in sweeps] == [1_000_000_000, 1_500_000_000, 2_000_000_000]


def test_without_poses_there_are_hits_and_no_rays(tmp_path: Path) -> None:
    """A place in a map does not say where the sensor stood, so no ray may be cast from anywhere."""
    path = write(tmp_path / "a.las")
    info = info_of(path)
    assert info.root_frame == "odom"
    move, sweep = source_of(path, rate_hz=1)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert sweep.hits_only
    assert move.rotation == (0.0, 0.0, 0.0, 1.0)
    back = sweep.points.astype(np.float64) + move.translation + info.origin
    assert np.abs(back - places()).max() < 3e-6


def test_a_large_file_without_poses_comes_in_parts(tmp_path: Path) -> None:
    path = write(tmp_path / "a.las", places(PART_POINTS + 5))
    parts = [item for item in source_of(path, rate_hz=1) if isinstance(item, Sweep)]
    assert [(part.part, part.parts, part.hits_only) for part in parts] == [(0, 2, True), (1, 2, True)]
    assert sum(len(part.points) for part in parts) == PART_POINTS + 5
    (tmp_path / "poses.txt").write_text(MOUNT)
    assert only_sweep(list(source_of(path, rate_hz=1))).parts == 1


def test_poses_say_where_the_sensor_stood(tmp_path: Path) -> None:
    path = write(tmp_path / "a.las")
    (tmp_path / "poses.txt").write_text(MOUNT)
    assert info_of(path).root_frame == "odom"
    move, sweep = source_of(path, rate_hz=1)
    assert isinstance(move, Transform) and isinstance(sweep, Sweep)
    assert not sweep.hits_only
    assert (move.parent, move.child, move.stamp_ns) == ("odom", "las", sweep.stamp_ns)
    assert move.translation == (10.0, 5.0, 3.0)
    x, y, z = CORNER - [457_010, 5_428_005, -10]
    assert sweep.points[0].tolist() == pytest.approx([y, -x, z], abs=1e-6)
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])
    back = sweep.points.astype(np.float64) @ turn.T + [457_010, 5_428_005, -10]
    assert np.abs(back - places()).max() < 3e-6


def test_poses_must_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.las")
    (tmp_path / "p.txt").write_text(MOUNT * 2)
    with pytest.raises(SourceError, match="2 poses for 1 sweeps"):
        list(source_of(path, rate_hz=1, poses=tmp_path / "p.txt"))


@SUFFIXES
def test_stamps_and_offsets_from_gps_time(tmp_path: Path, suffix: str) -> None:
    times = 350_000_000.5 + np.arange(40) / 512
    path = write(tmp_path / f"a.{suffix}", times=times)
    assert info_of(path).start_ns is None
    sweep = only_sweep(list(source_of(path)))
    assert sweep.stamp_ns == (350_000_000 + GPS_S) * 10**9 + 500_000_000
    assert sweep.time_offset_ns is not None
    assert sweep.time_offset_ns.tolist() == [round(number / 512 * 1e9) for number in range(40)]
    assert sweep.time_offset_ns.dtype == np.int32
    assert only_sweep(list(source_of(path, rate_hz=1))).stamp_ns == 1_000_000_000


@pytest.mark.parametrize("times", [np.arange(40) + 5.0, 5.0 + (np.arange(40) * 7 % 40) / 512])
def test_offsets_that_are_too_long_or_out_of_order_are_left_out(
    tmp_path: Path, times: NDArray[np.float64]
) -> None:
    sweep = only_sweep(list(source_of(write(tmp_path / "a.las", times=times))))
    assert (sweep.stamp_ns, sweep.time_offset_ns) == ((5 + GPS_S) * 10**9, None)


def test_time_of_the_week_counts_from_its_beginning(tmp_path: Path) -> None:
    path = write(tmp_path / "a.las", times=np.full(40, 300_000.25), week_time=True)
    assert only_sweep(list(source_of(path))).stamp_ns == 300_000_250_000_000
    unset = write(tmp_path / "b.las", week_time=True)
    (rejected,) = source_of(unset)
    assert isinstance(rejected, SweepRejected)
    assert rejected.detail == "b.las: GPS time 0..0 s is not a time; give --rate-hz"


def test_point_formats_without_time_need_a_rate(tmp_path: Path) -> None:
    path = write(tmp_path / "a.las", point_format=0)
    with pytest.raises(SourceError, match="the sweeps have no stamps; give --rate-hz"):
        list(source_of(path))
    assert only_sweep(list(source_of(path, rate_hz=1))).time_offset_ns is None
    write(tmp_path / "0.las", times=np.full(40, 5.0))
    _, first, second = source_of(tmp_path)
    assert isinstance(first, Sweep) and isinstance(second, SweepRejected)
    assert second.detail == "a.las: point format 0 has no GPS time; give --rate-hz"


def geo_keys(key: int, code: int) -> GeoKeyDirectoryVlr:
    record = GeoKeyDirectoryVlr()
    entry = GeoKeyEntryStruct()
    entry.id, entry.tiff_tag_location, entry.count, entry.value_offset = key, 0, 1, code
    record.geo_keys = [entry]
    record.geo_keys_header.number_of_keys = 1
    return record


@pytest.mark.parametrize(
    ("records", "crs"),
    [
        ((), None),
        ((WktCoordinateSystemVlr(WKT),), WKT),
        ((geo_keys(3072, 32632),), "EPSG:32632"),
        ((geo_keys(2048, 4326),), "EPSG:4326"),
        ((geo_keys(3072, 32767),), None),
        ((geo_keys(3072, 25832), WktCoordinateSystemVlr(WKT)), WKT),
    ],
)
def test_coordinate_reference_systems(tmp_path: Path, records: tuple[Any, ...], crs: str | None) -> None:
    assert info_of(write(tmp_path / "a.las", records=records)).crs == crs


@SUFFIXES
def test_a_file_without_points(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}", np.empty((0, 3)))
    assert info_of(path).origin == (457_000.0, 5_428_000.0, -13.0)
    assert only_sweep(list(source_of(path, rate_hz=1))).points.shape == (0, 3)
    (rejected,) = source_of(path)
    assert isinstance(rejected, SweepRejected)
    assert rejected.detail == f"a.{suffix}: no points, so no GPS time; give --rate-hz"


@SUFFIXES
def test_a_broken_first_file_is_refused_in_one_line(tmp_path: Path, suffix: str) -> None:
    whole = write(tmp_path / "whole.las").read_bytes()
    path = tmp_path / f"a.{suffix}"
    for content, message in (
        (b"", "the file is empty"),
        (b"PK\x03\x04" * 90, "not a LAS file: it does not begin with LASF"),
        (whole[:4], "cut off: 4 bytes of a header of 105 at least"),
        (whole[:200], "cut off: 200 bytes where 0 records of variable length take 375"),
        (whole[:104] + b"\x2a" + whole[105:], "cannot be read: "),
        (whole[:-1], f"cut off: {len(whole) - 1} bytes where the header announces {len(whole)}"),
        (whole[:247] + b"\xff" * 8 + whole[255:], "points exceed the cap of 100000000"),
        (whole[:187] + np.float64(np.nan).tobytes() + whole[195:], "is not within 1e[+]09 m"),
        (whole[:187] + np.float64(1e300).tobytes() + whole[195:], "is not within 1e[+]09 m"),
    ):
        path.write_bytes(content)
        with pytest.raises(SourceError, match=message) as caught:
            source_of(path)
        assert str(caught.value).startswith(f"{path}: ")
        assert "\n" not in str(caught.value)


@SUFFIXES
@pytest.mark.timeout(20)
def test_records_that_are_not_there_take_neither_time_nor_memory(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.{suffix}")
    data = bytearray(path.read_bytes())
    data[100:104] = b"\xff\xff\xff\x7f"
    path.write_bytes(data)
    with pytest.raises(
        SourceError, match=r"cut off: \d+ bytes where 2147483647 records of variable length take"
    ):
        source_of(path)


@SUFFIXES
def test_a_broken_later_file_is_rejected_and_the_rest_is_read(tmp_path: Path, suffix: str) -> None:
    content = write(tmp_path / f"0.{suffix}").read_bytes()
    (tmp_path / f"1.{suffix}").write_bytes(content[:-30])
    (tmp_path / f"2.{suffix}").write_bytes(content)
    _, first, broken, _, last = source_of(tmp_path, rate_hz=1)
    assert isinstance(first, Sweep) and isinstance(last, Sweep)
    assert isinstance(broken, SweepRejected)
    assert (broken.reason, broken.stamp_ns, broken.stream_id) == ("corrupt", 2_000_000_000, "robot/las")
    assert broken.detail.startswith(f"1.{suffix}: ")


@SUFFIXES
@pytest.mark.parametrize("cut", [False, True])
def test_damage_anywhere_is_said_in_one_line(tmp_path: Path, suffix: str, cut: bool) -> None:
    records = (geo_keys(3072, 32632), WktCoordinateSystemVlr(WKT))
    sound = write(tmp_path / f"whole.{suffix}", places(400), records=records)
    whole, wanted = sound.read_bytes(), only_sweep(list(source_of(sound, rate_hz=1)))
    path, rng = tmp_path / f"a.{suffix}", np.random.default_rng(7)
    outcomes: Counter[str] = Counter()
    for _ in range(300):
        content = bytearray(whole)
        place = int(rng.integers(len(whole) if rng.random() < 0.3 else 700))
        if cut:
            del content[place:]
        else:
            content[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(content)
        try:
            items = list(source_of(path, rate_hz=1))
        except SourceError as error:
            outcomes["error"] += 1
            assert "\n" not in str(error)
            continue
        item = items[-1]
        assert [type(before) for before in items[:-1]] == [Transform] * isinstance(item, Sweep)
        outcomes[type(item).__name__] += 1
        assert isinstance(item, Sweep) or "\n" not in item.detail
        if cut and isinstance(item, Sweep):  # LAZ keeps a table of its chunks behind the points
            assert suffix == "laz" and item.points.tobytes() == wanted.points.tobytes()
    assert outcomes["error"] > 5
    assert outcomes["Sweep"] + outcomes["SweepRejected"] > 5 or (cut and suffix == "las")


def test_laz_without_its_package_is_said_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a.laz")
    write(tmp_path / "b.las")
    monkeypatch.setattr("stream.sources.las.find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError) as caught:
        source_of(tmp_path / "a.laz")
    assert caught.value.name == "lazrs"
    assert info_of(tmp_path / "b.las").sweeps == 1
