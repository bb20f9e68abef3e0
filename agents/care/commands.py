"""Commands that look after stored data: ``octastream data show | delete | prune | repair``."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agents.cluster_options import ClusterOptions
from agents.failure import EXIT_ERROR
from agents.options import ConfigOptions, LogOptions, spread

if TYPE_CHECKING:
    from agents.care.receipt import Receipt
    from agents.care.repair import Rebuild
    from stream.progress import Progress

data = typer.Typer(
    no_args_is_help=True, help="See what is kept of whom; delete it, with a receipt; prune it; repair it."
)

Runs = Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders.")]
Workers = Annotated[
    Path | None, typer.Option("--folder", metavar="DIR", help="Workers' folder: its archive, and what else.")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; change nothing.")]
Now = Annotated[
    str | None, typer.Option(metavar="TIME", help="What ages count from (ISO 8601, UTC). Default: now.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(data, name="data")


@data.command()
def show(runs: Runs = None, folder: Workers = None) -> None:
    """What is kept: by robot and dataset, rows, bytes and time."""
    from agents import console
    from agents.care import tables
    from agents.care.inventory import kept_in, places_of, unfinished

    for place in places_of(runs or [], folder):
        console.show(tables.kept_table(place, kept_in(place)), *tables.unfinished_lines(unfinished(place)))
    if folder is not None:
        from agents.kafka.care import snapshots_of

        console.show(*tables.workers_lines(folder, snapshots_of(folder)))


@data.command()
@spread
def delete(
    cluster: ClusterOptions,
    runs: Runs = None,
    folder: Workers = None,
    robot: Annotated[str | None, typer.Option(help="The robot whose data go. Default: all robots.")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", metavar="TIME", help="Stamps from here on (ISO 8601, UTC, or ns).")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Stamps before this time.")] = None,
    registry: Annotated[
        Literal["list", "mark", "remove"],
        typer.Option(help="What becomes of models that may have learnt from the data."),
    ] = "list",
    snapshots: Annotated[
        bool, typer.Option("--snapshots", help="Of --folder: take the robot out of snapshots, too.")
    ] = False,
    topics: Annotated[
        bool, typer.Option("--topics", help="Of --folder: delete from the cluster's topics what can be.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Delete a robot's data, or those of a time, and leave a receipt of what went and what did not."""
    import time

    from agents.care.deletion import delete as delete_from
    from agents.care.deletion import plan
    from agents.care.inventory import places_of
    from agents.care.subject import CareError, Subject, parse_time

    subject = Subject(
        robot_id=robot,
        begin_ns=None if begin is None else parse_time("--from", begin),
        end_ns=None if end is None else parse_time("--to", end),
    )
    if (snapshots or topics) and (folder is None or subject.robot_id is None):
        raise CareError("--snapshots and --topics need --folder DIR and --robot NAME, whose they are")
    places, now_ns = places_of(runs or [], folder), time.time_ns()
    if folder is not None and not dry_run and (snapshots or topics):
        from agents.kafka.care_topics import require_stopped

        require_stopped(dataclasses.replace(cluster.to_settings(), folder=folder))
    receipts = []
    for place in places:
        receipt = plan(place, subject, now_ns) if dry_run else delete_from(place, subject, now_ns, registry)
        _show(place, receipt, dry_run)
        receipts.append(receipt)
    if folder is not None:
        from agents.kafka.care import delete_shared

        settings = dataclasses.replace(cluster.to_settings(), folder=folder)
        receipt = delete_shared(
            settings, subject, receipts, now_ns, mode=registry, snapshots=snapshots, topics=topics,
            dry_run=dry_run,
        )  # fmt: skip
        _show(folder, receipt, dry_run)


@data.command()
@spread
def prune(
    settings: ConfigOptions,
    runs: Runs = None,
    folder: Workers = None,
    now: Now = None,
    dry_run: DryRun = False,
) -> None:
    """Remove chunks that are older than archive.retain, and what robots have beyond archive.robot_bytes."""
    import time

    from agents import console
    from agents.care.inventory import places_of
    from agents.care.retention import prune as prune_run
    from agents.care.subject import CareError, parse_time

    limits = settings.load().archive
    if limits.retain is None and limits.robot_bytes is None:
        raise CareError(
            "nothing to prune by: give --set archive.retain=30d, --set archive.robot_bytes=N, or both"
        )
    now_ns = time.time_ns() if now is None else parse_time("--now", now)
    for place in places_of(runs or [], folder):
        receipts = prune_run(place, limits, now_ns, dry_run=dry_run)
        for receipt in receipts:
            _show(place, receipt, dry_run)
        if not receipts:
            console.show(f"{place}: nothing to prune")


@data.command()
@spread
def repair(
    cluster: ClusterOptions,
    log: LogOptions,
    run: Annotated[Path | None, typer.Argument(metavar="[RUN]", help="A run folder.")] = None,
    logs: Annotated[
        list[str] | None,
        typer.Argument(metavar="[LOG]...", help="The logs of the run, as it was given them."),
    ] = None,
    folder: Workers = None,
    sweeps: Annotated[int | None, typer.Option(min=1, help="Where the run was told to stop.")] = None,
    dry_run: DryRun = False,
) -> None:
    """Set damaged files aside, and build them again: a run from its logs, an archive from its topics."""
    from agents import console
    from agents.care import repair as care
    from agents.care import tables
    from agents.care.inventory import places_of
    from agents.care.subject import CareError

    if run is not None and folder is not None:
        raise CareError(
            "a run folder and --folder: name one of them, their files are built from other things"
        )
    places = places_of([run] if run is not None else [], folder)
    with console.progress_bar("repair", unit="files") as progress:
        if dry_run:
            found = {place: [*care.find(place, progress), *care.waiting(place)] for place in places}
        else:
            build = _builder(cluster, log, logs or [], folder, sweeps, progress)
            found = {place: care.repair(place, build, progress) for place in places}
    for place, damaged in found.items():
        console.show(*tables.repair_lines(place, damaged, dry_run))
    if (dry_run and any(found.values())) or any(item.lost for damaged in found.values() for item in damaged):
        raise typer.Exit(EXIT_ERROR)


def _builder(
    cluster: ClusterOptions,
    log: LogOptions,
    logs: list[str],
    folder: Path | None,
    sweeps: int | None,
    progress: Progress,
) -> Rebuild | None:
    """What builds lost files again, None where nobody said from what."""
    if folder is not None:
        from agents.kafka.admin import run as run_in
        from agents.kafka.care_topics import require_stopped
        from agents.kafka.refold import rebuild_partition

        settings = dataclasses.replace(cluster.to_settings(), folder=folder)
        require_stopped(settings)
        return lambda place, names: run_in(rebuild_partition(settings, place, names))
    if not logs:
        return None
    from agents.care.again import rebuild_from

    sources = [log.open(location) for location in logs]
    return lambda place, names: rebuild_from(place, names, sources, sweeps, progress)


def _show(place: Path, receipt: Receipt, dry_run: bool) -> None:
    from agents import console
    from agents.care import tables

    console.show(*tables.receipt_parts(place, receipt, dry_run))
