"""How traffic is split between models, and what came of it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel

from agents.web.problems import RESPONSES, Problem
from agents.web.questions import Name
from agents.web.service import Service, json_answer
from models.manifest import ModelRefused
from models.split import Split


class SplitArm(BaseModel):
    """One arm: the alias, what it stands for now, and its share of all keys."""

    name: str
    model_id: str | None
    weight: str
    share: float


class ArmResult(BaseModel):
    """What came of an arm's forecasts: mean log loss of blocks, with bounds that hold whenever one looks."""

    name: str
    model_id: str
    forecasts: int
    cells: int
    brier: float | None
    blocks: int
    log_loss: float | None
    low: float | None
    high: float | None


class Comparison(BaseModel):
    """An arm beside the first one: difference of log loss by block, below 0 where the arm is better."""

    name: str
    against: str
    verdict: Literal["better", "worse", "open"]
    p_value: float
    blocks: int
    difference: float | None
    low: float | None
    high: float | None


class AbAnswer(BaseModel):
    """A split, no arms where there is none, and its results: of this server, and of --ab-results before."""

    salt: str
    arms: list[SplitArm]
    arm_of_key: str | None
    block_s: float
    results: list[ArmResult]
    comparisons: list[Comparison]


def ab_routes(service: Service) -> APIRouter:
    """GET /ab."""
    router = APIRouter(tags=["models"], responses=RESPONSES)

    @router.get("/ab", response_model=AbAnswer)
    def ab(
        user_id: Annotated[Name | None, Query(description="Say which arm has this key")] = None,
    ) -> Response:
        """How keys are split between models, and how these did on the outcomes of what they answered."""
        registry = service.forecaster.registry()
        try:
            split = registry.split() if registry else None
            aliases = registry.aliases() if registry else {}
        except ModelRefused as error:
            raise Problem(503, f"split: {error}") from error
        found = service.world.experiment.results()
        return json_answer(
            {
                "salt": split.salt if split else "",
                "arms": _arms(split, aliases) if split else [],
                "arm_of_key": split.name_of(user_id) if split and user_id is not None else None,
                "block_s": found["block_s"],
                "results": found["arms"],
                "comparisons": found["comparisons"],
            }
        )

    return router


def _arms(split: Split, aliases: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": arm.name,
            "model_id": aliases.get(arm.name),
            "weight": str(arm.weight),
            "share": float(split.share_of(arm.name)),
        }
        for arm in split.arms
    ]
