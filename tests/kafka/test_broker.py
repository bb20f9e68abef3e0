"""The broker that tests use: how it is chosen, and that it keeps what it has confirmed, even when killed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import MessageSizeTooLargeError, UnknownTopicOrPartitionError
from docker.errors import DockerException

from tests.data import ROOT
from tests.kafka import libraries as jars
from tests.kafka.broker import SETTINGS, LocalBroker, answers, free_ports, read_settings
from tests.kafka.choice import choose, container_environment
from tests.kafka.libraries import BrokerError

MIB = 1 << 20


class FakeEngine:
    """A Docker client; ``error`` is raised by its ping."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.closed = error, False

    def ping(self) -> bool:
        if self.error is not None:
            raise self.error
        return True

    def close(self) -> None:
        self.closed = True


def refusing(error: Exception) -> Callable[[], Any]:
    def connect() -> Any:
        raise error

    return connect


# ---- the choice ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("named", ["127.0.0.1:9092", "kafka-1:9092,kafka-2:9092"])
def test_a_named_broker_comes_first_and_no_engine_is_asked(named: str) -> None:
    choice = choose({"OCTA_KAFKA": named}, refusing(AssertionError("asked")))
    assert (choice.kind, choice.bootstrap) == ("named", named)
    assert "container path not run" in choice.reason


@pytest.mark.parametrize("named", ["", "localhost", "kafka:port", "PLAINTEXT://kafka:9092", "a:1,"])
def test_a_name_that_is_no_address_is_refused(named: str) -> None:
    with pytest.raises(BrokerError, match=r"OCTA_KAFKA=.* is not HOST:PORT"):
        choose({"OCTA_KAFKA": named}, FakeEngine)


def test_a_container_is_used_where_an_engine_answers() -> None:
    engine = FakeEngine()
    choice = choose({}, lambda: engine)
    assert choice.kind == "container"
    assert "not run" not in choice.reason
    assert engine.closed


@pytest.mark.parametrize("error", [DockerException("no socket\nmore"), ConnectionError("refused")])
def test_a_local_broker_is_used_without_an_engine_and_the_log_says_so(error: Exception) -> None:
    engine = FakeEngine(error)
    for connect in (refusing(error), lambda: engine):
        choice = choose({}, connect)
        assert choice.kind == "local"
        assert f"container path not run, no Docker engine: {str(error).splitlines()[0]}" in choice.reason
    assert engine.closed


def test_an_unexpected_error_of_the_engine_is_not_swallowed() -> None:
    with pytest.raises(ZeroDivisionError):
        choose({}, refusing(ZeroDivisionError()))


def test_a_container_has_the_same_limits_and_its_own_addresses() -> None:
    environment = container_environment()
    assert environment["KAFKA_MESSAGE_MAX_BYTES"] == read_settings()["message.max.bytes"] == str(8 * MIB)
    assert not [name for name in environment if "LISTENER" in name or "VOTERS" in name or "DIRS" in name]


# ---- the jars --------------------------------------------------------------------------------------------


def test_the_cache_follows_the_user_s_setting() -> None:
    assert jars.cache_folder({"XDG_CACHE_HOME": "/var/cache/me"}) == Path("/var/cache/me/octastream")
    for unusable in ({}, {"XDG_CACHE_HOME": ""}, {"XDG_CACHE_HOME": "relative"}):
        assert jars.cache_folder(unusable) == Path.home() / ".cache" / "octastream"


def fake_maven(folder: Path, script: str) -> str:
    """A search path on which ``mvn`` runs this script; ``$libs`` is where jars belong."""
    program = folder / "bin" / "mvn"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\nfor a in "$@"; do case $a in -Dlibs=*) libs=${{a#-Dlibs=}};; esac; done\n{script}\n'
    )
    program.chmod(0o755)
    return f"{program.parent}{os.pathsep}{os.environ['PATH']}"


def test_two_who_want_the_jars_at_once_fetch_them_once(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    script = f'echo x >> {calls}; sleep 0.5; mkdir "$libs"; touch "$libs/kafka_2.13.jar"'
    environment = os.environ | {"PATH": fake_maven(tmp_path, script), "XDG_CACHE_HOME": str(tmp_path)}
    code = "from tests.kafka.libraries import libraries; print(libraries())"
    both = [
        subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, env=environment, stdout=subprocess.PIPE)
        for _ in range(2)
    ]
    first, second = (Path(process.communicate(timeout=60)[0].decode().strip()) for process in both)
    assert first == second
    assert [path.name for path in first.iterdir()] == ["kafka_2.13.jar"]
    assert calls.read_text() == "x\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [('mkdir "$libs"; echo no route; exit 1', "no route"), ('mkdir "$libs"', "left no Kafka")],
)
def test_a_fetch_that_fails_leaves_nothing_and_says_why(
    script: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", fake_maven(tmp_path, script))
    with pytest.raises(BrokerError, match=rf"(?s){message}.*") as failure:
        jars.libraries(tmp_path / "cache")
    assert "OCTA_KAFKA=HOST:PORT" in str(failure.value)
    assert [path.name for path in (tmp_path / "cache").iterdir()] == ["fetch.lock"]


def test_a_missing_program_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BrokerError, match="java not found: install Java 17, or name a running broker"):
        LocalBroker(tmp_path / "kafka").start()
    with pytest.raises(BrokerError, match="mvn not found: install Maven, or name a running broker"):
        jars.libraries(tmp_path / "cache")


# ---- the process -----------------------------------------------------------------------------------------

OWNER = """
import subprocess, sys, time
from tests.kafka.watcher import Watcher
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
watcher = Watcher(child.pid)
if sys.argv[1] == "release":
    watcher.release()
print(child.pid, flush=True)
time.sleep(600)
"""


def kill_owner(mode: str, wait_s: float) -> bool:
    """Kill a process that owns a watched child; whether the child is gone ``wait_s`` later, at most."""
    owner = subprocess.Popen([sys.executable, "-c", OWNER, mode], cwd=ROOT, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner:
        child = int(owner.stdout.readline())
        owner.kill()
        try:
            owner.communicate(timeout=wait_s)  # the pipe ends when nobody, so neither the child, holds it
        except subprocess.TimeoutExpired:
            os.kill(child, signal.SIGKILL)
            return False
    return True


def test_a_watched_process_does_not_outlive_its_killed_owner() -> None:
    assert kill_owner("watch", wait_s=30.0)


def test_a_released_process_does() -> None:
    assert not kill_owner("release", wait_s=1.0)


def test_ports_are_below_those_of_outgoing_connections() -> None:
    assert all(20_000 <= free_ports() < 32_000 for _ in range(5))


def test_nobody_answers_where_no_broker_is() -> None:
    assert not answers(f"127.0.0.1:{free_ports()}")


def test_the_settings_keep_to_the_loopback() -> None:
    addresses = [value for key, value in read_settings().items() if "listeners" in key or "voters" in key]
    assert addresses
    assert all(address.count("127.0.0.1:") == len(address.split(",")) for address in addresses)
    assert "0.0.0.0" not in SETTINGS.read_text()


# ---- a real broker ---------------------------------------------------------------------------------------


async def create(bootstrap: str, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    try:
        answer = await admin.create_topics([NewTopic(topic, num_partitions=2, replication_factor=1)])
        assert [error[1] for error in answer.topic_errors] == [0]
    finally:
        await admin.close()


async def produce(bootstrap: str, topic: str, *values: bytes) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=bootstrap, acks="all", max_request_size=16 * MIB)
    await producer.start()
    try:
        for value in values:
            await producer.send_and_wait(topic, value, partition=1)
    finally:
        await producer.stop()


async def consume(bootstrap: str, topic: str, count: int) -> list[bytes]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=bootstrap, auto_offset_reset="earliest")
    await consumer.start()
    try:
        async with asyncio.timeout(60):
            return [(await consumer.getone()).value for _ in range(count)]
    finally:
        await consumer.stop()


def test_what_is_produced_is_consumed(kafka: Any, topic_prefix: str) -> None:
    async def story() -> list[bytes]:
        topic = topic_prefix + "sweeps"
        await create(kafka.bootstrap, topic)
        await produce(kafka.bootstrap, topic, b"one", b"two" * MIB, b"three")
        return await consume(kafka.bootstrap, topic, 3)

    assert asyncio.run(story()) == [b"one", b"two" * MIB, b"three"]


def test_a_message_above_eight_mebibytes_is_refused_by_the_broker_too(kafka: Any, topic_prefix: str) -> None:
    async def story() -> None:
        await create(kafka.bootstrap, topic_prefix + "sweeps")
        with pytest.raises(MessageSizeTooLargeError):
            await produce(kafka.bootstrap, topic_prefix + "sweeps", bytes(8 * MIB + 1))

    asyncio.run(story())


def test_a_topic_is_not_made_by_accident(kafka: Any, topic_prefix: str) -> None:
    async def story() -> list[str]:
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        admin = AIOKafkaAdminClient(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        await admin.start()
        try:
            with pytest.raises((UnknownTopicOrPartitionError, TimeoutError)):
                async with asyncio.timeout(2):
                    await producer.send_and_wait(topic_prefix + "misspelt", b"x")
            return [topic for topic in await admin.list_topics() if topic.startswith(topic_prefix)]
        finally:
            await producer.stop()
            await admin.close()

    assert asyncio.run(story()) == []


@pytest.mark.fault(10)
def test_a_confirmed_message_survives_kill_and_restart(local_kafka: LocalBroker, topic_prefix: str) -> None:
    topic, bootstrap, pid = topic_prefix + "sweeps", local_kafka.bootstrap, local_kafka.pid

    async def before() -> None:
        await create(bootstrap, topic)
        await produce(bootstrap, topic, b"confirmed")

    asyncio.run(before())
    local_kafka.kill()
    assert local_kafka.pid is None
    assert not answers(bootstrap)
    local_kafka.start()
    assert (local_kafka.bootstrap, local_kafka.pid == pid) == (bootstrap, False)
    assert asyncio.run(consume(bootstrap, topic, 1)) == [b"confirmed"]


@pytest.mark.long
def test_a_broker_that_stops_in_good_order_comes_back_with_its_data(
    local_kafka: LocalBroker, topic_prefix: str
) -> None:
    topic, bootstrap = topic_prefix + "sweeps", local_kafka.bootstrap

    async def before() -> None:
        await create(bootstrap, topic)
        await produce(bootstrap, topic, b"kept")

    asyncio.run(before())
    local_kafka.restart()
    assert asyncio.run(consume(bootstrap, topic, 1)) == [b"kept"]


def test_a_second_start_and_a_taken_port_are_refused(local_kafka: LocalBroker, tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match="runs already"):
        local_kafka.start()
    with pytest.raises(BrokerError, match=f"port {local_kafka.port} cannot be had"):
        LocalBroker(tmp_path, port=local_kafka.port).start()


@pytest.mark.kafka
def test_a_broker_that_ends_by_itself_is_an_error_with_the_end_of_its_log(tmp_path: Path) -> None:
    broker = LocalBroker(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "meta.properties").write_text("version=1\ncluster.id=of-another\nnode.id=7\n")
    with pytest.raises(BrokerError, match=r"(?s)ended by itself.*the end of .*broker\.log.*node id 7"):
        broker.start()
    assert broker.pid is None


def test_a_broker_that_is_not_ready_in_time_is_ended(local_kafka: LocalBroker) -> None:
    local_kafka.stop()
    with pytest.raises(BrokerError, match="served nobody within 0 s"):
        local_kafka.start(ready_seconds=0.0)
    assert local_kafka.pid is None
    assert not answers(local_kafka.bootstrap)
