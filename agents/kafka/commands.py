"""Commands for a Kafka cluster: topics, workers, producing, lag and dead letters.

What needs the extra ``kafka`` is imported when a command runs, so the others do without it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from agents.cluster_options import KafkaOptions
from agents.failure import EXIT_DAMAGED, EXIT_ERROR, require_learning
from agents.options import LIVE_BUDGET_MS, ConfigOptions, LogOptions, spread

if TYPE_CHECKING:
    from agents.kafka.dead_letters import Letter
    from agents.kafka.settings import KafkaSettings
    from stream.config import Config
    from stream.sources.base import Item, Source

LEARN_NICENESS = 10
THREAD_CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORKERS = ("perceive", "judge", "learn", "archive")

topics = typer.Typer(no_args_is_help=True, help="Make or check the topics of a cluster.")
dead_letters = typer.Typer(no_args_is_help=True, help="What could not become evidence, and why.")

LetterId = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it: topic-partition@offset.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(topics, name="topics")
    app.command()(worker)
    app.command()(produce)
    app.command()(lag)
    app.add_typer(dead_letters, name="dead-letters")


# ---- topics --------------------------------------------------------------------------------------------


@topics.command()
@spread
def create(
    kafka: KafkaOptions,
    replication: Annotated[int, typer.Option(min=1, help="Copies of every message; 3 in production.")] = 1,
) -> None:
    """Make the topics that are not there; those that are there are left as they are."""
    from agents import console
    from agents.kafka.admin import create_topics, run

    settings = kafka.to_settings()
    made = run(create_topics(settings, replication))
    console.show(*(f"made {name}" for name in made), f"{len(made)} topics made on {settings.bootstrap}")


@topics.command()
@spread
def check(kafka: KafkaOptions) -> None:
    """Say what is wrong with the topics; exit code 1 when something is."""
    from agents import console
    from agents.kafka.admin import check_topics, run

    settings = kafka.to_settings()
    wrong = run(check_topics(settings))
    console.show(*wrong)
    if wrong:
        raise typer.Exit(EXIT_ERROR)
    console.show(f"all topics on {settings.bootstrap} are as workers need them")


# ---- workers -------------------------------------------------------------------------------------------


@spread
def worker(
    agent: Annotated[
        Literal["perceive", "judge", "learn", "archive", "all"],
        typer.Argument(metavar="AGENT", help="perceive, judge, learn, archive, or all four."),
    ],
    kafka: KafkaOptions,
    settings: ConfigOptions,
    instance: Annotated[
        str | None, typer.Option(help="Stable name in its group; two workers must not share one.")
    ] = None,
) -> None:
    """Run an agent on a cluster until told to stop (Ctrl-C, SIGTERM)."""
    if agent == "all":
        _run_all(kafka, settings, instance)
    if agent == "learn":
        _stand_back()
    config, cluster = _ready(agent, kafka, settings, instance)
    from agents.kafka.play import play_of
    from agents.kafka.worker import Worker

    Worker(agent, cluster, play_of(agent, config, cluster)).run()


def _stand_back() -> None:
    """Learning takes all the time there is, forecasts must not wait for it: set before numpy is there."""
    os.nice(LEARN_NICENESS)
    for name in THREAD_CAPS:
        os.environ.setdefault(name, "1")


def _ready(
    agent: str, kafka: KafkaOptions, settings: ConfigOptions, instance: str | None
) -> tuple[Config, KafkaSettings]:
    """Configuration and cluster of a worker that can start; raises what a user has to mend."""
    from agents.kafka.admin import require_topics, run

    config, cluster = _worker_config(agent, settings), kafka.to_settings(instance)
    if agent in ("learn", "all") and config.learn.enabled:
        require_learning()
    run(require_topics(cluster))
    return config, cluster


def _worker_config(agent: str, settings: ConfigOptions) -> Config:
    """The configuration, with what workers cannot do without.

    Sweeps do not wait for learning, so it gets a budget. There is no log in which a map frame could be found.
    Raises ConfigError without a map frame
    """
    from stream.config import ConfigError

    config = settings.load()
    if config.learn.enabled and config.learn.budget_ms is None:
        config = settings.load(f"learn.budget_ms={LIVE_BUDGET_MS}")
        if agent == "learn" and config.learn.budget_ms is not None:
            typer.echo(f"learn.budget_ms is not set: {LIVE_BUDGET_MS} ms a sweep", err=True)
    if config.grid.map_frame in ("", "auto"):
        raise ConfigError(
            f"grid.map_frame: {config.grid.map_frame!r} cannot be found without a log; name the fixed frame "
            "of the robots, for example --set grid.map_frame=odom"
        )
    return config


def _run_all(kafka: KafkaOptions, settings: ConfigOptions, instance: str | None) -> None:
    """Run the four as processes of their own; ends with the worst of their exit codes."""
    from agents.kafka.supervisor import supervise

    logging.basicConfig(format="%(asctime)s %(message)s")
    _, cluster = _ready("all", kafka, settings, instance)
    where = f"on {cluster.bootstrap}, state in {cluster.folder}"
    typer.echo(f"workers {', '.join(WORKERS)} {where}; Ctrl-C stops them", err=True)
    program = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())", "worker"]
    shared = kafka.arguments() + settings.arguments()
    named = {name: ["--instance", f"{name}-{instance}"] if instance else [] for name in WORKERS}
    raise typer.Exit(supervise({name: [*program, name, *shared, *named[name]] for name in WORKERS}))


# ---- producing -----------------------------------------------------------------------------------------


@spread
def produce(
    logs: Annotated[list[str], typer.Argument(metavar="LOG...", help="Logs, or sim:city?...")],
    log: LogOptions,
    kafka: KafkaOptions,
    rate: Annotated[
        str,
        typer.Option(metavar="real|max|N", help="As recorded, as fast as it goes, or N times as recorded."),
    ] = "real",
) -> None:
    """Send logs, one after the other, as their robots would have sent them."""
    from agents import console
    from agents.kafka.admin import require_topics, run

    speed, settings = speed_of(rate), kafka.to_settings()
    sources = [log.open(location) for location in logs]
    run(require_topics(settings))
    damages: list[str] = []
    for location, source in zip(logs, sources, strict=True):
        messages, sweeps, damage = _send(source, settings, speed)
        console.show(escape(f"{location}: {messages:,} messages sent, {sweeps:,} of them sweeps"))
        damages += [damage] if damage else []
    if damages:
        typer.echo(f"octastream: sent up to the damage: {'; '.join(damages)}", err=True)
        raise typer.Exit(EXIT_DAMAGED)


def speed_of(rate: str) -> float | None:
    """Times as fast as recorded; None for as fast as it goes.  Raises ConfigError"""
    from stream.config import ConfigError

    try:
        speed = {"real": 1.0, "max": None}[rate] if rate in ("real", "max") else float(rate)
    except ValueError:
        speed = 0.0
    if speed is not None and not 0 < speed <= 1e6:
        raise ConfigError(f"--rate {rate!r}: must be real, max, or how many times as fast, for example 2")
    return speed


def _send(source: Source, settings: KafkaSettings, speed: float | None) -> tuple[int, int, str]:
    """Send one log; returns the number of messages, of sweeps, and what cut it short."""
    from agents import console
    from agents.kafka.admin import run
    from agents.kafka.produce import produce as send
    from stream.sources.base import Damage
    from stream.topics import SWEEPS

    total, sweeps, damage = source.info().sweeps, 0, ""

    def watched(items: Iterable[Item]) -> Iterator[Item]:
        nonlocal damage
        for item in items:
            if isinstance(item, Damage):
                damage = f"{item.location}: {item.detail}"
            yield item

    with console.progress_bar("sending") as progress:

        def count(stamp_ns: int, topic: str) -> None:
            nonlocal sweeps
            if topic == SWEEPS:
                sweeps += 1
                progress(sweeps, total, "")

        messages = run(send(watched(source), settings, speed=speed, on_message=count))
    return messages, sweeps, damage


# ---- lag -----------------------------------------------------------------------------------------------


@spread
def lag(kafka: KafkaOptions) -> None:
    """How far each agent is: what its group has acknowledged of each partition, and what is left."""
    from agents import console
    from agents.kafka.admin import require_topics, run
    from agents.kafka.lag import lags
    from agents.kafka.tables import lag_lines, lag_table

    settings = kafka.to_settings()
    run(require_topics(settings))
    found = run(lags(settings))
    console.show(lag_table(found), *lag_lines(found))


# ---- dead letters --------------------------------------------------------------------------------------


@dead_letters.command("list")
@spread
def list_letters(
    kafka: KafkaOptions,
    reason: Annotated[str | None, typer.Option(help="Those of this reason only.")] = None,
    robot: Annotated[str | None, typer.Option(help="Those of this robot only.")] = None,
    last: Annotated[int, typer.Option(min=0, help="Show the newest N; all are counted.")] = 50,
) -> None:
    """Dead letters, the newest last, and how many there are by reason."""
    from agents import console
    from agents.kafka.admin import require_topics, run
    from agents.kafka.dead_letters import newest_letters
    from agents.kafka.partitions import Partitions
    from agents.kafka.tables import letters_table, reasons_line

    settings = kafka.to_settings()

    async def work() -> tuple[list[Letter], Counter[str]]:
        async with Partitions.open(settings) as partitions:
            return await newest_letters(partitions, settings, reason=reason, robot=robot, last=last)

    run(require_topics(settings))
    newest, counts = run(work())
    console.show(*([letters_table(newest)] if newest else []), reasons_line(counts))


@dead_letters.command()
@spread
def show(letter: LetterId, kafka: KafkaOptions) -> None:
    """Everything about one dead letter, and about the message that it is about while that is there."""
    from agents import console
    from agents.kafka.admin import require_topics, run
    from agents.kafka.dead_letters import letter_at
    from agents.kafka.originals import originals_of
    from agents.kafka.partitions import Partitions
    from agents.kafka.tables import original_rows

    settings = kafka.to_settings()

    async def work() -> list[tuple[str, str]]:
        async with Partitions.open(settings) as partitions:
            found = await letter_at(partitions, settings, letter)
            return [row async for item in originals_of(partitions, [found]) for row in original_rows(item)]

    run(require_topics(settings))
    console.show(console.grid(run(work())))


@dead_letters.command()
@spread
def replay(
    kafka: KafkaOptions,
    letters: Annotated[
        list[str] | None, typer.Argument(metavar="[ID]...", help="As the list shows them.")
    ] = None,
    reason: Annotated[str | None, typer.Option(help="All letters of this reason instead.")] = None,
) -> None:
    """Send the messages of dead letters again, byte for byte; exit code 1 when one cannot be."""
    from agents import console
    from agents.kafka import originals
    from agents.kafka.admin import require_topics, run
    from agents.kafka.dead_letters import letter_at, newest_letters
    from agents.kafka.log import KafkaLog
    from agents.kafka.partitions import Partitions
    from agents.kafka.tables import replay_line
    from stream.config import ConfigError

    if bool(letters) == (reason is not None):
        raise ConfigError("dead-letters replay: name letters, or --reason REASON, one of both")
    settings = kafka.to_settings()

    async def work() -> list[tuple[str, bool]]:
        async with Partitions.open(settings) as partitions:
            if reason is not None:
                chosen, _ = await newest_letters(partitions, settings, reason=reason)
            else:
                names = dict.fromkeys(letters or [])
                chosen = [await letter_at(partitions, settings, name) for name in names]
            if not chosen:
                return []
            async with KafkaLog(settings) as log:
                return [
                    (replay_line(*item), item[1] is None)
                    async for item in originals.replay(partitions, log, chosen)
                ]

    run(require_topics(settings))
    lines = run(work())
    failed = sum(refused for _, refused in lines)
    console.show(*(line for line, _ in lines), f"{len(lines) - failed} sent again, {failed} not")
    if failed:
        raise typer.Exit(EXIT_ERROR)
