"""Commands for a Kafka cluster: topics, producing, bridging, lag and dead letters.

What needs the extra ``kafka`` is imported when a command runs, so the others do without it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from agents.cluster_options import KafkaOptions
from agents.failure import EXIT_DAMAGED, EXIT_ERROR
from agents.kafka.worker_command import worker
from agents.options import LogOptions, spread

if TYPE_CHECKING:
    from agents.kafka.dead_letters import Letter
    from agents.kafka.produce import Words
    from agents.kafka.settings import KafkaSettings
    from stream.sources.base import Item, Source

topics = typer.Typer(no_args_is_help=True, help="Make or check the topics of a cluster.")
dead_letters = typer.Typer(no_args_is_help=True, help="What could not become evidence, and why.")

LetterId = Annotated[str, typer.Argument(metavar="ID", help="As the list shows it: topic-partition@offset.")]


def add_to(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(topics, name="topics")
    app.command()(worker)
    app.command()(produce)
    app.command()(bridge)
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
    messages: Annotated[
        Literal["ros2", "foxglove"], typer.Option(help="Whose messages are sent: CDR, or protobuf.")
    ] = "ros2",
) -> None:
    """Send logs, one after the other, as their robots would have sent them."""
    from agents import console
    from agents.kafka.admin import require_topics, run
    from agents.kafka.produce import words_of
    from agents.tempo import speed_of

    speed, settings, words = speed_of(rate), kafka.to_settings(), words_of(messages)
    sources = [log.open(location) for location in logs]
    run(require_topics(settings))
    damages: list[str] = []
    for location, source in zip(logs, sources, strict=True):
        sent, sweeps, damage = _send(source, settings, speed, words)
        console.show(escape(f"{location}: {sent:,} messages sent, {sweeps:,} of them sweeps"))
        damages += [damage] if damage else []
    if damages:
        typer.echo(f"octastream: sent up to the damage: {'; '.join(damages)}", err=True)
        raise typer.Exit(EXIT_DAMAGED)


def _send(source: Source, settings: KafkaSettings, speed: float | None, words: Words) -> tuple[int, int, str]:
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

        messages = run(send(watched(source), settings, speed=speed, words=words, on_message=count))
    return messages, sweeps, damage


# ---- bridging ------------------------------------------------------------------------------------------


@spread
def bridge(
    server: Annotated[
        str, typer.Argument(metavar="SERVER", help="ws://HOST:PORT of a Foxglove server, or ros2.")
    ],
    robot: Annotated[str, typer.Option(help="Name of the robot: first half of stream ids.")],
    kafka: KafkaOptions,
    topic: Annotated[
        list[str] | None, typer.Option(help="Point clouds to take, default all; may be repeated.")
    ] = None,
    tf: Annotated[
        list[str] | None, typer.Option(help="Transforms to take, default all; may be repeated.")
    ] = None,
    tf_static: Annotated[
        list[str] | None, typer.Option(help="Transforms that hold for all time; may be repeated.")
    ] = None,
) -> None:
    """Send what a robot sends right now, until told to stop (Ctrl-C, SIGTERM)."""
    from agents import console
    from agents.kafka.admin import require_topics, run
    from agents.kafka.bridge import Tally, open_live
    from agents.kafka.bridge import bridge as send
    from stream.addresses import shown
    from stream.sources.offers import LiveOptions

    def say(line: str) -> None:
        typer.echo(f"octastream: {line}", err=True)

    options = LiveOptions(
        robot_id=robot,
        topics=tuple(topic or ()),
        tf_topics=tuple(tf or ()),
        static_topics=tuple(tf_static or ()),
    )
    settings, live = kafka.to_settings(), open_live(server, options, say)
    run(require_topics(settings))
    with console.progress_bar("bridging") as progress:

        def count(tally: Tally) -> None:
            progress(tally.sweeps, None, f"{tally.dropped:,} dropped" if tally.dropped else "")

        tally = run(send(live, settings, say, on_message=count))
    console.show(escape(f"{shown(server)}: {tally}"))


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
