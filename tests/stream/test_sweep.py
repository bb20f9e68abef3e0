"""A sweep refuses columns that do not fit together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from stream.sweep import Sweep, cut

GOOD: dict[str, Any] = {
    "stream_id": "robot/lidar", "stamp_ns": 1, "frame": "lidar", "points": np.zeros((4, 3), np.float32),
    "intensity": np.zeros(4, np.float32), "misses": np.float32([[0, 0.6, 0.8], [-1, 0, 0]]),
}  # fmt: skip


def test_a_sweep_without_misses_has_an_empty_column() -> None:
    assert Sweep(**GOOD).misses is GOOD["misses"]
    without = Sweep(**{name: value for name, value in GOOD.items() if name != "misses"})
    assert (without.misses.dtype, without.misses.shape) == (np.float32, (0, 3))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"points": np.zeros((4, 3))}, "points"),
        ({"intensity": np.zeros(3, np.float32)}, "intensity"),
        ({"time_offset_ns": np.zeros(3, np.int32)}, "time_offset_ns: expected int32"),
        ({"time_offset_ns": np.zeros(4)}, "time_offset_ns: expected int32"),
        ({"stream_id": "robot"}, "stream_id"),
        ({"part": 1}, "part"),
        ({"misses": np.zeros((2, 3))}, "misses: expected float32"),
        ({"misses": np.zeros(3, np.float32)}, "misses: expected float32"),
        ({"misses": np.float32([[0, 0, 1], [0, 0, 0]])}, "misses: expected unit"),
        ({"misses": np.float32([[0, 0, 1.002]])}, "misses: expected unit"),
        ({"misses": np.float32([[np.nan, 0, 1]])}, "misses: expected unit"),
        ({"misses": np.float32([[np.inf, 0, 0]])}, "misses: expected unit"),
        ({"hits_only": True}, "misses: a sweep of hits only has no rays, got 2 without return"),
    ],
)
def test_a_column_that_does_not_fit_is_named(changed: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Sweep(**GOOD | changed)


def test_rounding_is_no_error() -> None:
    Sweep(**GOOD | {"misses": np.float32([[0, 0, 1.0005], [0, 0, 0.9995]])})


def test_a_large_sweep_is_cut_into_parts_that_hold_everything_once() -> None:
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    whole = Sweep(
        **GOOD
        | {"points": points, "intensity": points[:, 0], "time_offset_ns": np.arange(10, dtype=np.int32)}
    )
    assert cut(whole, 12) == [whole]
    parts = cut(whole, 5)
    assert [(part.part, part.parts, part.stamp_ns) for part in parts] == [(0, 3, 1), (1, 3, 1), (2, 3, 1)]
    assert max(len(part.points) + len(part.misses) for part in parts) <= 5
    for name in ("points", "intensity", "misses", "time_offset_ns"):
        assert np.array_equal(np.concatenate([getattr(part, name) for part in parts]), getattr(whole, name))
    assert cut(parts[0], 1) == [parts[0]]
