"""Worker processes on a broker, what producers send them, and what lies in the topics afterwards."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from aiokafka import TopicPartition

from agents.journal import Place
from agents.judge import Judge
from agents.kafka.admin import admin_client, create_topics
from agents.kafka.care_topics import require_stopped
from agents.kafka.driver import Driver
from agents.kafka.host import FAILPOINT, Failpoint, FoldThread, Host
from agents.kafka.lag import lags
from agents.kafka.log import KafkaLog
from agents.kafka.partitions import new_reader
from agents.kafka.play import play_of
from agents.kafka.poison import Crashes
from agents.kafka.produce import Message as Sent
from agents.kafka.produce import Producer, messages_of
from agents.kafka.requests import Requests
from agents.kafka.settings import KafkaSettings
from agents.kafka.snapshots import SnapshotStore
from agents.manifests import requirements_of
from agents.operations import digest_of
from agents.perceive import Perceive
from agents.recorded_models import RecordedModels
from agents.task import Task
from agents.task_id import TaskId
from models.online.builtin import builtin_of
from models.registry import ModelRegistry
from stream.codecs.wire import decode
from stream.config import Config
from stream.features import schema_of
from stream.records import Binned, Prediction
from stream.sources.base import Item
from stream.topics import ACTIVATED, BY_NAME, SWEEPS, TOPICS

STOP_SECONDS = 60
MEMBER_SECONDS = 120
LAST_LINES = 60
"""Of each worker's log, in the report of a test that failed."""


def fresh_topics(settings: KafkaSettings) -> None:
    """Every topic, empty; members of groups that were given other partitions are gone."""

    async def renew() -> None:
        async with admin_client(settings) as client:
            old = sorted(set(await client.list_topics()) & set(BY_NAME))
            if old:
                [sweeps] = await client.describe_topics([SWEEPS])
                await client.delete_topics(old)
                if len(sweeps["partitions"]) != settings.partitions:
                    await asyncio.to_thread(require_stopped, settings, MEMBER_SECONDS)
        for _ in range(100):  # a topic is deleted in the background
            try:
                if len(await create_topics(settings)) == len(TOPICS):
                    return
            except Exception:
                if _ == 99:
                    raise
            await asyncio.sleep(0.2)

    asyncio.run(renew())


class Workers:
    """Worker processes by name, as ``perceive-0``; each has a log file.

    static : names are known to Kafka, so that one that goes keeps its partitions for a while
    launcher : what Python is told to run one
    """

    def __init__(
        self,
        settings: KafkaSettings,
        logs: Path,
        overrides: Sequence[str],
        *,
        static: bool = True,
        launcher: Sequence[str] = ("-m", "tests.kafka.launch"),
    ) -> None:
        self._settings, self._logs, self._overrides = settings, logs, list(overrides)
        self._static, self._launcher = static, launcher
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, failpoint: str = "") -> None:
        """Start one, or start it again."""
        agent = name.partition("-")[0]
        settings = {
            "bootstrap": self._settings.bootstrap,
            "partitions": self._settings.partitions,
            "folder": str(self._settings.folder),
            "instance": name if self._static else None,
            "set": self._overrides,
        }
        environment = os.environ | {"OMP_NUM_THREADS": "1", FAILPOINT: failpoint}
        with (self._logs / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *self._launcher, agent, json.dumps(settings)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def kill(self, name: str) -> None:
        """SIGKILL, and wait until it is gone."""
        process = self.processes[name]
        process.send_signal(signal.SIGKILL)
        process.wait()

    def terminate(self, name: str) -> int:
        """SIGTERM, and wait until it has ended; its exit code. One that does not end is killed: -9."""
        process = self.processes[name]
        process.terminate()
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill(name)
            return process.wait()

    def ended(self) -> dict[str, int]:
        """Exit codes of those that have ended."""
        codes = {name: process.poll() for name, process in self.processes.items()}
        return {name: code for name, code in codes.items() if code is not None}

    def stop(self) -> dict[str, int]:
        """SIGTERM to all; exit codes. One that does not end is killed, and its code is -9."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        return {name: process.returncode for name, process in self.processes.items()}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Stop all. Where a test has failed, its report shows what the workers wrote."""
        self.stop()
        if kind is not None:
            for name in self.processes:
                print(f"---- {name} ----", *self.log(name).splitlines()[-LAST_LINES:], sep="\n")

    def log(self, name: str) -> str:
        """What a worker has written."""
        return (self._logs / f"{name}.log").read_text()

    def partitions(self, name: str) -> list[int]:
        """What a worker said last that it runs on."""
        found = re.findall(r"runs on partitions \[([\d, ]*)\]", self.log(name))
        return [int(number) for number in found[-1].split(",")] if found and found[-1] else []

    def wait_until_running(self, names: Sequence[str], seconds: float = 120) -> None:
        """Wait until each has partitions.  Raises AssertionError"""
        end = time.monotonic() + seconds
        while not all(map(self.partitions, names)):
            assert time.monotonic() < end, f"not running after {seconds} s: {self.ended()}"
            assert not set(names) & set(self.ended()), f"ended: {self.ended()}"
            time.sleep(0.3)


def wait_for_rest(workers: Workers, settings: KafkaSettings, agents: Sequence[str], seconds: float) -> None:
    """Wait until all groups have acknowledged everything, twice in a row.  Raises AssertionError"""
    end, quiet = time.monotonic() + seconds, 0
    left: list[str] = []
    while quiet < 2:
        left = [
            f"{lag.agent} {lag.place[0]}-{lag.place[1]}: {lag.left}"
            for lag in asyncio.run(lags(settings))
            if lag.agent in agents and lag.left
        ]
        quiet = 0 if left else quiet + 1
        assert time.monotonic() < end, f"not at rest after {seconds} s: {left}, ended {workers.ended()}"
        time.sleep(0.5)


def in_turn(logs: Iterable[Iterable[Item]]) -> list[tuple[int, Sent]]:
    """Messages of several logs with their stamps, by stamp."""
    messages = [
        (stamp_ns, place, number, message)
        for place, log in enumerate(logs)
        for number, (stamp_ns, message) in enumerate(messages_of(log))
    ]
    return [(stamp_ns, message) for stamp_ns, *_, message in sorted(messages, key=lambda item: item[:3])]


def send(settings: KafkaSettings, logs: Iterable[Iterable[Item]], speed: float | None = None) -> None:
    """Send several logs at once in order of their stamps; ``speed`` times as fast as recorded, or at once."""

    async def run() -> None:
        messages = in_turn(logs)
        begin, first = time.monotonic(), min(stamp_ns for stamp_ns, _ in messages if stamp_ns)
        async with Producer.open(settings) as producer:
            for stamp_ns, message in messages:
                if speed is not None:
                    due = begin + (stamp_ns - first) / 1e9 / speed
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                await producer.send(message)

    asyncio.run(run())


async def _read(settings: KafkaSettings, topic: str) -> list[Any]:
    consumer = new_reader(settings)
    await consumer.start()
    try:
        count = BY_NAME[topic].partitions(settings.partitions)
        places = [TopicPartition(topic, partition) for partition in range(count)]
        consumer.assign(places)
        await consumer.seek_to_beginning(*places)
        ends, found = await consumer.end_offsets(places), []
        while any([await consumer.position(place) < ends[place] for place in places]):
            for records in (await consumer.getmany(timeout_ms=500)).values():
                found += records
        return found
    finally:
        await consumer.stop()


def read(settings: KafkaSettings, topic: str) -> list[Any]:
    """Records of a topic, decoded, each partition in its order."""
    return [record for _, record in read_stamped(settings, topic)]


def read_stamped(settings: KafkaSettings, topic: str) -> list[tuple[int, Any]]:
    """As read, each with the broker's stamp of its message, milliseconds since 1970."""
    messages = asyncio.run(_read(settings, topic))
    return [(message.timestamp, decode(topic, message.value)) for message in messages]


def recorded_models(config: Config, settings: KafkaSettings) -> RecordedModels:
    """The activations in the log, and the models that they name."""
    registry = ModelRegistry(settings.folder / "models")
    requirements = requirements_of(config, schema_of(config))
    return RecordedModels(
        builtin_of(config),
        read(settings, ACTIVATED),
        lambda model_id: registry.load(model_id, requirements),
    )


def snapshot_digests(settings: KafkaSettings, agents: Sequence[str]) -> dict[str, str]:
    """Digests of the newest snapshots: of the last state, when all workers were told to stop."""
    store = SnapshotStore(settings.snapshots)
    found = {str(task): store.newest(task) for task in _tasks(settings, agents)}
    return {name: snapshot.digest for name, snapshot in found.items() if snapshot is not None}


class NoRequests(Requests):
    """Asks for nothing: answers are of the log, and one that came now would be appended to it."""

    def start(self, *request: object) -> None:
        """Leave it open."""


def refolded_digests(config: Config, settings: KafkaSettings, agents: Sequence[str]) -> dict[str, str]:
    """Digests of states when one process folds each journal from its beginning, without any snapshot."""

    async def refold(task: TaskId, folder: Path) -> str:
        def fail(error: BaseException) -> None:
            raise error

        async def ignore(done: dict[Place, int]) -> None:
            """Of no group."""

        play = play_of(task.agent, config, settings)
        agent = play.make_agent()
        crashes = Crashes(folder, "refold")
        async with KafkaLog(settings) as log:
            host = Host(
                log=log,
                snapshots=SnapshotStore(f"file://{folder}"),
                requests=NoRequests(fail, lambda: None),
                thread=FoldThread(),
                crashes=crashes,
                make=play.make_model,
                source="refold",
            )
            driver = Driver(Task(task, agent, "refold"), host, play.make_effects(task), Failpoint(), ignore)
            await driver.recover()
        crashes.close()
        return digest_of(agent.snapshot())

    found: dict[str, str] = {}
    for task in _tasks(settings, agents):
        with tempfile.TemporaryDirectory() as folder:
            found[str(task)] = asyncio.run(refold(task, Path(folder)))
    return found


def _tasks(settings: KafkaSettings, agents: Sequence[str]) -> list[TaskId]:
    return [
        TaskId(agent, partition, settings.partitions)
        for agent in agents
        for partition in range(settings.partitions)
    ]


def uninterrupted(
    config: Config, logs: Iterable[Iterable[Item]], recorded: RecordedModels | None = None
) -> list[Any]:
    """What Perceive and Judge say of logs in one process, without a break; no log ends."""
    outputs: list[Any] = []
    for log in logs:
        perceive = Perceive(config, builtin_of(config), recorded=recorded)
        judge = Judge(config)
        for item in log:
            for record in perceive.handle(item).outputs:
                outputs.append(record)
                if isinstance(record, Binned | Prediction):
                    outputs += judge.handle(record).outputs
    return outputs
