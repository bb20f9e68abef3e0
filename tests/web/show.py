"""Records of a played log, folded again at the pace of a sensor, behind a real server."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Sequence
from typing import Any

import uvicorn

from agents.web.app import build_app
from agents.web.page_options import PageOptions
from agents.web.patience import PatientWebSocket
from agents.web.server import service_of
from agents.web.world import World
from models.runtime import CPU
from stream.records import Prediction
from tests.web.played import Played, Still, continued

PERIOD_S = 0.1
START_S = 20


class Show:
    """A server on the loopback, from ``with`` to its end.

    lead : so many forecasts are there at once, the others come at 10 Hz, or at all only with ``go_on``
    times : the log is played so many times, one after the other
    port : 0 for any
    """

    def __init__(
        self,
        played: Played,
        *,
        lead: int | None = None,
        times: int = 1,
        port: int = 0,
        page: PageOptions | None = None,
    ) -> None:
        self.world = World(played.world.config)
        self._records = continued(played.records, times)
        self._stop = threading.Event()
        self._fold(len(self._records) if lead is None else lead)
        feed = Still(self.world.config, played.folder)
        self.service = service_of(feed, self.world, providers=[CPU], page=page)
        self._socket = socket.create_server(("127.0.0.1", port), reuse_port=True)
        self.port = int(self._socket.getsockname()[1])
        config = uvicorn.Config(
            build_app(self.service),
            log_level="warning",
            ws=PatientWebSocket,
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=1,
        )
        self._server = uvicorn.Server(config)
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Show:
        self._run(lambda: asyncio.run(self._server.serve(sockets=[self._socket])))
        deadline = time.monotonic() + START_S
        while not self._server.started:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)
        return self

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._server.should_exit = True
        for thread in self._threads:
            thread.join(START_S)
            assert not thread.is_alive()
        self._socket.close()

    @property
    def connections(self) -> int:
        """Connections that the server holds."""
        return len(self._server.server_state.connections)

    def go_on(self) -> None:
        """From now on a forecast each tenth of a second, until there are no more."""
        self._run(self._play)

    def fold(self, records: Sequence[Any]) -> None:
        """Fold further records."""
        for record in records:
            self.world.fold(record)

    def _run(self, target: Any) -> None:
        thread = threading.Thread(target=target, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _play(self) -> None:
        due = time.monotonic()
        while self._records and not self._stop.wait(max(0.0, due - time.monotonic())):
            self._fold(1)
            due += PERIOD_S

    def _fold(self, forecasts: int) -> None:
        """Fold up to and with so many forecasts, and what follows the last of them."""
        while self._records and (forecasts or not isinstance(self._records[0], Prediction)):
            forecasts -= isinstance(self._records[0], Prediction)
            self.world.fold(self._records.pop(0))
