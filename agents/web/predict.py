"""Questions about forecasts, answered from what every robot's newest one says."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from agents.web.cells import CellTable
from agents.web.forecaster import Forecaster, NotWhole
from agents.web.problems import Problem
from agents.web.questions import PredictQuestion
from agents.web.robot import Robot, View
from agents.web.space import Space
from agents.web.world import World
from models.manifest import ModelRefused
from models.runtime import ModelFailed
from native.errors import OctaError
from native.index64 import alike, ancestor, decode, from_text, to_text
from stream.cell_rows import locate
from stream.records import Prediction

SENSOR = "sensor"
RETRY = {"Retry-After": "1"}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Asked:
    """One robot's forecast as it is to be answered: whose probabilities, and whether they were made here.

    arm : of the split that chose the model; None where none did
    """

    view: View
    model_id: str
    probability: NDArray[np.float32]
    computed: bool
    arm: str | None = None

    @property
    def prediction(self) -> Prediction:
        """As Perceive made it."""
        return self.view.prediction

    def facts(self) -> dict[str, Any]:
        """What is said of it."""
        facts = {
            "robot": self.prediction.robot_id,
            "prediction_id": self.prediction.prediction_id,
            "stamp_ns": self.prediction.stamp_ns,
            "model": self.model_id,
            "computed": self.computed,
        }
        return facts if self.arm is None else facts | {"arm": self.arm}


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Answer:
    """names : of cells, in order; probability : float32 (N, H), NaN where nothing was forecast

    robot : int (N,), row of ``asked`` for each cell, -1 for none; None where there is one robot only
    """

    names: Sequence[int | str]
    probability: NDArray[np.float32]
    asked: Sequence[Asked]
    robot: NDArray[np.intp] | None = None

    def to_json(self, horizons_ns: Sequence[int], begin: float) -> bytes:
        """As PredictAnswer has it.

        begin : of the work on it, by ``perf_counter``
        """
        rest: dict[str, Any] = {
            "model": self.asked[0].model_id,
            "horizons_ns": list(horizons_ns),
            "forecasts": [item.facts() for item in self.asked],
        }
        written = self._rows()
        rest["latency_ms"] = round(1e3 * (perf_counter() - begin), 4)
        return b'{"predictions":[%b],%b' % (written, orjson.dumps(rest)[1:])

    def _rows(self) -> bytes:
        """JSON of all cells, with commas. Joined from texts: as many objects take three times as long."""
        if not len(self.names):
            return b""
        ids = orjson.dumps(list(self.names))[1:-1].split(b",")
        values = orjson.dumps(np.ascontiguousarray(self.probability), option=orjson.OPT_SERIALIZE_NUMPY)
        parts = [b'},{"cell_id":', b"", b',"probability":[', b""] * len(ids)
        parts[0] = b'{"cell_id":'
        parts[1::4] = ids
        parts[3::4] = values[2:-1].split(b",[")
        for row in np.flatnonzero(np.isnan(self.probability[:, 0])).tolist():
            parts[4 * row + 2 : 4 * row + 4] = b',"probability":', b"null"
        if self.robot is not None:
            robots = [*(item.prediction.robot_id for item in self.asked), None]
            names = [b',"robot":' + orjson.dumps(name) for name in robots]
            for row, place in enumerate(self.robot.tolist()):
                parts[4 * row + 3] += names[place]
        return b"".join(parts) + b"}"


class Predictor:
    """Answers questions.

    most_cells : in one question or answer
    """

    def __init__(self, world: World, forecaster: Forecaster, most_cells: int) -> None:
        self._world, self._forecaster, self._most = world, forecaster, most_cells
        grid = world.config.grid
        self._grid, self._frame_id = grid, grid.frame_ids[grid.map_frame]
        self._space = Space(grid)

    def answer(self, question: PredictQuestion) -> Answer:
        """Raises Problem for what cannot be answered"""
        asked = self._asked(question)
        if question.cells is None:
            return self._of_region(question, asked)
        cell_id, lods = self._cells(question.cells)
        return self._looked_up(question.cells, cell_id, lods, asked)

    def usual_answer(self, cells: list[int], robot: str | None) -> Answer | None:
        """The same for cells of the grid's level, in one robot's forecast; None for all other questions."""
        views = [view for view in self._world.views() if robot in (None, view.prediction.robot_id)]
        if len(views) != 1 or len(cells) > self._most:
            return None
        asked = _served(views[0])
        try:
            cell_id = np.array(cells, np.uint64)
        except OverflowError:
            return None
        there = asked.prediction.cell_id
        row, known = locate(there, cell_id)
        if not len(there) or (not known.all() and not alike(cell_id[~known], there[0])):
            return None
        probability = asked.probability[row]
        probability[~known] = np.nan
        return Answer(names=cells, probability=probability, asked=[asked])

    def _asked(self, question: PredictQuestion) -> list[Asked]:
        """Forecasts to look in, the newest first."""
        if question.robot is None:
            views = self._world.views()
            if not views:
                raise Problem(503, "no robot has a forecast yet; /ready says when", RETRY)
            return [_served(view) for view in views]
        robot = self.robot(question.robot)
        if question.routed:
            return [self._routed(robot, question.user_id)]
        if question.anew:
            return [self._computed(robot, question.model)]
        assert robot.view is not None
        return [_served(robot.view)]

    def robot(self, name: str) -> Robot:
        """A robot that has a forecast.  Raises Problem"""
        robot = self._world.robot(name)
        if robot is None:
            known = self._world.robots()
            listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise Problem(404, f"robot: {name[:80]!r} has no forecast; those that have: {listed or 'none'}")
        return robot

    def only(self, name: str | None) -> Robot:
        """The robot that is named, or the only one there is.  Raises Problem"""
        known = self._world.robots()
        if name is None and not known:
            raise Problem(503, "no robot has a forecast yet; /ready says when", RETRY)
        if name is None and len(known) > 1:
            listed = ", ".join(known[:8]) + (", …" if len(known) > 8 else "")
            raise Problem(422, f"robot: name one of {listed}")
        return self.robot(known[0] if name is None else name)

    def _routed(self, robot: Robot, user_id: str | None) -> Asked:
        """By the model that has a key, by default the stream's; what comes of it is scored."""
        assert robot.view is not None
        try:
            arm, model_id = self._forecaster.route(user_id or robot.view.prediction.stream_id)
        except ModelRefused as error:
            raise Problem(409, f"user_id: {error}") from error
        asked = replace(self._computed(robot, model_id), arm=arm)
        self._world.experiment.answered(arm, model_id, asked.prediction, asked.probability)
        return asked

    def _computed(self, robot: Robot, model_id: str | None) -> Asked:
        try:
            prediction, model_id, probability = self._forecaster.forecast(robot, model_id)
        except NotWhole as error:
            raise Problem(503, str(error), RETRY) from error
        except ModelRefused as error:
            raise Problem(404, f"model: {error}") from error
        except ModelFailed as error:
            raise Problem(502, f"model: {error}") from error
        view = robot.view
        assert view is not None
        if view.prediction is not prediction:  # a sweep came meanwhile
            view = View(prediction=prediction, pose=view.pose, number=view.number)
        return Asked(view=view, model_id=model_id, probability=probability, computed=True)

    # ---- cells -----------------------------------------------------------------------------------------

    def _cells(self, names: Sequence[int | str]) -> tuple[NDArray[np.uint64], NDArray[np.uint8]]:
        """Ids and levels of cells.  Raises Problem"""
        if len(names) > self._most:
            raise Problem(413, f"cells: {len(names):,} are more than the {self._most:,} of one question")
        cell_id = ids_of(names)
        return cell_id, self.check_cells(cell_id)

    def _looked_up(
        self,
        names: Sequence[int | str],
        cell_id: NDArray[np.uint64],
        lods: NDArray[np.uint8],
        asked: Sequence[Asked],
    ) -> Answer:
        """Each cell from the first forecast that has it."""
        probability = np.full((len(names), len(self._world.config.task.horizons_ns)), np.nan, np.float32)
        robot = np.full(len(names), -1, np.intp)
        levels = np.flatnonzero(np.bincount(lods)).tolist()
        for place, item in enumerate(asked):
            for lod in levels:
                rows = np.flatnonzero((robot < 0) & (lods == lod))
                if len(rows):
                    ids, values = self._at(item, lod)
                    row, known = locate(ids, cell_id[rows])
                    probability[rows[known]] = values[row[known]]
                    robot[rows[known]] = place
        return Answer(
            names=names, probability=probability, asked=asked, robot=robot if len(asked) > 1 else None
        )

    def check_cells(self, cell_id: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """Levels of cells.  Raises Problem for what is no cell, of another map, or finer than the grid"""
        try:
            parts = decode(cell_id)
        except (OctaError, ValueError) as error:
            raise Problem(422, f"cells: {error}") from error
        wrong = np.flatnonzero((parts.frame != self._frame_id) | (parts.tier != self._grid.tier))
        if len(wrong):
            row = wrong[0]
            raise Problem(
                422, f"cells.{row}: is in frame {parts.frame[row]}, tier {parts.tier[row]}; the map frame "
                f"{self._grid.map_frame!r} is frame {self._frame_id}, tier {self._grid.tier}"
            )  # fmt: skip
        fine = np.flatnonzero(parts.lod > self._grid.lod)
        if len(fine):
            raise Problem(
                422, f"cells.{fine[0]}: has LOD {parts.lod[fine[0]]}; forecasts are of LOD {self._grid.lod} "
                "and coarser"
            )  # fmt: skip
        return parts.lod

    def _at(self, item: Asked, lod: int) -> tuple[NDArray[np.uint64], NDArray[np.float32]]:
        """Cells and probabilities of a forecast at one level, as ``Space.coarser`` has them."""
        if lod == self._grid.lod:
            return item.prediction.cell_id, item.probability
        return self._space.coarser(item.prediction.cell_id, item.probability, lod)

    # ---- regions ---------------------------------------------------------------------------------------

    def _of_region(self, question: PredictQuestion, asked: Sequence[Asked]) -> Answer:
        lod = self._grid.lod if question.lod is None else question.lod
        self.check_lod(lod)
        self.check_frame(question.frame)
        parts: list[tuple[NDArray[np.uint64], NDArray[np.float32]]] = []
        for item in asked:
            inside = item.prediction.cell_id[
                self._space.inside(question, item.prediction.cell_id, item.view.pose)
            ]
            ids, values = self._at(item, lod)
            chosen = np.isin(ids, ancestor(inside, lod))
            parts.append((ids[chosen], values[chosen]))
        cell_id, probability, robot = _merged(parts)
        self.check_count(len(cell_id))
        return Answer(
            names=names_of(cell_id, question.ids),
            probability=probability,
            asked=asked,
            robot=robot if len(asked) > 1 else None,
        )

    def check_lod(self, lod: int) -> None:
        """Raises Problem for a level that there are no cells of"""
        if lod > self._grid.lod:
            raise Problem(422, f"lod: {lod} is finer than the grid, which has LOD {self._grid.lod}")

    def check_frame(self, frame: str | None) -> None:
        """Raises Problem for a frame that regions cannot be given in"""
        if frame not in (None, SENSOR, self._grid.map_frame):
            raise Problem(422, f"frame: {frame[:80]!r}: must be {self._grid.map_frame!r} or {SENSOR!r}")

    def check_count(self, cells: int) -> None:
        """Raises Problem for more cells than go into one answer"""
        if cells > self._most:
            raise Problem(
                413, f"{cells:,} cells are more than the {self._most:,} of one answer; ask for a smaller "
                "region or a coarser lod"
            )  # fmt: skip


def _served(view: View) -> Asked:
    prediction = view.prediction
    return Asked(view=view, model_id=prediction.model_id, probability=prediction.probability, computed=False)


def ids_of(names: Sequence[int | str], field: str = "cells") -> NDArray[np.uint64]:
    """Ids of integers and texts: bech32m, or digits as addresses have them; uint64 (N,).  Raises Problem"""
    values = list(names)
    for place, name in enumerate(values):
        if isinstance(name, str):
            try:
                values[place] = _id_of(name)
            except OctaError as error:
                raise Problem(422, f"{field}.{place}: {name!r}: {error}") from error
    return np.array(values, np.uint64)


def _id_of(name: str) -> int:
    if name.isascii() and name.isdigit() and int(name) < 2**64:
        return int(name)
    return from_text(name)


def names_of(cell_id: NDArray[np.uint64], kind: str) -> list[int | str]:
    """Integers, or bech32m texts."""
    ids: list[int] = cell_id.tolist()
    return [to_text(item) for item in ids] if kind == "text" else list(ids)


def _merged(
    parts: Sequence[tuple[NDArray[np.uint64], NDArray[np.float32]]],
) -> tuple[NDArray[np.uint64], NDArray[np.float32], NDArray[np.intp]]:
    """Cells of several robots by id, each from the first that has it, and from which."""
    cell_id = np.concatenate([ids for ids, _ in parts])
    probability = np.concatenate([values for _, values in parts])
    robot = np.concatenate([np.full(len(ids), place, np.intp) for place, (ids, _) in enumerate(parts)])
    if len(parts) == 1:
        return cell_id, probability, robot
    ids, first = np.unique(cell_id, return_index=True)
    return ids, probability[first], robot[first]


def map_rows(table: CellTable, names: Sequence[int | str]) -> list[dict[str, Any]]:
    """Rows of a table as MapCell has them."""
    known = ~np.isnan(table.probability[:, 0])
    columns = zip(
        names, table.centre.tolist(), table.hits.tolist(), table.passes.tolist(), table.age_ns.tolist(),
        table.probability.tolist(), known.tolist(), table.outcome.tolist(),
        strict=True,
    )  # fmt: skip
    states = {-1: None, 0: False, 1: True}
    return [
        {
            "cell_id": name,
            "centre": centre,
            "hits": hits,
            "passes": None if passes < 0 else passes,
            "age_s": None if age_ns < 0 else age_ns / 1e9,
            "probability": probability if there else None,
            "outcome": [states[state] for state in outcome],
        }
        for name, centre, hits, passes, age_ns, probability, there, outcome in columns
    ]
