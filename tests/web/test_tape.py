"""The tape is bounded in time, bytes and robots, and says what was newest at any stamp."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from agents.web.tape import Kept, Tape


def kept(stamp_ns: int, size: int = 10) -> Kept:
    return Kept(stamp_ns=stamp_ns, eye=(0.0, 0.0, 0.0), data=bytes(size))


def tape(**options: int) -> Tape:
    return Tape(**{"span_ns": 1000, "step_ns": 100, "most_bytes": 10_000, "most_robots": 2} | options)


def put(tape: Tape, robot: str, stamp_ns: int, size: int = 10, *, watched: bool = False) -> None:
    if tape.wants(robot, stamp_ns, watched=watched):
        tape.add(robot, kept(stamp_ns, size))


def stamps(tape: Tape, robot: str = "a") -> list[int]:
    return [frame.stamp_ns for frame in tape.frames(robot)]


def test_frames_are_a_step_apart_and_as_old_as_the_span() -> None:
    own = tape()
    for stamp in range(0, 2000, 40):
        put(own, "a", stamp)
    found = stamps(own)
    assert found[-1] - found[0] <= 1000
    assert {later - earlier for earlier, later in itertools.pairwise(found)} == {120}


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 5000), st.integers(1, 400)), max_size=60))
def test_bytes_and_robots_are_bounded(frames: list[tuple[str, int, int]]) -> None:
    own = tape(most_bytes=1000)
    for robot, stamp, size in frames:
        put(own, robot, stamp, size)
        assert own.size_bytes <= 1000
        assert own.size_bytes == sum(len(frame.data) for name in "abc" for frame in own.frames(name))
        assert sum(bool(own.frames(name)) for name in "abc") <= 2
        assert stamps(own, robot) == sorted(stamps(own, robot))


def test_the_newest_frame_that_is_not_after_a_stamp() -> None:
    own = tape()
    assert own.at("a", 5) is None
    for stamp in (100, 300, 500):
        put(own, "a", stamp)
    at = {stamp: own.at("a", stamp) for stamp in (0, 100, 299, 300, 10_000)}
    assert {stamp: frame.stamp_ns for stamp, frame in at.items() if frame} == {
        0: 100, 100: 100, 299: 100, 300: 300, 10_000: 500,
    }  # fmt: skip


def test_frames_before_and_after_the_one_of_a_stamp() -> None:
    """However far apart they are: who steps through a tape with a gap does not stop there."""
    own = tape()
    for stamp in (100, 300, 950):
        put(own, "a", stamp)
    steps = [(100, 1), (300, 1), (400, 1), (950, 1), (950, -1), (100, -1), (0, 1), (0, -1)]
    found = [own.at("a", stamp, step) for stamp, step in steps]
    assert [frame.stamp_ns for frame in found if frame] == [300, 950, 950, 950, 300, 100, 100, 100]


def test_a_log_that_begins_again_begins_a_new_reel() -> None:
    own = tape()
    for stamp in (100, 300, 500, 50, 150):
        put(own, "a", stamp)
    assert stamps(own) == [50, 150]


def test_only_a_robot_that_is_watched_takes_the_place_of_another() -> None:
    own = tape()
    for robot in "abc":
        put(own, robot, 100)
    assert [bool(own.frames(robot)) for robot in "abc"] == [True, True, False]
    put(own, "a", 300, watched=True)
    put(own, "c", 300, watched=True)
    assert [bool(own.frames(robot)) for robot in "abc"] == [True, False, True]


def test_a_tape_of_no_length_keeps_nothing() -> None:
    own = tape(span_ns=0)
    put(own, "a", 100, watched=True)
    assert own.frames("a") == []
