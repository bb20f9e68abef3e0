"""The way of most questions: /predict for some cells, without a framework that takes longer."""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

import orjson

from agents.web.gate import App, Message, Receive, Scope, Send
from agents.web.predict import Answer
from agents.web.problems import Problem, problem_response
from agents.web.service import JSON, Service, wants_arrow

PATH = "/predict"
MOST_CELLS = 4096
"""For more than these a thread is worth it."""


@dataclass(frozen=True, slots=True)
class _Route:
    """What metrics ask of a route."""

    path: str


class Express:
    """An ASGI application before another one, which gets every question that is not of the usual form.

    Usual are integer ids in JSON, cells of the grid's level, looked up in the forecast of the only robot, or
    of the one that is named. The other application would answer the same, but for the time that it took.
    """

    def __init__(self, app: App, service: Service) -> None:
        self._app, self._service = app, service
        self._horizons = service.world.config.task.horizons_ns

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if not _may_be_usual(scope):
            await self._app(scope, receive, send)
            return
        begin = perf_counter()
        try:
            message = await receive()
        except Problem as error:  # a body that is too large
            scope["route"] = _Route(PATH)
            await problem_response(error.status_code, str(error.detail), error.headers)(scope, receive, send)
            return
        found = None if message.get("more_body") else self._found(message.get("body", b""))
        if found is None:
            await self._app(scope, _with_first(message, receive), send)
            return
        scope["route"] = _Route(PATH)
        self._service.metrics.cells.inc(len(found.names))
        answer = found.to_json(self._horizons, begin)
        head = [(b"content-length", str(len(answer)).encode()), (b"content-type", JSON.encode())]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": answer})

    def _found(self, body: bytes) -> Answer | None:
        """None for what is not of the usual form; the framework says what is wrong with it, if anything."""
        try:
            question = orjson.loads(body)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(question, dict) or not question.keys() <= {"cells", "robot"}:
            return None
        cells, robot = question.get("cells"), question.get("robot")
        if not isinstance(cells, list) or not 0 < len(cells) <= MOST_CELLS or {*map(type, cells)} != {int}:
            return None
        if not isinstance(robot, str | None):
            return None
        return self._service.predictor.usual_answer(cells, robot)


def _may_be_usual(scope: Scope) -> bool:
    if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != PATH:
        return False
    headers: dict[bytes, bytes] = dict(scope["headers"])
    kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
    return kind == JSON.encode() and not wants_arrow(headers.get(b"accept", b"").decode("latin-1"))


def _with_first(message: Message, receive: Receive) -> Receive:
    """Gives a message that was taken already once more, then what comes."""
    waiting = [message]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again
