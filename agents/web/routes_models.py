"""Models, scores, events: what serves, how good it is, and where it is not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel

from agents.web.news import ModelFacts
from agents.web.problems import RESPONSES, Problem
from agents.web.service import Service, json_answer
from models.manifest import ModelRefused
from native.index64 import decode, to_text

MOST_REGISTERED = 512


class ModelAnswer(BaseModel):
    """One model: kind prior, update, promotion, rollback or empty; first stamp by stream; events by name."""

    model_id: str
    kind: str
    parent_id: str
    sha256: str
    published_ns: int | None
    activated: dict[str, int]
    events: dict[str, int]


class ModelsAnswer(BaseModel):
    """Models that serve, by stream, and all that are known, the newest at the end.

    trajectories: the forecaster of objects' ways; null where the server was given none
    """

    serving: dict[str, str]
    champion: str | None
    trajectories: str | None
    models: list[ModelAnswer]


class RegionAnswer(BaseModel):
    """Means over the scored cells of one region; its centre in metres."""

    region: int
    text: str
    centre: tuple[float, float, float]
    n: int
    log_loss: float
    brier: float
    probability: float
    occupied: float


class RegionsAnswer(BaseModel):
    """Regions by their loss, the worst first."""

    lod: int
    regions: list[RegionAnswer]


class ScoresAnswer(BaseModel):
    """Running scores beside the baselines, as in summary.json, and by sweep at the primary horizon."""

    scores: dict[str, Any]
    scores_by_horizon: dict[str, Any]
    series: dict[str, Any]
    outcomes: int


class EventsAnswer(BaseModel):
    """Events with their numbers, the oldest first."""

    events: list[dict[str, Any]]
    last: int


class RobotAnswer(BaseModel):
    """One robot's newest forecast; pose 3 x 4 row by row, sensor to map."""

    robot: str
    stream: str
    stamp_ns: int
    prediction_id: str
    model: str
    cells: int
    pose: list[float]


class RobotsAnswer(BaseModel):
    """Robots that have a forecast."""

    robots: list[RobotAnswer]


def model_routes(service: Service) -> APIRouter:
    """GET /models, /scores, /regions/worst, /events and /robots."""
    router = APIRouter(tags=["models"], responses=RESPONSES)
    world = service.world

    @router.get("/models", response_model=ModelsAnswer)
    def models() -> Response:
        """Models, their lineage, and which one serves."""
        facts = {item.model_id: item for item in _registered(service)}
        facts |= {item.model_id: item for item in world.news.models()}
        registry = service.forecaster.registry()
        return json_answer(
            {
                "serving": world.news.serving(),
                "champion": registry.champion() if registry else None,
                "trajectories": service.trajectories.model_id,
                "models": [_facts(item) for item in facts.values()],
            }
        )

    @router.get("/models/{model_id}", response_model=dict[str, Any])
    def model(model_id: Annotated[str, Path(max_length=128)]) -> Response:
        """The manifest of a model in the registry."""
        registry = service.forecaster.registry()
        if registry is None:
            raise Problem(404, f"model_id: {model_id!r}: there is no registry of models")
        try:
            return json_answer(registry.manifest(model_id).to_dict())
        except ModelRefused as error:
            raise Problem(404, f"model_id: {error}") from error

    @router.get("/scores", response_model=ScoresAnswer)
    def scores() -> Response:
        """Scores since this server began, of what was served and of the baselines on the same outcomes."""
        board = world.scoreboard
        return json_answer({**board.summary(), "series": board.series(), "outcomes": board.outcomes})

    @router.get("/regions/worst", response_model=RegionsAnswer)
    def worst(
        count: Annotated[int, Query(ge=1, le=1000)] = 10,
        min_rows: Annotated[int, Query(ge=1, le=2**31, description="Scored cells at least")] = 1,
    ) -> Response:
        """Where the forecasts are worst."""
        found = world.scoreboard.worst(count, min_rows)
        centres = _centres(service, [item.region for item in found])
        rows = [
            {**asdict(item), "text": to_text(item.region), "centre": centre}
            for item, centre in zip(found, centres, strict=True)
        ]
        grid, task = world.config.grid, world.config.task
        return json_answer({"lod": max(grid.lod - task.region_levels, 0), "regions": rows})

    @router.get("/events", response_model=EventsAnswer)
    def events(
        after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
        alarms: Annotated[bool, Query(description="Only what somebody should look at")] = False,
    ) -> Response:
        """What happened: trainings, activations, alarms, dead letters; the newest that are remembered."""
        found = world.news.events(after, alarms=alarms)
        rows = [{"number": number, **event} for number, event in found]
        return json_answer({"events": rows, "last": found[-1][0] if found else after})

    @router.get("/robots", response_model=RobotsAnswer)
    def robots() -> Response:
        """Robots, where their sensors are, and their newest forecasts."""
        rows = [
            {
                "robot": view.prediction.robot_id,
                "stream": view.prediction.stream_id,
                "stamp_ns": view.prediction.stamp_ns,
                "prediction_id": view.prediction.prediction_id,
                "model": view.prediction.model_id,
                "cells": len(view.prediction.cell_id),
                "pose": view.pose.tolist(),
            }
            for view in world.views()
        ]
        return json_answer({"robots": rows})

    return router


def _registered(service: Service) -> list[ModelFacts]:
    """Models on disk that may have been published before this server began; the newest so many."""
    registry = service.forecaster.registry()
    found = []
    for model_id in registry.list()[-MOST_REGISTERED:] if registry else ():
        try:
            manifest = registry.manifest(model_id) if registry else None
        except ModelRefused:
            continue  # taken away at this moment
        assert manifest is not None
        found.append(
            ModelFacts(
                model_id=model_id, kind=manifest.kind, parent_id=manifest.parent_id, sha256=manifest.sha256
            )
        )
    return found


def _facts(item: ModelFacts) -> dict[str, Any]:
    return {**asdict(item), "published_ns": None if item.published_ns < 0 else item.published_ns}


def _centres(service: Service, regions: list[int]) -> list[list[float]]:
    """Sites of regions in metres; what they hold lies somewhat off."""
    parts = decode(np.array(regions, np.uint64))
    half_edge_m = service.world.config.grid.half_edge_lod0_m / 2.0 ** parts.lod.astype(np.float64)
    found: list[list[float]] = (parts.sites * half_edge_m[:, None]).tolist()
    return found
