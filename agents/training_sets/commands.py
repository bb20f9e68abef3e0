"""The commands ``octastream dataset build | info | merge | recompute | verify | serve | windows``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from agents.failure import EXIT_ERROR
from agents.options import ConfigOptions, spread

if TYPE_CHECKING:
    from agents.training_sets.build import RunSource
    from agents.training_sets.objects import Things
    from models.training_sets.merge import Merged

dataset = typer.Typer(
    no_args_is_help=True,
    help="Training sets out of runs: partitioned Parquet that takes new labels and features; stored windows.",
)

Set = Annotated[Path, typer.Argument(metavar="SET", help="Folder of a training set.")]
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]
Replace = Annotated[
    bool, typer.Option("--replace", help="Put new values in place of columns that are there.")
]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(dataset, name="dataset")


@dataset.command()
@spread
def build(
    settings: ConfigOptions,
    out: Annotated[Path, typer.Option(help="Folder of the training set; made, or added to.")],
    runs: Annotated[list[Path] | None, typer.Argument(metavar="[RUN]...", help="Run folders.")] = None,
    folder: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Workers' folder: its archive, with their --config.")
    ] = None,
    from_run: Annotated[
        list[Path] | None,
        typer.Option(metavar="RUN", help="Take the cells of this run that --where chooses."),
    ] = None,
    where: Annotated[
        str | None, typer.Option(metavar="EXPR", help="As 'occupied and probability < 0.2'; see the guide.")
    ] = None,
    region_lod: Annotated[
        int | None, typer.Option(min=0, max=15, help="LOD of the regions. Default: that of the error map.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="LABELS", help="Label container: its instances into a table of objects, too."),
    ] = None,
    found: Annotated[
        Path | None,
        typer.Option(metavar="TABLE", help="Of `objects find`: its objects into a table of objects, too."),
    ] = None,
) -> None:
    """Write what runs predicted from, and what came of it, as Parquet; add what is new to a set."""
    from agents import console
    from agents.training_sets.build import build as build_set

    sources = _sources(settings, runs or [], folder, from_run or [], where)
    things = _things(sources, labels, found)
    with console.progress_bar("building") as progress:
        rows = build_set(sources, out, region_lod=region_lod, progress=progress)
    rest = [f"{rows.known:,} sweeps were in it"] if rows.known else []
    rest += [f"{rows.waiting:,} wait for their outcomes"] if rows.waiting else []
    rest += [f"features of {rows.skewed:,} could not be rebuilt"] if rows.skewed else []
    rest += [f"no values yet in {', '.join(rows.empty)}"] if rows.empty else []
    console.show(
        escape("; ".join([f"{rows.sweeps:,} sweeps, {rows.rows:,} rows in {rows.parts:,} new files", *rest])),
        f"training set: {escape(str(out))}",
    )
    if things:
        _build_objects(sources, things, out)


@dataset.command()
def info(place: Set) -> None:
    """What a training set holds: partitions, rows, builds, columns and feature schemas."""
    from agents import console
    from agents.training_sets.tables import info_rows
    from models.training_sets.read import TrainingSet

    console.show(console.grid(info_rows(TrainingSet(place))))


@dataset.command()
def merge(
    place: Set,
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help=".parquet, .arrow, .csv, a folder, or a stored container.")
    ],
    column: Annotated[
        list[str] | None, typer.Option(help="Take this column; may be repeated. Default: all.")
    ] = None,
    prefix: Annotated[str, typer.Option(help="Put this before the names.")] = "",
    replace: Replace = False,
) -> None:
    """Add the columns of a table to a training set, by cell id and, where the table has it, stamp."""
    from agents import console
    from models.training_sets.additions import Additions
    from models.training_sets.merge import merge as merge_into

    additions = Additions(table, column, prefix)
    with console.progress_bar("merging", unit="files") as progress:
        found = merge_into(place, additions, replace=replace, progress=progress)
    console.show(_merged_line(found), f"joined by {', '.join(additions.keys)}")


@dataset.command()
def recompute(
    place: Set,
    runs: Runs,
    name: Annotated[str, typer.Option(help="Of the schema; columns become NAME_...")],
    set_: Annotated[
        list[str], typer.Option("--set", metavar="KEY=VALUE", help="What is otherwise, as window.bins=6.")
    ],
    config: Annotated[Path | None, typer.Option(help="Of archives, which hold none: the workers'.")] = None,
    replace: Replace = False,
) -> None:
    """Add the features of a second schema, from the runs a training set was built from."""
    from agents import console
    from agents.training_sets.build import source_of
    from agents.training_sets.recompute import recompute as recompute_into

    archives = ConfigOptions(config=config).load() if config is not None else None
    sources = [source_of(run, archives) for run in runs]
    with console.progress_bar("recomputing") as progress:
        found = recompute_into(place, sources, set_, name, replace=replace, progress=progress)
    console.show(_merged_line(found))


@dataset.command()
def verify(place: Set) -> None:
    """Whether a training set is whole: every file, every byte, every cell in its partition."""
    from agents import console
    from models.training_sets.manifest import read_manifest
    from models.training_sets.verify import verify as verify_set

    with console.progress_bar("verifying", unit="files") as progress:
        found = verify_set(place, progress)
    if found:
        console.show(*map(escape, found))
        raise typer.Exit(EXIT_ERROR)
    manifest = read_manifest(place)
    console.show(f"{manifest.rows:,} rows in {len(manifest.parts):,} files, all as they were published")


@dataset.command()
def serve(
    place: Set,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback see all rows.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8815,
) -> None:
    """Stream a training set over Arrow Flight, to each rank its share, until Ctrl-C."""
    from agents import console
    from models.training_sets.flight import TrainingSetServer

    server = TrainingSetServer(place, host, port)
    console.show(f"{escape(str(place))}: grpc://{host}:{server.port}; Ctrl-C ends it")
    server.serve()


@dataset.command()
def windows(
    runs: Runs,
    out: Annotated[Path, typer.Option(help="Folder for the stored container; new, or empty.")],
) -> None:
    """Write the windows of runs, with features and outcomes, as a stored container to train networks on."""
    from agents import console
    from agents.training_sets.windows import write_windows

    with console.progress_bar("writing") as progress:
        found = write_windows(runs, out, progress)
    console.show(
        f"{found.windows:,} windows, {found.rows:,} cells, {found.observed:,} outcomes"
        + (f"; features of {found.skewed:,} sweeps could not be rebuilt" if found.skewed else ""),
        f"stored container: {escape(str(out))}",
    )


def _sources(
    settings: ConfigOptions, runs: list[Path], folder: Path | None, from_run: list[Path], where: str | None
) -> list[RunSource]:
    """What to build from; options that would have no effect are refused."""
    from agents.care.inventory import places_of
    from agents.training_sets.build import RunSource, source_of
    from stream.config import ConfigError
    from stream.sweep_rows import sweep_files

    if bool(from_run) != (where is not None) or (from_run and (runs or folder)):
        raise ConfigError("build: give runs, or --folder DIR, or --from-run RUN with --where EXPR")
    if from_run and where is not None:
        from agents.training_sets.choose import chosen_cells

        found = [source_of(run) for run in from_run]
        return [
            RunSource(path=run.path, config=run.config, cells=chosen_cells(run.path, where), where=where)
            for run in found
        ]
    if folder is None and settings.arguments():
        raise ConfigError(f"{' '.join(settings.arguments())}: only with --folder; runs have their own")
    archives = settings.load() if folder is not None else None
    if archives is not None:
        from agents.kafka.worker_command import require_map_frame

        require_map_frame(archives)
    places = places_of([], folder) if folder is not None else []
    found = [source_of(run) for run in runs]
    found += [source_of(run, archives) for run in places if sweep_files(run)]
    if not found:
        raise ConfigError("build: no run is named, or no sweep is archived yet")
    return found


def _things(sources: list[RunSource], labels: Path | None, found: Path | None) -> list[Things]:
    """Who says what is an object; none where nobody was named."""
    if labels is None and found is None:
        return []
    from agents.training_sets.objects import FoundThings, LabelledThings
    from stream.config import ConfigError

    if any(source.cells is not None for source in sources):
        raise ConfigError("--labels, --found: objects are of whole runs; leave --from-run and --where out")
    things: list[Things] = [] if labels is None else [LabelledThings(labels, sources[0].config)]
    return things if found is None else [*things, FoundThings(found)]


def _build_objects(sources: list[RunSource], things: list[Things], out: Path) -> None:
    from agents import console
    from agents.training_sets.objects import build_objects, table_beside
    from models.training_sets.manifest import read_manifest

    place = table_beside(out)
    with console.progress_bar("building objects") as progress:
        found = build_objects(sources, things, place, read_manifest(out).region_lod, progress)
    rest = [f"{found.known:,} times a sweep was in it"] if found.known else []
    rest += [f"features of {found.skewed:,} sweeps could not be rebuilt"] if found.skewed else []
    rest += [f"{found.apart:,} without a cell that was predicted"] if found.apart else []
    console.show(
        "; ".join([f"{found.rows:,} objects of {found.sweeps:,} sweeps", *rest]),
        f"table of objects: {escape(str(place))}",
    )


def _merged_line(found: Merged) -> str:
    names = ", ".join(found.columns[:6]) + (f" and {len(found.columns) - 6} more" * (len(found.columns) > 6))
    return escape(f"{names}: {found.matched:,} of {found.rows:,} rows have values")
