"""What the routes have in common: the world, who answers, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from fastapi import Response

from agents.web.feed import Feed
from agents.web.forecaster import Forecaster
from agents.web.metrics import WebMetrics
from agents.web.predict import Predictor
from agents.web.world import World

ARROW = "application/vnd.apache.arrow.stream"
JSON = "application/json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """Everything that a route may need."""

    world: World
    feed: Feed
    predictor: Predictor
    forecaster: Forecaster
    metrics: WebMetrics


def json_answer(values: Any) -> Response:
    """Plain values and numpy arrays as JSON; what is not finite is null."""
    return Response(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY), media_type=JSON)


def wants_arrow(accept: str | None) -> bool:
    """Whether a request would rather have Arrow than JSON, by its header."""
    kinds = [item.split(";")[0].strip().lower() for item in (accept or "").split(",")]
    return ARROW in kinds
