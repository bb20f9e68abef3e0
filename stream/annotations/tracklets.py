"""KITTI raw ``tracklet_labels.xml``: boxes that were drawn in the sweeps of a drive, in the sensor's frame.

An entity ends reading: no file of tracklets has one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stream.annotations.base import AnnotationError
from stream.annotations.boxes import MAX_BOXES, Box
from stream.sources.base import one_line

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

MAX_BYTES = 256 << 20
NAME = "tracklet_labels.xml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracklets:
    """Boxes by frame number; a frame is the sweep of this number in its drive.

    classes : names, ascending
    """

    classes: tuple[str, ...]
    by_frame: dict[int, list[Box]]

    def boxes_at(self, number: int, frame: str, stamp_ns: int) -> list[Box]:
        """Those of a sweep, in its sensor's frame and at its stamp."""
        return [
            Box(
                label=box.label, instance=box.instance, frame=frame, stamp_ns=stamp_ns, pose=box.pose,
                size_m=box.size_m,
            )
            for box in self.by_frame.get(number, [])
        ]  # fmt: skip


def read_tracklets(path: Path) -> Tracklets:
    """The boxes of a file.  Instances are numbered as the tracklets are, from 1.

    Raises AnnotationError: no XML, other content, values that are no box; ModuleNotFoundError without
    defusedxml
    """
    found: dict[int, list[Box]] = {}
    count = 0
    for instance, item in enumerate(_items(path, _root(path)), 1):
        where = f"{path}: tracklet {instance}"
        label = _text(item, "objectType", where).strip()
        if not label:
            raise AnnotationError(f"{where}: objectType is empty")
        height, width, length = (_number(item, name, where) for name in ("h", "w", "l"))
        if not min(height, width, length) > 0:
            raise AnnotationError(f"{where}: h, w, l: {height}, {width}, {length} must be > 0")
        first = _whole(item, "first_frame", where)
        for offset, pose in enumerate(_child(item, "poses", where).findall("item")):
            count += 1
            if count > MAX_BOXES:
                raise AnnotationError(f"{path}: more than {MAX_BOXES} boxes")
            box = Box(
                label=label, instance=instance, frame="", stamp_ns=0, size_m=(length, width, height),
                pose=_pose(pose, height, f"{where}, pose {offset}"),
            )  # fmt: skip
            found.setdefault(first + offset, []).append(box)
    return Tracklets(
        classes=tuple(sorted({box.label for boxes in found.values() for box in boxes})), by_frame=found
    )


def _root(path: Path) -> Element:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import ParseError, fromstring

    size = path.stat().st_size
    if size > MAX_BYTES:
        raise AnnotationError(f"{path}: {size} bytes exceed the cap of {MAX_BYTES} on a file of tracklets")
    try:
        root: Element = fromstring(
            path.read_bytes()
        )  # which takes the document type that Boost writes, but no entity
    except ParseError as error:
        raise AnnotationError(f"{path}: no XML: {error}") from error
    except DefusedXmlException as error:
        raise AnnotationError(f"{path}: holds an entity, which a file of tracklets has no use for") from error
    except (ValueError, LookupError) as error:  # an encoding that is unknown, or not the one it says
        raise AnnotationError(f"{path}: no XML: {one_line(error)}") from error
    return root


def _items(path: Path, root: Element) -> list[Element]:
    tracklets = root.find("tracklets")
    if root.tag != "boost_serialization" or tracklets is None:
        raise AnnotationError(
            f"{path}: <{root.tag}> holds no <tracklets>; expected a {NAME} of a KITTI raw drive"
        )
    return tracklets.findall("item")


def _pose(item: Element, height: float, where: str) -> tuple[float, float, float, float, float, float, float]:
    """Of the box's middle: KITTI gives that of its bottom, and turns it about the vertical only."""
    x, y, z, roll, pitch, yaw = (_number(item, name, where) for name in ("tx", "ty", "tz", "rx", "ry", "rz"))
    if roll or pitch:
        raise AnnotationError(f"{where}: rx, ry: {roll}, {pitch}: boxes of KITTI turn about z only")
    return x, y, z + height / 2, 0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)


def _child(item: Element, name: str, where: str) -> Element:
    found = item.find(name)
    if found is None:
        raise AnnotationError(f"{where}: has no <{name}>")
    return found


def _text(item: Element, name: str, where: str) -> str:
    return _child(item, name, where).text or ""


def _number(item: Element, name: str, where: str) -> float:
    text = _text(item, name, where)
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) < 1e9:
        raise AnnotationError(f"{where}: {name}: {text[:40]!r} must be a finite number")
    return value


def _whole(item: Element, name: str, where: str) -> int:
    value = _number(item, name, where)
    if value < 0 or value != int(value):
        raise AnnotationError(f"{where}: {name}: {value:g} must be a whole number >= 0")
    return int(value)
