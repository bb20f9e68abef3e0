"""Connections whose clients are slow, or never stop: uvicorn waits for the head of a request for ever."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from agents.web.limits import Limits
from agents.web.problems import MEDIA_TYPE, problem_body

HANG_UP = "octastream.hang_up"
"""Extension of a request's scope: a function that ends the connection, read or not."""
CLOSE_SECONDS = 10
"""A client has so long to read what was sent before a WebSocket's session ended."""
OF_CLIENTS = frozenset({"Invalid HTTP request received.", "Unsupported upgrade request."})
"""What uvicorn logs of what any client may send: it is answered, and nobody should look at it."""


def quiet_about_clients() -> None:
    """Have what clients do wrong logged no more."""
    logging.getLogger("uvicorn.error").addFilter(lambda record: record.msg not in OF_CLIENTS)


def protocol_of(limits: Limits) -> type[asyncio.Protocol]:
    """uvicorn's protocol with bounds of time and size for heads, and of the number of connections."""

    class Patient(PatientProtocol):
        bounds = limits

    return Patient


class PatientProtocol(HttpToolsProtocol):
    """One connection.

    Every request's head must be whole within ``bounds.head_s`` after it was begun, the first one after the
    connection was made, and have at most ``bounds.head_bytes``
    """

    bounds = Limits()
    _late: asyncio.TimerHandle | None = None
    _head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > self.bounds.connections:
            self._end(503, f"more than {self.bounds.connections} connections are open")
        else:
            self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._expect_no_head()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        if self._late is not None:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._late is not None and self._head_bytes > self.bounds.head_bytes:
            self._end(431, f"the head of a request is larger than {self.bounds.head_bytes:,} bytes")

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._late is None:
            self._expect_head()

    def on_headers_complete(self) -> None:
        self._expect_no_head()
        super().on_headers_complete()
        if self.cycle is not None and self.cycle.scope is self.scope:
            hang_up: Any = _hanging_up(self.cycle)  # servers may put what they like there
            self.scope["extensions"] = {HANG_UP: hang_up}

    def send_400_response(self, msg: str) -> None:
        self._end(400, msg)

    def _expect_head(self) -> None:
        self._head_bytes = 0
        self._late = self.loop.call_later(self.bounds.head_s, self._too_late)

    def _expect_no_head(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_late(self) -> None:
        self._late = None
        self._end(408, f"the head of a request took longer than {self.bounds.head_s:g} s")

    def _end(self, status: int, detail: str) -> None:
        """Say why, where nothing else is being said, and close."""
        self._expect_no_head()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_answer(status, detail))
        self.transport.close()


class PatientWebSocket(WebSocketsSansIOProtocol):
    """A connection that ends soon after its session: uvicorn's own waits until all is read, for ever."""

    async def run_asgi(self) -> None:
        try:
            await super().run_asgi()
        finally:
            self.loop.call_later(CLOSE_SECONDS, self.transport.abort)


def _hanging_up(cycle: RequestResponseCycle) -> Callable[[], None]:
    """Ends the connection at once, also where requests wait behind this one; uvicorn would tell the last."""

    def hang_up() -> None:
        cycle.disconnected = True
        cycle.transport.abort()

    return hang_up


def _answer(status: int, detail: str) -> bytes:
    body = problem_body(status, detail)
    head: list[Any] = [
        STATUS_LINE[status],
        f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n".encode(),
    ]
    return b"".join([*head, body])
