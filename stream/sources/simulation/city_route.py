"""The robot's way through the streets of the city."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stream.sources.simulation.motion import Array, Route
from stream.sources.simulation.world import generator

PITCH, HALF_WIDTH, LANE = 80.0, 7.0, 1.75
"""Metres between streets, from a street's centre to its kerb, and to the middle of a lane."""
COLUMNS, ROWS = 36, 12
"""The robot's streets: it turns back at the edge of a grid of this many blocks."""


@dataclass(slots=True)
class _Walk:
    """Where the planned route has come to: the next crossing, the direction, blocks since the last turn."""

    column: int = 0
    row: int = 0
    facing: int = 0
    eastwards: int = 1
    since: int = 2

    def choices(self) -> list[int]:
        """Changes of direction (1 left, -1 right, 0 none) that keep to the grid and the general direction."""
        steps = {change: _unit((self.facing + change) % 4) for change in (0, 1, -1)}
        return [
            change
            for change, step in steps.items()
            if step[0] * self.eastwards >= 0 and abs(self.row + step[1]) <= ROWS // 2
        ]

    def turn(self, change: int) -> None:
        """Take the crossing and go on to the next."""
        self.facing = (self.facing + change) % 4
        self.since = 1 if change else self.since + 1
        step = _unit(self.facing)
        self.column, self.row = self.column + int(step[0]), self.row + int(step[1])
        if self.facing % 2 == 0 and not 0 < self.column < COLUMNS:
            self.eastwards = 1 if self.column <= 0 else -1


def plan_route(seed: int, length: float) -> Route:
    """A drive along the right-hand lanes that turns at least every second crossing.

    It goes east to the edge of the grid and back, for at least ``length`` metres. Straights are joined by
    bends whose curvature grows and falls smoothly.
    """
    rng = generator(seed, 21)
    ahead, aside, turn = _bend(15.0)
    points = [np.array([[0.0, -45.0, -LANE, 0.0]])]  # s, x, y, heading
    walk = _Walk()
    while points[-1][-1, 0] < length:
        choices = walk.choices()
        turns = [change for change in choices if change]
        change = int(rng.choice(turns if walk.since >= 2 else choices))
        if change:
            s, x, y, heading = points[-1][-1]
            along, left = _unit(walk.facing), -_right(walk.facing) * change
            corner = np.array([walk.column, walk.row]) * PITCH
            corner = corner + LANE * (_right(walk.facing) + _right((walk.facing + change) % 4))
            bend = corner + (ahead - ahead[-1])[:, None] * along + aside[:, None] * left
            s += np.hypot(bend[0, 0] - x, bend[0, 1] - y)
            bend_s = s + np.linspace(0, 15.0, len(ahead))
            points.append(np.column_stack([bend_s, bend, heading + change * turn]))
        walk.turn(change)
    return Route(*np.concatenate(points).T.copy())


def _unit(facing: int) -> Array:
    return np.array([(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)][facing])


def _right(facing: int) -> Array:
    return _unit((facing - 1) % 4)


def _bend(length: float) -> tuple[Array, Array, Array]:
    """Metres ahead and aside, and the turn, along a quarter turn of ``length`` metres."""
    part = np.linspace(0, 1, 121)
    turn = np.pi / 2 * part**2 * (3 - 2 * part)
    step = length / 120
    middle = (turn[1:] + turn[:-1]) / 2
    ahead = np.concatenate([[0], np.cumsum(np.cos(middle) * step)])
    aside = np.concatenate([[0], np.cumsum(np.sin(middle) * step)])
    return ahead, aside, turn
