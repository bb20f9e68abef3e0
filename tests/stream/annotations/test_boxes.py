"""Boxes to cells: volumes add up, frames are taken at the boxes' own stamps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from native.grid import Grid
from native.index64 import decode
from stream.annotations.boxes import Box, labels_of_boxes
from stream.frames import FrameRegistry, GapError, NoChainError
from stream.transform import Transform

GRID = Grid(half_edge_m=0.4, frame=1)
CELL_M3 = 4 * 0.4**3
TURNED = (0.0, 0.0, math.sin(0.3), math.cos(0.3))
MS = 1_000_000


def box(instance: int = 1, stamp_ns: int = 0, **more) -> Box:
    values = {"label": "car", "frame": "map", "pose": (10.0, 4.0, 1.0, *TURNED), "size_m": (4.2, 1.8, 1.5)}
    return Box(instance=instance, stamp_ns=stamp_ns, **(values | more))


def driving() -> FrameRegistry:
    """A lidar that goes along x at 10 m/s."""
    frames = FrameRegistry(max_gap_ns=200 * MS)
    for stamp_ms in (0, 100, 200, 900):
        frames.add(
            Transform(
                robot_id="r", stamp_ns=stamp_ms * MS, parent="map", child="lidar",
                translation=(stamp_ms / 100, 0.0, 0.0), rotation=(0.0, 0.0, 0.0, 1.0),
            )
        )  # fmt: skip
    return frames


def test_the_fractions_of_a_box_are_its_volume() -> None:
    found = labels_of_boxes(("car",), GRID, "map", [box()], FrameRegistry(max_gap_ns=1))
    assert found.fractions.sum() * CELL_M3 == pytest.approx(4.2 * 1.8 * 1.5, rel=1e-6)
    assert set(found.instance.tolist()) == {1} and not found.code.any()
    assert np.array_equal(found.fraction, found.fractions[:, 0])
    full = found.fraction == 1.0
    assert 0 < full.sum() < len(found) / 2, "most cells of a car are cut"
    sites = decode(found.cell_id[full]).sites * 0.4
    assert np.abs(sites - [10.0, 4.0, 1.0]).max() < 2.3


def test_a_box_lies_where_its_frame_was_at_its_own_stamp() -> None:
    frames = driving()
    in_map = labels_of_boxes(("car",), GRID, "map", [box(pose=(11.5, 0.0, 0.0, *TURNED))], frames)
    in_lidar = box(frame="lidar", stamp_ns=150 * MS, pose=(10.0, 0.0, 0.0, *TURNED))
    found = labels_of_boxes(("car",), GRID, "map", [in_lidar], frames)
    assert np.array_equal(found.cell_id, in_map.cell_id)
    assert found.fraction == pytest.approx(in_map.fraction, abs=1e-6)
    with pytest.raises(GapError):
        labels_of_boxes(("car",), GRID, "map", [box(frame="lidar", stamp_ns=500 * MS)], frames)
    with pytest.raises(NoChainError, match="camera"):
        labels_of_boxes(("car",), GRID, "map", [box(frame="camera")], frames)


def test_a_cell_of_two_boxes_is_of_that_with_more_of_it() -> None:
    upright = (0.0, 0.0, 0.0, 1.0)
    wide = box(1, pose=(0.1, 0.0, 0.0, *upright), size_m=(0.6, 4.0, 4.0))
    thin = box(2, pose=(-0.3, 0.0, 0.0, *upright), size_m=(0.2, 4.0, 4.0), label="wall")
    found = labels_of_boxes(("car", "wall"), GRID, "map", [wide, thin], FrameRegistry(max_gap_ns=1))
    row = int(np.flatnonzero((decode(found.cell_id).sites == 0).all(axis=1))[0])
    assert found.instance[row] == 1 and found.fractions[row, 0] > found.fractions[row, 1] > 0
    assert 2 in found.instance
