"""Whether the service lives, is ready, and what it counts: as workers say it."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel

from agents.web.problems import RESPONSES, problem_response
from agents.web.service import Service, json_answer

UNAVAILABLE = 503


class Health(BaseModel):
    """The process lives."""

    healthy: bool


class Readiness(BaseModel):
    """Containers are live: robots with a forecast, and which model serves each stream."""

    ready: bool
    robots: list[str]
    models: dict[str, str]
    source: str
    passes: int


def watch_routes(service: Service) -> APIRouter:
    """GET /health, /ready and /metrics."""
    router = APIRouter(tags=["watch"], responses=RESPONSES)
    world, feed = service.world, service.feed

    @router.get("/health", response_model=Health)
    async def health() -> Response:
        """Whether the process lives; if not, it should be started again."""
        reason = feed.unhealthy()
        if reason:
            return problem_response(UNAVAILABLE, reason, healthy=False, reason=reason)
        return json_answer({"healthy": True})

    @router.get("/ready", response_model=Readiness)
    async def ready() -> Response:
        """Whether containers are live: 200 from the first forecast on."""
        robots = world.robots()
        reason = feed.unhealthy() or feed.unready()
        reason = reason or ("" if robots else "no robot has a forecast yet")
        if reason:
            return problem_response(UNAVAILABLE, reason, ready=False, reason=reason)
        return json_answer(
            {
                "ready": True,
                "robots": robots,
                "models": world.news.serving(),
                "source": feed.name,
                "passes": world.passes,
            }
        )

    @router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Counters and gauges in Prometheus' text format."""
        return Response(service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

    return router
