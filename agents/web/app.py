"""The application: routes on a world."""

from __future__ import annotations

from importlib.metadata import version

from fastapi import FastAPI

from agents.web.problems import add_problems
from agents.web.routes_cells import cell_routes
from agents.web.routes_watch import watch_routes
from agents.web.service import Service

DESCRIPTION = "3D occupancy forecasts that learn from what later LiDAR sweeps reveal."


def build_app(service: Service) -> FastAPI:
    """Routes, described at /openapi.json; FastAPI's own pages, which load scripts from elsewhere, are off."""
    app = FastAPI(
        title="octastream",
        description=DESCRIPTION,
        version=version("octastream"),
        docs_url=None,
        redoc_url=None,
    )
    add_problems(app)
    app.include_router(watch_routes(service))
    app.include_router(cell_routes(service))
    return app
