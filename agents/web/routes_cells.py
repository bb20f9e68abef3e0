"""Forecasts and the map."""

from __future__ import annotations

from time import perf_counter
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Header, Query, Response
from numpy.typing import NDArray

from agents.web.arrow import arrow_answer, map_table, predict_table
from agents.web.cells import CellTable
from agents.web.predict import SENSOR, ids_of, map_rows, names_of
from agents.web.problems import RESPONSES, Problem
from agents.web.questions import MOST_METRES, Lod, MapAnswer, Name, PredictAnswer, PredictQuestion
from agents.web.service import ARROW, JSON, Service, json_answer, wants_arrow

Accept = Annotated[str | None, Header()]
NUMBER = r"-?[0-9.eE+-]+"
Corner = Annotated[
    str | None,
    Query(max_length=120, pattern=f"^{NUMBER},{NUMBER},{NUMBER}$", description="x,y,z in metres"),
]


def cell_routes(service: Service) -> APIRouter:
    """POST /predict and GET /map."""
    router = APIRouter(tags=["cells"], responses=RESPONSES)
    predictor, metrics = service.predictor, service.metrics
    horizons = service.world.config.task.horizons_ns

    @router.post("/predict", response_model=PredictAnswer, responses={200: {"content": {ARROW: {}}}})
    def predict(question: PredictQuestion, accept: Accept = None) -> Response:
        """Probability that cells are occupied at each horizon, given that they will be observed."""
        begin = perf_counter()
        answer = predictor.answer(question)
        metrics.cells.inc(len(answer.names))
        if wants_arrow(accept):
            return arrow_answer(predict_table(answer, ids_of(answer.names), horizons))
        return Response(answer.to_json(horizons, begin), media_type=JSON)

    @router.get("/map", response_model=MapAnswer, responses={200: {"content": {ARROW: {}}}})
    def cells_of_map(
        robot: Annotated[Name | None, Query(description="Needed where there are several")] = None,
        lod: Lod | None = None,
        lowest: Annotated[Corner, Query(alias="min")] = None,
        highest: Annotated[Corner, Query(alias="max")] = None,
        frame: Annotated[Name | None, Query(description="Of min and max: the map frame, or sensor")] = None,
        ids: Literal["integer", "text"] = "integer",
        accept: Accept = None,
    ) -> Response:
        """Cells of one robot's live container within a bounding box, as JSON or as an Arrow IPC stream."""
        predictor.check_frame(frame)
        grid = service.world.config.grid
        lod = grid.lod if lod is None else lod
        predictor.check_lod(lod)
        found = predictor.only(robot)
        table, view = found.cells(lod), found.view
        assert table is not None and view is not None
        if lowest is not None or highest is not None:
            pose = view.pose.reshape(3, 4) if frame == SENSOR else None
            table = table.take(_between(table, _corner("min", lowest), _corner("max", highest), pose))
        predictor.check_count(len(table))
        if wants_arrow(accept):
            return arrow_answer(map_table(table, grid.map_frame))
        return json_answer(
            {
                "robot": found.robot_id,
                "stamp_ns": table.stamp_ns,
                "frame": grid.map_frame,
                "lod": lod,
                "horizons_ns": list(horizons),
                "cells": map_rows(table, names_of(table.cell_id, ids)),
            }
        )

    return router


def _corner(name: str, text: str | None) -> NDArray[np.float64]:
    """A corner of the bounding box, without bounds where it is left out.  Raises Problem"""
    if text is None:
        return np.full(3, -np.inf if name == "min" else np.inf)
    try:
        values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        values = np.full(3, np.nan)
    if not (np.abs(values) <= MOST_METRES).all():
        raise Problem(422, f"{name}: {text!r} must be three numbers within ±{MOST_METRES:g}, as -20,-20,-2")
    return values


def _between(
    table: CellTable,
    lowest: NDArray[np.float64],
    highest: NDArray[np.float64],
    pose: NDArray[np.float64] | None,
) -> NDArray[np.bool_]:
    """Which cells have their centre in a box, in the frame of a pose (3, 4) where there is one."""
    if (lowest > highest).any():
        raise Problem(422, "min: must be below max on each axis")
    points = table.centre.astype(np.float64)
    if pose is not None:
        points = (points - pose[:, 3]) @ pose[:, :3]
    inside: NDArray[np.bool_] = np.all((points >= lowest) & (points <= highest), axis=1)
    return inside
