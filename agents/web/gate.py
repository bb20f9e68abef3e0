"""What every request passes first: who asks, how much, how many at one time, and how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from time import perf_counter
from typing import Any

from agents.web.access import OPEN, Access
from agents.web.limits import Limits
from agents.web.metrics import WebMetrics
from agents.web.patience import HANG_UP
from agents.web.problems import MEDIA_TYPE, Problem, problem_body

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

EVENTS = b"text/event-stream"
NO_ROUTE = "none"
"""What metrics call a path that no route has."""
WEBSOCKET = "WEBSOCKET"
POLICY_VIOLATION = 1008


class AnswerTooSlow(Exception):
    """An answer was begun that could not be ended in time, on a server that has no HANG_UP."""


class Gate:
    """An ASGI application before another one.

    /health and /ready need no key and are never too many
    """

    def __init__(self, app: App, access: Access, limits: Limits, metrics: WebMetrics) -> None:
        self._app, self._access, self._limits, self._metrics = app, access, limits, metrics
        self._active = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._access.refusal(WEBSOCKET, scope["path"], dict(scope["headers"])):
            await receive()
            await send({"type": "websocket.close", "code": POLICY_VIOLATION})
        else:
            await self._app(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = _Request(scope, receive, send, self._limits.body_bytes)
        begin = perf_counter()
        try:
            await self._admit(request)
        finally:
            route = getattr(scope.get("route"), "path", NO_ROUTE)
            self._metrics.answered(route, request.status, perf_counter() - begin)

    async def _admit(self, request: _Request) -> None:
        refusal = self._access.refusal(request.method, request.path, request.headers)
        if refusal is not None:
            challenge = {b"www-authenticate": b"Bearer"} if refusal[0] == 401 else {}
            await request.refuse(*refusal, challenge)
        elif request.length > self._limits.body_bytes:
            await request.refuse(413, request.too_large)
        elif request.path in OPEN:
            await self._answer(request)
        elif self._active >= self._limits.active:
            detail = f"{self._active} requests are worked on already; ask again"
            await request.refuse(503, detail, {b"retry-after": b"1"})
        else:
            self._active += 1
            request.on_stream = self._let_go
            try:
                await self._answer(request)
            finally:
                if not request.streams:
                    self._let_go()

    def _let_go(self) -> None:
        """An answer that goes on by itself, as events come, takes nobody's place."""
        self._active -= 1

    async def _answer(self, request: _Request) -> None:
        try:
            async with asyncio.timeout(self._limits.request_s) as clock:
                request.clock = clock
                await self._app(request.scope, request.receive, request.send)
        except TimeoutError:
            if not clock.expired():
                raise
            if request.status:
                return self._hang_up(request)
            status, what = (504, "answer") if request.whole else (408, "request")
            await request.refuse(status, f"the {what} took longer than {self._limits.request_s:g} s")

    def _hang_up(self, request: _Request) -> None:
        """End the connection of who does not read the answer."""
        end = request.scope.get("extensions", {}).get(HANG_UP)
        if end is None:
            raise AnswerTooSlow(f"{request.path}: not ended in {self._limits.request_s:g} s")
        end()


class _Request:
    """One request, and what has become of it.

    length : bytes of its body, as it says itself; 0 where it does not
    status : of its answer, 0 before; whole : its body has been read; streams : its answer is one of events
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send, most_bytes: int) -> None:
        self.scope, self._receive, self._send, self._most_bytes = scope, receive, send, most_bytes
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self.method, self.path = str(scope["method"]), str(scope["path"])
        text = self.headers.get(b"content-length", b"0")
        self.length = int(text) if text.isdigit() and len(text) < 19 else 0
        self.whole = not self.length and b"transfer-encoding" not in self.headers
        self.status, self.streams = 0, False
        self.clock: asyncio.Timeout | None = None
        self.on_stream: Callable[[], None] = lambda: None
        self._read = 0

    @property
    def too_large(self) -> str:
        """What is said of a body that is too large."""
        return f"body: larger than {self._most_bytes:,} bytes"

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            if self._read > self._most_bytes:
                raise Problem(413, self.too_large)
            self.whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._begin(message)
        await self._send(message)

    def _begin(self, message: Message) -> None:
        headers = list(message.get("headers", []))
        names = dict(headers)
        headers.append((b"x-content-type-options", b"nosniff"))
        if b"cache-control" not in names:
            headers.append((b"cache-control", b"no-store"))
        if not self.whole:
            headers.append((b"connection", b"close"))  # what is left of the body is not read
        message["headers"] = headers
        if names.get(b"content-type", b"").startswith(EVENTS) and not self.streams:
            self.streams = True
            if self.clock is not None:
                self.clock.reschedule(None)
            self.on_stream()

    async def refuse(self, status: int, detail: str, headers: dict[bytes, bytes] | None = None) -> None:
        """Answer with a problem."""
        body = problem_body(status, detail)
        own = {b"content-type": MEDIA_TYPE.encode(), b"content-length": str(len(body)).encode()}
        head = [*own.items(), *(headers or {}).items()]
        await self.send({"type": "http.response.start", "status": status, "headers": head})
        await self.send({"type": "http.response.body", "body": body})
