"""The transform tree against plain quaternion arithmetic, and what it refuses."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from stream.codecs.state import pack, unpack
from stream.frames import (
    MAX_FRAMES,
    BeforeFirstError,
    FrameError,
    FrameRegistry,
    GapError,
    Never,
    NoChainError,
    NotYet,
    TransformError,
)
from stream.sweep import MAX_STAMP_NS
from stream.transform import Transform

MS = 1_000_000
NO_TURN = (0.0, 0.0, 0.0, 1.0)


def link(
    parent: str,
    child: str,
    stamp_ns: int = 0,
    translation: tuple[float, float, float] = (0.0, 0.0, 0.0),
    rotation: tuple[float, float, float, float] = NO_TURN,
    static: bool = False,
) -> Transform:
    return Transform(
        robot_id="r",
        stamp_ns=stamp_ns,
        parent=parent,
        child=child,
        translation=translation,
        rotation=rotation,
        static=static,
    )


def yaw(degrees: float) -> tuple[float, float, float, float]:
    half = math.radians(degrees) / 2
    return (0.0, 0.0, math.sin(half), math.cos(half))


def homogeneous(transform: Transform) -> NDArray[np.float64]:
    x, y, z, w = transform.rotation
    out = np.eye(4)
    out[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    out[:3, 3] = transform.translation
    return out


def registry(*transforms: Transform, horizon_ns: int | None = None) -> FrameRegistry:
    frames = FrameRegistry(max_gap_ns=500 * MS, horizon_ns=horizon_ns)
    for transform in transforms:
        frames.add(transform)
    return frames


def drive(*stamps_ms: int) -> list[Transform]:
    """A base that moves 1 m and turns 1 degree a millisecond."""
    return [link("odom", "base", ms * MS, (float(ms), 0.0, 0.0), yaw(ms)) for ms in stamps_ms]


def test_pose_is_interpolated_between_neighbours() -> None:
    frames = registry(*drive(0, 100), link("base", "lidar", translation=(0.0, 0.0, 2.0), static=True))
    got = frames.look_up("odom", "lidar", 50 * MS).reshape(3, 4)
    assert got[:, 3] == pytest.approx([50.0, 0.0, 2.0])
    c, s = math.cos(math.radians(50)), math.sin(math.radians(50))
    assert got[:, :3] == pytest.approx(np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]]))


def test_pose_at_a_transform_is_that_transform_whatever_the_gap() -> None:
    frames = registry(*drive(0, 60_000))
    assert frames.look_up("odom", "base", 60_000 * MS).reshape(3, 4)[0, 3] == 60_000.0


def test_static_edges_hold_for_all_time() -> None:
    frames = registry(link("base", "lidar", 77, (1.0, 2.0, 3.0), static=True))
    for stamp in (0, 1, MAX_STAMP_NS):
        assert frames.look_up("base", "lidar", stamp).reshape(3, 4)[:, 3].tolist() == [1.0, 2.0, 3.0]
    assert frames.watermark("base", "lidar") == MAX_STAMP_NS


units = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: math.hypot(*q) > 0.1)
shifts = st.tuples(*[st.floats(-100, 100)] * 3)


@st.composite
def trees(draw: st.DrawFn) -> list[Transform]:
    out = []
    for number in range(1, draw(st.integers(2, 7))):
        q = draw(units)
        length = math.hypot(*q)
        rotation = (q[0] / length, q[1] / length, q[2] / length, q[3] / length)
        parent = draw(st.integers(0, number - 1))
        static = draw(st.booleans())
        out.append(link(f"f{parent}", f"f{number}", 10, draw(shifts), rotation, static))
    return out


@given(trees(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_two_frames_of_a_tree_against_matrices(tree: list[Transform], data: st.DataObject) -> None:
    frames = registry(*tree)
    to_root = {"f0": np.eye(4)}
    for transform in tree:
        to_root[transform.child] = to_root[transform.parent] @ homogeneous(transform)
    target, source = (data.draw(st.sampled_from(sorted(to_root))) for _ in range(2))
    expected = (np.linalg.inv(to_root[target]) @ to_root[source])[:3]
    got = frames.look_up(target, source, 10).reshape(3, 4)
    assert got == pytest.approx(expected, abs=1e-9)
    assert frames.root(source) == "f0"


def test_only_edges_between_the_frames_count() -> None:
    """map to odom ends long before the stamp, but lies above the common ancestor."""
    frames = registry(link("map", "odom", 0), *drive(0, 100))
    assert frames.look_up("odom", "base", 50 * MS).shape == (12,)
    assert frames.look_up("base", "odom", 50 * MS).shape == (12,)
    with pytest.raises(NotYet, match="map to odom"):
        frames.look_up("map", "base", 50 * MS)


def test_not_yet_becomes_a_pose_when_the_watermark_passes() -> None:
    frames = registry(*drive(0, 100))
    assert frames.watermark("odom", "base") == 100 * MS
    with pytest.raises(NotYet, match=r"odom to base: .* 50 ms before the stamp 150000000"):
        frames.look_up("odom", "base", 150 * MS)
    frames.add(drive(200)[0])
    assert frames.look_up("odom", "base", 150 * MS).reshape(3, 4)[0, 3] == pytest.approx(150.0)


def test_never_before_the_first_and_across_a_gap() -> None:
    frames = registry(*drive(100, 200, 701))
    with pytest.raises(BeforeFirstError, match="100 ms after the stamp"):
        frames.look_up("odom", "base", 0)
    with pytest.raises(GapError, match=r"501 ms around the stamp 300000000, at most 500 ms"):
        frames.look_up("odom", "base", 300 * MS)
    frames.add(drive(201)[0])
    assert frames.look_up("odom", "base", 300 * MS).reshape(3, 4)[0, 3] == pytest.approx(300.0)


def test_never_wins_over_not_yet() -> None:
    frames = registry(*drive(100, 200), link("map", "odom", 0), link("map", "odom", 10 * MS))
    late = registry(*drive(0, 10), link("map", "odom", 100 * MS), link("map", "odom", 200 * MS))
    for tree in (frames, late):
        for target, source in (("map", "base"), ("base", "map")):
            with pytest.raises(BeforeFirstError):
                tree.look_up(target, source, 50 * MS)


def test_unknown_and_unconnected_frames() -> None:
    frames = registry(*drive(0, 100), link("other", "lidar", static=True))
    with pytest.raises(NoChainError, match=r"no transform names the frame camera \(known: base, lidar, "):
        frames.look_up("odom", "camera", 0)
    with pytest.raises(
        NoChainError, match="odom and lidar are not connected: their roots are odom and other"
    ):
        frames.look_up("odom", "lidar", 0)
    with pytest.raises(NoChainError):
        frames.watermark("odom", "lidar")
    with pytest.raises(NoChainError, match="known: none"):
        registry().root("odom")
    assert issubclass(NoChainError, Never)
    assert not issubclass(NotYet, Never)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (link("odom", "base", rotation=(0.0, 0.0, 0.0, 0.0)), "has length 0, expected a unit quaternion"),
        (link("odom", "base", rotation=(0.0, 0.0, 0.0, 1.002)), "length 1.002"),
        (link("odom", "base", rotation=(math.nan, 0.0, 0.0, 1.0)), "finite"),
        (link("odom", "base", translation=(0.0, math.inf, 0.0)), "finite"),
        (link("base", "base"), "base to base at 0: parent and child are the same frame"),
        (link("", "base"), "empty"),
        (link("lidar", "odom"), "odom to base to lidar to odom: frames form a loop"),
        (link("map", "base"), "frame base has two parents: odom and map"),
        (link("odom", "base", static=True), "odom to base: is both static and dynamic"),
    ],
)
def test_a_refused_transform_changes_nothing(bad: Transform, message: str) -> None:
    frames = registry(*drive(1, 2), link("base", "lidar", static=True))
    before = pack(frames.state())
    with pytest.raises(TransformError, match=message):
        frames.add(bad)
    assert pack(frames.state()) == before
    assert frames.frames() == ("base", "lidar", "odom")


def test_nearly_unit_quaternions_are_scaled() -> None:
    frames = registry(link("a", "b", rotation=(0.0, 0.0, 0.0, 1.0009)))
    assert frames.look_up("a", "b", 0).tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0]


def test_the_last_of_equal_stamps_wins() -> None:
    frames = registry(link("a", "b", 5, (1.0, 0.0, 0.0)), link("a", "b", 5, (2.0, 0.0, 0.0)))
    assert frames.look_up("a", "b", 5)[3] == 2.0
    frames = registry(
        link("a", "b", 5, (1.0, 0, 0), static=True), link("a", "b", 9, (2.0, 0, 0), static=True)
    )
    assert frames.look_up("a", "b", 1)[3] == 2.0


@given(
    st.sets(st.integers(0, 400), min_size=1, max_size=40),
    st.randoms(use_true_random=False),
    st.one_of(st.none(), st.integers(1, 300)),
)
@settings(max_examples=60, deadline=None)
def test_order_of_insertion_does_not_matter(
    stamps: set[int], shuffle: random.Random, horizon_ms: int | None
) -> None:
    ordered = drive(*sorted(stamps))
    shuffled = list(ordered)
    shuffle.shuffle(shuffled)
    horizon_ns = None if horizon_ms is None else horizon_ms * MS
    assert pack(registry(*ordered, horizon_ns=horizon_ns).state()) == pack(
        registry(*shuffled, horizon_ns=horizon_ns).state()
    )


def test_horizon_keeps_one_older_for_interpolation() -> None:
    frames = registry(*drive(*range(0, 1001, 30)), horizon_ns=100 * MS)
    (edge,) = frames.state()["edges"]
    assert edge[3] == [stamp * MS for stamp in (870, 900, 930, 960, 990)]
    assert frames.look_up("odom", "base", 890 * MS).reshape(3, 4)[0, 3] == pytest.approx(890.0)
    with pytest.raises(BeforeFirstError):
        frames.look_up("odom", "base", 869 * MS)


def test_state_survives_packing_bit_for_bit() -> None:
    frames = registry(*drive(0, 33, 77), link("base", "lidar", 3, (0.1, 0.2, 0.3), yaw(33.3), static=True))
    again = FrameRegistry.from_state(unpack(pack(frames.state())))
    assert pack(again.state()) == pack(frames.state())
    for ms in (0, 10, 50, 77):
        before, after = (f.look_up("odom", "lidar", ms * MS) for f in (frames, again))
        assert before.tobytes() == after.tobytes()
    again.add(drive(90)[0])
    assert frames.watermark("odom", "lidar") == 77 * MS
    assert again.watermark("odom", "lidar") == 90 * MS
    assert again.frames() == ("base", "lidar", "odom")


def test_frames_are_capped() -> None:
    frames = registry(*(link("root", f"f{number}", static=True) for number in range(MAX_FRAMES - 1)))
    with pytest.raises(TransformError, match="more than"):
        frames.add(link("root", "one more", static=True))
    frames.add(dataclasses.replace(link("root", "f0", static=True), translation=(1.0, 0.0, 0.0)))


def test_the_cap_of_frames_is_chosen_and_restored() -> None:
    frames = FrameRegistry(max_gap_ns=50 * MS, max_frames=3)
    for child in ("base", "lidar"):
        frames.add(link("root", child, static=True))
    for kept in (frames, FrameRegistry.from_state(frames.state())):
        with pytest.raises(TransformError, match="more than 3 frames"):
            kept.add(link("root", "one more", static=True))
        assert kept.frames() == ("base", "lidar", "root")


@pytest.mark.parametrize(
    "arguments",
    [{"max_gap_ns": 0}, {"max_gap_ns": 1, "horizon_ns": 0}, {"max_gap_ns": 1, "max_frames": 0}],
)
def test_arguments_are_checked(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="expected > 0"):
        FrameRegistry(**arguments)


def test_errors_are_frame_errors() -> None:
    for kind in (NotYet, Never, TransformError, GapError, BeforeFirstError):
        assert issubclass(kind, FrameError)
