"""Labels that people give to cells: an append-only file, one JSON object a line, newest last.

Its columns are those of the files that ``octastream label give`` takes.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from stream.files import append_lines

FILE = "labels.jsonl"
MOST_LABELS = 1_000_000


class LabelsFull(RuntimeError):
    """No more labels fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """What somebody says that a cell is.

    cell_id : decimal text, as all 64-bit ids in files; label : the class; author : who says so
    stamp_ns : when it was said, Unix time; at_ns : stamp of the sweep that it is about, 0 for any time
    """

    cell_id: str
    label: str
    author: str
    stamp_ns: int = 0
    at_ns: int = 0


class Labels:
    """The labels in a folder.

    folder : made when the first label is given; most : labels at most; clock : Unix time, ns
    Lines that cannot be read are left out and counted in ``damaged``. Any thread may ask; one process writes.
    """

    def __init__(
        self, folder: Path, most: int = MOST_LABELS, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._path, self._most, self._clock = folder / FILE, most, clock
        self._lock = threading.Lock()
        self._labels: list[Label] = []
        self.damaged = 0
        self._read()

    def __len__(self) -> int:
        return len(self._labels)

    def _read(self) -> None:
        if not self._path.is_file():
            return
        text = self._path.read_text(encoding="utf-8", errors="replace")
        for line in text.splitlines():
            try:
                self._labels.append(Label(**json.loads(line)))
            except (ValueError, TypeError):
                self.damaged += 1

    def add(self, labels: Sequence[Label]) -> list[Label]:
        """Append labels, all or none, as said now; returns them with the time.

        Raises LabelsFull, OSError (disk full, not writable)
        """
        with self._lock:
            if len(self._labels) + len(labels) > self._most:
                raise LabelsFull(f"{self._path}: holds {len(self._labels):,} of {self._most:,} labels")
            stamp_ns = self._clock()
            given = [replace(label, stamp_ns=stamp_ns) for label in labels]
            text = "".join(json.dumps(asdict(label)) + "\n" for label in given)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            append_lines(self._path, text)
            self._labels += given
            return given

    def list(self, after: int, limit: int) -> list[tuple[int, Label]]:
        """Labels with their numbers, from 1: those after a number, so many at most."""
        with self._lock:
            return list(enumerate(self._labels[after : after + limit], start=after + 1))
