"""Pruning an archive: chunks that are old by their stamps, and the oldest data of robots that have too much.

Only chunks are touched, which nobody writes again once they are there, so workers may run meanwhile. The few
bytes a sweep in files of sweeps and events.jsonl stay: they say what there was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from agents.care import small_files
from agents.care.deletion import change_of, drop_rows, finished
from agents.care.receipt import FileChange, Receipt, receipts_in, sha256_of_file, union
from agents.care.rows import Rows, files_of, read_rows
from agents.care.subject import Subject
from stream.config import ArchiveConfig
from stream.run_folder import RunFolder
from stream.sweep_rows import SWEEPS

MAX_FILES = 1000
"""Chunks that one call removes or writes again, for each reason and robot; what is over waits for the next
call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drop:
    """Rows of one chunk that go: those of ``subject``, or all."""

    dataset: str
    path: Path
    rows: int
    span: tuple[int, int] | None
    subject: Subject | None = None

    def chosen(self) -> NDArray[np.bool_]:
        """Which rows, read again: keys of many chunks would fill the memory."""
        rows = read_rows(self.dataset, self.path)
        return np.ones(len(rows.robot), np.bool_) if self.subject is None else rows.covered(self.subject)


def prune(run: Path, limits: ArchiveConfig, now_ns: int, *, dry_run: bool = False) -> list[Receipt]:
    """Remove what is too old or too much; a receipt for each reason and robot, none where nothing was.

    now_ns : what ages count from. Ages are those of stamps, so a recording of years ago is old
    dry_run : receipts of what would be done; nothing is changed
    The work of a call is bounded by ``MAX_FILES``, but keys of all chunks are read where robots have a limit.
    Raises CareError, OSError
    """
    if not dry_run:
        _settle(run)
    receipts = []
    if limits.retain_ns is not None:
        before_ns = now_ns - limits.retain_ns
        begun = Receipt.begin("retention", Subject(end_ns=before_ns), now_ns)
        receipts += _carry_out(run, begun, _old(run, before_ns), dry_run)
    if limits.robot_bytes is not None:
        for subject in _over_quota(run, limits.robot_bytes):
            begun = Receipt.begin("quota", subject, now_ns)
            receipts += _carry_out(run, begun, _of(run, subject), dry_run)
    return receipts


def _settle(run: Path) -> None:
    """Finish receipts of a call that was cut off: of what it did. The rest is found anew."""
    for receipt in receipts_in(run):
        if not receipt.done and receipt.kind != "deletion":
            gone = [item for item in receipt.files if not _is_as_before(run, item)]
            _finish(run, replace(receipt, files=gone))


def _is_as_before(run: Path, item: FileChange) -> bool:
    path = run / item.file
    return path.is_file() and sha256_of_file(path) == item.sha256_before


def _chunks(run: Path) -> Iterator[tuple[str, Path, Rows]]:
    for dataset, path in files_of(run):
        if dataset != SWEEPS:
            yield dataset, path, read_rows(dataset, path)


def _old(run: Path, before_ns: int) -> Iterator[_Drop]:
    """Chunks whose rows are all older: one is kept for its newest row."""
    for dataset, path, rows in _chunks(run):
        if not len(rows.robot) or max(rows.observed_ns.max(), rows.stamp_ns.max()) < before_ns:
            every = np.ones(len(rows.robot), np.bool_)
            yield _Drop(dataset=dataset, path=path, rows=len(every), span=rows.span(every))


def _of(run: Path, subject: Subject) -> Iterator[_Drop]:
    for dataset, path, rows in _chunks(run):
        chosen = rows.covered(subject)
        if chosen.any():
            yield _Drop(
                dataset=dataset, path=path, rows=int(chosen.sum()), span=rows.span(chosen), subject=subject
            )


def _over_quota(run: Path, most_bytes: int) -> list[Subject]:
    """For each robot that has too much, what of it has to go: whole chunks' worth, the oldest first."""
    shares: dict[str, list[tuple[int, float]]] = defaultdict(list)  # newest stamp, and bytes by rows
    for _, path, rows in _chunks(run):
        size = path.stat().st_size
        for place, robot_id in enumerate(rows.robots):
            own = rows.robot == place
            shares[robot_id].append((int(rows.stamp_ns[own].max()), size * float(own.mean())))
    subjects = []
    for robot_id, found in sorted(shares.items()):
        excess, cut_ns = sum(share for _, share in found) - most_bytes, None
        for newest_ns, share in sorted(found):
            if excess <= 0:
                break
            excess, cut_ns = excess - share, newest_ns + 1
        if cut_ns is not None:
            subjects.append(Subject(robot_id=robot_id, end_ns=cut_ns))
    return subjects


def _carry_out(run: Path, receipt: Receipt, drops: Iterable[_Drop], dry_run: bool) -> list[Receipt]:
    """Drop rows of chunks; the receipt is written before, and again after."""
    chosen = list(islice(drops, MAX_FILES))
    if not chosen:
        return []
    first, last = union([drop.span for drop in chosen if drop.span is not None])
    files = [change_of(run, drop.path, drop.rows) for drop in chosen]
    receipt = replace(receipt, files=files, first_ns=first, last_ns=last)
    if dry_run:
        return [receipt]
    receipt.write(run)
    for drop in chosen:
        drop_rows(RunFolder(run), drop.dataset, drop.path, drop.chosen())
    return [_finish(run, receipt)]


def _finish(run: Path, receipt: Receipt) -> Receipt:
    receipt = finished(run, receipt)
    RunFolder(run).append_event(small_files.event_of(receipt))
    small_files.mark_reduced(run, receipt)
    small_files.rebuild_report(run)
    receipt.write(run)
    return receipt
