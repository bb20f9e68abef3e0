"""The command line: each command calls one function of another module and shows what it returns."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from agents.care import commands as care_commands
from agents.cluster_options import TopicOptions
from agents.compare_command import compare
from agents.errors import commands as error_commands
from agents.failure import EXIT_DAMAGED, EXIT_ERROR, EXIT_INTERRUPTED, describe, require_learning
from agents.kafka import commands as kafka_commands
from agents.kafka.worker_command import require_map_frame
from agents.labels import commands as label_commands
from agents.models_commands import add_to as add_models
from agents.networks.commands import tune
from agents.objects import commands as object_commands
from agents.options import ConfigOptions, LogOptions, ReplayFlags, spread
from agents.paint_command import paint
from agents.predict_command import predict
from agents.studies.commands import add_to as add_studies
from agents.targets import commands as target_commands
from agents.training_sets import commands as dataset_commands
from agents.web.serve_command import serve

if TYPE_CHECKING:
    from agents.replay import RunResult
    from stream.config import Config
    from stream.sources.base import Source

DEMO_LOG = "sim:city?sweeps=80&beams=32&seed=5&events=rain@55"

app = typer.Typer(
    name="octastream",
    help="Streaming 3D occupancy forecasts that learn from what later LiDAR sweeps reveal.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Log = Annotated[
    str,
    typer.Argument(
        metavar="LOG",
        help="A log (MCAP, rosbag2, PCD, KITTI, nuScenes, LAS, PLY, volumes), sim:city?... or kafka://TOPIC",
    ),
]
Run = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")]


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Run folder; a run that lies there is replaced.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Replay a simulated city in which it begins to rain, learn on the way and write a report."""
    from agents.outfolder import claim

    config = ConfigOptions().load()
    source = LogOptions(robot="demo").open(DEMO_LOG)
    flags = ReplayFlags(force=True)
    require_learning()
    _show_run(_replay([source], config, claim(out, force=True), flags))


@app.command()
@spread
def replay(
    logs: Annotated[list[str], typer.Argument(metavar="LOG...", help="Logs, sim:city?... or kafka://TOPIC")],
    out: Annotated[Path, typer.Option(help="Folder for the run.")],
    log: LogOptions,
    settings: ConfigOptions,
    flags: ReplayFlags,
    topic: TopicOptions,
) -> None:
    """Forecast every sweep of a log, score the forecasts on what later sweeps reveal, and learn from them."""
    from agents.outfolder import claim

    flags.check(out)
    config = settings.load(*flags.overrides())
    sources = [log.open(location, topic) for location in logs]
    if config.learn.enabled:
        require_learning()
    _show_run(_replay(sources, config, claim(out, force=flags.force), flags))


@app.command()
@spread
def doctor(
    location: Log,
    log: LogOptions,
    settings: ConfigOptions,
    topic: TopicOptions,
    sweeps: Annotated[int | None, typer.Option(min=1, help="Look at the first N sweeps only.")] = None,
) -> None:
    """Dry run on a log: topics, frames, poses, stamps, points, what a replay would reject and cost."""
    from time import perf_counter

    from agents import console
    from agents.advice import advise, replay_command
    from agents.doctor import diagnose
    from agents.stopwatch import Stopwatch

    config, source = settings.load(), log.open(location, topic)
    with console.progress_bar("reading") as progress:
        diagnosis = diagnose(
            source,
            config,
            stopwatch=Stopwatch(perf_counter),
            max_sweeps=sweeps,
            progress=progress,
        )
    findings = advise(diagnosis, config)
    given = log.arguments() + settings.arguments() + topic.arguments_for(location)
    command = replay_command(location, given, findings)
    console.show(
        console.grid(console.log_rows(diagnosis.info) + console.diagnosis_rows(diagnosis)),
        *console.findings_text(findings),
        console.command_text(command),
    )
    if any(finding.level == "problem" and not finding.flags for finding in findings):
        raise typer.Exit(EXIT_ERROR)


@app.command()
def explain(
    run: Run,
    prediction_id: Annotated[str, typer.Argument(help="robot/sensor/stamp, as in its rows of sweeps.")],
    cells: Annotated[int, typer.Option(min=0, help="Show the N cells that surprised most.")] = 8,
    features: Annotated[bool, typer.Option("--features", help="Show the features of these cells.")] = False,
) -> None:
    """Rebuild a prediction's features from stored containers, compare their digest, show the cells."""
    from agents import console, explanation
    from agents.explain import explain as rebuild

    found = rebuild(run, prediction_id)
    console.show(*explanation.describe(found, cells, features))
    if not found.matches:
        raise typer.Exit(EXIT_ERROR)


@app.command()
@spread
def info(location: Log, log: LogOptions, topic: TopicOptions) -> None:
    """What a log holds, without decoding its points."""
    from agents import console

    console.show(console.grid(console.log_rows(log.open(location, topic).info())))


@app.command()
@spread
def prior(
    settings: ConfigOptions,
    out: Annotated[Path, typer.Option(help="Folder for the model.")],
    logs: Annotated[
        list[str] | None, typer.Argument(metavar="[LOG]...", help="Default: simulated worlds.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=100, help="Optimiser steps.")] = None,
) -> None:
    """Train a network on logs, from scratch, as what later runs start from (learn.prior)."""
    from agents import console
    from agents.prior import LOGS, STEPS, make_prior

    require_learning()
    named = enumerate(logs or LOGS)  # stamps of simulated logs coincide, so each is a robot of its own
    sources = [LogOptions(robot=f"prior-{place}").open(location) for place, location in named]
    with console.progress_bar("prior") as progress:
        folder = make_prior(sources, settings.load(), out, steps or STEPS, progress)
    console.show(f"prior: {folder}")


@app.command()
@spread
def record(
    log: LogOptions,
    settings: ConfigOptions,
    topic: TopicOptions,
    places: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[LOG|RUN]...",
            help="Logs and run folders. Default: the topics of a cluster, as they come.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.mcap", help="Write Foxglove's messages as MCAP.")
    ] = None,
    rerun: Annotated[
        Path | None, typer.Option(metavar="FILE.rrd", help="Write a recording for Rerun.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Record sweeps, cells, forecasts and outcomes for Foxglove or Rerun; Ctrl-C ends it in good order."""
    from agents import console, record
    from stream.config import ConfigError

    openers = record.openers_of(out, rerun)
    if places and settings.arguments():
        raise ConfigError(
            f"{' '.join(settings.arguments())}: only for topics; logs have no cells, runs their own"
        )
    if places:
        opened = [record.place_of(place, lambda log_at: log.open(log_at, topic)) for place in places]
        with console.progress_bar("recording") as progress:
            found = record.record_places(opened, openers, force=force, progress=progress)
    else:
        config = settings.load()
        require_map_frame(config)
        if log.arguments():
            raise ConfigError(f"{' '.join(log.arguments())}: only for logs; topics are recorded as they come")
        cluster = topic.to_settings()
        with console.progress_bar("recording", unit="messages") as progress:
            found = record.record_cluster(
                cluster, config, openers, begin=topic.begin, end=topic.end, force=force, progress=progress,
                on_start=lambda: typer.echo(f"recording {cluster.bootstrap}; Ctrl-C ends it", err=True),
            )  # fmt: skip
    console.show(*map(escape, found.lines(openers)))
    if found.damage:
        typer.echo(f"octastream: recorded up to the damage: {found.damage}", err=True)
        raise typer.Exit(EXIT_DAMAGED)
    if places and found.stopped:
        typer.echo("octastream: interrupted: recorded up to here", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)


@app.command()
def report(run: Run) -> None:
    """Write report.html of a run again."""
    from agents import console
    from agents.report import build_report

    console.show(f"report: {build_report(run)}")


@app.command()
def sample(
    out: Annotated[Path, typer.Option(metavar="FILE.mcap", help="File to write, about 5 MB.")],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a sample log: ten seconds of a simulated city, as ROS 2 would have recorded them."""
    from agents import console
    from agents.sample import write_sample

    with console.progress_bar("simulating") as progress:
        written = write_sample(out, force=force, progress=progress)
    if not written:
        typer.echo("octastream: interrupted", err=True)
        raise typer.Exit(EXIT_INTERRUPTED)
    console.show(f"{escape(str(out))}: {out.stat().st_size / 1e6:.1f} MB")


@app.command()
@spread
def cell(
    ids: Annotated[
        list[str],
        typer.Argument(metavar="ID...", help="hexadecimal, decimal or bech32m; - reads lines of stdin."),
    ],
    settings: ConfigOptions,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
) -> None:
    """All about a cell id of any kind: its fields, site, texts, parent, children and neighbours."""
    from itertools import chain

    from agents import cell as cells
    from agents import console

    texts = chain.from_iterable(sys.stdin if text == "-" else [text] for text in ids)
    if not as_json:
        half_edge_lod0_m = settings.load().grid.half_edge_lod0_m
        for i, found in enumerate(cells.read(text) for text in texts if text.strip()):
            console.show(*[""][: i > 0], console.grid(cells.rows(found, half_edge_lod0_m)))
        return
    refused = 0
    for line, good in cells.json_lines(texts):
        typer.echo(line)
        refused += not good
    if refused:
        typer.echo(f"octastream: no ids of cells: {refused}", err=True)
        raise typer.Exit(EXIT_ERROR)


@app.command()
def trace(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")],
    otlp: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Send to a collector, as http://127.0.0.1:4318/v1/traces."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write what a collector's file exporter writes.")
    ] = None,
) -> None:
    """Traces of a run for OpenTelemetry: each sweep, its forecast, what came of it, what learnt from it."""
    from agents.outfolder import holds_run
    from agents.trace import batches, export, spans_of_run
    from stream.config import ConfigError

    if (otlp is None) == (out is None):
        raise ConfigError("trace: give --otlp URL or --out FILE, one of them")
    if not holds_run(run):
        raise ConfigError(f"{run}: is no run folder")
    spans = export(batches(spans_of_run(run)), url=otlp, file=out)
    typer.echo(f"{spans:,} spans", err=True)


@app.command()
def simulate(
    seed: Annotated[int | None, typer.Option(min=0, help="Run this seed alone.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Run so many seeds, from --first on.")] = 100,
    first: Annotated[int, typer.Option(min=0, help="The first of many seeds.")] = 0,
    jobs: Annotated[int, typer.Option(min=1, help="Processes for many seeds.")] = 1,
    trace: Annotated[
        bool, typer.Option("--trace", help="Show the history; of a failure, the shortest.")
    ] = False,
) -> None:
    """Run the agents on a simulated cluster with crashes, delays and faults; check that nothing is lost."""
    from time import perf_counter

    from agents import console
    from agents.simulation import show
    from agents.simulation.many import run_many

    if seed is not None:
        _simulate_one(seed, trace)
        return
    begin = perf_counter()
    with console.progress_bar("simulating", unit="seeds") as progress:
        tally = run_many(range(first, first + seeds), jobs, progress)
    console.show(*show.summary(tally, perf_counter() - begin))
    if tally.failed:
        raise typer.Exit(EXIT_ERROR)


@app.command()
def version() -> None:
    """Versions of octastream and of what its results depend on."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    for name in ("octastream", "numpy", "onnxruntime", "torch", "river"):
        try:
            typer.echo(f"{name} {version_of(name)}")
        except PackageNotFoundError:
            typer.echo(f"{name} not installed")
    typer.echo(f"python {sys.version.split()[0]}")


def _simulate_one(seed: int, trace: bool) -> None:
    from agents import console
    from agents.simulation import show
    from agents.simulation.run import simulate
    from agents.simulation.shrink import shrink

    result = simulate(seed)
    if trace and not result.violations:
        console.show(*show.history(result))
    console.show(*show.verdict(result))
    if not result.violations:
        return
    if trace:
        with console.progress_bar("shrinking", unit="runs") as progress:
            cut, short = shrink(result, on_try=lambda runs: progress(runs, None, ""))
        console.show(*show.shortest(cut, short))
    raise typer.Exit(EXIT_ERROR)


app.command()(serve)
app.command()(tune)
app.command()(compare)
app.command()(paint)
app.command()(predict)
kafka_commands.add_to(app)
care_commands.add_to(app)
error_commands.add_to(app)
label_commands.add_to(app)
add_models(app)
add_studies(app)
target_commands.add_to(app)
dataset_commands.add_to(app)
object_commands.add_to(app)


def _replay(sources: Sequence[Source], config: Config, out: Path, flags: ReplayFlags) -> RunResult:
    from agents import console
    from agents.replay import replay as run

    with console.progress_bar("replaying") as progress:
        return run(list(sources), config, out, flags.to_options(), progress)


def _show_run(result: RunResult) -> None:
    from agents import console

    console.show(console.scores(result.summary), *console.run_lines(result.summary, result.report))
    if result.damage:
        typer.echo(f"octastream: processed up to the damage: {result.damage}", err=True)
        raise typer.Exit(EXIT_DAMAGED)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; an error becomes one line on stderr, with a traceback only under OCTA_DEBUG=1."""
    try:
        code = app(args=arguments, prog_name="octastream", standalone_mode=False)
    except BaseException as error:
        if isinstance(error, SystemExit) or os.environ.get("OCTA_DEBUG") == "1":
            raise
        line, code = describe(error)
        if line:
            typer.echo(f"octastream: {line}", err=True)
    return code if isinstance(code, int) else 0
