"""The small files of a run: lines of events, names in the configuration, and marks of what was reduced."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from agents.care.receipt import Receipt
from agents.care.subject import Subject
from agents.report import build_report
from stream.config import read_values
from stream.records import robot_of
from stream.run_folder import RunFolder

EVENTS, CONFIG, SUMMARY, REPORT = "events.jsonl", "config.yaml", "summary.json", "report.html"
ERROR_PAGE = "errors.html"
REDUCED = "reduced"
"""Key of summary.json, and what a reader has to know: scores are of the whole run, rows are not."""

NAMED_IN = ("logs", "versions")
"""Sections of config.yaml that hold names of files, and so perhaps of robots."""
WITHHELD = "(deleted)"


def event_robot(values: Mapping[str, Any]) -> str:
    """The robot that an event is about, empty for none."""
    for key in ("robot_id", "stream_id", "prediction_id"):
        if values.get(key):
            return robot_of(str(values[key]))
    return ""


def event_stamp(values: Mapping[str, Any]) -> int:
    """The stamp of an event, 0 for one without."""
    text = str(values.get("stamp_ns", ""))
    return int(text) if text.lstrip("-").isdigit() else 0


def parsed(line: str) -> dict[str, Any] | None:
    """The event of a line; None for what is no JSON object, as a line that was cut off."""
    try:
        values = json.loads(line)
    except ValueError:
        return None
    return values if isinstance(values, dict) else None


def _is_meant(line: str, subject: Subject) -> bool:
    values = parsed(line)
    if values is None:  # nobody can say whose it is, but whether a name is in it
        return subject.robot_id is not None and subject.robot_id in line
    robot = event_robot(values)
    return bool(robot) and subject.covers(robot, event_stamp(values))


def event_lines(run: Path, subject: Subject) -> int:
    """Lines of events about a subject."""
    path = run / EVENTS
    if not path.is_file():
        return 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        return sum(_is_meant(line, subject) for line in lines)


def rewrite_events(run: Path, subject: Subject, receipt: Receipt) -> None:
    """Leave out the lines about a subject, and add one that says so; once more changes nothing."""
    path = run / EVENTS
    with path.open(encoding="utf-8", errors="replace") as lines:
        kept = [line for line in lines if not _is_meant(line, subject)]
    mark = json.dumps(event_of(receipt)) + "\n"
    if mark not in kept:
        kept.append(mark)
    RunFolder(run).write_text(EVENTS, "".join(kept), durable=True)


def event_of(receipt: Receipt) -> dict[str, Any]:
    """The line of events.jsonl that tells of a deletion; it names nobody."""
    name = "deleted" if receipt.kind == "deletion" else "pruned"
    return {
        "event": name, "stamp_ns": receipt.last_ns or 0, "reason": receipt.kind, "rows": receipt.rows,
        "receipt": receipt.receipt,
    }  # fmt: skip


def config_without(run: Path, subject: Subject) -> str | None:
    """config.yaml without a robot's name among logs and files; None where nothing changes.

    Raises ConfigError where it cannot be read, so that what it holds is not left in it unseen
    """
    path = run / CONFIG
    if not subject.whole_robot or not path.is_file():
        return None
    values = read_values(path)
    name = re.compile(rf"(?<![\w-]){re.escape(subject.robot_id or '')}(?![\w-])")
    named = {key: _withhold(value, name) if key in NAMED_IN else value for key, value in values.items()}
    return None if named == values else yaml.safe_dump(named, sort_keys=False)


def _withhold(value: Any, name: re.Pattern[str]) -> Any:
    if isinstance(value, str):
        return name.sub(WITHHELD, value)
    if isinstance(value, list):
        return [_withhold(item, name) for item in value]
    if isinstance(value, dict):
        return {key: _withhold(item, name) for key, item in value.items()}
    return value


def mark_reduced(run: Path, receipt: Receipt) -> None:
    """Say in summary.json that rows are fewer than the run had; once more changes nothing."""
    folder = RunFolder(run)
    if not (run / SUMMARY).is_file():
        return
    summary = folder.read_json(SUMMARY)
    marks = summary.setdefault(REDUCED, [])
    if any(mark["receipt"] == receipt.receipt for mark in marks):
        return
    marks.append({"receipt": receipt.receipt, "at": receipt.at, "rows": receipt.rows})
    folder.write_text(SUMMARY, json.dumps(summary, indent=1, allow_nan=False) + "\n", durable=True)


def rebuild_report(run: Path) -> None:
    """Make the report again of what is left, where the run has one; a page of its error map goes."""
    if (run / ERROR_PAGE).is_file():
        RunFolder(run).remove(run / ERROR_PAGE)
    if (run / REPORT).is_file():
        build_report(run)
