"""Simulated drives as examples: cells with what they lie on, tracks with where they went."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agents.objects.sight import Sight
from agents.objects.truth import MOVING_MPS, Truth, instances, truth_at, visible
from agents.replay import with_map_frame
from models.objects.boxes import Boxes, into_frame
from models.objects.cells import CellExample, SweepCells, cell_inputs
from models.objects.components import Found, find_moving
from models.objects.motion import HORIZONS_S, STEPS, Motions, is_followed, joined_motions, motions_of
from models.objects.surroundings import WIDTH, pooled_columns
from models.objects.tracking import Track, Tracker
from stream.config import Config
from stream.progress import Progress
from stream.sources import open_source
from stream.sources.base import SourceError, SourceOptions
from stream.sources.simulator import Simulator, parse_location

Find = Callable[[SweepCells], Found]

SLOWEST_FOLLOWED_MPS = 0.5
"""Tracks that are slower are not forecast: they stand, metres a second."""
NEAR_M = 2.0
"""A track is of the object that it lies so near to."""
TURN_RAD = np.deg2rad(15.0)
"""Objects whose heading changes by more within the last horizon turn."""
CELLS_EVERY, MOTIONS_EVERY, PATHS_EVERY = 8, 2, 5
"""Of so many sweeps one gives examples: the others would be nearly the same."""
SLOW_M, FAST_M = 0.25, 0.1
"""Deviation of a blurred box's centre: of what changes within two seconds, and from sweep to sweep."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Futures:
    """Where N objects went, as a simulator knows it.

    path : float64 (N, T, 2), from where each object is, in the object's own frame, metres
    turns : bool (N,), its heading changes by more than 15 degrees; kind : int32 (N,)
    """

    path: NDArray[np.float64]
    turns: NDArray[np.bool_]
    kind: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.path)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Seen:
    """One sweep of a simulated drive with what is there.

    visible : bool (N,), objects with enough returns
    """

    cells: SweepCells
    truth: Truth
    visible: NDArray[np.bool_]


def open_drive(location: str, config: Config) -> tuple[Simulator, Config]:
    """A simulated drive, and the configuration with its map frame. Raises SourceError for another log"""
    source = open_source(location, SourceOptions())
    if not isinstance(source, Simulator):
        raise SourceError(f"{location}: only a simulated drive (sim:WORLD?...) tells where objects are")
    return source, with_map_frame(config, [source.info().root_frame])


def sweeps_of(location: str) -> int:
    """How many sweeps a simulated drive has, of all its robots. Raises SourceError"""
    drive = parse_location(location, SourceOptions())
    return drive.sweeps * drive.robots


def drive(location: str, config: Config) -> Iterator[Seen]:
    """The sweeps of a simulated drive, each with what is there."""
    simulator, config = open_drive(location, config)
    for cells in Sight(config).sweeps(simulator):
        truth = truth_at(simulator, cells.robot_id, cells.stamp_ns)
        yield Seen(cells=cells, truth=truth, visible=visible(cells, truth))


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class DriveExamples:
    """What a drive has to teach."""

    cells: list[CellExample]
    motions: Motions
    futures: Futures


def cell_example(seen: Seen) -> CellExample:
    """What a detector learns from one sweep."""
    cells, boxes = seen.cells, seen.truth.boxes
    row = instances(cells, seen.truth)
    on, n = row >= 0, len(row)
    kind, box = np.full(n, -1, np.int8), np.zeros((n, 8), np.float32)
    kind[on] = boxes.kind[row[on]]
    box[on, :3] = boxes.centre[row[on]] - cells.centroid[on]
    box[on, 3:6] = np.log(boxes.size[row[on]])
    box[on, 6], box[on, 7] = np.sin(2 * boxes.yaw[row[on]]), np.cos(2 * boxes.yaw[row[on]])
    return CellExample(
        x=cell_inputs(cells).astype(np.float16),
        neighbor_index=cells.neighbors(np.arange(n)),
        kind=kind,
        box=box,
    )


class _Following:
    """Tracks of every robot of a drive, and the moments at which they were forecast."""

    def __init__(self, config: Config) -> None:
        self._columns, self._half_edge_m = pooled_columns(config), config.grid.half_edge_m
        self._trackers: dict[str, Tracker] = {}
        self._truths: dict[tuple[str, int], Truth] = {}
        self._moments: list[tuple[str, int, list[str], Motions]] = []

    def step(
        self,
        robot_id: str,
        stamp_ns: int,
        truth: Truth,
        boxes: Boxes,
        cells: SweepCells | None,
        *,
        keep: bool,
    ) -> None:
        """Follow the objects of one sweep. keep : and remember the moment"""
        self._truths[robot_id, stamp_ns] = truth
        tracks = self._trackers.setdefault(robot_id, Tracker()).step(stamp_ns, boxes)
        if not keep:
            return
        chosen = [track for track in tracks if is_followed(track) and track.speed > SLOWEST_FOLLOWED_MPS]
        names = [_nearest(track, truth) for track in chosen]
        own = [place for place, name in enumerate(names) if name]
        if own:
            window = cells.window if cells is not None else None
            followed = [chosen[place] for place in own]
            motions = motions_of(followed, window, self._columns, self._half_edge_m)
            self._moments.append((robot_id, stamp_ns, [names[place] for place in own], motions))

    def examples(self) -> tuple[Motions, Futures]:
        """Moments whose objects are known until the last horizon."""
        motions, paths, kinds, turns = [_no_motions()], [], [], []
        for robot_id, stamp_ns, names, table in self._moments:
            later = [self._truths.get((robot_id, stamp_ns + round(1e9 * h))) for h in (0.0, *HORIZONS_S)]
            truths = [truth for truth in later if truth is not None]
            if len(truths) < len(later):
                continue
            for row, name in enumerate(names):
                if not all(name in truth.ids for truth in truths):
                    continue
                rows = [truth.ids.index(name) for truth in truths]
                places = np.array([t.boxes.centre[i, :2] for t, i in zip(truths, rows, strict=True)])
                yaws = np.unwrap([t.boxes.yaw[i] for t, i in zip(truths, rows, strict=True)])
                motions.append(table.take(np.array([row])))
                paths.append(into_frame(places[1:] - places[0], table.yaw[row]))
                turns.append(abs(yaws[-1] - yaws[0]) > TURN_RAD)
                kinds.append(truths[0].boxes.kind[rows[0]])
        return joined_motions(motions), Futures(
            path=np.array(paths).reshape(-1, len(HORIZONS_S), 2), turns=np.array(turns, np.bool_),
            kind=np.array(kinds, np.int32),
        )  # fmt: skip


def _nearest(track: Track, truth: Truth) -> str:
    """Name of the moving object that a track is of, empty where there is none near."""
    distance = np.hypot(*(truth.boxes.centre[:, :2] - track.state[:2]).T)
    distance[truth.boxes.speed() <= MOVING_MPS] = np.inf
    if not len(distance) or distance.min() > NEAR_M:
        return ""
    return truth.ids[int(distance.argmin())]


def _no_motions() -> Motions:
    return Motions(
        place=np.zeros((0, 3)), yaw=np.zeros(0), history=np.zeros((0, STEPS, 2), np.float32),
        known=np.zeros((0, STEPS), np.float32), size=np.zeros((0, 3), np.float32),
        kind=np.zeros(0, np.int32), around=np.zeros((0, WIDTH), np.float32),
    )  # fmt: skip


def examples_of(
    location: str, config: Config, find: Find = find_moving, progress: Progress | None = None
) -> DriveExamples:
    """Examples of both kinds, from some of the sweeps of each robot of a drive.

    Deterministic: the location and the configuration decide them. Raises SourceError
    """
    following, cells, total = _Following(config), [], sweeps_of(location)
    count: dict[str, int] = {}
    for done, seen in enumerate(drive(location, config)):
        robot_id = seen.cells.robot_id
        count[robot_id] = count.get(robot_id, 0) + 1
        following.step(
            robot_id, seen.cells.stamp_ns, seen.truth, find(seen.cells).boxes, seen.cells,
            keep=count[robot_id] % MOTIONS_EVERY == 0,
        )  # fmt: skip
        if count[robot_id] % CELLS_EVERY == 0:
            cells.append(cell_example(seen))
        if progress is not None:
            progress(done + 1, total, location)
    motions, futures = following.examples()
    return DriveExamples(cells=cells, motions=motions, futures=futures)


def path_examples(location: str, config: Config, progress: Progress | None = None) -> tuple[Motions, Futures]:
    """Examples of motion without rays: objects are followed by what a simulator knows of them, blurred.

    Such examples are many and cost little; what lies around is not known in them.
    Deterministic: the location decides them. Raises SourceError
    """
    simulator, config = open_drive(location, config)
    following, blur = _Following(config), _Blur(np.random.default_rng([simulator.config.seed, 71]))
    total = sweeps_of(location)
    for sweep in range(simulator.config.sweeps):
        stamp_ns = simulator.config.first_stamp_ns + sweep * simulator.config.period_ns
        truth = truth_at(simulator, "", stamp_ns)
        following.step("", stamp_ns, truth, blur.seen(truth), None, keep=sweep % PATHS_EVERY == 0)
        if progress is not None:
            progress((sweep + 1) * simulator.config.robots, total, location)
    return following.examples()


class _Blur:
    """Boxes as a detector would tell them: off by what changes slowly, and by what does not; some never."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._slow: dict[str, NDArray[np.float64]] = {}

    def seen(self, truth: Truth) -> Boxes:
        """The moving ones of the objects, blurred."""
        rows = np.flatnonzero(truth.boxes.speed() > MOVING_MPS)
        drawn = self._rng.normal(size=(len(rows), 2, 2))
        for place, row in enumerate(rows):
            before = self._slow.get(truth.ids[row], drawn[place, 0])
            self._slow[truth.ids[row]] = 0.95 * before + np.sqrt(1 - 0.95**2) * drawn[place, 0]
        boxes = truth.boxes.take(rows)
        slow = np.array([self._slow[truth.ids[row]] for row in rows]).reshape(-1, 2)
        centre = boxes.centre.copy()
        centre[:, :2] += SLOW_M * slow + FAST_M * drawn[:, 1]
        kept = self._rng.random(len(rows)) < 0.9
        blurred = Boxes.of(centre, boxes.size, boxes.yaw, score=boxes.score)
        return blurred.take(kept)
