"""The service as a process: a feed in a thread, uvicorn in the main one."""

from __future__ import annotations

import asyncio
import signal
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn

from agents import logs
from agents.stop import STOP_SIGNALS
from agents.web.access import Access
from agents.web.app import build_app
from agents.web.feed import Feed
from agents.web.forecaster import Forecaster
from agents.web.handshake import TlsServer
from agents.web.labels import Labels
from agents.web.limits import Limits
from agents.web.live import live_of
from agents.web.metrics import WebMetrics
from agents.web.page_options import PageOptions
from agents.web.patience import PatientWebSocket, protocol_of, quiet_about_clients
from agents.web.predict import Predictor
from agents.web.results_file import results_kept
from agents.web.service import Service
from agents.web.trajectories import Trajectories
from agents.web.world import World, WorldOptions
from models.objects.onnx_models import ForecastModel

SWITCH_SECONDS = 0.0001
"""Feed and server take turns so often: a request would wait up to 5 ms while a sweep is folded."""
STOP_SECONDS = 10
KEEP_ALIVE_SECONDS = 15
WEBSOCKET_BYTES = 64 << 10
"""Of one message of a client: pages ask for little."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerOptions:
    """How to serve.

    providers : ONNX Runtime's, in order of preference; threads : of one forecast; tls : None for plain HTTP
    trajectories : the forecaster of objects' ways, None for none; results : file of what comes of an A/B
    """

    access: Access
    limits: Limits
    world: WorldOptions
    page: PageOptions
    providers: Sequence[str]
    threads: int = 1
    tls: ssl.SSLContext | None = None
    trajectories: ForecastModel | None = None
    results: Path | None = None


def service_of(
    feed: Feed,
    world: World,
    *,
    providers: Sequence[str],
    page: PageOptions | None = None,
    threads: int = 1,
    most_cells: int = 20_000,
    trajectories: ForecastModel | None = None,
) -> Service:
    """What routes need, on a world and where it comes from."""
    forecaster = Forecaster(world.config, feed.models, providers, threads)
    predictor = Predictor(world, forecaster, most_cells)
    return Service(
        world=world,
        feed=feed,
        predictor=predictor,
        forecaster=forecaster,
        trajectories=Trajectories(world.config, predictor, forecaster, trajectories),
        metrics=WebMetrics(world, feed),
        labels=Labels(feed.folder),
        live=live_of(world, feed, page or PageOptions()),
    )


class Server(uvicorn.Server):
    """One that ends well when it is told to: uvicorn's own raises the signal again when it is done.

    tls : bounded as ``limits`` say, which uvicorn's own is not; None for plain HTTP
    """

    def __init__(self, config: uvicorn.Config, limits: Limits, tls: ssl.SSLContext | None) -> None:
        super().__init__(config)
        self._limits, self._tls = limits, tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to listen."""
        await super().startup(sockets if self._tls is None else [])
        if self._tls is None:
            return
        open_ = self.server_state.connections
        servers: list[Any] = [  # what uvicorn asks of them is to close
            TlsServer(listener, self._tls, self._limits, open_, self._protocol) for listener in sockets or []
        ]
        self.servers = servers

    def _protocol(self) -> asyncio.Protocol:
        """As uvicorn makes one of each connection."""
        made: asyncio.Protocol = self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )
        return made

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the first of STOP_SIGNALS as a wish; after a second SIGINT, requests are not waited for."""
        before = {number: signal.signal(number, self.handle_exit) for number in STOP_SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class FeedThread:
    """Runs a feed beside the server; where that fails, the server ends, too.

    failed : called from the thread with what ended it
    """

    def __init__(self, feed: Feed, world: World, failed: Any) -> None:
        self.error: BaseException | None = None
        self._feed, self._world, self._failed = feed, world, failed
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="feed", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """Tell it to stop, and wait a while; it may be within a training, which nothing needs any more."""
        self._stop.set()
        self._thread.join(STOP_SECONDS)

    def _run(self) -> None:
        try:
            self._feed.run(self._world, self._stop)
        except BaseException as error:
            self.error = error
            self._failed()


def serve(feed: Feed, listener: socket.socket, options: ServerOptions) -> None:
    """Serve until told to stop (SIGINT, SIGTERM), or until the feed fails.  Raises what failed"""
    logs.configure("%(levelname)s %(name)s: %(message)s")
    quiet_about_clients()
    sys.setswitchinterval(SWITCH_SECONDS)
    world = World(feed.config, options.world)
    service = service_of(
        feed,
        world,
        providers=options.providers,
        page=options.page,
        threads=options.threads,
        most_cells=options.limits.cells,
        trajectories=options.trajectories,
    )
    config = uvicorn.Config(
        build_app(service, options.access, options.limits),
        http=protocol_of(options.limits),
        ws=PatientWebSocket,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=WEBSOCKET_BYTES,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        ws_per_message_deflate=False,  # frames are compressed, once for all who watch
        timeout_graceful_shutdown=STOP_SECONDS,
    )
    server = Server(config, options.limits, options.tls)

    def end() -> None:
        server.should_exit = True

    thread = FeedThread(feed, world, end)
    kept = results_kept(world.experiment, options.results) if options.results else nullcontext()
    with kept:
        thread.start()
        try:
            server.run(sockets=[listener])
        finally:
            thread.stop()
    if thread.error is not None:
        raise thread.error
