"""Where objects go."""

from __future__ import annotations

from time import perf_counter

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from agents.web.histories import TrajectoriesQuestion
from agents.web.problems import RESPONSES
from agents.web.service import Service, json_answer
from models.objects.kinds import Kind


class Way(BaseModel):
    """One way on: where the object is at each horizon, and in which cell, null beyond the map."""

    probability: float
    positions: list[tuple[float, float, float]]
    cells: list[int | str | None]


class Trajectory(BaseModel):
    """One object; horizons count from ``stamp_ns``. yaw: where it goes. ways: the likeliest first."""

    id: int | str
    kind: Kind | None = Field(alias="class")
    stamp_ns: int
    yaw: float
    ways: list[Way]


class TrajectoriesAnswer(BaseModel):
    """Objects in the order in which they were sent; what lies around them is of ``prediction_id``."""

    trajectories: list[Trajectory]
    latency_ms: float
    model: str
    horizons_ns: list[int]
    frame: str
    lod: int
    robot: str
    prediction_id: str
    stamp_ns: int


def trajectory_routes(service: Service) -> APIRouter:
    """POST /trajectories."""
    router = APIRouter(tags=["objects"], responses=RESPONSES)

    @router.post("/trajectories", response_model=TrajectoriesAnswer)
    def trajectories(question: TrajectoriesQuestion) -> Response:
        """Where objects may be at each horizon, by the forecaster that the server was given."""
        begin = perf_counter()
        answer = service.trajectories.answer(question)
        return json_answer({**answer, "latency_ms": round(1e3 * (perf_counter() - begin), 4)})

    return router
