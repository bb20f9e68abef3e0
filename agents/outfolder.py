"""The folder that a run is written into: claimed once, and never at the cost of anything but an older run."""

from __future__ import annotations

import shutil
from pathlib import Path

from stream.run_folder import LABELS

RUN_ENTRIES = (
    "summary.json",
    "report.html",
    "errors.html",
    "sweeps.parquet",
    "sweeps",
    "predictions",
    "shadows",
    "outcomes",
    "containers",
    "features",
    "labels",
    "models",
    "quarantine",
    "deletions",
    "events.jsonl",
    "config.yaml",
)
"""What a run may consist of; nothing else is ever removed. The last two say to the end that it is a run."""
LEFT = tuple(f".{name}.tmp" for name in RUN_ENTRIES)
"""What a process leaves that is killed while it writes one of these."""
KEPT = ("labels.jsonl",)
"""What people have given: it may lie in the folder of a new run, and is never removed."""


def holds_run(folder: Path) -> bool:
    """Whether a folder holds a run, complete or not."""
    return any((folder / name).is_file() for name in ("events.jsonl", "config.yaml", "summary.json"))


def claim(folder: Path, *, force: bool = False) -> Path:
    """Check that a folder can take a new run, and return it; it need not exist and is not made.

    force : remove an older run that lies there
    Raises FileExistsError for a file, for a run without ``force``, and for a folder of other things; labels
    that people have given are left where they are
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder}: is a file; name a folder")
    if holds_run(folder):
        if not force:
            raise FileExistsError(f"{folder}: already holds a run; name another folder or add --force")
        if any((folder / LABELS).glob("*.parquet")):
            raise FileExistsError(
                f"{folder}: holds labels that people gave; move {folder / LABELS} away first"
            )
        if others := _others(folder, *RUN_ENTRIES):
            raise FileExistsError(
                f"{folder}: holds more than a run: {', '.join(others)}; move it away, or name another folder"
            )
        _remove(folder)
    elif folder.is_dir() and _others(folder):
        raise FileExistsError(f"{folder}: is not empty and holds no run; name another folder")
    return folder


def _others(folder: Path, *expected: str) -> list[str]:
    """Names of what lies there besides what is expected, what people have given, and halves of files."""
    known = {*expected, *KEPT, *LEFT}
    return sorted(path.name for path in folder.iterdir() if path.name not in known)


def _remove(folder: Path) -> None:
    for name in (*RUN_ENTRIES, *LEFT):
        path = folder / name
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
