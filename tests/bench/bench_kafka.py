"""From a sweep's producer to its prediction, beside an agent that only echoes the same payloads.

``python -m tests.bench.bench_kafka [--out FILE]``: a broker, its clients and the workers share this machine.
Three rounds of the recorded log at its own pace: the echo agent, Perceive alone, and Perceive with Judge and
Learn beside it; then all sweeps of four robots at once, for the rate that one Perceive worker sustains.
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
from models.online.builtin import builtin_of
from stream.config import load_config
from stream.sweep import Sweep
from stream.topics import PREDICTIONS, SWEEPS, Topic
from tests.bench import machine
from tests.bench.bench_loop import LOG, RESULTS
from tests.bench.kafka_echo import ECHO
from tests.data import data_path
from tests.kafka.broker import LocalBroker
from tests.kafka.harness import Workers, fresh_topics

OVERRIDES = ("grid.map_frame=odom", "learn.budget_ms=75")
ROUNDS = (
    "in_process_step", "perceive_echo", "perceive", "perceive_with_learn_echo", "perceive_with_learn",
)  # fmt: skip
WARM_UP = 10
"""Sweeps of a round that are not counted."""
PATIENCE_SECONDS = 60


def log_messages(robot: str) -> list[tuple[int, Message]]:
    """The recorded log as a robot sends it, with stamps."""
    return list(messages_of(LogOptions(robot=robot).open(str(data_path(LOG)))))


def step_ms() -> list[float]:
    """What Perceive takes for a sweep in this process, with the built-in model."""
    config = load_config(None, list(OVERRIDES))
    perceive, found = Perceive(config, builtin_of(config)), []
    for item in LogOptions(robot="robot").open(str(data_path(LOG))):
        begin = time.perf_counter()
        perceive.handle(item)
        if isinstance(item, Sweep):
            found.append(1e3 * (time.perf_counter() - begin))
    return found[WARM_UP:]


async def round_trips(
    settings: KafkaSettings, topic: str, messages: Sequence[tuple[int, Message]], paced: bool
) -> tuple[list[float], float]:
    """Milliseconds from sending each sweep to its answer on a topic, and seconds from first to last answer.

    paced : at the pace of the stamps; else as fast as the broker takes them
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
            if paced:
                await asyncio.sleep(max(0.0, begin + (stamp - first) / 1e9 - time.perf_counter()))
            if message[0] == SWEEPS:
                sent.append(time.perf_counter())
            await producer.send(message)
    await asyncio.wait_for(listening, PATIENCE_SECONDS)
    await consumer.stop()
    waits = [1e3 * (answer - question) for question, answer in zip(sent, got, strict=True)]
    return waits, got[-1] - got[0]


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
    messages = log_messages("robot")
    result: dict[str, Any] = {"machine": machine.describe(), "load": machine.load(), "log": LOG}
    result["in_process_step_ms"] = quantiles(step_ms())

    def paced(settings: KafkaSettings, topic: str) -> dict[str, float]:
        waits, _ = asyncio.run(round_trips(settings, topic, messages, paced=True))
        return quantiles(waits[WARM_UP:])

    with LocalBroker(folder / "broker") as broker:
        for name, others in (("perceive", ()), ("perceive_with_learn", ("judge-0", "learn-0"))):
            settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=1, folder=folder / name)
            fresh_topics(settings)
            with echo_worker(settings):
                result[f"{name}_echo_ms"] = paced(settings, ECHO)
            fresh_topics(settings)
            with Workers(settings, folder, OVERRIDES) as workers:
                names = ["perceive-0", *others]
                for worker in names:
                    workers.start(worker)
                workers.wait_until_running(names)
                result[f"{name}_ms"] = paced(settings, PREDICTIONS)
        result["sustained_sweeps_per_s"] = round(sustained(broker, folder), 1)
    return result


def sustained(broker: LocalBroker, folder: Path) -> float:
    """Sweeps a second of one Perceive worker that is never out of work."""
    settings = KafkaSettings(bootstrap=broker.bootstrap, partitions=1, folder=folder / "sustained")
    fresh_topics(settings)
    robots = [log_messages(f"robot{number}") for number in range(4)]
    messages = sorted((item for robot in robots for item in robot), key=lambda item: item[0])
    with Workers(settings, folder, OVERRIDES) as workers:
        workers.start("perceive-0")
        workers.wait_until_running(["perceive-0"])
        waits, seconds = asyncio.run(round_trips(settings, PREDICTIONS, messages, paced=False))
    return (len(waits) - 1) / seconds


def show(result: dict[str, Any]) -> None:
    """The table that people read."""
    table = Table(box=SIMPLE, title="produce → answer, ms, 10 Hz, 120,000 points a sweep")
    for name in ("", "p50", "p99", "max"):
        table.add_column(name, justify="right" if name else "left")
    for name in ROUNDS:
        row = result[f"{name}_ms"]
        table.add_row(name.replace("_", " "), *(f"{row[key]:.1f}" for key in ("p50", "p99", "max")))
    Console().print(table, f"one Perceive worker sustains {result['sustained_sweeps_per_s']} sweeps a second")


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
