"""The sweeps of a recorded log, each once its transforms are there."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from native.errors import RangeError
from stream.frames import FrameError, FrameRegistry, NoChainError, NotYet, TransformError
from stream.point_cells import PointCells, PointLocator
from stream.records import SweepRejected
from stream.sources.base import Damage, Item
from stream.sweep import Sweep
from stream.transform import Transform

KEEP_NS = 60_000_000_000
"""Transforms so old are dropped: labels may be as far from their sweep."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class PosedSweep:
    """A sweep whose pose is known.

    number : its place among those of its stream, from 0; rejected ones count
    cells : of its points; frames : transforms of its robot, up to now
    """

    number: int
    sweep: Sweep
    cells: PointCells
    frames: FrameRegistry


@dataclass(slots=True, kw_only=True)
class LeftOut:
    """What of a log was not usable.

    sweeps : number by reason, as of dead letters
    refused : number of transforms and of boxes, and why the first of each
    damage : where the log ends early
    """

    sweeps: dict[str, int] = field(default_factory=dict)
    refused: dict[str, tuple[int, str]] = field(default_factory=dict)
    damage: Damage | None = None

    def count(self, reason: str) -> None:
        """One more sweep."""
        self.sweeps[reason] = self.sweeps.get(reason, 0) + 1

    def refuse(self, kind: str, why: str) -> None:
        """One more of a kind that is no sweep."""
        count, first = self.refused.get(kind, (0, why))
        self.refused[kind] = count + 1, first

    def lines(self) -> list[str]:
        """The same in words, a line each; none where everything was usable."""
        found = [f"{count:,} sweeps left out: {reason}" for reason, count in sorted(self.sweeps.items())]
        found += [
            f"{count:,} {kind} left out, the first: {why}"
            for kind, (count, why) in sorted(self.refused.items())
        ]
        return found + ([] if self.damage is None else [f"up to the damage: {self.damage.detail}"])


@dataclass(slots=True)
class _Robot:
    frames: FrameRegistry
    held: deque[tuple[int, Sweep]] = field(default_factory=deque)


def posed_sweeps(
    items: Iterable[Item],
    locator: PointLocator,
    left_out: LeftOut,
    *,
    max_gap_ns: int,
    max_held: int,
    ahead_ns: int = 0,
) -> Iterator[PosedSweep]:
    """The sweeps that have a pose, those of one robot in their order.

    left_out : told of the others
    max_held : sweeps of a robot that wait for transforms; with one more the oldest is taken as it is
    ahead_ns : wait for transforms so long after a sweep: what is said of it may have a later stamp
    """
    robots: dict[str, _Robot] = {}
    numbers: dict[str, int] = {}
    newest: dict[str, tuple[int, int]] = {}
    for item in items:
        if isinstance(item, Damage):
            left_out.damage = item
            continue
        robot = robots.setdefault(
            item.robot_id, _Robot(FrameRegistry(max_gap_ns=max_gap_ns, horizon_ns=KEEP_NS))
        )
        if isinstance(item, Transform):
            try:
                robot.frames.add(item)
            except TransformError as error:
                left_out.refuse("transforms", str(error))
            if robot.held:
                yield from _release(robot, locator, left_out, max_held, ahead_ns)
            continue
        first = isinstance(item, SweepRejected) or item.part == 0
        number = numbers.get(item.stream_id, -1) + first
        numbers[item.stream_id] = number
        if isinstance(item, SweepRejected):
            left_out.count(item.reason)
            continue
        key = (item.stamp_ns, item.part)
        if newest.get(item.stream_id) == key:
            left_out.count("duplicate")
            continue
        newest[item.stream_id] = key
        robot.held.append((number, item))
        yield from _release(robot, locator, left_out, max_held, ahead_ns)
    for robot in robots.values():
        yield from _release(robot, locator, left_out, 0, ahead_ns)


def _release(
    robot: _Robot, locator: PointLocator, left_out: LeftOut, most: int, ahead_ns: int
) -> Iterator[PosedSweep]:
    while robot.held:
        number, sweep = robot.held[0]
        waited = len(robot.held) > most
        try:
            if not waited and ahead_ns > _ahead(robot, locator.map_frame, sweep):
                return
            cells = locator.locate(sweep, robot.frames, waited=waited)
        except FrameError as error:
            if isinstance(error, NotYet | NoChainError) and not waited:
                return
            left_out.count("no_pose")
        except RangeError:
            left_out.count("off_map")
        else:
            yield PosedSweep(number=number, sweep=sweep, cells=cells, frames=robot.frames)
        robot.held.popleft()


def _ahead(robot: _Robot, map_frame: str, sweep: Sweep) -> int:
    """How far transforms are known beyond the stamp of a sweep.  Raises NoChainError"""
    return robot.frames.watermark(map_frame, sweep.frame) - sweep.stamp_ns
