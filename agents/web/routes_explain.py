"""Why a forecast was what it was, and forecasts of features that somebody brings."""

from __future__ import annotations

import threading
from time import perf_counter
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from fastapi import APIRouter, Body, Path, Query, Response
from numpy.typing import NDArray
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from agents.explain import ExplainError, Explanation, UnknownPrediction, explain
from agents.explanation import most_surprising
from agents.web.arrow import arrow_answer, column_names
from agents.web.predict import ids_of, names_of
from agents.web.problems import RESPONSES, Problem
from agents.web.questions import CellText, Name
from agents.web.routes_cells import Accept
from agents.web.service import ARROW, Service, json_answer, wants_arrow
from agents.web.tensors import TensorError, read_tensors
from agents.web.waiting import Look, while_waited_for
from models.manifest import ModelRefused
from models.runtime import ModelFailed
from stream.cell_rows import locate
from stream.features import schema_of
from stream.sweep_rows import sweep_files
from stream.tables import TableError

STATES = {-1: None, 0: False, 1: True}
MOST_STORED = 4
"""Forecasts that are explained from stored runs at one time: each reads an archive from its start."""


class ExplainedCell(BaseModel):
    """One cell: what the model read of it, what it said at each horizon, and what became of it."""

    cell_id: int | str
    features: list[float]
    neighbors: list[int | str | None]
    probability: list[float]
    outcome: list[bool | None]


class ExplainAnswer(BaseModel):
    """One forecast. Digests are equal where the features are those that the model had read, bit for bit."""

    prediction_id: str
    model: str
    stamp_ns: int
    horizons_ns: list[int]
    digest_stored: str
    digest_rebuilt: str
    matches: bool
    source: Literal["memory", "stored"]
    features: list[str]
    cells_in_all: int
    cells: list[ExplainedCell]


class InferAnswer(BaseModel):
    """Probabilities at each horizon, in the order of rows."""

    predictions: list[list[float]]
    latency_ms: float
    model: str
    horizons_ns: list[int]


def explain_routes(service: Service) -> APIRouter:
    """GET /explain/{prediction_id} and POST /infer."""
    router = APIRouter(tags=["explain"], responses=RESPONSES)
    explanations = _Explanations(service)

    @router.get(
        "/explain/{prediction_id:path}",
        response_model=ExplainAnswer,
        responses={200: {"content": {ARROW: {}}}},
    )
    async def explained(
        prediction_id: Annotated[str, Path(max_length=512, description="robot/sensor/stamp_ns")],
        limit: Annotated[int, Query(ge=0, le=20_000, description="Cells in the answer")] = 100,
        order: Annotated[
            Literal["surprise", "id"], Query(description="Those that the model erred most about first")
        ] = "surprise",
        cell: Annotated[
            list[CellText] | None,
            Query(max_length=100, description="These cells only: integers, or bech32m text"),
        ] = None,
        ids: Literal["integer", "text"] = "integer",
        accept: Accept = None,
    ) -> Response:
        """The exact cells, features, model and outcomes of a forecast, made again from its binned sweeps."""

        def answer(look: Look) -> Response:
            found, source = explanations.of(prediction_id, look)
            if wants_arrow(accept):
                return arrow_answer(explained_table(found))
            cells = explained_rows(found, _rows(found, limit, order, cell), ids)
            return json_answer(_told(found) | {"source": source, "cells": cells})

        return await while_waited_for(answer)

    @router.post(
        "/infer",
        response_model=InferAnswer,
        responses={200: {"content": {ARROW: {}}}},
    )
    async def infer(
        body: Annotated[bytes, Body(media_type=ARROW, description="x and neighbor_index, plain Arrow IPC")],
        model: Annotated[Name | None, Query(description="Default: what serves")] = None,
        accept: Accept = None,
    ) -> Response:
        """Forecasts of feature tensors: x float32 (N, F) and neighbor_index int32 (N, 14)."""
        return await run_in_threadpool(_infer, service, body, model, wants_arrow(accept))

    return router


class _Explanations:
    """Forecasts explained from memory, or else from stored runs."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._turns = threading.BoundedSemaphore(MOST_STORED)

    def of(self, prediction_id: str, look: Look) -> tuple[Explanation, str]:
        """One, and where it is from.  Raises Problem, and what ``look`` raises"""
        try:
            found = self._service.world.explain(prediction_id)
            if found is not None:
                return found, "memory"
            found = self._stored(prediction_id, look)
        except (ExplainError, TableError) as error:
            raise Problem(404, f"prediction_id: {error}") from error
        except FileNotFoundError as error:
            raise Problem(409, f"prediction_id: {prediction_id!r}: stored files were removed or joined while "
                          "they were read; ask again") from error  # fmt: skip
        if found is None:
            raise Problem(404, f"prediction_id: {prediction_id!r} is neither remembered nor stored; ids are "
                          "robot/sensor/stamp_ns, as in /predict")  # fmt: skip
        return found, "stored"

    def _stored(self, prediction_id: str, look: Look) -> Explanation | None:
        if not self._turns.acquire(blocking=False):
            detail = f"{MOST_STORED} stored forecasts are being explained already; ask again"
            raise Problem(503, detail, {"Retry-After": "1"})
        try:
            for run in self._service.feed.runs():
                look()
                if sweep_files(run):
                    try:
                        return explain(run, prediction_id, self._service.world.config, look)
                    except UnknownPrediction:
                        continue
            return None
        finally:
            self._turns.release()


def _told(found: Explanation) -> dict[str, Any]:
    """What ExplainAnswer says of the forecast itself."""
    return {
        "prediction_id": found.prediction_id,
        "model": found.model_id,
        "stamp_ns": found.stamp_ns,
        "horizons_ns": list(found.horizons_ns),
        "digest_stored": found.digest_stored,
        "digest_rebuilt": found.digest_rebuilt,
        "matches": found.matches,
        "features": list(found.names),
        "cells_in_all": found.cells,
    }


def _rows(found: Explanation, limit: int, order: str, cell: list[str] | None) -> NDArray[np.intp]:
    """Rows of the cells that are asked for.  Raises Problem for cells that are not among them"""
    if cell is not None:
        row, known = locate(found.cell_id, ids_of(cell, "cell"))
        if not known.all():
            raise Problem(404, f"cell: {cell[int(np.argmin(known))]!r} was not forecast there")
        return row
    return most_surprising(found, limit) if order == "surprise" else np.arange(min(limit, found.cells))


def explained_rows(found: Explanation, rows: NDArray[np.intp], ids: str) -> list[dict[str, Any]]:
    """Rows as ExplainedCell has them."""
    names = names_of(found.cell_id[rows], ids)
    padded = [*names_of(found.cell_id, ids), None]
    columns = zip(
        names, found.features[rows].tolist(), found.neighbor_index[rows].tolist(),
        found.probability[rows].tolist(), found.occupied[rows].tolist(), strict=True,
    )  # fmt: skip
    return [
        {
            "cell_id": name,
            "features": features,
            "neighbors": [padded[place] for place in neighbors],
            "probability": probability,
            "outcome": [STATES[state] for state in occupied],
        }
        for name, features, neighbors, probability, occupied in columns
    ]


def explained_table(found: Explanation) -> pa.Table:
    """All cells: cell_id, a column a feature, neighbor_index, probability and outcome a horizon."""
    columns: dict[str, Any] = {"cell_id": pa.array(found.cell_id)}
    for place, name in enumerate(found.names):
        columns[name] = pa.array(np.ascontiguousarray(found.features[:, place]))
    width = found.neighbor_index.shape[1]
    columns["neighbor_index"] = pa.FixedSizeListArray.from_arrays(found.neighbor_index.reshape(-1), width)
    for place, name in enumerate(column_names(found.horizons_ns)):
        columns[f"probability_{name}"] = pa.array(np.ascontiguousarray(found.probability[:, place]))
        occupied = found.occupied[:, place]
        columns[f"occupied_{name}"] = pa.array(occupied == 1, mask=occupied < 0)
    return pa.table(columns).replace_schema_metadata(
        {
            "prediction_id": found.prediction_id,
            "model": found.model_id,
            "digest_stored": found.digest_stored,
            "digest_rebuilt": found.digest_rebuilt,
        }
    )


def _infer(service: Service, body: bytes, model_id: str | None, arrow: bool) -> Response:
    begin = perf_counter()
    config = service.world.config
    try:
        x, neighbor_index = read_tensors(body, schema_of(config).count, config.window.max_cells)
        model = service.forecaster.model(model_id or _serving(service))
        probability = model.predict(x, neighbor_index)
    except TensorError as error:
        raise Problem(422, str(error)) from error
    except ModelRefused as error:
        raise Problem(404, f"model: {error}") from error
    except ModelFailed as error:
        raise Problem(422, f"model: {error}") from error
    horizons = config.task.horizons_ns
    if arrow:
        columns = {f"probability_{name}": pa.array(np.ascontiguousarray(probability[:, place]))
                   for place, name in enumerate(column_names(horizons))}  # fmt: skip
        return arrow_answer(pa.table(columns).replace_schema_metadata({"model": model.model_id}))
    return json_answer(
        {
            "predictions": probability.tolist(),
            "latency_ms": round(1e3 * (perf_counter() - begin), 4),
            "model": model.model_id,
            "horizons_ns": list(horizons),
        }
    )


def _serving(service: Service) -> str:
    """The model of the newest forecast; the built-in one before there is any."""
    views = service.world.views()
    return views[0].prediction.model_id if views else service.forecaster.builtin
