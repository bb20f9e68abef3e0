"""PCD files and the folder they lie in."""

from __future__ import annotations

import shutil
import struct
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from pypcd4 import Encoding, PointCloud

from stream.codecs.cdr import CodecError
from stream.records import SweepRejected
from stream.sources import open_source
from stream.sources.base import Item, SourceError, SourceOptions
from stream.sources.pcd import decode_pcd
from stream.sweep import Sweep
from stream.transform import Transform
from tests.data import data_path
from tests.stream.test_unpacked import memory_below

TEN_HZ = SourceOptions(rate_hz=10)
POSE = "1 0 0 0 0 1 0 0 0 0 1 0\n"
ENCODINGS = [Encoding.ASCII, Encoding.BINARY, Encoding.BINARY_COMPRESSED]


def pcd(table: NDArray[np.float32], encoding: Encoding = Encoding.BINARY) -> bytes:
    file = BytesIO()
    PointCloud.from_xyzi_points(table).save(file, encoding)
    return file.getvalue()


def table_of(count: int, seed: int = 1) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 20, (count, 4)).astype(np.float32)


def folder_of(tmp_path: Path, sweeps: int = 3) -> Path:
    folder = tmp_path / "log"
    folder.mkdir()
    for number in range(sweeps):
        (folder / f"{number:03}.pcd").write_bytes(pcd(table_of(10, number)))
    (folder / "poses.txt").write_text(POSE * sweeps)
    return folder


def items_of(folder: Path, options: SourceOptions = TEN_HZ) -> list[Item]:
    return list(open_source(str(folder), options))


@pytest.mark.data
def test_recorded_folder() -> None:
    folder = data_path("kitti_pcd")
    source = open_source(str(folder), SourceOptions(robot_id="k", rate_hz=10, first_stamp_ns=5))
    info = source.info()
    assert (info.format, info.sweeps, info.root_frame) == ("pcd", 22, "odom")
    assert (info.start_ns, info.end_ns, info.sensor_frames) == (5, 2_100_000_005, ("velodyne",))
    items = list(source)
    poses = np.loadtxt(folder / "poses.txt")
    assert len(items) == 44
    for number, (move, sweep) in enumerate(zip(items[::2], items[1::2], strict=True)):
        assert isinstance(move, Transform)
        assert isinstance(sweep, Sweep)
        assert move.stamp_ns == sweep.stamp_ns == 5 + number * 100_000_000
        assert (move.parent, move.child, sweep.frame) == ("odom", "velodyne", "velodyne")
        assert sweep.stream_id == "k/velodyne"
        assert move.translation == pytest.approx(poses[number, [3, 7, 11]], abs=1e-12)
        content = (folder / f"{number:010}.pcd").read_bytes()
        count = int(content.split(b"POINTS ")[1].split(b"\n")[0])
        start = content.index(b"DATA binary\n") + 12
        table = np.frombuffer(content, "<f4", 4 * count, start).reshape(-1, 4)
        assert np.array_equal(sweep.points, table[:, :3])
        assert np.array_equal(sweep.intensity, table[:, 3])


@pytest.mark.data
def test_truncated_file_of_the_recorded_folder(tmp_path: Path) -> None:
    content = (data_path("kitti_pcd") / "0000000000.pcd").read_bytes()
    count = int(content.split(b"POINTS ")[1].split(b"\n")[0])
    end = content.index(b"DATA binary\n") + 12 + 16 * count
    assert len(decode_pcd(content[:end])[0]) == count
    with pytest.raises(CodecError, match="points cannot be read"):
        decode_pcd(content[: end - 1])


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("padding", [b"", b"\0" * 7, b"\0" * 4096])
@pytest.mark.parametrize("count", [1, 2, 100])
def test_encodings_and_padding(encoding: Encoding, padding: bytes, count: int) -> None:
    table = table_of(count)
    points, intensity = decode_pcd(pcd(table, encoding) + (b"" if encoding == Encoding.ASCII else padding))
    assert points.dtype == intensity.dtype == np.float32
    assert points == pytest.approx(table[:, :3], rel=1e-6)
    assert intensity == pytest.approx(table[:, 3], rel=1e-6)


def header(fields: str, size: str, kind: str, count: str, points: int, data: str) -> bytes:
    return (
        f"# comment\nVERSION 0.7\nFIELDS {fields}\nSIZE {size}\nTYPE {kind}\nCOUNT {count}\n"
        f"WIDTH {points}\nHEIGHT 1\nVIEWPOINT 0 0 0 1 0 0 0\nPOINTS {points}\nDATA {data}\n"
    ).encode()


def test_ascii_with_nan_spaces_and_more_lines_than_points() -> None:
    content = header("x y z", "4 4 4", "F F F", "1 1 1", 2, "ascii") + b"1 2  3 \nnan nan nan\n7 8 9\n\n"
    points, intensity = decode_pcd(content)
    assert points[0].tolist() == [1.0, 2.0, 3.0]
    assert np.isnan(points[1]).all()
    assert intensity.tolist() == [0.0, 0.0]


def test_other_types_padding_fields_and_times() -> None:
    dtype = np.dtype([("t", "<f8"), ("z", "<f8"), ("_", "V3"), ("x", "<i2"), ("y", "<f4"), ("i", "u1")])
    table = np.zeros(2, dtype)
    for place, name in enumerate(("x", "y", "z", "i")):
        table[name] = [place + 1, place + 5]
    table["t"] = 1.7e9
    content = header("timestamp z _ x y intensity", "8 8 1 2 4 1", "F F U I F U", "1 1 3 1 1 1", 2, "binary")
    points, intensity = decode_pcd(content + table.tobytes())
    assert points.tolist() == [[1.0, 2.0, 3.0], [5.0, 6.0, 7.0]]
    assert intensity.tolist() == [4.0, 8.0]


def test_no_points() -> None:
    points, intensity = decode_pcd(header("x y z", "4 4 4", "F F F", "1 1 1", 0, "binary"))
    assert (points.shape, intensity.shape) == ((0, 3), (0,))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"ply\nformat ascii\n", "not a PCD file"),
        (b"\0" * 100_000, "not a PCD file"),
        (header("x y", "4 4", "F F", "1 1", 0, "binary"), "no z among the fields"),
        (header("x y z", "4 4", "F F F", "1 1 1", 0, "binary"), "differ in length"),
        (header("x y z", "4 4 3", "F F F", "1 1 1", 1, "binary"), "points cannot be read"),
        (header("x y z", "4 4 4", "F F X", "1 1 1", 1, "binary"), "PCD header"),
        (header("x y z", "4 4 4", "F F F", "1 1 1", 1, "zipped"), "PCD header"),
        (header("x y z", "4 4 4", "F F F", "1 1 1", 10**12, "binary_compressed"), "exceeds the cap"),
        (header("x y z", "4 4 4", "F F F", "1 1 1", 3, "ascii") + b"1 2 3\n", "1 points where .* POINTS 3"),
        (header("x y z", "4 4 4", "F F F", "1 1 1", 1, "ascii"), "0 points where .* POINTS 1"),
        (header("x y z", "4 4 4", "F F F", "1 1 1", 1, "ascii") + b"1 2 three\n", "points cannot be read"),
        (header("x y z", "8 4 4", "I F F", "1 1 1", 1, "binary") + bytes(16), "field x: datatype 0"),
        (
            header("x y z d", "4 4 4 1", "F F F U", "1 1 1 65525", 1, "ascii"),
            "COUNT 65525 of field d: a point",
        ),
    ],
)
def test_broken_files(content: bytes, message: str) -> None:
    with pytest.raises(CodecError, match=message) as caught:
        decode_pcd(content)
    assert "\n" not in str(caught.value)


DATA = [name.value for name in ENCODINGS]


@pytest.mark.parametrize("data", DATA)
def test_a_long_field_takes_no_memory(data: str) -> None:
    content = header("x y z d", "4 4 4 4", "F F F F", "1 1 1 200000", 1, data)
    with memory_below(1 << 20), pytest.raises(CodecError, match="COUNT 200000 of field d: a point exceeds"):
        decode_pcd(content + bytes(8))


def test_the_longest_descriptor_of_pcl_beside_a_point() -> None:
    content = header("x y z gasd", "4 4 4 4", "F F F F", "1 1 1 7992", 2, "binary")
    table = np.arange(2 * 7995, dtype=np.float32).reshape(2, 7995)
    assert decode_pcd(content + table.tobytes())[0].tolist() == [[0, 1, 2], [7995, 7996, 7997]]


def test_ten_lines_before_others_are_no_second_header() -> None:
    """pypcd4 reads the ten first lines that are no comments, and what is not said by them it guesses."""
    before = header("x y z d", "4 4 4 4", "F F F F", "1 1 1 200000", 1, "ascii").rpartition(b"DATA")[0]
    after = header("x y z d", "4 4 4 4", "F F F F", "1 1 1 1", 1, "binary_compressed")
    packed = struct.pack("<II", 18, 16) + b"\x0f" + np.float32([1, 2, 3, 4]).tobytes()
    with memory_below(1 << 20):
        assert decode_pcd(before + after + packed)[0].tolist() == [[1, 2, 3]]


def test_one_packed_value_is_not_spread_over_all_points() -> None:
    content = header("x y z", "4 4 4", "F F F", "1 1 1", 2_000_000, "binary_compressed")
    packed = struct.pack("<II", 6, 4) + b"\x03" + bytes(4)
    with (
        memory_below(1 << 20),
        pytest.raises(CodecError, match="4 bytes unpacked where POINTS 2000000 take 12 each"),
    ):
        decode_pcd(content + packed)


@given(st.sampled_from(ENCODINGS), st.data())
@settings(max_examples=300, deadline=None)
def test_changed_and_cut_files_decode_or_raise_codec_error(encoding: Encoding, data: st.DataObject) -> None:
    content = bytearray(pcd(table_of(6), encoding))
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        points, intensity = decode_pcd(bytes(content[: data.draw(st.integers(0, len(content)))]))
    except CodecError as error:
        assert "\n" not in str(error)
    else:
        assert len(points) == len(intensity)


def test_a_broken_file_is_rejected_and_the_rest_is_read(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 4)
    (folder / "001.pcd").write_bytes(b"")
    (folder / "002.pcd").write_bytes(pcd(table_of(10))[:-1])
    items = items_of(folder)
    assert [type(item).__name__ for item in items[1::2]] == [
        "Sweep",
        "SweepRejected",
        "SweepRejected",
        "Sweep",
    ]
    empty = items[3]
    assert isinstance(empty, SweepRejected)
    assert (empty.reason, empty.detail) == ("corrupt", "001.pcd: the file is empty")
    assert (empty.stream_id, empty.stamp_ns) == ("robot/velodyne", 1_100_000_000)


def test_name_order_and_other_files(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 2)
    (folder / "001.pcd").rename(folder / "999.PCD")
    (folder / "notes.md").write_text("hello")
    (folder / "._000.pcd").write_bytes(b"what some file systems leave behind")
    first, second = (item for item in items_of(folder) if isinstance(item, Sweep))
    assert first.points == pytest.approx(table_of(10, 0)[:, :3])
    assert second.points == pytest.approx(table_of(10, 1)[:, :3])


def test_stamps_of_other_rates(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 4)
    sweeps = items_of(folder, SourceOptions(rate_hz=30, first_stamp_ns=1))[1::2]
    stamps = [sweep.stamp_ns for sweep in sweeps if isinstance(sweep, Sweep)]
    assert stamps == [1, 33_333_334, 66_666_668, 100_000_001]


def test_rate_is_needed_to_read_but_not_to_describe(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    info = open_source(str(folder), SourceOptions()).info()
    assert (info.sweeps, info.start_ns, info.end_ns) == (3, None, None)
    with pytest.raises(SourceError, match="no stamps; give --rate-hz"):
        iter(open_source(str(folder), SourceOptions()))
    for rate in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(SourceError, match="rate_hz"):
            items_of(folder, SourceOptions(rate_hz=rate))
    with pytest.raises(SourceError, match="stamps 0"):
        items_of(folder, SourceOptions(rate_hz=10, first_stamp_ns=0))


def test_poses_are_needed_to_read_but_not_to_describe(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    elsewhere = tmp_path / "p.txt"
    shutil.move(folder / "poses.txt", elsewhere)
    assert open_source(str(folder), TEN_HZ).info().root_frame is None
    with pytest.raises(SourceError, match=r"no poses.txt beside the sweeps; name the pose file with --poses"):
        iter(open_source(str(folder), TEN_HZ))
    assert len(items_of(folder, SourceOptions(rate_hz=10, poses=elsewhere))) == 6
    with pytest.raises(SourceError, match="no such pose file"):
        items_of(folder, SourceOptions(rate_hz=10, poses=tmp_path / "q.txt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (POSE * 2, r"poses.txt: 2 poses for 3 sweeps"),
        ("", "the pose file is empty"),
        (POSE + "1 0 0 0 0 1 0 0 0 0 1\n" + POSE, "line 2: 11 numbers, expected 12"),
        (POSE + POSE + POSE.replace("1", "one"), "line 3: could not convert"),
        (POSE + POSE + POSE.replace("1", "2"), "line 3: not a rigid pose"),
        (POSE + POSE + POSE.replace("0", "nan", 1), "line 3: not a rigid pose"),
    ],
)
def test_broken_pose_files(tmp_path: Path, text: str, message: str) -> None:
    folder = folder_of(tmp_path)
    (folder / "poses.txt").write_text(text)
    with pytest.raises(SourceError, match=message) as caught:
        items_of(folder)
    assert "\n" not in str(caught.value)


def test_one_file(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, 1)
    assert len(items_of(folder / "000.pcd")) == 2
    (folder / "000.pcd").write_bytes(b"")
    with pytest.raises(SourceError, match=r"000.pcd: the file is empty"):
        items_of(folder / "000.pcd")


def test_open_source_refuses_in_one_line(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    empty, other, mixed = tmp_path / "empty", tmp_path / "other", tmp_path / "mixed"
    for place in (empty, other, mixed):
        place.mkdir()
    (other / "a.e57").write_bytes(b"ASTM-E57")
    shutil.copy(folder / "000.pcd", mixed)
    (mixed / "0.bin").write_bytes(bytes(16))
    for location, message in (
        (tmp_path / "missing.mcap", "no such file or folder"),
        (tmp_path / "missing", "no such file or folder"),
        (empty, "the folder is empty; expected an MCAP log"),
        (other, "holds no sweeps; expected"),
        (other / "a.e57", r"unknown format \.e57; expected"),
        (mixed, r"holds \.pcd and \.bin files"),
    ):
        with pytest.raises(SourceError, match=message) as caught:
            open_source(str(location), SourceOptions())
        assert str(caught.value).startswith(str(location))
        assert "\n" not in str(caught.value)
