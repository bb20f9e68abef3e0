"""Where objects go: histories that somebody sends, and what lies around them in a live container."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.web.forecaster import Forecaster, NotWhole
from agents.web.histories import ObjectHistory, Poses, TrajectoriesQuestion, track_of, turned_angle
from agents.web.predict import RETRY, SENSOR, Predictor, names_of
from agents.web.problems import Problem
from agents.web.robot import Robot
from models.objects.boxes import out_of_frame
from models.objects.motion import HORIZONS_S, Motions, motions_of
from models.objects.onnx_models import ForecastModel
from models.objects.surroundings import pooled_columns
from models.runtime import ModelFailed
from native.index64 import COORDINATE_MAX, encode
from native.lattice import snap
from stream.config import Config
from stream.records import Prediction

MOST_OBJECTS = 256
MOST_APART_NS = 500_000_000
"""Between the end of a history and the sweep around it: what stands around is nearly the same so long."""
NONE_GIVEN = (
    "no forecaster of trajectories is registered; start octastream serve with --forecaster MODEL, the ONNX "
    "file that octastream objects train forecaster writes"
)


class Trajectories:
    """Answers where objects go.

    model : None where the server was given none
    Raises ModelRefused for one that learnt from another grid, or other features
    """

    def __init__(
        self, config: Config, predictor: Predictor, forecaster: Forecaster, model: ForecastModel | None
    ) -> None:
        self._predictor, self._forecaster = predictor, forecaster
        self._model = None if model is None else model.check(config)
        self._grid, self._columns = config.grid, pooled_columns(config)

    @property
    def model_id(self) -> str | None:
        """Id of the forecaster."""
        return None if self._model is None else self._model.name

    def answer(self, question: TrajectoriesQuestion) -> dict[str, Any]:
        """As TrajectoriesAnswer has it, but for the time that it took.  Raises Problem"""
        if self._model is None:
            raise Problem(409, NONE_GIVEN)
        _check_ids(question.objects)
        lod = max(self._grid.lod - 1, 0) if question.lod is None else question.lod
        self._predictor.check_lod(lod)
        self._predictor.check_frame(question.frame)
        robot = self._predictor.only(question.robot)
        try:
            prediction, window = self._forecaster.features(robot)
        except NotWhole as error:
            raise Problem(503, str(error), RETRY) from error
        poses = _poses(robot) if question.frame == SENSOR else None
        tracks = []
        for place, history in enumerate(question.objects):
            _check_moment(history, f"objects.{place}", prediction)
            tracks.append(track_of(history, f"objects.{place}", poses))
        motions = motions_of(tracks, window, self._columns, self._grid.half_edge_m)
        return {
            "trajectories": self._rows(question, motions, poses, lod),
            "model": self._model.name,
            "horizons_ns": [round(1e9 * horizon) for horizon in HORIZONS_S],
            "frame": question.frame or self._grid.map_frame,
            "lod": lod,
            "robot": robot.robot_id,
            "prediction_id": prediction.prediction_id,
            "stamp_ns": prediction.stamp_ns,
        }

    def _rows(
        self, question: TrajectoriesQuestion, motions: Motions, poses: Poses | None, lod: int
    ) -> list[dict[str, Any]]:
        assert self._model is not None
        try:
            modes = self._model.forecast(motions)
        except ModelFailed as error:
            raise Problem(502, f"model: {error}") from error
        paths = np.empty((*modes.path.shape[:3], 3))  # (N, K, T, 3)
        paths[..., :2] = out_of_frame(modes.path, motions.yaw[:, None, None])
        paths[..., :2] += motions.place[:, None, None, :2]
        paths[..., 2] = motions.place[:, None, None, 2]
        cells = self._cells(paths, lod, question.ids)
        rows = []
        for place, history in enumerate(question.objects):
            path, yaw, moment = paths[place], float(motions.yaw[place]), history.stamps_ns[-1]
            if poses is not None:
                pose = poses[moment]
                path, yaw = (path - pose[:, 3]) @ pose[:, :3], turned_angle(pose[:, :3].T, yaw)
            ways = [
                {
                    "probability": float(modes.probability[place, way]),
                    "positions": path[way].tolist(),
                    "cells": cells[place][way],
                }
                for way in np.argsort(-modes.probability[place], kind="stable")
            ]
            kind = history.kind
            rows.append({"id": history.id, "class": kind, "stamp_ns": moment, "yaw": yaw, "ways": ways})
        return rows

    def _cells(self, paths: NDArray[np.float64], lod: int, ids: str) -> list[list[list[int | str | None]]]:
        """Cell of every position, None for one that is beyond the map. paths : float64 (N, K, T, 3)"""
        grid = self._grid
        points = np.ascontiguousarray(paths.reshape(-1, 3)) / (grid.half_edge_lod0_m / 2**lod)
        within = (np.abs(points) < COORDINATE_MAX - 1).all(1)
        frame = grid.frame_ids[grid.map_frame]
        names = names_of(encode(snap(points[within]), frame=frame, tier=grid.tier, lod=lod), ids)
        found = np.full(len(points), None, object)
        found[within] = names
        listed: list[list[list[int | str | None]]] = found.reshape(paths.shape[:3]).tolist()
        return listed


def _poses(robot: Robot) -> Poses:
    """Of the robot's only sensor.  Raises Problem where it has several"""
    streams = robot.poses()
    if len(streams) > 1:
        raise Problem(
            422, f"frame: {SENSOR!r}: {robot.robot_id} has several, {', '.join(sorted(streams)[:8])}; give "
            "positions in the map frame"
        )  # fmt: skip
    return next(iter(streams.values()), {})


def _check_ids(objects: Sequence[ObjectHistory]) -> None:
    """Raises Problem for too many objects, or two of one name"""
    if len(objects) > MOST_OBJECTS:
        raise Problem(413, f"objects: {len(objects):,} are more than the {MOST_OBJECTS:,} of one question")
    seen: set[int | str] = set()
    for place, item in enumerate(objects):
        if item.id in seen:
            raise Problem(422, f"objects.{place}.id: {item.id!r} is there twice")
        seen.add(item.id)


def _check_moment(history: ObjectHistory, field: str, prediction: Prediction) -> None:
    """Raises Problem for a history that ends when the surroundings are not known"""
    apart_ns = history.stamps_ns[-1] - prediction.stamp_ns
    if abs(apart_ns) > MOST_APART_NS:
        side = "after" if apart_ns > 0 else "before"
        raise Problem(
            422, f"{field}.stamps_ns: end {abs(apart_ns) / 1e9:.3g} s {side} the newest sweep, "
            f"{prediction.prediction_id}; at most {MOST_APART_NS / 1e9:g} s, as what lies around is pooled "
            "from its container"
        )  # fmt: skip
