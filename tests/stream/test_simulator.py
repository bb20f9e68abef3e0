"""The simulated drive: repeatable, true to its own boxes, and wrong only where it is told to."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream.sources.base import Item, SourceError, SourceOptions
from stream.sources.simulation import events as ev
from stream.sources.simulation import lidar, shapes
from stream.sources.simulation.ground import Hills
from stream.sources.simulation.scene import rotation_zyx
from stream.sources.simulation.shapes import Box
from stream.sources.simulator import (
    FIRINGS,
    Simulator,
    SimulatorConfig,
    open_simulator,
    parse_location,
)
from stream.sweep import Sweep
from stream.transform import Transform

MS = 1_000_000
WORLDS = ("city", "highway", "yard")


def simulator(location: str, **options: object) -> Simulator:
    source = open_simulator(location, SourceOptions(**options))
    assert isinstance(source, Simulator)
    return source


def identity(item: Item) -> tuple[object, ...]:
    if isinstance(item, Sweep):
        return (item.stream_id, item.stamp_ns, item.points.tobytes(), item.intensity.tobytes())
    return (item,)


def rotation(q: tuple[float, float, float, float]) -> np.ndarray:
    x, y, z, w = q
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


class Poses:
    """The transforms of one robot, interpolated the plain way."""

    def __init__(self, items: list[Item], robot_id: str) -> None:
        mine = [t for t in items if isinstance(t, Transform) and t.robot_id == robot_id]
        (self.mount,) = [t for t in mine if t.static]
        self.track = [t for t in mine if not t.static]
        self.stamps = np.array([t.stamp_ns for t in self.track])

    def map_from_sensor(self, stamp_ns: int) -> tuple[np.ndarray, np.ndarray]:
        at = int(np.searchsorted(self.stamps, stamp_ns))
        assert 0 < at < len(self.stamps)
        before, after = self.track[at - 1], self.track[at]
        part = (stamp_ns - before.stamp_ns) / (after.stamp_ns - before.stamp_ns)
        a, b = np.array(before.rotation), np.array(after.rotation)
        q = (1 - part) * a + part * (b if a @ b > 0 else -b)
        turn = rotation(tuple(q / np.linalg.norm(q)))
        origin = (1 - part) * np.array(before.translation) + part * np.array(after.translation)
        return turn, origin + turn @ np.array(self.mount.translation)

    def in_map(self, sweep: Sweep) -> np.ndarray:
        turn, origin = self.map_from_sensor(sweep.stamp_ns)
        return sweep.points.astype(np.float64) @ turn.T + origin


def sweeps_of(items: list[Item]) -> list[Sweep]:
    return [item for item in items if isinstance(item, Sweep)]


def in_box(points: np.ndarray, box: Box, margin: float) -> np.ndarray:
    """Positions, in the box's own axes, of the points inside it."""
    cos, sin = np.cos(box.yaw), np.sin(box.yaw)
    local = (points - np.array(box.centre)) @ np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])
    return local[(np.abs(local) < np.array(box.size) / 2 + margin).all(axis=1)]


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("sim:moon", ["world", "moon", "city", "highway", "yard"]),
        ("sim:", ["world", "city"]),
        ("city?seed=1", ["sim:WORLD"]),
        ("sim:city?speed=3", ["speed=3", "seed, sweeps, beams, rate, azimuths, robots, events"]),
        ("sim:city?seed=x", ["seed=x", "whole number"]),
        ("sim:city?seed", ["seed=", "whole number"]),
        ("sim:city?seed=-1", ["seed=-1"]),
        ("sim:city?seed=1&seed=2", ["seed=2", "twice"]),
        ("sim:city?rate=fast", ["rate=fast", "number"]),
        ("sim:city?rate=0", ["rate", "0", "1..20"]),
        ("sim:city?beams=16", ["beams", "16", "32 or 64"]),
        ("sim:city?sweeps=0", ["sweeps", "0", "1..1000000"]),
        ("sim:city?azimuths=7", ["azimuths", "7"]),
        ("sim:city?robots=65", ["robots", "65", "1..64"]),
        ("sim:city?misses=2", ["misses", "2", "0..1"]),
        ("sim:city?seed=99999999999999999999999", ["seed"]),
        ("sim:city?events=snow@3", ["snow", *ev.NAMES]),
        ("sim:city?events=rain", ["rain", "rain@60"]),
        ("sim:city?events=rain@-3", ["rain@-3"]),
        ("sim:city?events=rain@9-9", ["rain@9-9", "after their start"]),
        ("sim:city?events=nan@9-12", ["nan@9-12"]),
        ("sim:city?events=rain@120", ["rain@120", "119"]),
        ("sim:city?events=clock-jump@1,clock-jump@2", ["clock-jump", "once"]),
    ],
)
def test_bad_location_names_key_value_and_way_out(location: str, words: list[str]) -> None:
    with pytest.raises(SourceError) as caught:
        open_simulator(location, SourceOptions())
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


def test_bad_options_are_source_errors() -> None:
    for options in (SourceOptions(robot_id="a/b"), SourceOptions(first_stamp_ns=5)):
        with pytest.raises(SourceError):
            open_simulator("sim:city", options)
    open_simulator("sim:city", SourceOptions(robot_id="a" * 256))
    with pytest.raises(SourceError, match=r"robot_id: .* has 258 bytes, a name has 256 at most"):
        open_simulator("sim:city?robots=2", SourceOptions(robot_id="a" * 256))


@given(
    world=st.sampled_from(WORLDS),
    seed=st.integers(0, 2**32 - 1),
    rate=st.sampled_from([1.0, 2.5, 10.0, 20.0]),
    beams=st.sampled_from([32, 64]),
    robots=st.integers(1, 64),
    misses=st.integers(0, 1),
    names=st.lists(st.sampled_from(ev.NAMES), unique=True, max_size=4),
)
def test_location_round_trip(
    world: str, seed: int, rate: float, beams: int, robots: int, misses: int, names: list[str]
) -> None:
    events = tuple(ev.Event(name=name, start=number) for number, name in enumerate(names))
    config = SimulatorConfig(
        world=world, seed=seed, rate_hz=rate, beams=beams, robots=robots, misses=misses, events=events,
        sweeps=50,
    )  # fmt: skip
    assert parse_location(config.location, SourceOptions()) == config


def test_options_fill_in_what_the_location_leaves_open() -> None:
    options = SourceOptions(robot_id="cart", rate_hz=5.0, first_stamp_ns=7_000_000_000)
    config = parse_location("sim:yard", options)
    assert (config.robot_id, config.rate_hz, config.first_stamp_ns) == ("cart", 5.0, 7_000_000_000)
    assert parse_location("sim:yard?rate=2", options).rate_hz == 2.0


@pytest.mark.parametrize("world", WORLDS)
def test_same_location_same_items(world: str) -> None:
    location = f"sim:{world}?seed=4&sweeps=4&azimuths=256&robots=2&events=rain@2,nan@3"
    source = simulator(location)
    first = [identity(item) for item in source]
    assert first == [identity(item) for item in source]
    assert first == [identity(item) for item in simulator(location)]
    other = [identity(item) for item in simulator(location.replace("seed=4", "seed=5"))]
    assert first != other


def test_a_sweep_does_not_depend_on_what_was_asked_before() -> None:
    location = "sim:city?seed=2&sweeps=40&azimuths=256"
    used = simulator(location)
    for index in (30, 3, 17):
        used.shot(0, index)
    assert identity(used.shot(0, 9).sweep) == identity(simulator(location).shot(0, 9).sweep)


def test_events_change_only_their_own_sweeps() -> None:
    calm = simulator("sim:city?sweeps=30&azimuths=256")
    rough = simulator("sim:city?sweeps=30&azimuths=256&events=rain@10-12,thinning@20,tilt@22-24")
    same = [i for i in range(30) if identity(calm.shot(0, i).sweep) == identity(rough.shot(0, i).sweep)]
    assert same == [*range(10), *range(12, 20)]


def test_a_spinning_sensor_sees_each_sector_at_its_own_time() -> None:
    """Counter-clockwise, sixteen sectors in a period; without ``spin`` nothing is other than before."""
    location = "sim:highway?seed=3&sweeps=2&azimuths=64"
    spinning, still = simulator(location + "&spin=1"), simulator(location)
    assert parse_location(spinning.config.location, SourceOptions()) == spinning.config
    assert "spin" not in still.config.location
    sweep, other = spinning.shot(0, 1).sweep, still.shot(0, 1).sweep
    times = sweep.time_offset_ns
    assert times is not None and other.time_offset_ns is None
    assert np.unique(times).tolist() == [100 * MS * (2 * step + 1) // 32 for step in range(FIRINGS)]
    assert (np.diff(times) >= 0).all()
    azimuth = np.degrees(np.arctan2(sweep.points[:, 1], sweep.points[:, 0])) % 360
    sector = azimuth * FIRINGS // 360
    off = np.abs((sector * 2 + 1) / 32 * 100 * MS - times) > 1
    assert off.mean() < 0.25  # the first column lies up to a column's width, a quarter of a sector, after 0
    assert len(other.points) > 500 and sweep.points.tobytes() != other.points.tobytes()


@pytest.mark.parametrize("rate", [5, 10, 13])
@pytest.mark.parametrize("robots", [1, 3])
def test_items_come_as_in_a_real_log(rate: int, robots: int) -> None:
    source = simulator(f"sim:yard?sweeps=6&azimuths=64&rate={rate}&robots={robots}")
    items = list(source)
    newest: dict[str, int] = {}
    mounted = set()
    for item in items:
        if isinstance(item, Transform) and item.static:
            mounted.add(item.robot_id)
        elif isinstance(item, Transform):
            assert item.stamp_ns - newest.get(item.robot_id, item.stamp_ns - 20 * MS) == 20 * MS
            assert abs(np.linalg.norm(item.rotation) - 1) < 1e-12
            newest[item.robot_id] = item.stamp_ns
        else:
            assert isinstance(item, Sweep)
            assert item.robot_id in mounted
            assert newest[item.robot_id] >= item.stamp_ns
            period = source.config.period_ns
            assert newest[item.robot_id] <= item.stamp_ns + period + 20 * MS
    assert {s.stream_id for s in sweeps_of(items)} == {f"{name}/lidar" for name in source.config.robot_ids}
    for robot in source.config.robot_ids:
        stamps = [s.stamp_ns for s in sweeps_of(items) if s.robot_id == robot]
        assert {b - a for a, b in pairwise(stamps)} == {source.config.period_ns}
        poses = Poses(items, robot)
        for stamp in stamps:
            poses.map_from_sensor(stamp)


@pytest.mark.parametrize(
    "query", ["", "&robots=3", "&events=duplicate@2,late@3,pose-gap@5,clock-jump@8", "&events=pose-gap@11"]
)
def test_info_counts_what_comes(query: str) -> None:
    source = simulator(f"sim:yard?sweeps=12&azimuths=64{query}")
    items = list(source)
    info = source.info()
    assert info.sweeps == len(sweeps_of(items))
    assert info.topics["/tf"][1] == len(items) - len(sweeps_of(items))
    assert sum(count for topic, (_, count) in info.topics.items() if topic != "/tf") == info.sweeps
    assert info.start_ns == min(item.stamp_ns for item in items)
    assert info.end_ns == max(item.stamp_ns for item in items)
    assert (info.root_frame, info.sensor_frames) == ("odom", ("lidar",))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("beams", [32, 64])
def test_points_are_plausible(world: str, beams: int) -> None:
    shot = simulator(f"sim:{world}?sweeps=30&beams={beams}&azimuths=512").shot(0, 17)
    points, intensity = shot.sweep.points, shot.sweep.intensity
    distance = np.linalg.norm(points, axis=1)
    assert np.isfinite(points).all()
    assert distance.min() > 0.85
    assert distance.max() <= lidar.MAX_RANGE_M * (1 + 1e-6)
    assert intensity.min() >= 0
    assert intensity.max() <= 1
    assert intensity.std() > 0.05
    assert shot.rays == 512 * beams
    assert 0.02 * shot.rays < shot.without_return < 0.7 * shot.rays
    elevation = np.arcsin(points[:, 2] / distance)
    nearest = np.abs(elevation[:, None] - lidar.elevations(beams)).min(axis=1)
    assert nearest.max() < 1e-4


@pytest.mark.parametrize("beams", [32, 64])
def test_beam_table_is_ascending_and_uneven(beams: int) -> None:
    table = np.degrees(lidar.elevations(beams))
    assert len(table) == beams
    steps = np.diff(table)
    assert steps.min() > 0
    assert steps.max() > 1.4 * steps.min()
    assert (table[0], table[-1]) == pytest.approx((-25.0, 15.0) if beams == 32 else (-24.8, 2.0))


@pytest.mark.parametrize("world", WORLDS)
def test_bare_ground_is_hit_at_its_height(world: str) -> None:
    source = simulator(f"sim:{world}?sweeps=30")
    ground = source._scene.world.ground
    origin, turn = source._fleet.pose(0, 2.0)
    origin = origin + turn @ np.array([0, 0, 1.8])
    beams = lidar.rays(lidar.elevations(32), 512, 0.001)
    seen = lidar.view(beams, origin, turn)
    hits = lidar.cast(seen, shapes.EMPTY, ground, np.zeros(len(beams.direction), np.float32))
    met = np.isfinite(hits.distance)
    points = (beams.direction[met].astype(float) @ turn.T) * hits.distance[met, None] + origin
    error = np.abs(points[:, 2] - ground.height(points[:, 0], points[:, 1]))
    assert np.quantile(error, 0.99) < 0.01  # the rest is within 2 cm of a kerb
    assert error.max() < 0.15
    # nothing is under ground on the way there
    for part in (0.3, 0.6, 0.9, 0.97):
        way = origin + part * (points - origin)
        clear = way[:, 2] - ground.height(way[:, 0], way[:, 1])
        assert np.quantile(clear, 0.001) > -0.02
        assert clear.min() > -0.15  # a far ray may graze the corner of a kerb
    below = beams.direction[:, 2] < np.sin(np.radians(-6.0))
    assert met[below].all()


class _Abyss(Hills):
    """No ground within reach."""

    def height(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.full_like(x, -500.0)


@np.errstate(all="ignore")
def oracle(origin: np.ndarray, direction: np.ndarray, solids: np.ndarray) -> np.ndarray:
    """Nearest box or cylinder along each ray, in float64, every ray against every face of every solid."""
    nearest = np.full(len(direction), np.inf)
    for row in solids:
        cos, sin = np.cos(row[shapes.YAW]), np.sin(row[shapes.YAW])
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
        middle = np.array([row[shapes.X], row[shapes.Y], (row[shapes.Z0] + row[shapes.Z1]) / 2])
        o, d = turn @ (origin - middle), direction @ turn.T
        half = np.array([row[shapes.A], row[shapes.B], (row[shapes.Z1] - row[shapes.Z0]) / 2])
        candidates = []
        for axis in range(3):
            for sign in (1, -1):
                t = (sign * half[axis] - o[axis]) / d[:, axis]
                at = o + t[:, None] * d
                if row[shapes.KIND] == shapes.Kind.CYLINDER:
                    inside = (axis == 2) & (np.hypot(at[:, 0], at[:, 1]) < half[0])
                else:
                    others = [k for k in range(3) if k != axis]
                    inside = (np.abs(at[:, others]) < half[others]).all(axis=1)
                candidates.append(np.where(inside & (t > 0), t, np.inf))
        if row[shapes.KIND] == shapes.Kind.CYLINDER:
            a = d[:, 0] ** 2 + d[:, 1] ** 2
            b = d[:, 0] * o[0] + d[:, 1] * o[1]
            disc = b * b - a * (o[0] ** 2 + o[1] ** 2 - half[0] ** 2)
            t = (-b - np.sqrt(np.maximum(disc, 0))) / a
            side = (disc > 0) & (t > 0) & (np.abs(o[2] + t * d[:, 2]) < half[2])
            candidates.append(np.where(side, t, np.inf))
        nearest = np.minimum(nearest, np.min(candidates, axis=0))
    return np.where(nearest < lidar.MAX_RANGE_M, nearest, np.inf)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), tilt=st.floats(-0.12, 0.12), yaw=st.floats(-3.2, 3.2))
def test_rays_meet_the_nearest_solid(seed: int, tilt: float, yaw: float) -> None:
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(25):
        way, angle = rng.uniform(3, 85), rng.uniform(-np.pi, np.pi)
        x, y, bottom = 200 + way * np.cos(angle), -90 + way * np.sin(angle), rng.uniform(-4, 3)
        z = (bottom, bottom + rng.uniform(0.2, 6))
        if rng.random() < 0.6:
            size = (float(rng.uniform(0.2, 2.2)), float(rng.uniform(0.2, 2.2)))
            if way > 20:
                size = (size[0] * 8, size[1])
            rows.append(shapes.cuboid(x, y, z, size, float(rng.uniform(-4, 4)), shapes.Material.METAL))
        else:
            rows.append(shapes.cylinder(x, y, z, float(rng.uniform(0.1, 1.5)), shapes.Material.BARK))
    solids = shapes.table(rows)
    origin = np.array([200.0, -90.0, 0.3])
    turn = rotation_zyx(yaw, tilt, -tilt / 2)
    beams = lidar.rays(lidar.elevations(32), 90, float(rng.uniform(0, 0.07)))
    hits = lidar.cast(
        lidar.view(beams, origin, turn), solids, _Abyss(0), np.zeros(len(beams.direction), np.float32)
    )
    expected = oracle(origin, beams.direction.astype(float) @ turn.T, solids)
    both = np.isfinite(expected) & np.isfinite(hits.distance)
    differs = np.isfinite(expected) != np.isfinite(hits.distance)
    differs[both] = np.abs(expected[both] - hits.distance[both]) > 0.01
    assert differs.sum() <= 2  # float32 at an edge
    assert both.any()


def test_leaves_let_some_rays_through() -> None:
    solids = shapes.table([shapes.crown(10.0, 0.0, (-2.0, 2.0), 2.0)])
    beams = lidar.rays(lidar.elevations(32), 2048, 0.0)
    leaf = np.random.default_rng(0).standard_exponential(len(beams.direction), np.float32)
    seen = lidar.view(beams, np.zeros(3), np.eye(3))
    hits = lidar.cast(seen, solids, _Abyss(0), leaf)
    solid_hits = lidar.cast(seen, solids, _Abyss(0), np.zeros_like(leaf))
    met, all_met = np.isfinite(hits.distance), np.isfinite(solid_hits.distance)
    assert not (met & ~all_met).any()
    assert 0.6 < met.sum() / all_met.sum() < 0.98
    points = beams.direction[met] * hits.distance[met, None]
    assert (np.linalg.norm(points - np.array([10, 0, 0]), axis=1) <= 2.001).all()


@pytest.mark.parametrize("world", WORLDS)
def test_points_in_a_moving_box_move_with_it(world: str) -> None:
    source = simulator(f"sim:{world}?seed=3&sweeps=40")
    items = list(source)
    poses, sweeps = Poses(items, "robot"), sweeps_of(items)
    seen = 0
    for index in range(0, 35, 5):
        first, later = sweeps[index], sweeps[index + 4]
        before = {box.id: box for box in source.boxes(first.stamp_ns)}
        after = {box.id: box for box in source.boxes(later.stamp_ns)}
        points = [poses.in_map(first), poses.in_map(later)]
        for name in before.keys() & after.keys():
            speed = np.hypot(*before[name].velocity[:2])
            if before[name].label == "robot" or speed < 0.5:
                continue
            moved = np.array(after[name].centre) - before[name].centre
            assert np.linalg.norm(moved[:2]) == pytest.approx(0.4 * speed, rel=0.25)
            here = in_box(points[0], before[name], 0.08)
            there = in_box(points[1], after[name], 0.08)
            if min(len(here), len(there)) < 40:
                continue
            seen += 1
            if np.linalg.norm(moved[:2]) > before[name].size[0] + 0.3:
                # what filled the box has left the place where it was
                assert len(in_box(points[1], before[name], -0.25)) < 0.3 * len(here)
    assert seen >= 3


def test_no_return_lies_inside_a_solid_hull() -> None:
    source = simulator("sim:city?seed=6&sweeps=20")
    items = list(source)
    poses = Poses(items, "robot")
    on_hull = 0
    for sweep in sweeps_of(items)[::5]:
        points = poses.in_map(sweep)
        for box in source.boxes(sweep.stamp_ns):
            if box.label != "car":
                continue
            local = in_box(points, box, 0.1)
            low = local[np.abs(local[:, 2] + 0.2 * box.size[2]) < 0.1 * box.size[2]]
            inside = (np.abs(low[:, :2]) < np.array(box.size[:2]) / 2 - 0.12).all(axis=1)
            on_hull += len(low)
            assert not inside.any()
    assert on_hull > 200


def test_city_traffic_is_around_during_most_of_the_drive() -> None:
    source = simulator("sim:city?seed=1&sweeps=120")
    items = list(source)
    poses = Poses(items, "robot")
    busy = 0
    some = sweeps_of(items)[::8]
    for sweep in some:
        points, (_, origin) = poses.in_map(sweep), poses.map_from_sensor(sweep.stamp_ns)
        moving = [
            box
            for box in source.boxes(sweep.stamp_ns)
            if box.label != "robot"
            and np.hypot(*box.velocity[:2]) > 0.5
            and np.hypot(*(np.array(box.centre) - origin)[:2]) < 40
        ]
        hit = [box for box in moving if len(in_box(points, box, 0.1)) >= 5]
        busy += len(hit) >= 2
    assert busy >= 0.8 * len(some)


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize("seed", [0, 1])
def test_nothing_runs_into_a_robot(world: str, seed: int) -> None:
    source = simulator(f"sim:{world}?seed={seed}&sweeps=600&robots=2")
    for second in np.arange(0, 60, 0.7):
        boxes = source.boxes(1_000_000_000 + int(second * 1e9))
        robots = [box for box in boxes if box.label == "robot"]
        assert len(robots) == 2
        for robot in robots:
            for box in boxes:
                if box is not robot:
                    corners = (
                        np.array([[0, 0], [1, 1], [1, -1], [-1, 1], [-1, -1]]) * np.array(box.size[:2]) / 2
                    )
                    cos, sin = np.cos(box.yaw), np.sin(box.yaw)
                    at = corners @ np.array([[cos, sin], [-sin, cos]]) + np.array(box.centre[:2])
                    level = np.column_stack([at, np.full(5, robot.centre[2])])
                    assert len(in_box(level, robot, 0.2)) == 0, (second, box)


@pytest.mark.parametrize("world", ["city", "highway"])
def test_vehicles_do_not_overlap(world: str) -> None:
    source = simulator(f"sim:{world}?seed=2&sweeps=900")
    for second in np.arange(0, 90, 3.1):
        boxes = [b for b in source.boxes(1_000_000_000 + int(second * 1e9)) if b.label in ("car", "truck")]
        assert len(boxes) >= 2
        centres = np.array([b.centre[:2] for b in boxes])
        apart = np.linalg.norm(centres[:, None] - centres, axis=2) + 99 * np.eye(len(boxes))
        assert apart.min() > 1.9


@pytest.mark.parametrize(("world", "mean"), [("city", 7.0), ("highway", 25.0), ("yard", 4.0)])
def test_robot_drives_smoothly_and_turns(world: str, mean: float) -> None:
    source = simulator(f"sim:{world}?seed=8&sweeps=6000&azimuths=64")
    times = np.arange(0, 600, 0.1)
    x, y, yaw = source._fleet.at(0, times)
    speed = np.hypot(np.diff(x), np.diff(y)) / 0.1
    assert speed.mean() == pytest.approx(mean, rel=0.25)
    assert speed.min() > 0.8
    assert speed.std() > 0.2
    assert np.abs(np.diff(speed)).max() / 0.1 < 4.0
    rate = np.abs((np.diff(yaw) + np.pi) % (2 * np.pi) - np.pi) / 0.1
    assert rate.max() < 0.8
    course = np.arctan2(np.diff(y), np.diff(x))
    slip = np.abs((course - (yaw[1:] + yaw[:-1]) / 2 + np.pi / 2) % np.pi - np.pi / 2)
    assert slip.max() < 0.06
    if world == "city":
        assert np.abs(np.diff(yaw[:121])).sum() > 1.4  # a bend within twelve seconds
        near_street = np.minimum(np.abs((x + 40) % 80 - 40), np.abs((y + 40) % 80 - 40))
        assert near_street.max() < 5.5


def close_returns(shot: Sweep) -> float:
    distance = np.linalg.norm(shot.points, axis=1)
    return float(((distance < 8) & (shot.points[:, 2] > -0.8)).mean())


def test_rain_adds_close_returns_and_dims() -> None:
    calm = simulator("sim:highway?sweeps=20").shot(0, 10)
    wet = simulator("sim:highway?sweeps=20&events=rain@10").shot(0, 10)
    assert close_returns(wet.sweep) > 5 * close_returns(calm.sweep) + 0.01
    assert wet.sweep.intensity.mean() < 0.7 * calm.sweep.intensity.mean()
    far = [(np.linalg.norm(shot.sweep.points, axis=1) > 40).sum() for shot in (calm, wet)]
    assert far[1] < 0.8 * far[0]


def test_tilt_moves_the_ground_and_is_not_in_the_transforms() -> None:
    calm = simulator("sim:highway?sweeps=12")
    tilted = simulator("sim:highway?sweeps=12&events=tilt@10")
    transforms = [[t for t in s if isinstance(t, Transform)] for s in (calm, tilted)]
    assert transforms[0] == transforms[1]
    fits = []
    for source in (calm, tilted):
        points = source.shot(0, 10).sweep.points.astype(float)
        road = points[(np.abs(points[:, 1]) < 3) & (np.abs(points[:, 0]) < 9) & (points[:, 2] < -1.0)]
        design = np.column_stack([road[:, :2], np.ones(len(road))])
        fits.append(np.linalg.lstsq(design, road[:, 2], rcond=None)[0][0])
    assert np.degrees(np.arctan(fits[1] - fits[0])) == pytest.approx(3.0, abs=0.5)


@pytest.mark.parametrize("beams", [32, 64])
def test_dropped_beams_lose_every_second_band(beams: int) -> None:
    sweep = simulator(f"sim:city?sweeps=3&beams={beams}&events=dropped-beams@1").shot(0, 1).sweep
    elevation = np.arcsin(sweep.points[:, 2] / np.linalg.norm(sweep.points, axis=1))
    rows = np.abs(elevation[:, None] - lidar.elevations(beams)).argmin(axis=1)
    band = beams // 8
    assert set(rows // band) == {0, 2, 4, 6}


def test_thinning_halves() -> None:
    calm = simulator("sim:city?sweeps=3").shot(0, 1)
    thin = simulator("sim:city?sweeps=3&events=thinning@1").shot(0, 1)
    assert len(thin.sweep.points) / len(calm.sweep.points) == pytest.approx(0.5, abs=0.02)


def columns(directions: np.ndarray) -> set[tuple[int, int]]:
    """Rays by azimuth and elevation, in hundredths of a degree."""
    unit = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    azimuth, elevation = np.arctan2(unit[:, 1], unit[:, 0]), np.arcsin(unit[:, 2].astype(np.float64))
    rounded = np.rint(np.degrees(np.column_stack([azimuth % (2 * np.pi), elevation])) * 100).astype(int)
    return {(int(a) % 36000, int(e)) for a, e in rounded}


def test_misses_are_the_rays_that_yield_no_point() -> None:
    silent = simulator("sim:city?sweeps=3&azimuths=256").shot(0, 1)
    shot = simulator("sim:city?sweeps=3&azimuths=256&misses=1").shot(0, 1)
    assert len(silent.sweep.misses) == 0
    assert identity(shot.sweep) == identity(silent.sweep)
    misses = shot.sweep.misses
    assert len(misses) == shot.without_return > 1000
    np.testing.assert_allclose(np.linalg.norm(misses, axis=1), 1, atol=1e-6)
    back, lost = columns(shot.sweep.points), columns(misses)
    assert not back & lost
    assert len(back | lost) == shot.rays


@pytest.mark.parametrize("event", ["dropped-beams", "thinning"])
def test_what_is_silenced_is_no_miss(event: str) -> None:
    """A beam that does not fire knows nothing of the world."""
    calm = simulator("sim:city?sweeps=3&azimuths=256&misses=1").shot(0, 1).sweep
    shot = simulator(f"sim:city?sweeps=3&azimuths=256&misses=1&events={event}@1").shot(0, 1)
    assert columns(shot.sweep.misses) < columns(calm.misses)
    fired = len(shot.sweep.points) + len(shot.sweep.misses)
    assert fired / shot.rays == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("world", WORLDS)
def test_district_changes_what_lies_ahead_only(world: str) -> None:
    usual = simulator(f"sim:{world}?seed=5&sweeps=400&azimuths=128")
    other = simulator(f"sim:{world}?seed=5&sweeps=400&azimuths=128&events=district@200")
    x, y, _ = (float(v) for v in usual._fleet.at(0, 20.0))
    here, ahead = usual._fleet.towards(20.0)
    keys = usual._scene.world.chunks_near(x, y, 200.0)
    changed = set()
    for key in keys:
        a, b = (source._scene._chunk(key).shapes for source in (usual, other))
        beyond = (np.array(usual._scene.world.centre(key)) - here) @ ahead > 0
        same = a.shape == b.shape and bool((a == b).all())
        assert same or beyond
        changed.add(same)
    assert changed == {True, False}


def test_nan_spoils_some_points_of_one_sweep() -> None:
    source = simulator("sim:yard?sweeps=4&events=nan@2")
    bad = [int((~np.isfinite(source.shot(0, i).sweep.points).all(axis=1)).sum()) for i in range(4)]
    total = len(source.shot(0, 2).sweep.points)
    assert bad[:2] + bad[3:] == [0, 0, 0]
    assert bad[2] == total // 50


def stamps_in_order(query: str) -> list[int]:
    items = list(simulator(f"sim:yard?sweeps=8&azimuths=64&events={query}"))
    return [(sweep.stamp_ns - 1_000_000_000) // (100 * MS) for sweep in sweeps_of(items)]


def test_duplicate_and_late_sweeps() -> None:
    assert stamps_in_order("duplicate@3") == [0, 1, 2, 3, 3, 4, 5, 6, 7]
    assert stamps_in_order("late@2") == [0, 1, 3, 4, 2, 5, 6, 7] or stamps_in_order("late@2") == [
        0, 1, 3, 4, 5, 2, 6, 7,
    ]  # fmt: skip
    assert stamps_in_order("late@7") == list(range(8))
    twice = sweeps_of(list(simulator("sim:yard?sweeps=3&azimuths=64&events=duplicate@1")))[1:3]
    assert identity(twice[0]) == identity(twice[1])


def test_pose_gap_lasts_a_second() -> None:
    items = list(simulator("sim:yard?sweeps=30&azimuths=64&events=pose-gap@7"))
    stamps = np.array([t.stamp_ns for t in items if isinstance(t, Transform) and not t.static])
    gap = np.diff(stamps)
    assert (gap > 20 * MS).sum() == 1
    assert 1000 * MS <= gap.max() <= 1040 * MS
    before = stamps[gap.argmax()]
    assert before < 1_700_000_000 <= before + 20 * MS


def test_clock_jump_shifts_all_later_stamps() -> None:
    location = "sim:city?sweeps=8&azimuths=64"
    plain, jumped = simulator(location), simulator(f"{location}&events=clock-jump@4")
    for a, b in zip(plain, jumped, strict=True):
        jump = 10_000 * MS if a.stamp_ns >= 1_400_000_000 else 0
        assert b.stamp_ns == a.stamp_ns + jump
        if isinstance(a, Sweep):
            assert a.points.tobytes() == b.points.tobytes()
            assert plain.boxes(a.stamp_ns) == jumped.boxes(b.stamp_ns)


def test_robots_share_a_world_and_see_each_other() -> None:
    source = simulator("sim:city?seed=1&sweeps=6&robots=3", robot_id="cab")
    items = list(source)
    sweeps = sweeps_of(items)
    assert [s.robot_id for s in sweeps[:6]] == ["cab-0", "cab-1", "cab-2"] * 2
    seen = set()
    for sweep in sweeps:
        points = Poses(items, sweep.robot_id).in_map(sweep)
        for box in source.boxes(sweep.stamp_ns):
            if box.label == "robot":
                count = len(in_box(points, box, 0.05))
                if box.id == sweep.robot_id:
                    assert count == 0
                elif count > 10:
                    seen.add((sweep.robot_id, box.id))
    assert {("cab-0", "cab-1"), ("cab-1", "cab-0"), ("cab-1", "cab-2")} <= seen


def test_boxes_are_sorted_unique_and_complete() -> None:
    source = simulator("sim:city?seed=1&sweeps=60&robots=2")
    boxes = source.boxes(3_000_000_000)
    names = [box.id for box in boxes]
    assert names == sorted(set(names))
    assert {box.label for box in boxes} >= {"car", "pedestrian", "cyclist", "robot"}
    parked = [box for box in boxes if "parked" in box.id]
    assert parked
    assert all(box.velocity == (0.0, 0.0, 0.0) for box in parked)


@pytest.mark.parametrize("world", WORLDS)
def test_long_drives_stay_on_the_map(world: str) -> None:
    source = simulator(f"sim:{world}?sweeps=200000&azimuths=64")
    x, y, _ = source._fleet.at(0, np.arange(0, 20_000, 5.0))
    assert max(np.abs(x).max(), np.abs(y).max()) < 4000
    assert len(source.shot(0, 199_999).sweep.points) > 200
