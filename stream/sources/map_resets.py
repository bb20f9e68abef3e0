"""How a log says that localisation has begun a new map: an empty message, named for it, before the transform.

Transforms of ROS 2 and Foxglove have no field for it, and tf2 has no message. Elsewhere publishers of poses
count resets (``reset_counter`` in MAVLink's ODOMETRY and PX4's VehicleOdometry); beside transforms,
``std_msgs/Empty`` on a topic named ``map_reset`` is the least that says it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

from stream.sources.base import Item
from stream.transform import Transform

EMPTY_TYPE = "std_msgs/msg/Empty"
TOPIC = "map_reset"


def is_map_reset(topic: str, kind: str) -> bool:
    """Whether messages of this topic and type say so: the topic's last name is ``map_reset``."""
    return kind == EMPTY_TYPE and topic.rsplit("/", 1)[-1] == TOPIC


class MapResets:
    """Marks the transform after such a message: with its stamp the new map begins."""

    def __init__(self) -> None:
        self._due = False

    def note(self) -> None:
        """A message has come."""
        self._due = True

    def mark(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items; the first transform that does not hold for all time is marked, if one is due."""
        for item in items:
            if self._due and isinstance(item, Transform) and not item.static:
                self._due = False
                yield dataclasses.replace(item, resets_map=True)
            else:
                yield item
