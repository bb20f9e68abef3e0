"""Boxes at moments at which nobody drew any."""

from __future__ import annotations

import math

import numpy as np
import pytest

from stream.annotations.between import BoxTimes, between, slerp
from stream.annotations.boxes import Box
from stream.frames import FrameRegistry
from tests.stream.annotations.test_boxes import MS, box, driving

NOWHERE = FrameRegistry(max_gap_ns=1)


def turned(angle: float) -> tuple[float, float, float, float]:
    """About z."""
    return (0.0, 0.0, math.sin(angle / 2), math.cos(angle / 2))


def chosen(times: BoxTimes, boxes: list[Box], stamp_ns: int) -> list[Box]:
    return times.boxes_at(boxes, stamp_ns, "map", NOWHERE)


def test_of_every_instance_the_nearest_boxes_label_a_sweep() -> None:
    boxes = [box(1, 100), box(1, 160), box(2, 90), box(2, 110), box(2, 110, label="trailer"), box(3, 300)]
    boxes.sort(key=lambda each: (each.stamp_ns, each.instance))
    times = BoxTimes(between_ns=0, within_ns=40)
    assert [(each.instance, each.stamp_ns, each.label) for each in chosen(times, boxes, 135)] == [
        (1, 160, "car"), (2, 110, "car"), (2, 110, "trailer"),
    ]  # fmt: skip
    earlier = chosen(BoxTimes(between_ns=0, within_ns=30), boxes, 130)
    assert [each.stamp_ns for each in earlier] == [100, 110, 110], "the earlier of two"
    assert chosen(BoxTimes(between_ns=0, within_ns=10), boxes, 135) == []


def test_a_thing_drawn_twice_is_on_its_way_between() -> None:
    boxes = [
        box(1, 0, pose=(0.0, 0.0, 1.0, *turned(0.2)), size_m=(4.0, 2.0, 1.5)),
        box(1, 1000, pose=(8.0, 4.0, 1.0, *turned(1.4)), size_m=(4.4, 2.0, 1.5)),
    ]
    times = BoxTimes(between_ns=1000, within_ns=0)
    (found,) = chosen(times, boxes, 250)
    assert found.frame == "map" and found.stamp_ns == 250 and found.instance == 1
    assert found.pose == pytest.approx((2.0, 1.0, 1.0, *turned(0.5)), abs=1e-12)
    assert found.size_m == pytest.approx((4.1, 2.0, 1.5))
    assert chosen(times, boxes, 0) == boxes[:1] and chosen(times, boxes, 1000) == boxes[1:]
    assert dict(times.counts) == {"between": 1, "drawn": 2}
    assert times.lines() == ["boxes: 2 drawn at a sweep's stamp, 1 between two stamps"]


def test_nothing_is_put_beyond_what_was_drawn_nor_across_a_gap() -> None:
    boxes = [box(1, 0), box(1, 1001)]
    times = BoxTimes(between_ns=1000, within_ns=50)
    assert chosen(times, boxes, 500) == []  # too far apart
    assert chosen(times, boxes, 1040) == boxes[1:]  # held, where it was drawn
    assert chosen(times, boxes, 1052) == []
    assert times.counts["between"] == 0 and times.counts["nearest"] == 1


def test_a_thing_whose_parts_change_is_not_paired() -> None:
    boxes = [box(1, 0), box(1, 100), box(1, 100, label="trailer")]
    assert chosen(BoxTimes(between_ns=200, within_ns=0), boxes, 50) == []
    assert chosen(BoxTimes(between_ns=200, within_ns=60), boxes, 60) == boxes[1:]


def test_each_box_lies_where_its_own_frame_was_before_they_are_joined() -> None:
    """A lidar drives on at 10 m/s; what stands is drawn 10 m ahead, then 9 m: between, it stands."""
    there = (10.0, 0.0, 0.0, *turned(0.0))
    then = (9.0, 0.0, 0.0, *turned(0.0))
    first, second = box(1, 0, frame="lidar", pose=there), box(1, 100 * MS, frame="lidar", pose=then)
    found = between(first, second, 0.3, 30 * MS, "map", driving())
    assert found.pose == pytest.approx((10.0, 0.0, 0.0, *turned(0.0)), abs=1e-9)
    times = BoxTimes(between_ns=10**9, within_ns=40)
    lost = [box(1, 0, frame="camera"), box(1, 100, frame="camera")]
    assert times.boxes_at(lost, 30, "map", driving()) == lost[:1]  # whoever labels its cells says why not
    assert times.boxes_at(lost, 50, "map", driving()) == []
    assert times.lines() == ["boxes: 1 taken from the nearest stamp, 2 times no pose for one of two stamps"]


def test_a_turn_is_at_one_rate_and_on_the_shorter_arc() -> None:
    a, b = np.array(turned(-1.0)), np.array(turned(1.6))
    for share in (0.0, 0.1, 0.25, 0.5, 1.0):
        expected = np.array(turned(-1.0 + 2.6 * share))
        for other in (b, -b):
            assert slerp(a, other, share) == pytest.approx(expected, abs=1e-12)
    near = np.array(turned(-0.99))
    assert slerp(a, near, 0.5) == pytest.approx(np.array(turned(-0.995)), abs=1e-9)
