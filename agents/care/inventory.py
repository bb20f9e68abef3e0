"""What is kept: by robot and dataset, how many rows and bytes, of what time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from agents.care.receipt import Receipt, receipts_in
from agents.care.rows import files_of, read_rows
from agents.care.small_files import EVENTS, event_robot, event_stamp, parsed
from agents.care.subject import CareError
from agents.outfolder import holds_run


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A robot's part of one dataset of one folder.

    bytes : of files; where several robots share one, by rows
    first_ns, last_ns : stamps of its oldest and newest row
    """

    robot_id: str
    dataset: str
    rows: int
    bytes: int
    first_ns: int
    last_ns: int


Part = tuple[int, float, int, int]
"""Rows, bytes, first and last stamp of a robot's rows in one file."""


def places_of(runs: list[Path], folder: Path | None) -> list[Path]:
    """Run folders, and the partitions of the archive in a folder of workers.

    Raises CareError for what is neither, and where none is named
    """
    places = []
    for run in runs:
        if not holds_run(run):
            raise CareError(f"{run}: holds no run; name a run folder, or workers' folder with --folder")
        places.append(run)
    if folder is not None:
        if not folder.is_dir():
            raise CareError(f"--folder {folder}: no such folder; name that of the workers")
        places += sorted(path for path in (folder / "archive").glob("*") if path.is_dir())
    if not places and folder is None:
        raise CareError("no place is named: give run folders, or workers' folder with --folder DIR")
    return places


def kept_in(run: Path) -> list[Kept]:
    """What a folder keeps, by robot and dataset.  Raises CareError for a file that cannot be read"""
    found: dict[tuple[str, str], list[Part]] = defaultdict(list)
    for robot_id, dataset, part in chain(_in_files(run), _in_events(run)):
        found[robot_id, dataset].append(part)
    return [
        Kept(
            robot_id=robot_id,
            dataset=dataset,
            rows=sum(rows for rows, *_ in parts),
            bytes=round(sum(size for _, size, *_ in parts)),
            first_ns=min(first for *_, first, _ in parts),
            last_ns=max(last for *_, last in parts),
        )
        for (robot_id, dataset), parts in sorted(found.items())
    ]


def _in_files(run: Path) -> Iterator[tuple[str, str, Part]]:
    for dataset, path in files_of(run):
        rows, size = read_rows(dataset, path), path.stat().st_size
        for place, robot_id in enumerate(rows.robots):
            own = rows.robot == place
            span = rows.span(own)
            if span is not None:
                yield robot_id, dataset, (int(own.sum()), size * float(own.mean()), *span)


def _in_events(run: Path) -> Iterator[tuple[str, str, Part]]:
    path = run / EVENTS
    if not path.is_file():
        return
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            values = parsed(line)
            robot = event_robot(values) if values else ""
            if values and robot:
                stamp = event_stamp(values)
                yield robot, "events", (1, float(len(line.encode())), stamp, stamp)


def unfinished(run: Path) -> list[Receipt]:
    """Deletions that were cut off."""
    return [receipt for receipt in receipts_in(run) if not receipt.done]
