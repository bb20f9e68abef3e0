"""Makes frames of a world: one an update, robot and level, whoever watches; and keeps the tape."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from agents.web.frame import (
    Layer,
    coarser_layer,
    decode_frame,
    encode_frame,
    finest_layer,
    layer_of,
    mixed_layers,
)
from agents.web.robot import Robot, View
from agents.web.tape import Kept, Tape
from agents.web.world import World

MIXED: Literal["mixed"] = "mixed"
"""Fine near the sensor, coarse far from it."""
NEAR, FAR = 0.35, 0.65
"""Where mixed levels change, as shares of the binning range."""
KEPT_SHOTS = 64
Level = int | Literal["mixed"]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Shot:
    """A frame as all who watch get it.  key : robot, number of its forecast, pass of the log"""

    key: tuple[str, int, int]
    data: bytes


class Studio:
    """Makes the newest frames of robots, and frames of the past.

    One thread makes what is new, any may ask for the past.
    """

    def __init__(self, world: World, tape: Tape) -> None:
        self._world, self.tape = world, tape
        self._grid = world.config.grid
        self._shots: OrderedDict[tuple[str, Level], Shot] = OrderedDict()

    def levels(self) -> list[Level]:
        """Levels that are shown: the grid's, two coarser, and a mixture of them."""
        own = self._grid.lod
        return [*range(own, max(own - 3, -1), -1), *([MIXED] if own else [])]

    def shot(self, robot_id: str, level: Level) -> Shot | None:
        """The newest frame that was made."""
        return self._shots.get((robot_id, level))

    def update(self, robot_id: str, levels: Collection[Level]) -> None:
        """Make what is asked for of a robot's newest forecast, unless it is there; feed the tape."""
        robot = self._world.robot(robot_id)
        view = robot.view if robot is not None else None
        if robot is None or view is None:
            return
        key = (robot_id, view.number, self._world.passes)
        due = [level for level in levels if self._is_old(robot_id, level, key)]
        taped = self.tape.wants(robot_id, view.prediction.stamp_ns, watched=bool(levels))
        if not due and not taped:
            return
        table = robot.cells(self._grid.lod)
        if table is None:
            return
        finest, facts = finest_layer(table), self._facts(robot, view)
        for level in due:
            self._keep(robot_id, level, Shot(key=key, data=self._encoded(finest, level, facts)))
        if taped:
            own = self.shot(robot_id, self._grid.lod)
            data = own.data if own and own.key == key else self._encoded(finest, self._grid.lod, facts)
            x, y, z = view.pose.reshape(3, 4)[:, 3].tolist()
            self.tape.add(robot_id, Kept(stamp_ns=table.stamp_ns, eye=(x, y, z), data=data))

    def past(self, robot_id: str, level: Level, stamp_ns: int, step: int = 0) -> bytes | None:
        """The frame of the tape as ``Tape.at`` has it, at any level; None where there is no tape."""
        kept = self.tape.at(robot_id, stamp_ns, step)
        if kept is None or level == self._grid.lod:
            return kept.data if kept else None
        header, columns = decode_frame(kept.data)
        finest = layer_of(header, columns, self._grid.half_edge_m)
        return self._encoded(finest, level, {name: header[name] for name in FACTS})

    def _is_old(self, robot_id: str, level: Level, key: tuple[str, int, int]) -> bool:
        shot = self.shot(robot_id, level)
        return shot is None or shot.key != key

    def _keep(self, robot_id: str, level: Level, shot: Shot) -> None:
        self._shots[robot_id, level] = shot
        self._shots.move_to_end((robot_id, level))
        if len(self._shots) > KEPT_SHOTS:
            self._shots.popitem(last=False)

    def _encoded(self, finest: Layer, level: Level, facts: dict[str, Any]) -> bytes:
        return encode_frame(self._layers(finest, level, facts), self._grid.lod, {**facts, "level": level})

    def _layers(self, finest: Layer, level: Level, facts: dict[str, Any]) -> list[Layer]:
        if level != MIXED:
            return [coarser_layer(finest, level)]
        eye = np.array(facts["pose"]).reshape(3, 4)[:, 3]
        reach = self._grid.range_max_m
        return mixed_layers(finest, eye, self._grid.half_edge_m, NEAR * reach, FAR * reach)

    def _facts(self, robot: Robot, view: View) -> dict[str, Any]:
        prediction = view.prediction
        values = (
            view.number,
            prediction.prediction_id,
            prediction.model_id,
            view.pose.round(6).tolist(),
            self._grid.map_frame,
        )
        return dict(zip(FACTS, values, strict=True))


FACTS = ("number", "prediction_id", "model", "pose", "frame")
"""What a frame's header says of the forecast."""
