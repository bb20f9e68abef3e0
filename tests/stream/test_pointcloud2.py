"""PointCloud2: every layout the message allows, and nothing beyond its bytes."""

from __future__ import annotations

import dataclasses
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.codecs.pointcloud2 import (
    DATATYPES,
    CodecError,
    PointCloud2,
    PointField,
    decode,
    decode_cdr,
    encode_cdr,
    header_cdr,
    pack,
    read_cdr,
    write_cdr,
)

STAMP = 1_317_042_272_123_456_789
SIZES = {number: np.dtype(code).itemsize for number, code in DATATYPES.items()}


@st.composite
def layouts(draw: st.DrawFn) -> tuple[PointCloud2, dict[str, Any]]:
    """A cloud with random fields, order, gaps and padding, and the columns it was made from."""
    names = ["x", "y", "z", *draw(st.lists(st.sampled_from(["intensity", "ring", "t", "rgb"]), unique=True))]
    height, width = draw(st.integers(0, 3)), draw(st.integers(0, 4))
    big = draw(st.booleans())
    fields, offset = [], 0
    for name in draw(st.permutations(names)):
        offset += draw(st.integers(0, 3))
        datatype = draw(st.sampled_from([5, 6] if name == "t" else sorted(DATATYPES)))
        fields.append(PointField(name=name, offset=offset, datatype=datatype, count=draw(st.integers(0, 1))))
        offset += SIZES[datatype]
    point_step = offset + draw(st.integers(0, 5))
    row_step = width * point_step + draw(st.integers(0, 7))
    data = bytearray(draw(st.binary(min_size=row_step * height, max_size=row_step * height)))
    columns: dict[str, Any] = {field.name: np.zeros((height, width)) for field in fields}
    for row in range(height):
        for column in range(width):
            for field in fields:
                code = DATATYPES[field.datatype]
                low, high = (-(10**6), 10**6) if code[0] == "f" else (np.iinfo(code).min, np.iinfo(code).max)
                if field.name == "t":
                    low, high = max(low, -(2**31)), min(high, 2**31 - 1)
                value = draw(st.integers(int(low), int(high)))
                raw = np.array(value, (">" if big else "<") + code)
                at = row * row_step + column * point_step + field.offset
                data[at : at + raw.itemsize] = raw.tobytes()
                columns[field.name][row, column] = value
    cloud = PointCloud2(
        stamp_ns=STAMP,
        frame_id="lidar",
        height=height,
        width=width,
        fields=tuple(fields),
        is_bigendian=big,
        point_step=point_step,
        row_step=row_step,
        data=bytes(data),
        is_dense=draw(st.booleans()),
    )
    return cloud, columns


def expected(columns: dict[str, Any]) -> tuple[Any, Any, Any]:
    points = np.stack([columns[name].ravel() for name in "xyz"], axis=1).astype(np.float32)
    intensity = columns.get("intensity", np.zeros(len(points))).ravel().astype(np.float32)
    offsets = columns["t"].ravel().astype(np.int32) if "t" in columns else None
    return points, intensity, offsets


@given(layouts(), st.booleans())
@settings(max_examples=150, deadline=None)
def test_any_layout_on_the_wire(made: tuple[PointCloud2, dict[str, Any]], big_endian: bool) -> None:
    cloud, columns = made
    stamp_ns, frame, points, intensity, offsets = decode_cdr(write_cdr(cloud, big_endian=big_endian))
    wanted = expected(columns)
    assert (stamp_ns, frame) == (STAMP, "lidar")
    assert points.dtype == np.float32
    assert np.array_equal(points, wanted[0])
    assert intensity.dtype == np.float32
    assert np.array_equal(intensity, wanted[1])
    assert (offsets is None) == (wanted[2] is None)
    if offsets is not None:
        assert offsets.dtype == np.int32
        assert np.array_equal(offsets, wanted[2])


@pytest.mark.fault(23)
@given(layouts(), st.booleans())
@settings(max_examples=25, deadline=None)
def test_truncation_at_every_byte_is_an_error(
    made: tuple[PointCloud2, dict[str, Any]], big_endian: bool
) -> None:
    message = write_cdr(made[0], big_endian=big_endian)
    for end in range(len(message)):
        with pytest.raises(CodecError):
            decode_cdr(message[:end])


def test_names_that_a_terminal_would_not_show_are_escaped() -> None:
    names = ("x\n", "\x1b[2J")
    cloud = PointCloud2(
        stamp_ns=0,
        frame_id="lidar",
        height=0,
        width=0,
        fields=tuple(PointField(name=name, offset=4 * i, datatype=7) for i, name in enumerate(names)),
        is_bigendian=False,
        point_step=8,
        row_step=0,
        data=b"",
    )
    with pytest.raises(CodecError) as caught:
        decode_cdr(write_cdr(cloud))
    assert str(caught.value) == r"fields: no x y z among the fields of the cloud (x\n \x1b[2J)"


@given(layouts(), st.data())
@settings(max_examples=300, deadline=None)
def test_any_changed_bytes_decode_or_raise_codec_error(
    made: tuple[PointCloud2, dict[str, Any]], data: st.DataObject
) -> None:
    message = bytearray(write_cdr(made[0]))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        _, _, points, intensity, offsets = decode_cdr(bytes(message))
    except CodecError as error:
        assert "\n" not in str(error)
    else:
        assert len(points) == len(intensity) == len(points if offsets is None else offsets)


@pytest.mark.fault(23)
@given(st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_any_bytes_decode_or_raise_codec_error(message: bytes) -> None:
    for start in (b"", b"\x00\x01\x00\x00", b"\x00\x00\x00\x00"):
        try:
            decode_cdr(start + message)
        except CodecError as error:
            assert str(error)


def cloud_of(count: int = 3, **changes: Any) -> PointCloud2:
    points = np.arange(3 * count, dtype=np.float32).reshape(count, 3)
    return dataclasses.replace(pack(STAMP, "lidar", points, np.ones(count, np.float32)), **changes)


def test_pack_and_encode_keep_every_bit() -> None:
    points = np.array([[1.5, -2.0, np.nan], [np.inf, 0.0, -0.0]], np.float32)
    intensity, offsets = np.array([0.25, np.nan], np.float32), np.array([-5, 2**31 - 1], np.int32)
    for times in (None, offsets):
        got = decode_cdr(encode_cdr(STAMP, "lidar", points, intensity, times))
        assert got[:2] == (STAMP, "lidar")
        assert got[2].tobytes() == points.tobytes()
        assert got[3].tobytes() == intensity.tobytes()
        assert (got[4] is None) if times is None else np.array_equal(got[4], times)
    assert not read_cdr(encode_cdr(STAMP, "lidar", points, intensity)).is_dense
    with pytest.raises(ValueError, match="intensity: expected shape"):
        pack(STAMP, "lidar", points, intensity[:1])


@pytest.mark.parametrize("dense", [True, False])
def test_rows_that_are_not_finite_stay(dense: bool) -> None:
    points = np.array([[1, 2, 3], [np.nan] * 3, [4, 5, 6]], np.float32)
    cloud = dataclasses.replace(pack(STAMP, "l", points, np.zeros(3, np.float32)), is_dense=dense)
    assert np.isnan(decode(cloud)[0][1]).all()


def test_doubles_beyond_float32_become_infinite_without_a_warning() -> None:
    fields = tuple(PointField(name=name, offset=8 * i, datatype=8) for i, name in enumerate("xyz"))
    cloud = cloud_of(
        1, fields=fields, point_step=24, row_step=24, width=1, data=struct.pack("<3d", 1e300, -1e300, 1.0)
    )
    assert decode(cloud)[0].tolist() == [[np.inf, -np.inf, 1.0]]


def renamed(cloud: PointCloud2, **names: str) -> PointCloud2:
    fields = tuple(dataclasses.replace(f, name=names.get(f.name, f.name)) for f in cloud.fields)
    return dataclasses.replace(cloud, fields=fields)


@pytest.mark.parametrize("name", ["intensity", "i", "reflectivity"])
def test_names_of_intensity(name: str) -> None:
    assert decode(renamed(cloud_of(), intensity=name))[1].tolist() == [1.0, 1.0, 1.0]


def test_without_intensity_zeros() -> None:
    assert decode(renamed(cloud_of(), intensity="power"))[1].tolist() == [0.0, 0.0, 0.0]


def timed(name: str, code: str, values: list[float]) -> PointCloud2:
    table = np.zeros(len(values), [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), (name, "<" + code)])
    table[name] = values
    datatype = {known: number for number, known in DATATYPES.items()}[code]
    fields = [PointField(name=axis, offset=4 * i, datatype=7) for i, axis in enumerate("xyz")]
    step = table.dtype.itemsize
    return PointCloud2(
        stamp_ns=STAMP,
        frame_id="l",
        height=1,
        width=len(values),
        fields=(*fields, PointField(name=name, offset=12, datatype=datatype)),
        is_bigendian=False,
        point_step=step,
        row_step=step * len(values),
        data=table.tobytes(),
    )


@pytest.mark.parametrize(
    ("name", "code", "values", "wanted", "tolerance"),
    [
        ("t", "u4", [0, 99_999_999, 2**31 - 1], [0, 99_999_999, 2**31 - 1], 0),
        ("time", "f4", [0, 0.05, -0.1], [0, 50_000_000, -100_000_000], 8),
        ("timestamp", "f8", [0, 0.1, np.nan], [0, 100_000_000, 0], 0),
        ("timestamp", "f8", [STAMP / 1e9, STAMP / 1e9 + 0.1], [0, 100_000_000], 250),
        ("timestamp", "f8", [float(STAMP), STAMP + 1e8], [0, 100_000_000], 256),
    ],
)
def test_point_times(name: str, code: str, values: list[float], wanted: list[int], tolerance: int) -> None:
    offsets = decode(timed(name, code, values))[2]
    assert offsets is not None
    assert np.abs(offsets.astype(np.int64) - wanted).max() <= tolerance


@pytest.mark.parametrize(
    ("code", "values"), [("u4", [2**31]), ("f4", [2.2]), ("f8", [1e9]), ("f8", [1e300]), ("f4", [-3e38])]
)
def test_point_times_far_from_the_stamp_are_refused(code: str, values: list[float]) -> None:
    with pytest.raises(CodecError, match=r"field time: point times .* 2\.1 s from the stamp"):
        decode(timed("time", code, values))


@pytest.mark.parametrize(
    ("cloud", "message"),
    [
        (renamed(cloud_of(), y="Y"), r"no y among the fields of the cloud \(x Y z intensity\)"),
        (cloud_of(fields=()), r"no x y z among the fields of the cloud \(none\)"),
        (cloud_of(point_step=0), "point_step: expected > 0"),
        (cloud_of(row_step=47), "row_step: 47 is less than width 3 x point_step 16"),
        (cloud_of(height=2), "data: 48 bytes, expected row_step 48 x height 2"),
        (cloud_of(width=2**32 - 1, height=2**32 - 1), "row_step"),
        (cloud_of(point_step=12), "field intensity: offset 12"),
        (
            cloud_of(fields=tuple(PointField(name=n, offset=0, datatype=9) for n in "xyz")),
            "field x: datatype 9 is not one of 1..8",
        ),
        (
            cloud_of(fields=tuple(PointField(name=n, offset=0, datatype=7, count=2) for n in "xyz")),
            "field x: count 2, expected 1",
        ),
    ],
)
def test_clouds_that_contradict_themselves(cloud: PointCloud2, message: str) -> None:
    with pytest.raises(CodecError, match=message):
        decode(cloud)
    with pytest.raises(CodecError, match=message):
        decode_cdr(write_cdr(cloud))


def test_no_points_is_a_cloud() -> None:
    for height, width in ((0, 2**32 - 1), (2**32 - 1, 0), (0, 0)):
        points, intensity, offsets = decode(cloud_of(0, height=height, width=width))
        assert points.shape == (0, 3)
        assert intensity.shape == (0,)
        assert offsets is None


def test_header_alone() -> None:
    message = write_cdr(cloud_of(frame_id="/lidar"))
    assert header_cdr(message) == (STAMP, "lidar")
    assert header_cdr(message[:30]) == (STAMP, "lidar")
    for wrong in (struct.pack("<iI", -1, 0), struct.pack("<iI", 1, 10**9)):
        with pytest.raises(CodecError, match="not a time since the epoch"):
            header_cdr(message[:4] + wrong + message[12:])
    with pytest.raises(CodecError, match="frame name is empty"):
        header_cdr(write_cdr(cloud_of(frame_id="")))
    with pytest.raises(ValueError, match="stamp_ns: expected"):
        encode_cdr(-1, "l", np.zeros((0, 3), np.float32), np.zeros(0, np.float32))


def test_string_without_terminator_and_not_utf8() -> None:
    message = bytearray(write_cdr(cloud_of()))
    start = message.index(b"lidar\0")
    message[start + 5] = ord("x")
    with pytest.raises(CodecError, match="no terminator"):
        decode_cdr(bytes(message))
    message[start : start + 6] = b"\xff\xfe\xfd\xfc\xfb\0"
    with pytest.raises(CodecError, match="not UTF-8"):
        decode_cdr(bytes(message))
