"""The commands ``octastream label list | show | give | send | truth | project | merge``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from agents.cluster_options import ClusterOptions
from agents.failure import EXIT_DAMAGED
from agents.options import ConfigOptions, LogOptions, check_robot, spread

label = typer.Typer(
    no_args_is_help=True, help="Which regions are worth labelling; take labels that people give."
)

Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="Labels: .csv, .parquet or .jsonl.")]
Count = Annotated[int, typer.Option(min=1, help="Regions of the queue.")]
Draw = Annotated[int, typer.Option(min=0, help="Add N of the other regions, drawn at random.")]
Seed = Annotated[int, typer.Option(min=0, help="Of what is drawn.")]
Author = Annotated[str | None, typer.Option(help="Who says so. Default: the file's name.")]
Stamp = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="When it was said (ISO 8601, UTC). Default: as old as the file."),
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(label, name="label")


@label.command("list")
@spread
def list_(
    cluster: ClusterOptions,
    run: Run,
    count: Count = 10,
    draw: Draw = 0,
    seed: Seed = 0,
    send: Annotated[
        bool, typer.Option("--send", help="Send the queue to octa.label.requested.v1, too.")
    ] = False,
) -> None:
    """The regions of a run that are most worth a person's word, and why."""
    from agents import console
    from agents.labels import tables
    from agents.labels.queue import opened_queue, records_of

    settings = cluster.to_settings() if send else None
    with opened_queue(run, count, draw, seed) as queue:
        shown = tables.queue_table(queue) if queue.requests else "every region is labelled"
        console.show(shown, *tables.standing_lines(queue))
        if settings is not None:
            from agents.kafka.admin import run as run_now
            from agents.kafka.labels import send_records

            sent = run_now(send_records(settings, records_of(queue)))
            console.show(f"{sent} requests sent to {settings.bootstrap}")


@label.command()
def show(
    run: Run,
    region: Annotated[str, typer.Argument(metavar="REGION", help="Its place in the queue, or its id.")],
    cells: Annotated[int, typer.Option(min=1, help="Show the N cells with the highest loss.")] = 12,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write all its cells as a form to fill in.")
    ] = None,
    count: Count = 10,
    draw: Draw = 0,
    seed: Seed = 0,
) -> None:
    """What is known of one region, and a form for its labels."""
    from rich.markup import escape

    from agents import console
    from agents.labels import tables
    from agents.labels.queue import opened_queue, write_form

    with opened_queue(run, count, draw, seed) as queue:
        found = queue.region(region)
        errors = queue.cells(found)
        console.show(console.grid(tables.region_rows(queue, region)), tables.cell_table(queue, errors, cells))
        if out is not None:
            write_form(out, errors, queue.labels, queue.request(found))
            console.show(f"form: {escape(str(out))}; fill in its labels, then: octastream label give")


@label.command()
def give(run: Run, file: File, author: Author = None, stamp: Stamp = None) -> None:
    """Take the labels of a file into a run; the last word on a cell counts."""
    from agents import console
    from agents.care.subject import parse_time
    from agents.labels.give import give_file

    given = give_file(run, file, author, None if stamp is None else parse_time("--stamp", stamp))
    labels = given.labels
    rest = [f"{given.known:,} were known"] if given.known else []
    rest += [f"{given.empty:,} rows say nothing"] if given.empty else []
    rest += [f"{given.elsewhere:,} cells are not in this run"] if given.elsewhere else []
    console.show(
        "; ".join([f"{given.rows:,} words read", *rest]),
        f"{len(labels):,} stand: " + ", ".join(f"{n:,} {name}" for name, n in labels.counts().items()),
        f"of {labels.words:,} in all {labels.repeated:,} repeat, {labels.corrected:,} correct their author, "
        f"{labels.contradictions:,} contradict another",
    )


@label.command()
@spread
def send(
    cluster: ClusterOptions,
    file: File,
    robot: Annotated[str, typer.Option(help="The robot whose map it is.")],
    author: Author = None,
    stamp: Stamp = None,
) -> None:
    """Send the labels of a file to octa.label.given.v1; Archive keeps them."""
    from agents import console
    from agents.care.subject import parse_time
    from agents.kafka.admin import run as run_now
    from agents.kafka.labels import send_records
    from agents.labels.give import defaults_for
    from stream.label_files import read_label_file

    settings = cluster.to_settings()
    check_robot(robot)
    stamp_ns = None if stamp is None else parse_time("--stamp", stamp)
    words, empty = read_label_file(file, defaults_for(file, robot, author, stamp_ns), None)
    sent = run_now(send_records(settings, words))
    rows = sum(len(word.cell_id) for word in words)
    console.show(
        f"{rows:,} words sent in {sent:,} messages to {settings.bootstrap}; {empty:,} rows say nothing"
    )


@label.command()
def truth(
    run: Run,
    out: Annotated[Path, typer.Option(metavar="FILE.parquet", help="File to write.")],
    every: Annotated[int, typer.Option(min=1, help="Label every N-th sweep.")] = 1,
) -> None:
    """What the cells of a simulated log are, as a file of labels: the simulator knows."""
    import pyarrow.parquet as pq
    from rich.markup import escape

    from agents import console
    from agents.labels.truth import truth_of

    with console.progress_bar("labelling") as progress:
        words = truth_of(run, every, progress)
    pq.write_table(words, out, compression="zstd")
    console.show(f"{escape(str(out))}: {len(words):,} words")


@label.command()
@spread
def project(
    location: Annotated[str, typer.Argument(metavar="LOG", help="The log that was labelled.")],
    annotations: Annotated[
        Path,
        typer.Argument(
            metavar="FROM",
            help="A folder of SemanticKITTI .label files, a KITTI tracklet_labels.xml, or an MCAP file with "
            "SceneUpdate.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the label container; new, or empty.")],
    log: LogOptions,
    settings: ConfigOptions,
    names: Annotated[
        Path | None, typer.Option(metavar="FILE.yaml", help="Classes of .label files by number.")
    ] = None,
    within: Annotated[
        float,
        typer.Option(min=0.0, max=2.0, help="Seconds that a box may be from a sweep that lies between none."),
    ] = 0.05,
    between: Annotated[
        float,
        typer.Option(min=0.0, max=2.0, help="Seconds between two boxes of a thing that is put between them."),
    ] = 1.0,
) -> None:
    """Labels of points or boxes to labels of cells: a label container."""
    from rich.markup import escape

    from agents import console
    from agents.labels.project import open_annotations
    from agents.labels.project import project as run
    from agents.replay import with_map_frame
    from stream.annotations.between import BoxTimes

    source = log.open(location)
    config = with_map_frame(settings.load(), [source.info().root_frame])
    times = BoxTimes(between_ns=round(between * 1e9), within_ns=round(within * 1e9))
    said = open_annotations(annotations, source, names=names, times=times)
    with console.progress_bar("projecting") as progress:
        found = run(source, said, config, out, progress)
    console.show(
        f"{found.sweeps:,} sweeps with {found.cells:,} labelled cells; {found.silent:,} without",
        *[f"  {count:,} {escape(name)}" for name, count in found.by_class.items()],
        *map(escape, [*found.lines, *found.left_out.lines()]),
        f"label container: {escape(str(out))}",
    )
    if found.left_out.damage is not None:
        raise typer.Exit(EXIT_DAMAGED)


@label.command()
@spread
def merge(
    containers: Annotated[list[Path], typer.Argument(metavar="LABELS...", help="Label containers.")],
    out: Annotated[Path, typer.Option(help="Folder for the label container; new, or empty.")],
) -> None:
    """Several label containers as one, by cell and sweep: of a cell the last one that has it counts."""
    from rich.markup import escape

    from agents import console
    from agents.labels.project import merge_containers

    with console.progress_bar("merging") as progress:
        windows, cells = merge_containers(containers, out, progress)
    console.show(f"{windows:,} sweeps with {cells:,} labelled cells", f"label container: {escape(str(out))}")
