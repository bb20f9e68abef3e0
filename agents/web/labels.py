"""Labels that people give to cells: an append-only file, one JSON object a line, newest last."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

FILE = "labels.jsonl"
MOST_LABELS = 1_000_000


class LabelsFull(RuntimeError):
    """No more labels fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """One label.

    cell_id : decimal text, as all 64-bit ids in files; label : the class; by : who gave it, may be empty
    stamp_ns : moment of the log that it is about, None for all time; given_at : when, ISO 8601, UTC
    """

    cell_id: str
    label: str
    by: str = ""
    stamp_ns: int | None = None
    given_at: str = ""


def utc_now() -> str:
    """Now, ISO 8601, to the millisecond."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Labels:
    """The labels in a folder.

    folder : made when the first label is given; most : labels at most; now : gives the time
    Lines that cannot be read are left out and counted in ``damaged``. Any thread may ask; one process writes.
    """

    def __init__(self, folder: Path, most: int = MOST_LABELS, now: Callable[[], str] = utc_now) -> None:
        self._path, self._most, self._now = folder / FILE, most, now
        self._lock = threading.Lock()
        self._labels: list[Label] = []
        self.damaged = 0
        self._read()

    def __len__(self) -> int:
        return len(self._labels)

    def _read(self) -> None:
        if not self._path.is_file():
            return
        for line in self._path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                self._labels.append(Label(**json.loads(line)))
            except (ValueError, TypeError):
                self.damaged += 1

    def add(self, labels: Sequence[Label]) -> list[Label]:
        """Append labels, all or none; returns them with the time at which they were given.

        Raises LabelsFull, OSError (disk full, not writable)
        """
        with self._lock:
            if len(self._labels) + len(labels) > self._most:
                raise LabelsFull(f"{self._path}: holds {len(self._labels):,} of {self._most:,} labels")
            given_at = self._now()
            given = [Label(**asdict(label) | {"given_at": given_at}) for label in labels]
            text = "".join(json.dumps(asdict(label)) + "\n" for label in given)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(text)
            self._labels += given
            return given

    def list(self, after: int, limit: int) -> list[tuple[int, Label]]:
        """Labels with their numbers, from 1: those after a number, so many at most."""
        with self._lock:
            return list(enumerate(self._labels[after : after + limit], start=after + 1))
