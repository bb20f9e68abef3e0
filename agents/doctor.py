"""A dry run over a log: what is in it, what would be rejected and why, what a replay would see and cost.

The sweeps go through Perceive itself, so what it rejects here it rejects in a replay. Nothing is written and
nothing is learned; ``agents.advice`` turns the diagnosis into findings.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from statistics import median

from agents.measures import Period, Points, PointTally, Spread
from agents.perceive import Perceive
from agents.replay import with_map_frame
from agents.stopwatch import Stopwatch
from models.online.builtin import builtin_of
from stream.config import Config
from stream.progress import Progress
from stream.records import Binned, EndOfLog, Event, Prediction, SweepRejected
from stream.sources.base import Damage, Item, Source, SourceInfo
from stream.sweep import Sweep
from stream.transform import Transform

MAX_EXAMPLES = 3
"""Rejected sweeps that are kept one by one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One link of the transform tree: how many transforms there were, when (ns), and over what way (m)."""

    parent: str
    child: str
    static: bool
    count: int
    first_ns: int
    last_ns: int
    way_m: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What a log holds and what a replay would make of it; what could not be measured is None.

    sweeps : sweeps and parts that decoded; binned : those that became evidence, late ones included
    predicted : sweeps that a forecast was made from
    rejected : reason to number of sweeps; rejections : the first few of them
    events : kind of event to number; event_details : the reason that the first of each kind gives
    edges : the transform tree; streams : stream id to number of sweeps
    sizes : points a sweep; points : where all of them fall
    rays, misses, masked : rays that count; those without return; points and misses that the mask dropped
    cells_hit, cells_window, cells_tested : cells by sweep, in the rolling window, and with the kept ones
    timed_points : sweeps whose points carry their own time
    hits_only : sweeps that make nothing free
    stage_ms : stage to median milliseconds a sweep; empty without a clock
    damage : where and how the log is damaged; complete : the log was read to its end
    """

    info: SourceInfo
    map_frame: str | None
    sweeps: int
    binned: int
    predicted: int
    rejected: dict[str, int]
    rejections: tuple[SweepRejected, ...]
    events: dict[str, int]
    event_details: dict[str, str]
    edges: tuple[Edge, ...]
    streams: dict[str, int]
    period: Period | None
    sizes: Spread | None
    points: Points | None
    rays: int
    misses: int
    masked: int
    cells_hit: Spread | None
    cells_window: Spread | None
    cells_tested: Spread | None
    timed_points: int
    hits_only: int
    stage_ms: dict[str, float]
    damage: str | None
    complete: bool


def diagnose(
    source: Source,
    config: Config,
    *,
    stopwatch: Stopwatch | None = None,
    max_sweeps: int | None = None,
    progress: Progress | None = None,
) -> Diagnosis:
    """Read a log once, as a replay would, and measure it; forecasts are made and thrown away.

    stopwatch : times the stages; without one the diagnosis is deterministic and has no times
    max_sweeps : stop after so many sweeps; the diagnosis is then not ``complete``
    progress : called with sweeps done, in all, and the stream
    Memory grows by some hundred bytes a sweep. Raises SourceError for a log that cannot be read at all,
    ConfigError for a configured map frame without an id.
    """
    info = source.info()
    watch = stopwatch or Stopwatch()
    config, map_frame = _resolve(config, info)
    survey = _Survey(_perceive(config, watch), config, watch)
    complete = True
    for item in _timed(source, watch):
        if isinstance(item, Sweep) and max_sweeps is not None and survey.sweeps >= max_sweeps:
            complete = False
            break
        survey.take(item)
        if progress is not None and isinstance(item, Sweep):
            progress(survey.sweeps, max_sweeps or info.sweeps, item.stream_id)
    if complete:
        survey.finish()
    return survey.diagnosis(info, map_frame, complete)


def _resolve(config: Config, info: SourceInfo) -> tuple[Config, str | None]:
    """The configuration with its map frame, None when there is none: then some name stands in for it."""
    if config.grid.map_frame == "auto" and info.root_frame is None:
        return replace(config, grid=replace(config.grid, map_frame=next(iter(config.grid.frame_ids)))), None
    config = with_map_frame(config, [info.root_frame])
    return config, config.grid.map_frame


def _perceive(config: Config, stopwatch: Stopwatch) -> Perceive:
    return Perceive(config, builtin_of(config), stopwatch)


def _timed(source: Source, stopwatch: Stopwatch) -> Iterator[Item]:
    items = iter(source)
    while True:
        with stopwatch.stage("decode"):
            item = next(items, None)
        if item is None:
            return
        yield item


class _Survey:
    """Folds the items of a log into measurements."""

    def __init__(self, perceive: Perceive, config: Config, stopwatch: Stopwatch) -> None:
        self._perceive = perceive
        self._stopwatch = stopwatch
        self._tally = PointTally(config)
        self.sweeps = self._binned = self._predicted = self._timed_points = self._hits_only = 0
        self._rays = self._misses = self._masked = 0
        self._sizes: list[int] = []
        self._cells: dict[str, list[int]] = {"hit": [], "window": [], "tested": []}
        self._stages: dict[str, list[float]] = {}
        self._stamps: dict[str, list[int]] = {}
        self._edges: dict[tuple[str, str], Edge] = {}
        self._places: dict[str, tuple[float, float, float]] = {}
        self._rejected: Counter[str] = Counter()
        self._rejections: list[SweepRejected] = []
        self._events: Counter[str] = Counter()
        self._event_details: dict[str, str] = {}
        self._damage: str | None = None

    def take(self, item: Item) -> None:
        """Fold one item of the log."""
        if isinstance(item, Damage):
            self._damage = f"{item.location}: {item.detail}"
            return
        if isinstance(item, SweepRejected):
            self._note(item)
            return
        if isinstance(item, Transform):
            self._link(item)
        else:
            self._measure(item)
        self._run(item)

    def finish(self) -> None:
        """No more items: what is held is rejected."""
        self._run(EndOfLog())

    def _run(self, record: Sweep | Transform | EndOfLog) -> None:
        outputs = self._perceive.handle(record).outputs
        for output in outputs:
            self._note(output)
        times = self._stopwatch.take() if isinstance(record, Sweep) else {}
        for stage, milliseconds in times.items():
            self._stages.setdefault(stage, []).append(milliseconds)

    def _note(self, output: object) -> None:
        if isinstance(output, SweepRejected):
            self._rejected[output.reason] += 1
            if len(self._rejections) < MAX_EXAMPLES:
                self._rejections.append(output)
        elif isinstance(output, Binned):
            self._binned += 1
            self._rays += output.rays
            self._misses += output.misses
            self._masked += output.masked
            self._cells["hit"].append(len(output.sums))
            self._cells["tested"].append(len(output.cell_id))
        elif isinstance(output, Prediction):
            self._predicted += 1
            self._cells["window"].append(len(output.cell_id))
        elif isinstance(output, Event):
            self._events[output.kind] += 1
            self._event_details.setdefault(output.kind, str(output.fields.get("reason", "")))

    def _link(self, item: Transform) -> None:
        old = self._edges.get((item.parent, item.child))
        self._edges[item.parent, item.child] = Edge(
            parent=item.parent,
            child=item.child,
            static=item.static,
            count=1 + (old.count if old else 0),
            first_ns=min(item.stamp_ns, old.first_ns) if old else item.stamp_ns,
            last_ns=max(item.stamp_ns, old.last_ns) if old else item.stamp_ns,
            way_m=old.way_m + math.dist(item.translation, self._places[item.child]) if old else 0.0,
        )
        self._places[item.child] = item.translation

    def _measure(self, sweep: Sweep) -> None:
        self.sweeps += 1
        self._timed_points += sweep.time_offset_ns is not None
        self._hits_only += sweep.hits_only
        self._sizes.append(len(sweep.points))
        self._tally.add(sweep)
        if sweep.part == 0:
            self._stamps.setdefault(sweep.stream_id, []).append(sweep.stamp_ns)

    def diagnosis(self, info: SourceInfo, map_frame: str | None, complete: bool) -> Diagnosis:
        """What was measured."""
        return Diagnosis(
            info=info,
            map_frame=map_frame,
            sweeps=self.sweeps,
            binned=self._binned,
            predicted=self._predicted,
            rejected=dict(self._rejected.most_common()),
            rejections=tuple(self._rejections),
            events=dict(self._events),
            event_details=self._event_details,
            edges=tuple(edge for _, edge in sorted(self._edges.items())),
            streams={name: len(stamps) for name, stamps in sorted(self._stamps.items())},
            period=Period.of(self._stamps),
            sizes=Spread.of(self._sizes),
            points=self._tally.result(),
            rays=self._rays,
            misses=self._misses,
            masked=self._masked,
            cells_hit=Spread.of(self._cells["hit"]),
            cells_window=Spread.of(self._cells["window"]),
            cells_tested=Spread.of(self._cells["tested"]),
            timed_points=self._timed_points,
            hits_only=self._hits_only,
            stage_ms={name: median(times) for name, times in self._stages.items()},
            damage=self._damage,
            complete=complete,
        )
