"""The commands ``octastream objects find | train | score``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agents.failure import EXIT_DAMAGED, require_learning
from agents.options import ConfigOptions, LogOptions, spread
from stream.progress import Progress

if TYPE_CHECKING:
    from rich.table import Table

    from agents.objects.forecast import Scores

objects = typer.Typer(
    no_args_is_help=True, help="Find moving objects, follow them and forecast where they go."
)

HEADS = {
    "min_ade_m": "minADE, m", "min_fde_m": "minFDE, m", "miss_rate": "miss rate",
    "top_ade_m": "likeliest: ADE, m", "top_fde_m": "FDE, m",
}  # fmt: skip
"""Of columns of scores, as the literature names them."""
COUNTS = ("objects", "detections", "n")


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(objects, name="objects")


@objects.command()
@spread
def find(
    log_name: Annotated[str, typer.Argument(metavar="LOG", help="A log, or sim:city?...")],
    out: Annotated[Path, typer.Option(help="Parquet file of objects; one that lies there is replaced.")],
    log: LogOptions,
    settings: ConfigOptions,
    sweeps: Annotated[int | None, typer.Option(min=1, help="Stop after N sweeps.")] = None,
    detector: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="ONNX file: find standing objects, and classes, too.")
    ] = None,
    forecaster: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="ONNX file of `objects train`: forecast, too.")
    ] = None,
) -> None:
    """The moving objects of a log: boxes, cells, tracks and speeds, sweep by sweep."""
    from rich.markup import escape

    from agents import console
    from agents.objects.examples import Find
    from agents.objects.find import find_objects
    from models.objects.components import find_moving
    from models.objects.detector import DetectorModel
    from models.objects.kinds import KINDS
    from models.objects.onnx_models import ForecastModel

    finder: Find = find_moving
    if detector is not None:
        finder = DetectorModel(detector.name, detector.read_bytes()).find
    source, config = log.open(log_name), settings.load()
    model = None
    if forecaster is not None:
        model = ForecastModel(forecaster.name, forecaster.read_bytes()).check(config)
    forecast = None if model is None else model.forecast
    with console.progress_bar("finding objects") as progress:
        counts = find_objects(
            source, config, out, progress, find=finder, kinds=KINDS, forecast=forecast, max_sweeps=sweeps
        )
    console.show(
        f"{counts.sweeps:,} sweeps, {counts.objects:,} times an object was seen",
        f"{len(counts.tracks):,} tracks, {len(counts.moving):,} of them faster than 1 m/s"
        + (f"; {counts.forecast:,} forecasts" if model else ""),
        escape(str(out)),
    )
    if counts.damage:
        typer.echo(f"octastream: processed up to the damage: {counts.damage}", err=True)
        raise typer.Exit(EXIT_DAMAGED)


@objects.command()
@spread
def train(
    what: Annotated[Literal["forecaster", "detector"], typer.Argument(help="What is to learn.")],
    out: Annotated[Path, typer.Option(help="ONNX file of the model.")],
    settings: ConfigOptions,
    encoder: Annotated[Literal["gru", "transformer"], typer.Option(help="What reads the history.")] = "gru",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and what is varied.")] = 0,
) -> None:
    """Train a forecaster of trajectories, or a detector, on simulated drives."""
    from rich.markup import escape

    from agents import console
    from agents.objects import detection, forecast
    from agents.objects.examples import examples_of, path_examples

    require_learning()
    config = settings.load()
    places, seen = (forecast.PATHS, forecast.DRIVES) if what == "forecaster" else ((), detection.DRIVES)
    with console.progress_bar("driving") as progress:
        told = _over([*places, *seen], progress)
        paths = [path_examples(location, config, next(told)) for location in places]
        drives = [examples_of(location, config, progress=next(told)) for location in seen]
    with console.progress_bar("training", unit="steps") as progress:
        if what == "forecaster":
            motions, futures = forecast.examples(paths, drives)
            moments = sum(len(own) for own, _ in paths) + sum(len(drive.motions) for drive in drives)
            said = f"{moments:,} moments of objects"
            data = forecast.train(motions, futures, config, encoder, seed, progress)
        else:
            from models.object_export import export_detector
            from models.training.detection import train_detector

            cells = [example for drive in drives for example in drive.cells]
            on = sum(int((example.kind >= 0).sum()) for example in cells)
            said = f"{len(cells):,} sweeps, {on:,} cells of objects"
            data = export_detector(train_detector(cells, seed=seed, progress=progress))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(data)
    console.show(f"learnt from {said}, on {len(places) + len(drives)} drives", escape(str(out)))


@objects.command()
@spread
def score(
    settings: ConfigOptions,
    models: Annotated[
        list[Path] | None, typer.Argument(metavar="[MODEL]...", help="ONNX files of forecasters.")
    ] = None,
    detector: Annotated[
        Path | None, typer.Option(metavar="MODEL", help="Score this detector beside components instead.")
    ] = None,
    drive: Annotated[
        list[str] | None,
        typer.Option(metavar="LOG", help="Simulated drive, may be repeated. Default: two held-out ones."),
    ] = None,
) -> None:
    """Score forecasters on simulated drives beside constant velocity and turn, or a detector by class."""
    from agents import console
    from agents.objects import forecast
    from agents.objects.examples import examples_of
    from models.objects.onnx_models import ForecastModel

    if detector is not None:
        _score_detector(detector, settings, drive or list(forecast.HELD_OUT))
        return
    config, loaded, places = settings.load(), {}, drive or list(forecast.HELD_OUT)
    for path in models or []:
        loaded[path.stem] = ForecastModel(path.name, path.read_bytes()).check(config)
    with console.progress_bar("driving") as progress:
        told = _over(places, progress)
        drives = [examples_of(place, config, progress=next(told)) for place in places]
    motions, futures = forecast.gathered([(one.motions, one.futures) for one in drives])
    console.show(_table(forecast.score(motions, futures, loaded), "forecasts of 3 s"))


def _score_detector(path: Path, settings: ConfigOptions, places: list[str]) -> None:
    from agents import console
    from agents.objects import detection
    from agents.objects.examples import Seen
    from agents.objects.examples import drive as open_drive
    from models.objects.detector import DetectorModel

    config, model = settings.load(), DetectorModel(path.name, path.read_bytes())

    def sweeps(progress: Progress) -> Iterator[Seen]:
        for place, told in zip(places, _over(places, progress), strict=True):
            for done, seen in enumerate(open_drive(place, config), 1):
                told(done, None, place)
                yield seen

    with console.progress_bar("driving") as progress:
        scores = detection.score(sweeps(progress), {path.stem: model.find})
    console.show(_table(scores, "objects found"))


def _over(places: list[str], progress: Progress) -> Iterator[Progress]:
    """One progress a drive, that together count all their sweeps."""
    from functools import partial

    from agents.objects.examples import sweeps_of

    lengths = [sweeps_of(place) for place in places]

    def told(before: int, done: int, total: int | None, note: str) -> None:
        progress(before + done, sum(lengths), note)

    for number in range(len(places)):
        yield partial(told, sum(lengths[:number]))


def _table(scores: Scores, title: str) -> Table:
    from rich.box import SIMPLE
    from rich.table import Table

    table = Table(title=title, title_justify="left", title_style="bold", box=SIMPLE)
    table.add_column("what, which objects", no_wrap=True)
    keys = list(next(iter(next(iter(scores.values())).values())))
    for key in keys:
        table.add_column(HEADS.get(key, key.replace("_", " ")), justify="right", no_wrap=True)
    for name, groups in scores.items():
        for group, values in groups.items():
            cells = [_shown(key, values[key]) for key in keys]
            table.add_row(f"{name.replace('_', ' ')}, {group}", *cells)
    return table


def _shown(key: str, value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if key in COUNTS else f"{value:.3f}"
