"""Boxes from ``foxglove.SceneUpdate`` messages in an MCAP file: every cube of every entity is one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stream.annotations.base import AnnotationError
from stream.annotations.boxes import MAX_BOXES, Box
from stream.codecs import foxglove
from stream.codecs.cdr import CodecError
from stream.frames import UNIT_TOLERANCE
from stream.sources.base import Damage
from stream.sources.mcap import McapLog

CLASS_KEYS = ("category", "class", "label")
"""Of an entity's metadata, the first that is there names its class."""

KIND = f"{foxglove.SCENE} in protobuf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """The boxes of a file, by stamp.

    classes : names, ascending; entities : ids in the order of their numbers, that of instance i at i - 1
    """

    classes: tuple[str, ...]
    boxes: tuple[Box, ...]
    entities: tuple[str, ...]


def read_scene(path: Path) -> Scene:
    """All boxes of all SceneUpdate messages of a file. Instances are entities, numbered by id from 1.

    What an entity looks like, how long it is shown, and deletions say nothing about where a thing is, and are
    not read. Raises AnnotationError: no such message, damage, an entity without a class or with a cube
    that is none; SourceError for a file that is no MCAP; ModuleNotFoundError without the package
    """
    log = McapLog(path)
    found: list[tuple[str, Any, Any]] = []
    for message in log.messages(lambda topic, kind: kind == KIND):
        if isinstance(message, Damage):
            raise AnnotationError(f"{path}: damaged, so boxes are missing: {message.detail}")
        try:
            update = foxglove.parse_scene(message.data)
            found += [(message.topic, entity, cube) for entity in update.entities for cube in entity.cubes]
        except CodecError as error:
            raise AnnotationError(f"{path}: {message.topic} at {message.log_time_ns}: {error}") from error
        if len(found) > MAX_BOXES:
            raise AnnotationError(f"{path}: more than {MAX_BOXES} boxes")
    if not found:
        raise AnnotationError(
            f"{path}: holds no boxes: no {foxglove.SCENE} message with cubes among "
            f"{', '.join(sorted({kind for _, kind in log.topics()})) or 'no messages'}"
        )
    ids = sorted({entity.id for _, entity, _ in found})
    number = {name: place for place, name in enumerate(ids, 1)}
    boxes = sorted(_boxes(path, found, number), key=lambda box: (box.stamp_ns, box.instance))
    return Scene(classes=tuple(sorted({box.label for box in boxes})), boxes=tuple(boxes), entities=tuple(ids))


def _boxes(path: Path, found: list[tuple[str, Any, Any]], number: dict[str, int]) -> Iterator[Box]:
    for topic, entity, cube in found:
        try:
            yield Box(
                label=_class_of(entity), instance=number[entity.id], frame=foxglove.frame_of(entity),
                stamp_ns=foxglove.stamp_of(entity), pose=_pose(cube), size_m=_size(cube),
            )  # fmt: skip
        except CodecError as error:
            raise AnnotationError(f"{path}: {topic}: entity {entity.id!r}: {error}") from error


def _class_of(entity: Any) -> str:
    said: dict[str, str] = {pair.key: pair.value for pair in entity.metadata}
    for key in CLASS_KEYS:
        if said.get(key, "").strip():
            return said[key].strip()
    raise CodecError(
        f"metadata: has none of {', '.join(CLASS_KEYS)}, which would name its class; it has "
        f"{', '.join(sorted(said)) or 'nothing'}"
    )


def _pose(cube: Any) -> tuple[float, float, float, float, float, float, float]:
    place, turn = cube.pose.position, cube.pose.orientation
    if not (cube.HasField("pose") and cube.pose.HasField("position") and cube.pose.HasField("orientation")):
        raise CodecError("cube: pose: position and orientation are needed; send zeros, too")
    values = (place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w)
    length = math.sqrt(sum(value * value for value in values[3:]))
    if not all(map(math.isfinite, values)) or not abs(length - 1) <= UNIT_TOLERANCE:
        raise CodecError(f"cube: pose: {values} must be finite, its orientation a unit quaternion")
    x, y, z, *rotation = values
    qx, qy, qz, qw = (value / length for value in rotation)
    return x, y, z, qx, qy, qz, qw


def _size(cube: Any) -> tuple[float, float, float]:
    size = (cube.size.x, cube.size.y, cube.size.z)
    if not all(0 < value < math.inf for value in size):
        raise CodecError(f"cube: size: {size} must be three numbers > 0")
    return size
