"""The sensor: beam tables, and the nearest surface along each beam, found for all beams at once.

Each solid meets only the beams of its own azimuth and elevation range; the pairs that remain are tested
together, in float32 relative to the sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stream.sources.simulation import shapes as table
from stream.sources.simulation.ground import Ground
from stream.sources.simulation.shapes import Kind, Material, Shapes

MAX_RANGE_M = 80.0
MIN_RANGE_M = 0.9
Floats = NDArray[np.float32]

_BEAMS_32 = (
    -25.0, -15.639, -11.31, -8.843, -7.254, -6.148, -5.333, -4.667, -4.0, -3.667, -3.333, -3.0, -2.667,
    -2.333, -2.0, -1.667, -1.333, -1.0, -0.667, -0.333, 0.0, 0.333, 0.667, 1.0, 1.333, 1.667, 2.333, 3.333,
    4.667, 7.0, 10.333, 15.0,
)  # fmt: skip


def elevations(beams: int) -> NDArray[np.float64]:
    """Elevation of each beam, float64 (beams,), radians, ascending; 32 (-25..15) or 64 (-24.8..2) beams.

    The 32-beam table is dense near the horizon, as in the Velodyne VLP-32C; the 64-beam table has the two
    spacings of the HDL-64E.
    """
    degrees = np.array(_BEAMS_32)
    if beams != 32:
        degrees = np.concatenate([np.linspace(-24.8, -8.83, 32), np.linspace(-8.33, 2.0, 32)])
    return degrees * (np.pi / 180)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rays:
    """All beams of one turn, azimuth by azimuth, each azimuth from the lowest beam up.

    elevation : float64 (beams,); azimuths : count; first : azimuth of the first column, radians
    direction : float32 (azimuths * beams, 3), sensor frame, unit length
    """

    elevation: NDArray[np.float64]
    azimuths: int
    first: float
    direction: Floats

    @property
    def row(self) -> NDArray[np.int64]:
        """Beam number of each ray."""
        return np.tile(np.arange(len(self.elevation)), self.azimuths)


def rays(elevation: NDArray[np.float64], azimuths: int, first: float) -> Rays:
    """Directions of one turn, counter-clockwise from azimuth ``first``."""
    angle = first + np.arange(azimuths) * (2 * np.pi / azimuths)
    level, up = np.cos(elevation), np.sin(elevation)
    direction = np.empty((azimuths, len(elevation), 3), np.float32)
    direction[..., 0] = np.cos(angle)[:, None] * level
    direction[..., 1] = np.sin(angle)[:, None] * level
    direction[..., 2] = up
    return Rays(elevation=elevation, azimuths=azimuths, first=first, direction=direction.reshape(-1, 3))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Hits:
    """What each ray met.

    distance : float32 (N,), metres, infinite where nothing is within range
    facing : float32 (N,), cosine of the angle to the surface's normal, 0..1
    material : int64 (N,); ground : bool (N,), it is the ground's
    """

    distance: Floats
    facing: Floats
    material: NDArray[np.int64]
    ground: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """The sensor in the world.

    origin : float64 (3,), map frame; rotation : float64 (3, 3), sensor to map
    direction : float32 (3, N), map frame, one row an axis
    """

    rays: Rays
    origin: NDArray[np.float64]
    rotation: NDArray[np.float64]
    direction: Floats


def view(beams: Rays, origin: NDArray[np.float64], rotation: NDArray[np.float64]) -> View:
    """Turn the beams into the map frame."""
    direction = np.ascontiguousarray(rotation.astype(np.float32) @ beams.direction.T)
    return View(rays=beams, origin=origin, rotation=rotation, direction=direction)


def cast(view: View, shapes: Shapes, ground: Ground, leaf: Floats) -> Hits:
    """The nearest surface along every ray.

    shapes : the solids, map frame
    leaf : float32 (N,), metres a ray goes through leaves before it meets one
    """
    count = view.direction.shape[1]
    around = shapes.copy()
    around[:, [table.X, table.Y, table.Z0, table.Z1]] -= view.origin[[0, 1, 2, 2]]
    nearest = np.full(count, MAX_RANGE_M, np.float32)
    owner = np.full(count, -1)
    facing = np.zeros(count, np.float32)
    for kind in Kind:
        some = np.flatnonzero(shapes[:, table.KIND] == kind)
        solids = around[some]
        solid, ray = _pairs(view, solids)
        t, cosine = _TESTS[kind](view, solids, solid, ray, leaf)
        met = np.flatnonzero(t < nearest[ray])
        solid, ray, t, cosine = solid[met], ray[met], t[met], cosine[met]
        np.minimum.at(nearest, ray, t)
        won = t == nearest[ray]
        owner[ray[won]] = some[solid[won]]
        facing[ray[won]] = cosine[won]
    material = np.where(owner >= 0, shapes[owner, table.MATERIAL] if len(shapes) else 0, 0).astype(np.int64)
    _meet_ground(view, ground, nearest, facing, material, owner)
    _glaze(view, nearest, facing, material)
    distance = np.where(nearest < MAX_RANGE_M, nearest, np.float32(np.inf))
    return Hits(distance=distance, facing=facing, material=material, ground=owner < 0)


def _pairs(view: View, solids: Shapes) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Solid and ray numbers of all pairs that may meet."""
    beams, columns = len(view.rays.elevation), view.rays.azimuths
    first, wide, low, high, near = _extent(view, solids)
    tall = np.searchsorted(view.rays.elevation, high, side="right")
    floor = np.searchsorted(view.rays.elevation, low, side="left")
    rows = np.where(near < MAX_RANGE_M, tall - floor, 0)
    across = np.where(rows > 0, wide, 0).astype(np.int64)
    solid = np.repeat(np.arange(len(solids), dtype=np.int32), across)
    start = (np.cumsum(across) - across).astype(np.int32)
    column = np.arange(len(solid), dtype=np.int32) - start[solid] + first.astype(np.int32)[solid]
    base = (column % columns) * beams + floor.astype(np.int32)[solid]
    per = rows[solid].astype(np.int32)
    begin = (np.cumsum(per) - per).astype(np.int32)
    ray = np.arange(int(per.sum()), dtype=np.int32) + np.repeat(base - begin, per).astype(np.int32)
    return np.repeat(solid, per), ray


def _extent(view: View, solids: Shapes) -> tuple[NDArray[np.float64], ...]:
    """First column, columns, lowest and highest elevation, and distance of each solid, with a margin."""
    dx, dy = solids[:, table.X], solids[:, table.Y]
    cos, sin = np.cos(solids[:, table.YAW]), np.sin(solids[:, table.YAW])
    a, b = solids[:, table.A], solids[:, table.B]
    ahead, aside = np.abs(cos * dx + sin * dy), np.abs(cos * dy - sin * dx)
    near = np.hypot(np.maximum(ahead - a, 0), np.maximum(aside - b, 0))
    far = np.hypot(ahead + a, aside + b)
    centre = np.arctan2(dy, dx)
    corners = np.stack([
        np.arctan2(dy + i * a * sin + j * b * cos, dx + i * a * cos - j * b * sin) - centre
        for i in (1, -1) for j in (1, -1)
    ])  # fmt: skip
    corners = np.mod(corners + np.pi, 2 * np.pi) - np.pi
    tilt = float(np.arccos(np.clip(view.rotation[2, 2], -1, 1)))
    steepest = float(np.abs(view.rays.elevation).max()) + tilt
    step = 2 * np.pi / view.rays.azimuths
    margin = tilt * np.tan(steepest) + tilt**2 + 1.5 * step
    yaw = float(np.arctan2(view.rotation[1, 0], view.rotation[0, 0]))
    left = corners.min(axis=0) + centre - yaw - view.rays.first - margin
    first = np.floor(left / step)
    wide = np.ceil((corners.max(axis=0) - corners.min(axis=0) + 2 * margin) / step) + 1
    wide = np.where(near < 0.3, view.rays.azimuths, np.minimum(wide, view.rays.azimuths))
    top, bottom = solids[:, table.Z1], solids[:, table.Z0]
    close = np.maximum(near, 0.05)
    high = np.arctan2(top, np.where(top > 0, close, far)) + tilt + 1e-4
    low = np.arctan2(bottom, np.where(bottom < 0, close, far)) - tilt - 1e-4
    return first, wide, low, high, near


# Each test takes solids relative to the sensor, and pairs of solid and ray; it returns the distance of the
# first meeting, infinite where there is none, and the cosine of the angle to the surface's normal.
def _box(
    view: View, solids: Shapes, solid: NDArray[np.int32], ray: NDArray[np.int32], leaf: Floats
) -> tuple[Floats, Floats]:
    """Upright boxes, by slabs."""
    dx, dy, dz = (axis[ray] for axis in view.direction)
    cos, sin = np.cos(solids[:, table.YAW]), np.sin(solids[:, table.YAW])
    rx, ry = -solids[:, table.X], -solids[:, table.Y]
    frame = np.stack(
        [cos, sin, cos * rx + sin * ry, cos * ry - sin * rx, solids[:, table.A], solids[:, table.B]]
    )
    c, s, ox, oy, a, b = frame.astype(np.float32)[:, solid]
    tiny = np.float32(1e-9)
    along, across = c * dx + s * dy, c * dy - s * dx
    fx, fy = 1 / (along + tiny), 1 / (across + tiny)
    fz = 1 / (dz + tiny)
    z0, z1 = solids[:, [table.Z0, table.Z1]].astype(np.float32).T[:, solid]
    mx, my, mz = -ox * fx, -oy * fy, (z0 + z1) * np.float32(0.5) * fz
    hx, hy, hz = a * np.abs(fx), b * np.abs(fy), (z1 - z0) * np.float32(0.5) * np.abs(fz)
    tx, ty, tz = mx - hx, my - hy, mz - hz
    enter = np.maximum(np.maximum(tx, ty), tz)
    leave = np.minimum(np.minimum(mx + hx, my + hy), mz + hz)
    cosine = np.where(enter == tx, np.abs(along), np.where(enter == ty, np.abs(across), np.abs(dz)))
    return np.where((enter <= leave) & (enter > MIN_RANGE_M), enter, np.float32(np.inf)), cosine


def _cylinder(
    view: View, solids: Shapes, solid: NDArray[np.int32], ray: NDArray[np.int32], leaf: Floats
) -> tuple[Floats, Floats]:
    """Upright cylinders with lids."""
    dx, dy, dz = (axis[ray] for axis in view.direction)
    px, py, z0, z1, radius = solids[:, table.X : table.A + 1].astype(np.float32).T[:, solid]
    level = dx * dx + dy * dy + np.float32(1e-12)
    closest = (px * dx + py * dy) / level
    miss = (px * dy - py * dx) ** 2 / level
    half = np.sqrt(np.maximum(radius * radius - miss, 0) / level)
    fz = 1 / (dz + np.float32(1e-9))
    lid = np.minimum(z0 * fz, z1 * fz)
    side = closest - half
    enter = np.maximum(side, lid)
    leave = np.minimum(closest + half, np.maximum(z0 * fz, z1 * fz))
    met = (miss < radius * radius) & (enter <= leave) & (enter > MIN_RANGE_M)
    cosine = np.where(enter == side, half * level / radius, np.abs(dz))
    return np.where(met, enter, np.float32(np.inf)), cosine


def _crown(
    view: View, solids: Shapes, solid: NDArray[np.int32], ray: NDArray[np.int32], leaf: Floats
) -> tuple[Floats, Floats]:
    """Ellipsoids of leaves: a ray that leaves one before its ``leaf`` depth goes on."""
    dx, dy, dz = (axis[ray] for axis in view.direction)
    squeeze = 2 * solids[:, table.A] / (solids[:, table.Z1] - solids[:, table.Z0])
    rise = (solids[:, table.Z0] + solids[:, table.Z1]) / 2
    columns = [solids[:, table.X], solids[:, table.Y], rise * squeeze, squeeze, solids[:, table.A]]
    place = np.stack(columns)
    px, py, pz, squash, radius = place.astype(np.float32)[:, solid]
    dz = dz * squash
    norm = dx * dx + dy * dy + dz * dz
    closest = (px * dx + py * dy + pz * dz) / norm
    miss = px * px + py * py + pz * pz - closest * closest * norm
    half = np.sqrt(np.maximum(radius * radius - miss, 0) / norm)
    enter = np.maximum(closest - half, MIN_RANGE_M) + leaf[ray]
    met = (enter < closest + half) & (half > 0)
    return np.where(met, enter, np.float32(np.inf)), np.full(len(ray), 0.7, np.float32)


_TESTS = {Kind.BOX: _box, Kind.CYLINDER: _cylinder, Kind.CROWN: _crown}


def _meet_ground(
    view: View, ground: Ground, nearest: Floats, facing: Floats, material: NDArray[np.int64],
    owner: NDArray[np.int64],
) -> None:  # fmt: skip
    """Where a ray meets the ground before anything else, write that in place.

    The ground along each azimuth brackets the meeting point; halving and one secant step find it.
    """
    ox, oy = float(view.origin[0]), float(view.origin[1])
    dx, dy, dz = view.direction
    level = np.hypot(dx, dy)
    slope = dz / level
    low, high = _bracket(view, ground, slope)
    down = np.flatnonzero((low < nearest * level) & (high > 0))
    dx, dy, slope = dx[down] / level[down], dy[down] / level[down], slope[down]
    near, far = low[down], high[down]

    def above(reach: Floats) -> Floats:
        surface = ground.height(dx * reach + np.float32(ox), dy * reach + np.float32(oy))
        over: Floats = reach * slope - (surface - np.float32(view.origin[2]))
        return over

    for _ in range(6):
        middle = (near + far) * np.float32(0.5)
        free = above(middle) > 0
        near, far = np.where(free, middle, near), np.where(free, far, middle)
    over, under = above(near), above(far)
    reach = near + (far - near) * np.clip(over / np.maximum(over - under, 1e-6), 0, 1)
    t = reach / level[down]
    first = (t < nearest[down]) & (t > MIN_RANGE_M)
    down, t, reach = down[first], t[first], reach[first]
    nearest[down] = t
    facing[down] = np.abs(view.direction[2, down])
    owner[down] = -1
    material[down] = ground.material(dx[first] * reach + ox, dy[first] * reach + oy)


def _bracket(view: View, ground: Ground, slope: Floats) -> tuple[Floats, Floats]:
    """Level distances, float32 (N,), before and after each ray goes under ground; high 0 where never."""
    columns, beams = view.rays.azimuths, len(view.rays.elevation)
    reach = np.geomspace(1.2, MAX_RANGE_M + 3, 56).astype(np.float32)
    yaw = np.arctan2(view.rotation[1, 0], view.rotation[0, 0]) + view.rays.first
    angle = (yaw + np.arange(columns) * (2 * np.pi / columns)).astype(np.float32)
    x = np.cos(angle)[:, None] * reach + np.float32(view.origin[0])
    y = np.sin(angle)[:, None] * reach + np.float32(view.origin[1])
    rise = (ground.height(x, y) - np.float32(view.origin[2])) / reach
    # the steepest rise so far ascends along a column: one search over all columns, kept apart by 100
    edge = np.maximum.accumulate(rise, axis=1).astype(np.float64)
    apart = 100.0 * np.arange(columns)[:, None]
    at = np.searchsorted(
        (edge + apart).ravel(), (slope.reshape(columns, beams) + apart).ravel(), side="right"
    )
    at = at - np.repeat(np.arange(columns) * len(reach), beams)
    low = np.where(at > 0, reach[np.clip(at - 1, 0, len(reach) - 1)], np.float32(0))
    high = np.where(at < len(reach), reach[np.minimum(at, len(reach) - 1)], np.float32(0))
    return low, high


def _glaze(view: View, nearest: Floats, facing: Floats, material: NDArray[np.int64]) -> None:
    """Turn parts of facades into windows, in place."""
    wall = np.flatnonzero((material == Material.FACADE) & (facing > np.abs(view.direction[2])))
    dx, dy, dz = view.direction[:, wall] * nearest[wall]
    x, y, z = dx + view.origin[0], dy + view.origin[1], dz + view.origin[2]
    up, along = np.mod(z, 3.1), np.mod(x + y, 2.6)
    window = (up > 1.0) & (up < 2.5) & (along > 0.7) & (along < 2.0)
    material[wall[window]] = Material.GLASS
