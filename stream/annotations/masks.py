"""Instance masks of images: a point of a sweep is what the pixel that it falls on is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from native import pose
from native.errors import DomainError
from stream.annotations.cell_labels import NO_CLASS, NO_INSTANCE
from stream.frames import FrameRegistry
from stream.sweep import Sweep


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class InstanceMask:
    """What a camera saw where, pixel by pixel.

    frame : of the camera: x to the right, y down, z ahead; stamp_ns : of the image
    matrix : float64 (3, 3), of the camera, without distortion
    instance : integers (H, W), 0 for none; codes : class of every instance, its place among the classes
    """

    frame: str
    stamp_ns: int
    matrix: NDArray[np.float64]
    instance: NDArray[np.integer]
    codes: dict[int, int]

    def __post_init__(self) -> None:
        if self.matrix.shape != (3, 3) or not np.isfinite(self.matrix).all():
            raise DomainError(f"matrix: expected finite (3, 3), got {self.matrix.shape}")
        if self.instance.ndim != 2 or not np.issubdtype(self.instance.dtype, np.integer):
            raise DomainError(f"instance: expected integers (H, W), got {self.instance.dtype}")
        unknown = set(np.unique(self.instance).tolist()) - {NO_INSTANCE, *self.codes}
        if unknown:
            raise DomainError(f"codes: has no class for instance {min(unknown)}")


def labels_of_mask(
    mask: InstanceMask, sweep: Sweep, frames: FrameRegistry, map_frame: str
) -> tuple[NDArray[np.int32], NDArray[np.uint32]]:
    """Class and instance of every point of a sweep, int32 (N,) and uint32 (N,), -1 and 0 for none.

    The points are taken to the map at their own stamp, and from there to the camera at the image's: what
    stands still falls on its pixel though robot and camera moved in between. The pixel (u, v) reaches from
    u - 0.5 to u + 0.5. A point behind the camera, outside the image or not finite is none. That something
    hides a point from the camera is not known: a lidar beside it sees nearly the same. Raises FrameError
    """
    there = frames.look_up(map_frame, sweep.frame, sweep.stamp_ns)
    camera = frames.look_up(map_frame, mask.frame, mask.stamp_ns)
    matrix = pose.compose(pose.invert(camera), there).reshape(3, 4)
    points = sweep.points.astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        x, y, z = (points[:, :3] @ row[:3] + row[3] for row in matrix)
        u, v, w = (row[0] * x + row[1] * y + row[2] * z for row in mask.matrix)
        column, line = np.floor(u / w + 0.5), np.floor(v / w + 0.5)
        height, width = mask.instance.shape
        seen = (z > 0) & (column >= 0) & (column < width) & (line >= 0) & (line < height)
    instance = np.zeros(len(points), np.uint32)
    instance[seen] = mask.instance[line[seen].astype(np.int64), column[seen].astype(np.int64)]
    code = np.full(len(points), NO_CLASS, np.int32)
    for number, place in mask.codes.items():
        code[instance == number] = place
    return code, instance
