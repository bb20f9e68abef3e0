"""The application: routes on a world."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

from agents.web.access import Access
from agents.web.express import Express
from agents.web.gate import Gate
from agents.web.limits import Limits
from agents.web.problems import add_problems
from agents.web.routes_ab import ab_routes
from agents.web.routes_cells import cell_routes
from agents.web.routes_explain import explain_routes
from agents.web.routes_labels import label_routes
from agents.web.routes_live import add_page
from agents.web.routes_models import model_routes
from agents.web.routes_trajectories import trajectory_routes
from agents.web.routes_watch import watch_routes
from agents.web.service import Service

DESCRIPTION = "3D occupancy forecasts that learn from what later LiDAR sweeps reveal."


def build_app(service: Service, access: Access | None = None, limits: Limits | None = None) -> FastAPI:
    """Routes behind a gate, described at /openapi.json.

    FastAPI's own pages about them are off: they load scripts from elsewhere
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with service.live.running():
            yield

    app = FastAPI(
        lifespan=lifespan,
        title="octastream",
        description=DESCRIPTION,
        version=version("octastream"),
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    add_problems(app)
    app.include_router(watch_routes(service))
    for routes in (cell_routes, trajectory_routes, explain_routes, model_routes, ab_routes, label_routes):
        app.include_router(routes(service))
    add_page(app, service)
    access, limits = access or Access(), limits or Limits()
    app.add_middleware(Express, service=service)
    app.add_middleware(Gate, access=access, limits=limits, metrics=service.metrics)
    if access.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(access.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "x-api-key"],
        )
    return app
