"""Deletion from one run folder, or one partition of the archive: planned, carried out, looked for again.

The plan is a receipt that is not done. It is on disk before the first file changes, so a deletion that is cut
off anywhere is finished by the same call again, and its receipt still says what there was before. Every file
is written beside its place, put on disk and renamed; a reader sees the old one or the new one.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from agents.care import small_files
from agents.care.models import Mode, treat_models
from agents.care.receipt import FileChange, Left, Receipt, begun_for, removed_span, sha256_of_file, union
from agents.care.repair import beside
from agents.care.rows import files_of, read_rows
from agents.care.subject import CareError, Subject
from agents.explain import run_config
from stream.config import Config
from stream.run_folder import CONTAINERS, QUARANTINE, RunFolder, container_table
from stream.sweep_rows import SWEEPS, sweep_files


def plan(run: Path, subject: Subject, now_ns: int) -> Receipt:
    """What a deletion would do; nothing is changed.

    Raises CareError for a file that cannot be read
    """
    receipt = Receipt.begin("deletion", subject, now_ns)
    changes, spans = [], []
    for dataset, path in files_of(run):
        rows = read_rows(dataset, path)
        chosen = rows.covered(subject)
        if chosen.any():
            changes.append(change_of(run, path, int(chosen.sum())))
            spans.append(rows.span(chosen))
    changes += [change_of(run, path, 0) for path in _set_aside(run)]
    lines = small_files.event_lines(run, subject)
    if lines or (changes and (run / small_files.EVENTS).is_file()):
        changes.append(change_of(run, run / small_files.EVENTS, lines))
    if small_files.config_without(run, subject) is not None:
        changes.append(change_of(run, run / small_files.CONFIG, 0))
    if changes:
        changes += [
            change_of(run, run / name, 0)
            for name in (small_files.SUMMARY, small_files.REPORT, small_files.ERROR_PAGE)
            if (run / name).is_file()
        ]
    first, last = union([span for span in spans if span is not None])
    left = _window_after(run, subject) if changes else []
    return replace(receipt, files=changes, first_ns=first, last_ns=last, left=left)


def delete(run: Path, subject: Subject, now_ns: int, mode: Mode = "list") -> Receipt:
    """Delete a subject's data; returns the receipt, without files where there was nothing.

    mode : what becomes of models in ``models/`` whose training may have seen the data
    Raises CareError for files that cannot be read, or when rows come back meanwhile; OSError
    """
    if beside(run).exists():  # of a repair that was killed
        shutil.rmtree(beside(run))
    receipt = _plan_or_resume(run, subject, now_ns)
    if not receipt.files:
        return _models_again(run, subject, receipt, mode)
    receipt.write(run)
    _sweep_up(run)
    _carry_out(run, subject, receipt)
    models, left = treat_models(run / "models", receipt, mode)
    receipt = finished(run, replace(receipt, models=models, left=[*receipt.left, *left]))
    _require_gone(run, subject)
    receipt.write(run)
    return receipt


def _models_again(run: Path, subject: Subject, receipt: Receipt, mode: Mode) -> Receipt:
    """Where the rows are gone already: treat the models that may have seen them, if that is asked for."""
    first, last = removed_span(run, subject)
    if mode == "list" or first is None:
        return replace(receipt, done=True)
    models, left = treat_models(run / "models", replace(receipt, first_ns=first, last_ns=last), mode)
    receipt = replace(receipt, models=models, left=left, done=True)
    if models:
        receipt.write(run)
    return receipt


def _plan_or_resume(run: Path, subject: Subject, now_ns: int) -> Receipt:
    fresh, begun = plan(run, subject, now_ns), begun_for(run, subject)
    if begun is None:
        return fresh
    known = {item.file for item in begun.files}
    return replace(begun, files=[*begun.files, *(item for item in fresh.files if item.file not in known)])


def _carry_out(run: Path, subject: Subject, receipt: Receipt) -> None:
    for dataset, path in list(files_of(run)):
        chosen = read_rows(dataset, path).covered(subject)
        if chosen.any():
            drop_rows(RunFolder(run), dataset, path, chosen)
    for path in _set_aside(run):
        RunFolder(run).remove(path)
    named = {item.file for item in receipt.files}
    if small_files.EVENTS in named:
        small_files.rewrite_events(run, subject, receipt)
    config = small_files.config_without(run, subject)
    if config is not None:
        RunFolder(run).write_text(small_files.CONFIG, config, durable=True)
    small_files.mark_reduced(run, receipt)
    small_files.rebuild_report(run)


def drop_rows(folder: RunFolder, dataset: str, path: Path, chosen: NDArray[np.bool_]) -> None:
    """Write a file again without the chosen rows, bool (N,); one that would be empty goes.

    Files of sweeps stay, empty or not: they are what says that a folder is a run
    """
    if chosen.all() and dataset != SWEEPS:
        folder.remove(path)
        return
    if dataset == CONTAINERS:
        table = _containers_without(path, chosen)
    else:
        table = pq.read_table(path).filter(pa.array(~chosen))
    folder.put_table(path, table, durable=True)


def _containers_without(path: Path, chosen: NDArray[np.bool_]) -> pa.Table:
    """One record batch a sweep, as before."""
    with pa.OSFile(str(path)) as source:  # not mapped: the file is replaced
        table = ipc.open_file(source).read_all()
    return container_table([table.slice(row, 1).combine_chunks().to_batches()[0]
                            for row in np.flatnonzero(~chosen).tolist()])  # fmt: skip


def change_of(run: Path, path: Path, rows: int) -> FileChange:
    """A file as it is before it changes."""
    return FileChange(
        file=path.relative_to(run).as_posix(),
        rows=rows,
        bytes_before=path.stat().st_size,
        sha256_before=sha256_of_file(path),
    )


def finished(run: Path, receipt: Receipt) -> Receipt:
    """The receipt with every file as it is now."""
    files = []
    for item in receipt.files:
        path = run / item.file
        if path.is_file():
            files.append(replace(item, bytes_after=path.stat().st_size, sha256_after=sha256_of_file(path)))
        else:
            files.append(replace(item, removed=True))
    return replace(receipt, files=files, done=True)


def _set_aside(run: Path) -> list[Path]:
    """Damaged files, with their notes: nobody can say whose rows they hold, so they go whole."""
    return sorted(path for path in (run / QUARANTINE).rglob("*") if path.is_file())


def _require_gone(run: Path, subject: Subject) -> None:
    again = plan(run, subject, 0)
    if again.rows:
        raise CareError(
            f"{run}: {again.rows} rows in {again.files[0].file} came back while they were deleted; stop what "
            "writes there, then run the same command again"
        )


def _sweep_up(run: Path) -> None:
    """What a writer left beside a file when it was killed may hold anything."""
    for path in [*run.glob(".*.tmp"), *run.glob("*/.*.tmp"), *run.glob("*.part")]:
        RunFolder(run).remove(path)


def _window_after(run: Path, subject: Subject) -> list[Left]:
    """Forecasts just after a span were made from sweeps in it."""
    if subject.end_ns is None:
        return []
    config = run_config(RunFolder(run)) if (run / small_files.CONFIG).is_file() else Config()
    end_ns = subject.end_ns + config.reach_ns
    after = Subject(robot_id=subject.robot_id, begin_ns=subject.end_ns, end_ns=end_ns)
    count = sum(int(read_rows(SWEEPS, path).covered(after).sum()) for path in sweep_files(run))
    if not count:
        return []
    why = (
        f"the window that they were made from reaches up to {config.reach_ns / 1e9:g} s back, into the span; "
        "give a later --to to delete them, too"
    )
    return [Left(what=f"{count} forecasts right after the span", why=why)]
