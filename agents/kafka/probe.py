"""What a worker answers to whoever watches over it: HTTP, from a thread of its own."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import TracebackType

from aiohttp import web
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4

from agents.kafka.doorkeeper import Doorkeeper
from agents.kafka.metrics import Metrics
from agents.kafka.vitals import Vitals
from agents.listener import BACKLOG

UNAVAILABLE = 503
CONNECTIONS = 32
PATIENCE_SECONDS = 10.0
"""For a request and its answer."""


class Probe:
    """Serves GET /health, /ready and /metrics while it is entered.

    The worker's own loop is not asked: where that hangs, /health says so instead of hanging, too.
    One request a connection, within PATIENCE_SECONDS, and the newest CONNECTIONS of them: whoever asks has no
    key, and a worker without file descriptors could not go on.
    """

    def __init__(self, listener: socket.socket, vitals: Vitals, metrics: Metrics) -> None:
        self._listener, self._vitals, self._metrics = listener, vitals, metrics
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True, name="probe")
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0)

    def __enter__(self) -> Probe:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._begin(), self._loop).result()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _begin(self) -> None:
        await self._runner.setup()
        handler = self._runner.server
        assert handler is not None  # as it was set up
        doorkeeper = Doorkeeper(handler, CONNECTIONS, PATIENCE_SECONDS)
        # asyncio accepts as many at a time as it is told may wait, before the doorkeeper sees one of them.
        self._server = await self._loop.create_server(doorkeeper, sock=self._listener, backlog=CONNECTIONS)
        self._listener.listen(BACKLOG)

    async def _end(self) -> None:
        self._server.close()
        await self._runner.cleanup()

    def _app(self) -> web.Application:
        app = web.Application()
        app.on_response_prepare.append(_last_of_its_connection)
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/ready", self._ready),
                web.get("/metrics", self._exposition),
            ]
        )
        return app

    async def _health(self, request: web.Request) -> web.Response:
        reason = self._vitals.unhealthy()
        if reason:
            return web.json_response({"healthy": False, "reason": reason}, status=UNAVAILABLE)
        return web.json_response({"healthy": True})

    async def _ready(self, request: web.Request) -> web.Response:
        reason = self._vitals.unhealthy() or self._vitals.unready()
        if reason:
            return web.json_response({"ready": False, "reason": reason}, status=UNAVAILABLE)
        standings = self._metrics.standings
        models = {str(item.partition): item.model_id for item in standings if item.model_id}
        partitions = [item.partition for item in standings]
        agent = self._metrics.agent
        return web.json_response({"ready": True, "agent": agent, "partitions": partitions, "models": models})

    async def _exposition(self, request: web.Request) -> web.Response:
        return web.Response(
            body=self._metrics.exposition(), headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4}
        )


async def _last_of_its_connection(request: web.Request, response: web.StreamResponse) -> None:
    response.force_close()
