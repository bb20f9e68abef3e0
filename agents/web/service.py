"""What the routes have in common: the world, who answers, and what is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import orjson
from fastapi import Response

from agents.web.feed import Feed
from agents.web.forecaster import Forecaster
from agents.web.labels import Labels
from agents.web.live import Live
from agents.web.metrics import WebMetrics
from agents.web.predict import Predictor
from agents.web.trajectories import Trajectories
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
    trajectories: Trajectories
    metrics: WebMetrics
    labels: Labels
    live: Live


def json_answer(values: Any) -> Response:
    """Plain values and numpy arrays as JSON; what is not finite is null."""
    data = orjson.dumps(values, default=_listed, option=orjson.OPT_SERIALIZE_NUMPY)
    return Response(data, media_type=JSON)


def _listed(value: Any) -> Any:
    """An array that orjson cannot read as it lies in memory."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no value of JSON")


def wants_arrow(accept: str | None) -> bool:
    """Whether a request would rather have Arrow than JSON, by its header."""
    kinds = [item.split(";")[0].strip().lower() for item in (accept or "").split(",")]
    return ARROW in kinds
