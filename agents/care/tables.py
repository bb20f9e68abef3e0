"""What the commands about stored data show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from agents.care.inventory import Kept
from agents.care.receipt import FOLDER, WHY, FileChange, Receipt
from agents.care.repair import Damaged
from agents.care.subject import iso_of
from stream.run_folder import QUARANTINE


def kept_table(place: Path, kept: Sequence[Kept]) -> Table | str:
    """A row a robot and dataset, and a total a robot."""
    if not kept:
        return escape(f"{place}: keeps no data of a robot")
    table = Table(title=escape(str(place)), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    for title in ("robot", "dataset", "rows", "bytes", "from", "to"):
        table.add_column(title, justify="right" if title in ("rows", "bytes") else "left", no_wrap=True)
    for robot_id in dict.fromkeys(item.robot_id for item in kept):
        own = [item for item in kept if item.robot_id == robot_id]
        for item in own:
            table.add_row(*_row(item.robot_id, item.dataset, [item]))
        table.add_row(*_row(robot_id, "total", own), end_section=True, style="bold")
    return table


def _row(robot_id: str, dataset: str, items: Sequence[Kept]) -> list[str]:
    return [
        escape(robot_id),
        dataset,
        f"{sum(item.rows for item in items):,}",
        f"{sum(item.bytes for item in items):,}",
        iso_of(min(item.first_ns for item in items)),
        iso_of(max(item.last_ns for item in items)),
    ]


def unfinished_lines(receipts: Sequence[Receipt]) -> list[str]:
    """A warning for each deletion that was cut off."""
    return [
        f"[bold red]cut off[/bold red]: {FOLDER}/{item.receipt}.json, begun on {item.at}, is not finished; "
        "give the same command again"
        for item in receipts
    ]


def workers_lines(folder: Path, snapshots: dict[str, list[str]]) -> Iterator[str]:
    """What lies in a workers' folder beside the archive."""
    for task, robots in snapshots.items():
        yield escape(f"{folder}: snapshots of {task} hold {', '.join(robots) or 'no robot'}")
    models = folder / "models"
    count = len(list(models.glob("*/manifest.json")))
    yield escape(f"{models}: {count:,} models; their manifests name whose data of which time they learnt")


def repair_lines(place: Path, damaged: Sequence[Damaged], dry_run: bool) -> Iterator[str]:
    """Each damaged file with what is wrong and what became of it, then how many there were of each fate."""
    for item in damaged:
        fate = f"[red]lost[/red]: {escape(item.lost)}" if item.lost else "built again"
        yield f"{escape(item.file)}: {escape(item.reason)}" + ("" if dry_run else f"; {fate}")
    lost = sum(bool(item.lost) for item in damaged)
    if dry_run or not damaged:
        yield escape(f"{place}: {len(damaged)} damaged files")
    else:
        yield escape(
            f"{place}: {len(damaged)} damaged files set aside, {len(damaged) - lost} built again, {lost} lost"
        )


def receipt_parts(place: Path, receipt: Receipt, dry_run: bool) -> Iterator[RenderableType]:
    """A receipt for people: what went, what did not, and where the whole of it lies."""
    if not receipt.files and not receipt.models and not receipt.left:
        yield escape(f"{place}: nothing found")
        return
    verb = "would delete" if dry_run else "deleted"
    if receipt.first_ns is not None and receipt.last_ns is not None:
        span = f", {iso_of(receipt.first_ns)} to {iso_of(receipt.last_ns)}"
    else:
        span = ""
    sent = sum(item.deleted for item in receipt.topics)
    messages = f" and {sent:,} messages" if receipt.topics else ""
    yield escape(f"{place}: {verb} {receipt.rows:,} rows{messages} {WHY[receipt.kind]}{span}")
    if receipt.files:
        yield _file_table(receipt.files, dry_run)
    for change in receipt.topics:
        name = f"{change.topic}-{change.partition}"
        yield escape(f"{name}: {verb} {change.deleted:,} of {change.messages:,} messages")
    for model_id, what in list(receipt.models.items())[:8]:
        yield escape(f"model {model_id}: {what}")
    if len(receipt.models) > 8:
        yield f"and {len(receipt.models) - 8} more models"
    for item in receipt.left:
        yield f"[yellow]left[/yellow]: {escape(item.what)}: {escape(item.why)}"
    if not dry_run:
        yield escape(f"receipt: {place / FOLDER / receipt.receipt}.json")


def _file_table(files: Sequence[FileChange], dry_run: bool) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for title in ("file", "rows", "bytes before", "after", "sha256 before", "after"):
        table.add_column(
            title, justify="right" if title in ("rows", "bytes before") else "left", no_wrap=True
        )
    for item in files:
        without_rows = "unreadable" if item.file.startswith(QUARANTINE) else "made again"
        after = "gone" if item.removed else "" if item.bytes_after is None else f"{item.bytes_after:,}"
        table.add_row(
            escape(item.file),
            f"{item.rows:,}" if item.rows else without_rows,
            f"{item.bytes_before:,}",
            "" if dry_run else after,
            item.sha256_before[:12],
            (item.sha256_after or "")[:12],
        )
    return table
