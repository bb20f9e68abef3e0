"""A log as detectors of objects read it: whole sweeps, by cell, with what rays went through before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from agents.in_order import epoch_of
from agents.perceive import Perceive
from models.objects.cells import SweepCells, hit_rows, sweep_cells
from models.objects.free_memory import FreeMemory
from models.online.builtin import builtin_of
from native.freecells import FreeCellFinder
from stream.config import Config
from stream.container import RollingContainer, grid_of
from stream.features import schema_of
from stream.records import Binned, EndOfLog
from stream.sources.base import Damage, Source
from stream.sweep import Sweep

RAYS = 5_000
"""Free cells are found along about so many rays of a sweep, evenly chosen: these tell enough."""
SEEN = 3.0
"""Sweeps, by weight, that must have seen a cell before it is taken for free or not."""


class _Robot:
    """What is remembered of one robot."""

    def __init__(self, config: Config, epoch: int) -> None:
        self.container, self.memory, self.epoch = RollingContainer(config), FreeMemory(), epoch
        self.newest_ns = 0  # of the sweeps that were whole
        self.parts: dict[str, list[tuple[Binned, NDArray[np.uint64]]]] = {}
        """By stream, of the sweep that is not whole yet: its records, and what each saw to be free."""


class Sight:
    """Folds a log into the cells of its sweeps. Deterministic

    config : with the map frame resolved
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._perceive = Perceive(config, builtin_of(config))
        grid = grid_of(config)
        self._finder = FreeCellFinder(grid, levels=0, reach_m=grid.range_max_m)
        self._height = schema_of(config).names.index("height_in_block")
        self._sweeps: dict[tuple[str | int, ...], Sweep] = {}
        self._robots: dict[str, _Robot] = {}
        self.damage: Damage | None = None

    def sweeps(self, source: Source) -> Iterator[SweepCells]:
        """Every sweep of a log that could be placed, whole, by robot in the order of stamps.

        Sweeps that lack a part are left out, and those that are whole only after a newer one of their robot.
        What cut a log short is in ``damage``
        """
        for item in source:
            if isinstance(item, Damage):
                self.damage = item
                continue
            if isinstance(item, Sweep):
                self._sweeps[item.stream_id, item.stamp_ns, item.part] = item
            yield from self._take(item)
        yield from self._take(EndOfLog())

    def _take(self, item: object) -> Iterator[SweepCells]:
        step = self._perceive.handle(item)
        for record in step.outputs:
            if isinstance(record, Binned):
                found = self._fold(record)
                if found is not None:
                    yield found
        for _, *key in step.released:
            self._sweeps.pop(tuple(key), None)

    def _fold(self, record: Binned) -> SweepCells | None:
        robot = self._robots.get(record.robot_id)
        if robot is None or robot.epoch != epoch_of(record.seq):
            robot = self._robots[record.robot_id] = _Robot(self._config, epoch_of(record.seq))
        robot.container.fold(record)
        if record.late:
            return None
        held = robot.parts.setdefault(record.stream_id, [])
        if held and held[0][0].prediction_id != record.prediction_id:
            held.clear()
        held.append((record, self._free(record)))
        if len(held) < record.parts:
            return None
        parts, free = map(list, zip(*robot.parts.pop(record.stream_id), strict=True))
        if record.stamp_ns < robot.newest_ns:
            return None
        robot.newest_ns = record.stamp_ns
        hit, _, _ = hit_rows(parts)
        share = robot.memory.share_free(hit, SEEN)
        robot.memory.see(record.stamp_ns, hit, _united(free))
        window = robot.container.features(record)
        return sweep_cells(parts, window, share, self._config.grid.half_edge_m, self._height)

    def _free(self, record: Binned) -> NDArray[np.uint64]:
        sweep = self._sweeps[record.stream_id, record.stamp_ns, record.part]
        if sweep.hits_only:
            return np.zeros(0, np.uint64)
        every = max((len(sweep.points) + len(sweep.misses)) // RAYS, 1)
        return self._finder.run(
            np.ascontiguousarray(sweep.points[::every]), record.pose,
            np.ascontiguousarray(sweep.misses[::every]),
        ).cell_id  # fmt: skip


def _united(parts: list[NDArray[np.uint64]]) -> NDArray[np.uint64]:
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
