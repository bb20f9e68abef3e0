"""Receipts: what was removed from a folder, of what time, and what could not be; kept in ``deletions/``."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from agents.care.subject import Subject, is_about, iso_of
from stream.run_folder import RunFolder

FOLDER = "deletions"
_NO_MARKS = str.maketrans("", "", "-:.")
Kind = Literal["deletion", "retention", "quota"]
WHY: dict[Kind, str] = {
    "deletion": "by request",
    "retention": "older than archive.retain",
    "quota": "its robot had more than archive.robot_bytes",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileChange:
    """One file that is changed or removed.

    rows : that leave it, of data for the subject, lines for events; 0 for a file that is made again
    sha256_after, bytes_after : None until it is done, and for a file that is gone (``removed``)
    """

    file: str
    rows: int
    bytes_before: int
    sha256_before: str
    bytes_after: int | None = None
    sha256_after: str | None = None
    removed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicChange:
    """A robot's messages in one partition.

    messages : there were; deleted : of these; below : offsets below this were deleted, None for none
    tombstone : a message was sent that makes compaction take them away
    """

    topic: str
    partition: int
    messages: int
    deleted: int = 0
    below: int | None = None
    tombstone: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """Something that holds data of the subject still, and why."""

    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What one call removed from one folder.

    receipt : its name; at : when it began; kind : by request, by age, or by a robot's share
    about : as ``Subject.to_dict`` gives it
    first_ns, last_ns : stamps of the rows that were removed, None where there were none
    done : everything is removed and was looked for again
    models : ids of models whose training may have seen the data, with what became of them
    """

    receipt: str
    at: str
    kind: Kind
    about: dict[str, Any]
    first_ns: int | None = None
    last_ns: int | None = None
    done: bool = False
    files: Sequence[FileChange] = field(default_factory=list)
    topics: Sequence[TopicChange] = field(default_factory=list)
    models: dict[str, str] = field(default_factory=dict)
    left: Sequence[Left] = field(default_factory=list)

    @classmethod
    def begin(cls, kind: Kind, subject: Subject, now_ns: int) -> Receipt:
        """A new one, that says nothing yet."""
        salt = secrets.token_hex(8)
        at = iso_of(now_ns)
        name = f"{at[:23].translate(_NO_MARKS)}-{salt[:8]}"
        return cls(receipt=name, at=at, kind=kind, about=subject.to_dict(salt))

    @property
    def rows(self) -> int:
        """Rows and lines removed."""
        return sum(item.rows for item in self.files)

    @property
    def bytes(self) -> int:
        """Bytes given back by files of rows."""
        return sum(item.bytes_before - (item.bytes_after or 0) for item in self.files if item.rows)

    def to_json(self) -> str:
        """JSON text; stamps also as times, for people."""
        values = asdict(self)
        span = None if self.first_ns is None or self.last_ns is None else [self.first_ns, self.last_ns]
        values["event_time"] = None if span is None else [iso_of(stamp) for stamp in span]
        values |= {"rows": self.rows, "bytes": self.bytes}
        return json.dumps(values, indent=1, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Receipt:
        """Read what ``to_json`` wrote.  Raises ValueError, KeyError, TypeError for anything else"""
        values = json.loads(text)
        for derived in ("event_time", "rows", "bytes"):
            del values[derived]
        values["files"] = [FileChange(**item) for item in values["files"]]
        values["topics"] = [TopicChange(**item) for item in values["topics"]]
        values["left"] = [Left(**item) for item in values["left"]]
        return cls(**values)

    def write(self, folder: Path) -> Path:
        """Put it into a folder, durably; returns its path.  Raises OSError"""
        (folder / FOLDER).mkdir(exist_ok=True)
        return RunFolder(folder).write_text(f"{FOLDER}/{self.receipt}.json", self.to_json(), durable=True)


def receipts_in(folder: Path) -> Iterator[Receipt]:
    """Receipts of a folder, oldest first; files that are none are passed over."""
    for path in sorted((folder / FOLDER).glob("*.json")):
        try:
            yield Receipt.from_json(path.read_text(encoding="utf-8"))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue


def _deletions_of(folder: Path, subject: Subject) -> Iterator[Receipt]:
    """Of just this subject, oldest first."""
    for receipt in receipts_in(folder):
        if receipt.kind == "deletion" and subject.to_dict(receipt.about["salt"]) == receipt.about:
            yield receipt


def begun_for(folder: Path, subject: Subject) -> Receipt | None:
    """The deletion of just this subject that was begun and cut off, if there is one."""
    return next((receipt for receipt in _deletions_of(folder, subject) if not receipt.done), None)


def removed_span(folder: Path, subject: Subject) -> tuple[int | None, int | None]:
    """First and last stamp of the rows that earlier deletions of just this subject removed."""
    return union([(item.first_ns, item.last_ns) for item in _deletions_of(folder, subject) if item.done])


def union(spans: Sequence[tuple[int | None, int | None]]) -> tuple[int | None, int | None]:
    """First and last stamp of all spans, None where there is none."""
    firsts = (first for first, _ in spans if first is not None)
    lasts = (last for _, last in spans if last is not None)
    return min(firsts, default=None), max(lasts, default=None)


def deleted_by(folder: Path, robot_id: str, first_ns: int, last_ns: int) -> Receipt | None:
    """The newest receipt that covers a stamp of a robot, first to last, both included."""
    found = [item for item in receipts_in(folder) if is_about(item.about, robot_id, first_ns, last_ns)]
    return found[-1] if found else None


def sha256_of_file(path: Path) -> str:
    """Hexadecimal sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
