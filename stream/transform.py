"""A rigid transform between two coordinate frames."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Transform:
    """Pose of ``child`` in ``parent``, as in ROS tf2: ``p_parent = R p_child + t``.

    robot_id : whose transform tree
    stamp_ns : when it held; ignored when ``static``
    translation : x, y, z in metres
    rotation : unit quaternion x, y, z, w
    static : holds for all time
    resets_map : the localisation says that poses before this stamp are of another map
    """

    robot_id: str
    stamp_ns: int
    parent: str
    child: str
    translation: tuple[float, float, float]
    rotation: tuple[float, float, float, float]
    static: bool = False
    resets_map: bool = False
