"""Errors as RFC 9457 has them: application/problem+json, with the field, the value and the way out."""

from __future__ import annotations

import http
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException

LOGGER = logging.getLogger(__name__)
MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 8


class ProblemDetails(BaseModel):
    """What went wrong (RFC 9457)."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str


class Problem(HTTPException):
    """An answer that is an error: status, one line for people, and headers.

    One of the framework's own, as any other that is raised while a body is read becomes a 400
    """

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(status, detail, dict(headers or {}))


def problem_body(status: int, detail: str, **more: Any) -> bytes:
    """The body of a problem. more : members beside those of the RFC"""
    title = http.HTTPStatus(status).phrase
    return orjson.dumps({"type": "about:blank", "title": title, "status": status, "detail": detail, **more})


def problem_response(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **more: Any
) -> Response:
    """A problem as an answer."""
    return Response(problem_body(status, detail, **more), status, dict(headers or {}), MEDIA_TYPE)


def add_problems(app: FastAPI) -> None:
    """Have every error of an application answered so."""

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> Response:
        return problem_response(error.status_code, str(error.detail), error.headers)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return problem_response(422, describe(error.errors()))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        LOGGER.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return problem_response(500, "internal error; the server's log says which")


def describe(errors: Sequence[Any]) -> str:
    """What is wrong with a request, in one line."""
    texts = []
    for error in list(errors)[:MOST_ERRORS]:
        place = ".".join(str(part) for part in error["loc"] if part != "body") or "body"
        value = repr(error.get("input"))
        shown = f" {value}" if len(value) <= 60 else ""
        texts.append(f"{place}:{shown} {_plain(error)}")
    more = len(errors) - len(texts)
    return " ".join(("; ".join(texts) + (f"; and {more} more" if more > 0 else "")).split())


def _plain(error: Mapping[str, Any]) -> str:
    cause = error.get("ctx", {}).get("error")
    return str(cause) if isinstance(cause, ValueError) else str(error["msg"])


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong",
        "model": ProblemDetails,
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
}
"""For OpenAPI: any other answer than those that a route names."""
