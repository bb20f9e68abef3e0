"""From a sweep's producer to its prediction, beside an agent that only echoes the same payloads.

``python -m tests.bench.bench_kafka [--out FILE]``: a broker, its clients and the workers share this machine.
The recorded log at its own pace, in three rounds on one broker: to the echo agent; to Perceive, with Judge
and Learn beside it; to the same Perceive, which serves what was learnt, once Judge and Learn have gone. Then
four robots at once, as fast as the broker takes them, for the rate that one Perceive worker sustains. At the
log's pace and, before that, at 3 Hz: how long after an outcome a model serves that was trained on it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from aiokafka import TopicPartition
from aiokafka.admin import NewTopic
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from agents.kafka.admin import admin_client
from agents.kafka.partitions import new_reader
from agents.kafka.produce import Message, Producer, messages_of
from agents.kafka.settings import KafkaSettings
from agents.options import LogOptions
from agents.perceive import Perceive
from agents.replay import CHAMPION_LINEAGE, priors_of
from models.online.builtin import builtin_of
from stream.config import load_config
from stream.features import schema_of
from stream.sweep import Sweep
from stream.topics import OUTCOMES, PREDICTIONS, PUBLISHED, SWEEPS, Topic
from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS
from tests.bench.kafka_echo import ECHO
from tests.data import data_path
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics, read, read_stamped

OVERRIDES = ("grid.map_frame=odom", "learn.budget_ms=75")
ROUNDS = ("in_process_step", "echo", "learn_here", "learn_elsewhere")
"""What is measured: milliseconds of a sweep."""
ROBOTS = 3
"""So many drive the log in a round, one after the other: the sweeps of one are few for a 99th percentile."""
WARM_UP = 10
"""Sweeps of each that are not counted."""
PACES = {"3 Hz": "slow", "10 Hz": "here"}
"""Of the sensor, and the names of robots that have it."""
SERVED_SECONDS = 10.0
"""At most so long after an outcome a model shall serve that has learnt from it."""
PATIENCE_SECONDS = 60
GOAL_MS = 100.0
"""Period of the sensor: who takes longer falls behind."""
MORE_MS = 10.0
"""So much may the median of Perceive be above those of the echo and of the step in process together."""


def log_messages(robot: str) -> list[tuple[int, Message]]:
    """The recorded log as a robot sends it, with stamps."""
    return list(messages_of(LogOptions(robot=robot).open(str(data_path(LOG)))))


def step_ms() -> list[float]:
    """What Perceive takes for a sweep in this process, with the network that ships."""
    config = load_config(None, list(OVERRIDES))
    priors, _ = priors_of(config, schema_of(config))
    perceive, found = Perceive(config, priors[CHAMPION_LINEAGE].model), []
    for item in LogOptions(robot="robot").open(str(data_path(LOG))):
        begin = time.perf_counter()
        perceive.handle(item)
        if isinstance(item, Sweep):
            found.append(1e3 * (time.perf_counter() - begin))
    return found[WARM_UP:]


async def round_trips(
    settings: KafkaSettings, topic: str, messages: Sequence[tuple[int, Message]], speed: float | None
) -> tuple[list[float], float]:
    """Milliseconds from sending each sweep to its answer on a topic, and seconds from first to last answer.

    speed : times as fast as the stamps say; None as fast as the broker takes them
    """
    sent: list[float] = []
    got: list[float] = []
    expected = sum(message[0] == SWEEPS for _, message in messages)
    consumer = new_reader(settings)
    await consumer.start()
    places = [TopicPartition(topic, partition) for partition in range(settings.partitions)]
    consumer.assign(places)
    await consumer.seek_to_end(*places)

    async def answers() -> None:
        while len(got) < expected:
            for records in (await consumer.getmany(timeout_ms=1000)).values():
                got.extend([time.perf_counter()] * len(records))

    listening = asyncio.create_task(answers())
    begin, first = time.perf_counter(), min(stamp for stamp, _ in messages if stamp)
    async with Producer.open(settings) as producer:
        for stamp, message in messages:
            if speed is not None:
                await asyncio.sleep(max(0.0, begin + (stamp - first) / 1e9 / speed - time.perf_counter()))
            if message[0] == SWEEPS:
                sent.append(time.perf_counter())
            await producer.send(message)
    await asyncio.wait_for(listening, PATIENCE_SECONDS)
    await consumer.stop()
    waits = [1e3 * (answer - question) for question, answer in zip(sent, got, strict=True)]
    return waits, got[-1] - got[0]


def served_seconds(settings: KafkaSettings, robots: str) -> list[float]:
    """Seconds from each outcome at the primary horizon to the first forecast by weights trained on its sweep.

    By the broker's stamps; of robots whose names begin so, and whose forecasts go on after the outcome is
    learnt: the last outcomes of a drive have no forecast after them, and are left out
    """
    primary = load_config(None, list(OVERRIDES)).task.primary_horizon_ns
    learnt = {
        record.model_id: {
            item["robot_id"]: item["last_stamp_ns"] for item in record.manifest["training"]["sources"]
        }
        for record in read(settings, PUBLISHED)
        if "training" in record.manifest
    }
    forecasts = [
        (stamp, learnt[record.model_id])
        for stamp, record in read_stamped(settings, PREDICTIONS)
        if record.model_id in learnt
    ]
    found = []
    for stamp, outcome in read_stamped(settings, OUTCOMES):
        if not outcome.robot_id.startswith(robots):
            continue
        served = (
            at for at, newest in forecasts
            if at >= stamp and newest.get(outcome.robot_id, -1) >= outcome.stamp_ns
        )  # fmt: skip
        first = next(served, None) if outcome.horizon_ns == primary else None
        if first is not None:
            found.append((first - stamp) / 1e3)
    return found


@contextmanager
def echo_worker(settings: KafkaSettings) -> Iterator[None]:
    """The echo agent in a process."""

    async def create() -> None:
        async with admin_client(settings) as client:
            if ECHO not in await client.list_topics():
                config = Topic(name=ECHO).config()
                await client.create_topics([NewTopic(ECHO, settings.partitions, 1, topic_configs=config)])

    asyncio.run(create())
    process = subprocess.Popen([sys.executable, "-m", "tests.bench.kafka_echo", settings.bootstrap])
    try:
        time.sleep(8)
        yield
    finally:
        process.terminate()
        process.wait()


def quantiles(values: Sequence[float]) -> dict[str, float]:
    """Median, 99 % and largest."""
    found = np.percentile(values, [50, 99, 100])
    return dict(zip(("p50", "p99", "max"), (round(float(value), 1) for value in found), strict=True))


def measure(folder: Path) -> dict[str, Any]:
    """All rounds on one broker."""
    with LocalBroker(folder / "broker") as broker:
        settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=1, folder=folder / "state")
        fresh_topics(settings)
        paced, served = _paced_rounds(settings)
        rounds = {"in_process_step": step_ms(), **paced}
        sustained = _sustained(broker, folder)
    described = machine.describe()
    return {
        "machine": described,
        "log": LOG,
        "summary": {name: quantiles(rounds[name]) for name in ROUNDS},
        "over_echo_and_step_ms": round(
            float(np.median(rounds["learn_elsewhere"]) - np.median(rounds["echo"]))
            - float(np.median(rounds["in_process_step"])),
            1,
        ),
        "sustained_sweeps_per_s": round(sustained, 1),
        "outcome_to_served_s": {
            name: quantiles(seconds) | {"outcomes": len(seconds)} for name, seconds in served.items()
        },
        "per_sweep_ms": {name: [round(value, 2) for value in values] for name, values in rounds.items()},
    }


def _paced_rounds(settings: KafkaSettings) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Each with robots of its own, so that maps are empty at first; and what ``served_seconds`` says."""

    def paced(topic: str, name: str, speed: float = 1.0) -> list[float]:
        found = []
        for number in range(ROBOTS):
            messages = log_messages(f"{name}{number}")
            waits, _ = asyncio.run(round_trips(settings, topic, messages, speed))
            found += waits[WARM_UP:]
        return found

    found: dict[str, list[float]] = {}
    with echo_worker(settings):
        found["echo"] = paced(ECHO, "echo")
    fresh_topics(settings)
    others = ("judge-0", "learn-0")
    with Workers(settings, settings.folder.parent, OVERRIDES) as workers:
        for name in ("perceive-0", *others):
            workers.start(name)
        workers.wait_until_running(["perceive-0", *others])
        paced(PREDICTIONS, "slow", 0.3)
        found["learn_here"] = paced(PREDICTIONS, "here")
        served = {name: served_seconds(settings, robots) for name, robots in PACES.items()}
        for name in others:
            workers.terminate(name)
        found["learn_elsewhere"] = paced(PREDICTIONS, "elsewhere")
        last = read(settings, PREDICTIONS)[-1]
        if last.model_id == builtin_of(load_config(None, list(OVERRIDES))).model_id:
            raise RuntimeError("learn_elsewhere: served by the built-in model, so the figures are of no use")
    return found, served


def _sustained(broker: LocalBroker, folder: Path) -> float:
    """Sweeps a second of one Perceive worker that is never out of work and serves the last model."""
    settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=1, folder=folder / "state")
    robots = [log_messages(f"busy{number}") for number in range(4)]
    messages = sorted((item for robot in robots for item in robot), key=lambda item: item[0])
    with Workers(settings, folder, OVERRIDES) as workers:
        workers.start("perceive-0")
        workers.wait_until_running(["perceive-0"])
        waits, seconds = asyncio.run(round_trips(settings, PREDICTIONS, messages, None))
    return (len(waits) - 1) / seconds


def show(result: dict[str, Any]) -> None:
    """The table that people read."""
    table = Table(box=SIMPLE, title="produce → answer, ms, 10 Hz, 120,000 points a sweep")
    for name in ("", "p50", "p99", "max"):
        table.add_column(name, justify="right" if name else "left")
    for name in ROUNDS:
        row = result["summary"][name]
        table.add_row(name.replace("_", " "), *(f"{row[key]:.1f}" for key in ("p50", "p99", "max")))
    Console().print(
        table,
        f"median of learn elsewhere, less those of echo and step: {result['over_echo_and_step_ms']} ms "
        f"(goal {MORE_MS:g})",
        *(
            f"\nat {pace} an outcome is learnt and served after {row['p50']} s at the median, {row['max']} s "
            f"at most (goal {SERVED_SECONDS:g}), of {row['outcomes']}"
            for pace, row in result["outcome_to_served_s"].items()
        ),
        f"\none Perceive worker sustains {result['sustained_sweeps_per_s']} sweeps a second",
    )


def main() -> None:
    """Measure, show, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "kafka.json")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        result = measure(Path(name))
    show(result)
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
