"""The solids a scene is made of, as rows of one table, and the boxes that label them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Shapes = NDArray[np.float64]
"""float64 (N, 9): one solid a row, in the columns named below."""

X, Y, Z0, Z1, A, B, YAW, MATERIAL, KIND = range(9)
"""Centre x, y; bottom and top z; half length (or radius) and half width, metres; radians; codes."""


class Kind(IntEnum):
    """What a row of the table describes."""

    BOX = 0
    CYLINDER = 1
    CROWN = 2


class Material(IntEnum):
    """What a surface is made of; decides reflectivity and lost returns."""

    ASPHALT = 0
    PAINT = 1
    PAVEMENT = 2
    GRASS = 3
    FACADE = 4
    GLASS = 5
    CONCRETE = 6
    METAL = 7
    CAR = 8
    DARK_CAR = 9
    BARK = 10
    LEAVES = 11
    CLOTHES = 12


DROP, GROUND = -1, -2
"""In place of a material: a drop of rain, the ground of whatever material."""

REFLECTIVITY = np.array(
    [0.17, 0.65, 0.32, 0.38, 0.45, 0.10, 0.40, 0.60, 0.55, 0.08, 0.25, 0.42, 0.35], np.float32
)
"""Share of light sent back at right angles, by material."""

LOSS = np.array([0, 0, 0, 0.02, 0, 0.55, 0, 0.02, 0.03, 0.12, 0, 0.05, 0.01], np.float32)
"""Probability that a return is lost to the surface itself (glass, dark paint), by material."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """Ground truth of one object, in the map frame.

    id : the same in every sweep
    label : ``car``, ``truck``, ``cyclist``, ``pedestrian``, ``robot`` or ``popup``
    centre : x, y, z, metres; size : length, width, height, metres
    yaw : radians, counter-clockwise from +x; velocity : x, y, z, metres a second
    """

    id: str
    label: str
    centre: tuple[float, float, float]
    size: tuple[float, float, float]
    yaw: float
    velocity: tuple[float, float, float] = (0.0, 0.0, 0.0)


EMPTY: Shapes = np.zeros((0, 9))


def cuboid(
    x: float, y: float, z: tuple[float, float], size: tuple[float, float], yaw: float, material: Material
) -> list[float]:
    """A box that stands upright; ``size`` is its length and width, ``z`` its bottom and top."""
    return [x, y, z[0], z[1], size[0] / 2, size[1] / 2, yaw, float(material), float(Kind.BOX)]


def cylinder(x: float, y: float, z: tuple[float, float], radius: float, material: Material) -> list[float]:
    """An upright cylinder."""
    return [x, y, z[0], z[1], radius, radius, 0.0, float(material), float(Kind.CYLINDER)]


def crown(x: float, y: float, z: tuple[float, float], radius: float) -> list[float]:
    """The crown of a tree: an ellipsoid that beams enter before they meet a leaf."""
    return [x, y, z[0], z[1], radius, radius, 0.0, float(Material.LEAVES), float(Kind.CROWN)]


def tree(x: float, y: float, z: float, height: float, radius: float) -> list[list[float]]:
    """A trunk and a crown."""
    fork = 0.35 * height
    trunk = cylinder(x, y, (z - 0.2, z + fork + 0.5), 0.06 + 0.022 * height, Material.BARK)
    return [trunk, crown(x, y, (z + fork, z + height), radius)]


def body(box: Box) -> list[list[float]]:
    """The solids inside an object's box: a hull and a cabin, a rider on a bicycle, a person."""
    x, y, middle = box.centre
    length, width, height = box.size
    z, top = middle - height / 2, middle + height / 2
    along, across = np.cos(box.yaw), np.sin(box.yaw)
    if box.label == "pedestrian":
        return [cylinder(x, y, (z, top), width / 2, Material.CLOTHES)]
    if box.label == "popup":
        return [cuboid(x, y, (z, top), (length, width), box.yaw, Material.METAL)]
    if box.label == "cyclist":
        bicycle = cuboid(x, y, (z + 0.05, z + 1.0), (length, 0.35 * width), box.yaw, Material.METAL)
        return [bicycle, cylinder(x, y, (z + 0.75, top), 0.4 * width, Material.CLOTHES)]
    paint = Material.DARK_CAR if hash_code(box.id) % 4 == 0 else Material.CAR
    if box.label == "truck":
        cab, load = 0.24 * length, 0.72 * length
        ahead, behind = (length - cab) / 2, (load - length) / 2
        front = cuboid(x + ahead * along, y + ahead * across, (z + 0.35, z + 0.8 * height), (cab, width),
                       box.yaw, paint)  # fmt: skip
        hold = cuboid(x + behind * along, y + behind * across, (z + 0.7, top), (load, width),
                      box.yaw, Material.CAR)  # fmt: skip
        return [front, hold]
    waist, back = z + 0.6 * height, -0.05 * length
    hull = cuboid(x, y, (z + 0.22, waist), (length, width), box.yaw, paint)
    cabin = cuboid(x + back * along, y + back * across, (waist, top), (0.55 * length, 0.88 * width),
                   box.yaw, Material.GLASS if paint is Material.DARK_CAR else Material.CAR)  # fmt: skip
    return [hull, cabin]


def hash_code(text: str) -> int:
    """A small number from a text, the same in every process (unlike ``hash``)."""
    code = 0
    for letter in text.encode():
        code = (code * 131 + letter) % 1_000_003
    return code


def table(rows: list[list[float]]) -> Shapes:
    """Rows as one table, also when there are none."""
    return np.array(rows) if rows else EMPTY
