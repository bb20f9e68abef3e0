"""Damaged files of a run or an archive: found, set aside with the reason, and made again if that can be."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agents.care.receipt import receipts_in
from agents.care.rows import files_of
from stream.damage import damage_of
from stream.files import numbered
from stream.progress import Progress
from stream.run_folder import LABELS, QUARANTINE, RunFolder

DELETED = "rows of it were deleted or pruned, and building it again would bring them back"
SAID_ONCE = "it holds what people said, which is in no log"

Rebuild = Callable[[Path, Sequence[str]], Mapping[str, str]]
"""Builds files of a folder again, named relative to it; returns for each that could not be, why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Damaged:
    """One file by its name in the folder: what is wrong, and why it stays lost; empty where it does not."""

    file: str
    reason: str
    lost: str = ""


def beside(run: Path) -> Path:
    """Where a run is made again. A killed repair leaves it, with rows of whatever was deleted since."""
    place = run.resolve()
    return place.with_name(f".{place.name}.again")


def find(run: Path, progress: Progress) -> list[Damaged]:
    """Files of rows that are damaged, by reading all of them; nothing is changed.

    Raises OSError for a file that cannot be read for another reason
    """
    names = [path for _, path in files_of(run)]
    names += [path for path in sorted((run / LABELS).glob("*.parquet")) if path not in names]
    found = []
    for place, path in enumerate(names):
        progress(place, len(names), path.name)
        if reason := damage_of(path):
            found.append(Damaged(file=path.relative_to(run).as_posix(), reason=reason))
    return found


def waiting(run: Path) -> list[Damaged]:
    """What was set aside earlier, by this command or by a writer, and has not been built again."""
    notes = [note for _, note in _notes(run) if not note["rebuilt"]]
    newest = {note["file"]: note["reason"] for note in notes}
    return [Damaged(file=file, reason=reason) for file, reason in newest.items()]


def repair(run: Path, rebuild: Rebuild | None, progress: Progress) -> list[Damaged]:
    """Set aside what is damaged, and build it and what was set aside before again.

    rebuild : from what the files were made of; None where nobody named that
    Returns every file in question, with why it is lost where it is
    Raises OSError, and what ``rebuild`` raises
    """
    folder = RunFolder(run)
    for item in find(run, progress):
        folder.set_aside(run / item.file, item.reason)
    missing = waiting(run)
    lost = _lost_for_good(run, missing)
    names = [item.file for item in missing if item.file not in lost]
    if names:
        lost |= dict.fromkeys(names, NOT_ASKED) if rebuild is None else rebuild(run, names)
    for item in missing:
        if item.file not in lost:
            _note_rebuilt(folder, item.file)
    return [Damaged(file=item.file, reason=item.reason, lost=lost.get(item.file, "")) for item in missing]


NOT_ASKED = "nothing to build it from was named: give the logs of the run, or --folder of its workers"


def _lost_for_good(run: Path, missing: Sequence[Damaged]) -> dict[str, str]:
    reduced = {change.file for receipt in receipts_in(run) for change in receipt.files}
    lost = {item.file: SAID_ONCE for item in missing if item.file.startswith(f"{LABELS}/")}
    return lost | {item.file: DELETED for item in missing if item.file in reduced}


def _note_rebuilt(folder: RunFolder, file: str) -> None:
    for path, note in _notes(folder.path):
        if note["file"] == file:
            text = json.dumps({**note, "rebuilt": True}) + "\n"
            folder.write_text(path.relative_to(folder.path).as_posix(), text, durable=True)
    folder.append_event({"event": "rebuilt", "stamp_ns": 0, "file": file})


def _notes(run: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Notes of the quarantine with what they say, oldest first for each file."""
    paths = numbered((run / QUARANTINE).rglob("*.json"))
    return [(path, json.loads(path.read_text(encoding="utf-8"))) for path in paths]
