"""Logs of sweeps that come late, in parts, without some of them, by turns with another sensor's."""

from __future__ import annotations

import dataclasses

import numpy as np

from stream.sources.base import Item
from stream.sweep import Sweep
from stream.transform import Transform
from tests.agents.worlds import parts_of, stamp_of, sweep_of, transforms_to, two_sensors

LEFT, RIGHT = "robot/left", "robot/right"


def tricky_logs() -> dict[str, list[Item]]:
    """Logs by what is tricky about them."""
    return {**_of_parts(), **_of_sensors(), **_that_leave_halves_behind()}


def _of_parts() -> dict[str, list[Item]]:
    poses = transforms_to(12)
    late = [sweep_of(index) for index in (0, 1, 2, 4, 3, 5, 6)]
    halves = [part for index in range(6) for part in parts_of(index, 2)]
    lost = [part for index in range(6) for part in parts_of(index, 3)[: 2 if index % 2 else 3]]
    unannounced = [sweep_of(0), *parts_of(1, 2), parts_of(1, 3)[2], sweep_of(2)]
    return {
        "late": [*poses, *late],
        "parts": [*poses, *halves],
        "lost parts": [*poses, *lost],
        "a part too many": [*poses, *unannounced],
    }


def _of_sensors() -> dict[str, list[Item]]:
    poses = transforms_to(12)
    waiting: list[Item] = []
    for index in range(5):  # the other sensor's sweep comes between the parts, or instead of the last one
        first, second = parts_of(index, 2, stream_id=LEFT)
        between = sweep_of(index + 0.4, stream_id=RIGHT)
        waiting += [first, between, second] if index % 2 else [first, between]
    swapped = [sweep for pair in zip(*[iter(two_sensors(6))] * 2, strict=True) for sweep in reversed(pair)]
    nothing = sweep_of(3, points=np.full((5, 3), np.nan, np.float32))
    return {
        "two sensors": [*poses, *two_sensors(6)],
        "sensors out of order": [*poses, *swapped],
        "parts and sensors": [*poses, *waiting],
        "rejected between": [
            *poses, *parts_of(2, 2)[:1], nothing, sweep_of(2.5, stream_id=RIGHT), sweep_of(4)
        ],
    }  # fmt: skip


def _that_leave_halves_behind() -> dict[str, list[Item]]:
    first, second = parts_of(1, 2, stream_id=LEFT)
    other = parts_of(1, 2, stream_id=RIGHT)[0]
    begin = [sweep_of(0, stream_id=LEFT), sweep_of(0, stream_id=RIGHT)]
    both: list[Sweep] = [sweep_of(index, stream_id=name) for index in range(2, 6) for name in (RIGHT, LEFT)]
    ended, told = _of_two_maps(stamp_of(2)), _of_two_maps(stamp_of(1))
    untold = [pose for pose in told if not pose.resets_map]
    (tells,) = (pose for pose in told if pose.resets_map)
    return {
        "halves when their map ends": [*ended, *begin, other, first, *both],
        "halves when the log ends": [*transforms_to(12), *begin, other, first],
        "a half when its sensor falls silent": [
            *transforms_to(40), first, *(sweep_of(index, stream_id=RIGHT) for index in range(2, 40)),
            sweep_of(40, stream_id=LEFT),
        ],
        "halves in two maps": [*untold, *begin, first, tells, second, *both],
    }  # fmt: skip


def _of_two_maps(stamp_ns: int) -> list[Transform]:
    """Poses of which the one before a stamp says that it begins a map."""
    return [
        dataclasses.replace(pose, resets_map=pose.stamp_ns == stamp_ns - 30_000_000)
        for pose in transforms_to(12)
    ]
