"""The command that runs agents on a Kafka cluster.

What needs the extra ``kafka`` is imported when the command runs, so the others do without it.
"""

from __future__ import annotations

import os
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from agents import logs
from agents.cluster_options import KafkaOptions, ProbeOptions
from agents.failure import require_learning
from agents.options import LIVE_BUDGET_MS, ConfigOptions, spread
from native.memory import keep_large_apart

if TYPE_CHECKING:
    from agents.kafka.settings import KafkaSettings
    from stream.config import Config

LEARN_NICENESS = 10
THREAD_CAPS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
WORKERS = ("perceive", "judge", "learn", "archive")


@spread
def worker(
    agent: Annotated[
        Literal["perceive", "judge", "learn", "archive", "all"],
        typer.Argument(metavar="AGENT", help="perceive, judge, learn, archive, or all four."),
    ],
    kafka: KafkaOptions,
    settings: ConfigOptions,
    probe: ProbeOptions,
    instance: Annotated[
        str | None, typer.Option(help="Stable name in its group; two workers must not share one.")
    ] = None,
) -> None:
    """Run an agent on a cluster until told to stop (Ctrl-C, SIGTERM)."""
    if agent == "all":
        _run_all(kafka, settings, probe, instance)
    if agent == "learn":
        _stand_back()
    if agent in ("judge", "archive"):  # they hold; Perceive and Learn take and leave such blocks all the time
        keep_large_apart()
    address = probe.address()
    from agents.listener import listen

    with listen(*address) if address else nullcontext() as listener:  # who asks early waits
        config, cluster = _ready(agent, kafka, settings, instance)
        from agents.kafka.play import play_of
        from agents.kafka.worker import Worker

        Worker(agent, cluster, play_of(agent, config, cluster), listener).run()


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
    config = settings.load()
    if config.learn.enabled and config.learn.budget_ms is None:
        config = settings.load(f"learn.budget_ms={LIVE_BUDGET_MS}")
        if agent == "learn" and config.learn.budget_ms is not None:
            typer.echo(f"learn.budget_ms is not set: {LIVE_BUDGET_MS} ms a sweep", err=True)
    require_map_frame(config)
    return config


def require_map_frame(config: Config) -> None:
    """Raises ConfigError where the map frame is to be found, and there is no log to find it in."""
    from stream.config import ConfigError

    if config.grid.map_frame in ("", "auto"):
        raise ConfigError(
            f"grid.map_frame: {config.grid.map_frame!r} cannot be found without a log; name the fixed frame "
            "of the robots, for example --set grid.map_frame=odom"
        )


def _run_all(kafka: KafkaOptions, settings: ConfigOptions, probe: ProbeOptions, instance: str | None) -> None:
    """Run the four as processes of their own; ends with the worst of their exit codes."""
    from agents.kafka.supervisor import supervise

    logs.configure("%(asctime)s %(message)s")
    asked = {name: probe.arguments(place) for place, name in enumerate(WORKERS)}
    _, cluster = _ready("all", kafka, settings, instance)
    where = f"on {cluster.bootstrap}, state in {cluster.folder}"
    typer.echo(f"workers {', '.join(WORKERS)} {where}; Ctrl-C stops them", err=True)
    program = [sys.executable, "-c", "import sys; from agents.cli import main; sys.exit(main())", "worker"]
    shared = kafka.arguments() + settings.arguments()
    named = {name: ["--instance", f"{name}-{instance}"] if instance else [] for name in WORKERS}
    raise typer.Exit(
        supervise({name: [*program, name, *shared, *asked[name], *named[name]] for name in WORKERS})
    )
