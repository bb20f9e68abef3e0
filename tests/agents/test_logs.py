"""Logs that a machine reads: an object a line, whatever is logged."""

from __future__ import annotations

import json
import logging

import pytest

from agents.logs import JsonLines, configure
from stream.config import ConfigError


def line_of(record: logging.LogRecord) -> dict[str, object]:
    text = JsonLines().format(record)
    assert "\n" not in text
    found: dict[str, object] = json.loads(text)
    return found


def test_a_line_says_when_what_and_where() -> None:
    record = logging.makeLogRecord(
        {"name": "agents.kafka.driver", "levelno": 30, "levelname": "WARNING", "msg": "lost %d of %s",
         "args": (3, "ant\nbee"), "created": 1_500_000_000.25, "topic": "octa.a.v1", "partition": 2}
    )  # fmt: skip
    assert line_of(record) == {
        "time": "2017-07-14T02:40:00.250Z", "level": "warning", "logger": "agents.kafka.driver",
        "message": "lost 3 of ant\nbee", "topic": "octa.a.v1", "partition": 2,
    }  # fmt: skip


def test_an_error_comes_with_its_trace() -> None:
    try:
        raise ValueError("no such cell")
    except ValueError as error:
        record = logging.makeLogRecord(
            {"msg": "failed", "exc_info": (ValueError, error, error.__traceback__)}
        )
    assert "no such cell" in str(line_of(record)["error"])


def test_another_kind_of_log_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTA_LOG", "xml")
    with pytest.raises(ConfigError, match="OCTA_LOG='xml': must be text or json"):
        configure("%(message)s")


def test_the_environment_chooses_json(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setenv("OCTA_LOG", "json")
    configure("%(message)s")
    logging.getLogger("agents.web").warning("slow", extra={"stream": "ant/lidar"})
    found = json.loads(capfd.readouterr().err)
    assert (found["message"], found["stream"]) == ("slow", "ant/lidar")
