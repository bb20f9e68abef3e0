"""The command that serves over HTTP.

What needs the extra ``serve`` is imported when the command runs, so the others do without it.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from agents.cluster_options import TopicOptions
from agents.failure import require_learning
from agents.options import LIVE_BUDGET_MS, ConfigOptions, LogOptions, spread
from agents.web.options import LimitOptions, ListenOptions
from agents.web.page_options import PageOptions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from agents.web.feed import Feed
    from models.objects.onnx_models import ForecastModel
    from stream.config import Config


@spread
def serve(
    listen_on: ListenOptions,
    log: LogOptions,
    settings: ConfigOptions,
    topic: TopicOptions,
    limit: LimitOptions,
    page: PageOptions,
    replay: Annotated[
        str | None, typer.Option(metavar="LOG|RUN", help="Play a log, sim:city?..., or a run folder.")
    ] = None,
    kafka: Annotated[bool, typer.Option("--kafka", help="Follow the topics of a cluster instead.")] = False,
    rate: Annotated[
        str,
        typer.Option(metavar="real|max|N", help="As recorded, as fast as it goes, or N times as recorded."),
    ] = "real",
    loop: Annotated[bool, typer.Option("--loop", help="Begin anew, each time the log has ended.")] = False,
    out: Annotated[
        Path, typer.Option(help="Run folder of a played log; a run that lies there is replaced.")
    ] = Path("runs/serve"),
    no_learn: Annotated[bool, typer.Option("--no-learn", help="Play without learning; no torch.")] = False,
    folder: Annotated[
        Path, typer.Option(help="Of --kafka: models, snapshots and archive of the workers.")
    ] = Path("runs/kafka-state"),
    lookback: Annotated[
        float,
        typer.Option(metavar="SECONDS", min=5, max=86_400, help="Of --kafka: begin with what is so old."),
    ] = 60.0,
    history: Annotated[
        float, typer.Option(metavar="SECONDS", help="Forecasts are explained from memory so long.")
    ] = 5.0,
    provider: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="ONNX Runtime execution provider; may be repeated. Default: CPU."),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Of one forecast that is made here.")] = 1,
    ab_results: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Keep what comes of an A/B in it, and go on from it. One server a file."
        ),
    ] = None,
    forecaster: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL[#sha256=HEX]",
            help="ONNX file of `objects train forecaster`, for /trajectories; refused with another sha256.",
        ),
    ] = None,
) -> None:
    """Answer over HTTP and on a live page what is forecast, mapped and scored: of a log, or a cluster."""
    from agents.listener import listen, url_of
    from agents.web.server import ServerOptions
    from agents.web.server import serve as run
    from agents.web.world import WorldOptions
    from stream.config import ConfigError

    if (replay is None) == (not kafka):
        raise ConfigError("serve: give --replay LOG, --replay RUN or --kafka, one of them")
    providers = _providers(provider or [])
    options = ServerOptions(
        access=listen_on.access(),
        limits=limit.to_limits(),
        world=WorldOptions(history_s=history),
        page=page,
        providers=providers,
        threads=threads,
        results=ab_results,
        trajectories=_forecaster(forecaster, threads, providers) if forecaster is not None else None,
        tls=listen_on.tls(),
    )
    feed: Feed
    if replay is None:
        feed = _followed(log, settings, topic, folder, lookback)
    else:
        feed = _replayed(replay, log, settings, topic, rate=rate, loop=loop, out=out, no_learn=no_learn)
    with listen(listen_on.host, listen_on.port, "--host, --port") as listener:
        url = url_of(listener) if options.tls is None else url_of(listener).replace("http", "https", 1)
        typer.echo(f"serves {feed.name} on {url}; Ctrl-C ends it", err=True)
        if warning := listen_on.warning(options.access):
            typer.echo(f"octastream: {warning}", err=True)
        run(feed, listener, options)


def _followed(
    log: LogOptions, settings: ConfigOptions, topic: TopicOptions, folder: Path, lookback: float
) -> Feed:
    from agents.kafka.worker_command import require_map_frame
    from agents.web.kafka_feed import KafkaFeed
    from stream.config import ConfigError

    spare = [*log.arguments(), *(["--from"] if topic.begin else []), *(["--to"] if topic.end else [])]
    if spare:
        raise ConfigError(f"{' '.join(spare)}: only for --replay; topics are followed as they come")
    config = settings.load()
    require_map_frame(config)
    cluster = dataclasses.replace(topic.to_settings(), folder=folder)
    return KafkaFeed(cluster, config, lookback)


def _replayed(
    location: str,
    log: LogOptions,
    settings: ConfigOptions,
    topic: TopicOptions,
    *,
    rate: str,
    loop: bool,
    out: Path,
    no_learn: bool,
) -> Feed:
    from agents.outfolder import holds_run
    from agents.tempo import speed_of
    from agents.web.replay_feed import ReplayFeed
    from agents.web.stored_feed import StoredFeed
    from stream.config import ConfigError

    speed = speed_of(rate)
    if holds_run(Path(location)):
        given = [*log.arguments(), *settings.arguments(), *(["--no-learn"] if no_learn else [])]
        if given:
            raise ConfigError(f"{' '.join(given)}: only for logs; a run has its own configuration")
        return StoredFeed(Path(location), speed=speed, loop=loop)
    source = log.open(location, topic)
    config = _config(settings, speed, no_learn)
    return ReplayFeed(
        [source], config, out, speed=speed, loop=loop, say=lambda line: typer.echo(line, err=True)
    )


def _config(settings: ConfigOptions, speed: float | None, no_learn: bool) -> Config:
    """The configuration; at a sensor's pace learning has a budget, since sweeps do not wait for it."""
    more = ["learn.enabled=false"] if no_learn else []
    if speed is not None:
        more.append(f"learn.budget_ms={LIVE_BUDGET_MS}")
    config = settings.load(*more)
    if config.learn.enabled:
        require_learning()
    return config


def _forecaster(given: str, threads: int, providers: Sequence[str]) -> ForecastModel:
    """A forecaster of trajectories; its digest is in its id.  Raises ConfigError, ModelRefused"""
    from models.manifest import ModelRefused, sha256_of
    from models.objects.onnx_models import ForecastModel
    from stream.config import ConfigError

    path, pinned, wanted = given.partition("#sha256=")
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"--forecaster {path}: {error.strerror}") from error
    digest = sha256_of(data)
    if pinned and wanted.lower() != digest:
        raise ModelRefused(f"--forecaster {path}: has sha256 {digest}, wanted is {wanted or 'none'}")
    try:
        return ForecastModel(f"trajectories-{digest[:12]}", data, threads, providers)
    except ModelRefused as error:
        raise ModelRefused(f"--forecaster {path}: {error}") from error


def _providers(named: list[str]) -> list[str]:
    """Execution providers to use.  Raises ConfigError for one that this ONNX Runtime does not have"""
    from models.runtime import CPU, available_providers
    from stream.config import ConfigError

    for name in named:
        if name not in available_providers():
            raise ConfigError(
                f"--provider {name!r}: this ONNX Runtime has {', '.join(available_providers())}"
            )
    return named or [CPU]
