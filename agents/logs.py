"""Logs: lines for people, or with ``OCTA_LOG=json`` an object a line for what collects them."""

from __future__ import annotations

import json
import logging
import os
from datetime import UTC, datetime
from typing import Any

VARIABLE = "OCTA_LOG"
PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}
"""What every record has; anything else was given with it."""


class JsonLines(logging.Formatter):
    """``time`` (UTC, RFC 3339), ``level``, ``logger``, ``message``, ``error`` with its trace, and what was
    given as ``extra``: topic, partition, offset, stream."""

    def format(self, record: logging.LogRecord) -> str:
        """One line of JSON."""
        when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        values: dict[str, Any] = {
            "time": when.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            values["error"] = self.formatException(record.exc_info)
        values |= {name: value for name, value in vars(record).items() if name not in PLAIN}
        return json.dumps(values, default=str)


def in_json() -> bool:
    """Whether the environment asks for JSON.  Raises ConfigError for another value of OCTA_LOG"""
    from stream.config import ConfigError

    asked = os.environ.get(VARIABLE, "text")
    if asked not in ("text", "json"):
        raise ConfigError(f"{VARIABLE}={asked!r}: must be text or json")
    return asked == "json"


def configure(lines: str, level: int = logging.WARNING) -> None:
    """Log to stderr: as ``lines`` says, a format of ``logging``, or as JSON where the environment says so.

    Raises ConfigError for another value of OCTA_LOG
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if in_json() else logging.Formatter(lines))
    logging.basicConfig(level=level, handlers=[handler])
