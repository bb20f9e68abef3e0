"""The live page: its files, and the WebSocket that feeds it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import numpy as np
import orjson
from fastapi import APIRouter, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.responses import FileResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from agents.web.access import PROTOCOL
from agents.web.cell_story import CellStory
from agents.web.live import PAST, Live, Viewer
from agents.web.problems import describe
from agents.web.questions import Id64, Lod, Name
from agents.web.service import Service
from native.errors import OctaError
from native.index64 import ancestor, decode

PAGE = Path(__file__).parent / "page"
TRY_LATER = 1013
MOST_CHOSEN = 4096
"""Cells of a region that are named: as many as a region of the default size has."""
SEND_SECONDS = 20
"""Who takes nothing for so long has gone without a word."""
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; object-src 'none'; "
    "base-uri 'none'; frame-ancestors 'self'",
    "Cache-Control": "no-cache",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class _Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Watch(_Asked):
    """From now on frames of this robot at this level, or for a while none."""

    kind: Literal["watch"]
    robot: Name
    level: Lod | Literal["mixed"]
    live: bool = True


class Past(_Asked):
    """The frame of the tape that was newest at a stamp, or the one after or before it."""

    kind: Literal["past"]
    stamp_ns: Annotated[int, Field(ge=0, lt=2**63)]
    step: Annotated[int, Field(ge=-1, le=1)] = 0


class CellAsked(_Asked):
    """Everything that is known of a cell."""

    kind: Literal["cell"]
    cell_id: Annotated[Id64, Field(strict=False)]


class RegionAsked(_Asked):
    """The cells of a region that are to be labelled, or that the robot knows there."""

    kind: Literal["region"]
    region: Annotated[Id64, Field(strict=False)]


class Ping(_Asked):
    """Comes back as it is."""

    kind: Literal["ping"]
    at: float


Asked = Watch | Past | CellAsked | RegionAsked | Ping
ASKED: TypeAdapter[Asked] = TypeAdapter(Annotated[Asked, Field(discriminator="kind")])


class PageFiles(StaticFiles):
    """Files that browsers ask for again each time, so that a new version is seen at once."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """A file, or what is the matter."""
        response = await super().get_response(path, scope)
        response.headers.update(HEADERS)
        return response


def add_page(app: FastAPI, service: Service) -> None:
    """GET / and what the page needs."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def page() -> Response:
        return FileResponse(PAGE / "index.html", headers=HEADERS)

    @router.websocket("/live")
    async def live(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", ())
        await socket.accept(PROTOCOL if PROTOCOL in offered else None)
        viewer = service.live.join()
        if viewer is None:
            await socket.close(TRY_LATER, "too many pages watch already")
            return
        try:
            await _Session(socket, service, viewer).run()
        finally:
            service.live.leave(viewer)

    app.include_router(router)
    app.mount("/page", PageFiles(directory=PAGE))


class _Session:
    """One page for as long as it watches."""

    def __init__(self, socket: WebSocket, service: Service, viewer: Viewer) -> None:
        self._socket, self._service, self._viewer = socket, service, viewer
        self._live: Live = service.live
        self._stories = CellStory(service.world.config)

    async def run(self) -> None:
        """Until the page goes, or takes nothing any more."""
        await self._say(self._hello())
        async with anyio.create_task_group() as both:

            async def until_gone(task: Callable[[], Awaitable[None]]) -> None:
                with contextlib.suppress(WebSocketDisconnect, TimeoutError):
                    await task()
                both.cancel_scope.cancel()

            both.start_soon(until_gone, self._tell)
            both.start_soon(until_gone, self._listen)

    def _hello(self) -> dict[str, Any]:
        config = self._service.world.config
        grid, task = config.grid, config.task
        return {
            "kind": "hello",
            "version": version("octastream"),
            "grid": {
                "lod": grid.lod,
                "half_edge_m": grid.half_edge_m,
                "half_edge_lod0_m": grid.half_edge_lod0_m,
                "map_frame": grid.map_frame,
                "range_max_m": grid.range_max_m,
            },
            "horizons_ns": list(task.horizons_ns),
            "primary_ns": task.primary_horizon_ns,
            "warmup_sweeps": task.warmup_sweeps,
            "window_s": config.window.bins * config.window.bin_ns / 1e9,
            "levels": self._live.studio.levels(),
            "robots": self._service.world.robots(),
        }

    async def _tell(self) -> None:
        viewer = self._viewer
        while True:
            await viewer.wake.wait()
            viewer.wake.clear()
            while (message := self._live.waiting(viewer)) is not None:
                message.sent()
                await self._send(message.content)

    async def _listen(self) -> None:
        while self._socket.application_state == WebSocketState.CONNECTED:  # else it had gone when it was told
            text = await self._socket.receive_text()
            try:
                asked = ASKED.validate_json(text)
            except ValidationError as error:
                await self._say({"kind": "error", "detail": describe(error.errors(include_url=False))})
                continue
            await self._answer(asked)

    async def _answer(self, asked: Asked) -> None:
        viewer, studio = self._viewer, self._live.studio
        if isinstance(asked, Watch):
            if asked.level in studio.levels():
                viewer.robot, viewer.level, viewer.live = asked.robot, asked.level, asked.live
                self._live.ask_frame(viewer)
        elif isinstance(asked, Ping):
            await self._say({"kind": "pong", "at": asked.at})
        elif viewer.robot is None:
            await self._say({"kind": "error", "detail": "no robot has a forecast yet"})
        elif isinstance(asked, Past):
            data = await run_in_threadpool(
                studio.past, viewer.robot, viewer.level, asked.stamp_ns, asked.step
            )
            await self._send(PAST + data) if data else await self._say({"kind": "no_past"})
        elif isinstance(asked, RegionAsked):
            await self._say(await run_in_threadpool(self._region, viewer.robot, asked.region))
        else:
            await self._say(await run_in_threadpool(self._story, viewer.robot, asked.cell_id))

    def _story(self, robot_id: str, cell_id: int) -> dict[str, Any]:
        robot = self._service.world.robot(robot_id)
        if robot is None:
            return {"kind": "error", "detail": f"{robot_id}: has no forecast"}
        try:
            return self._stories.tell(robot, cell_id, self._live.studio.tape.frames(robot_id))
        except OctaError as error:
            return {"kind": "error", "detail": f"cell_id: {cell_id}: {error}"}

    def _region(self, robot_id: str, region: int) -> dict[str, Any]:
        request = self._service.world.wanted.get(region)
        table = self._service.world.cells(robot_id)
        try:
            lod = int(decode(np.array([region], np.uint64)).lod[0])
            if request is not None:
                cells = request.cell_id
            elif table is None or lod > table.lod:
                cells = np.empty(0, np.uint64)
            else:
                cells = table.cell_id[ancestor(table.cell_id, lod) == region]
        except OctaError as error:
            return {"kind": "error", "detail": f"region: {region}: {error}"}
        return {"kind": "region", "region": str(region), "cells": [str(cell) for cell in cells[:MOST_CHOSEN]]}

    async def _say(self, values: dict[str, Any]) -> None:
        await self._send(orjson.dumps(values, option=orjson.OPT_SERIALIZE_NUMPY).decode())

    async def _send(self, content: str | bytes) -> None:
        with anyio.fail_after(SEND_SECONDS):
            if isinstance(content, str):
                await self._socket.send_text(content)
            else:
                await self._socket.send_bytes(content)
