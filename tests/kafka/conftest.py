"""A Kafka broker for every test that asks for one. None is ever skipped for want of it: that is a failure."""

from __future__ import annotations

import gc
import os
import uuid
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import docker
import pytest
from testcontainers.community.kafka import KafkaContainer

from tests.kafka.broker import LocalBroker, answers
from tests.kafka.choice import VARIABLE, Choice, choose, container_environment
from tests.kafka.libraries import BrokerError

BROKER_FIXTURES = {"kafka", "local_kafka"}
CONTAINER_SECONDS = 120
CHOSEN = pytest.StashKey[Choice]()
REASONS = pytest.StashKey[list[str]]()
"""Why each of several processes has chosen its broker."""
BROKER = "kafka_broker"


@dataclass(frozen=True, slots=True)
class RemoteBroker:
    """A broker that tests only talk to."""

    bootstrap: str


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Who asks for a broker is a Kafka test, so that ``make test`` never starts one by accident."""
    for item in items:
        if BROKER_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker("kafka")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that started this one, where tests run in several, which broker was used."""
    said = getattr(session.config, "workeroutput", None)
    choice = session.config.stash.get(CHOSEN, None)
    if said is not None and choice is not None:
        said[BROKER] = choice.reason


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Note what one of several processes has told."""
    reason = getattr(node, "workeroutput", {}).get(BROKER)
    if reason is not None:
        node.config.stash.setdefault(REASONS, []).append(reason)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say which broker was used, and whether the container path was run."""
    choice = config.stash.get(CHOSEN, None)
    for reason in dict.fromkeys(config.stash.get(REASONS, []) if choice is None else [choice.reason]):
        terminalreporter.write_line(f"Kafka broker: {reason}")


def _chosen() -> Choice:
    # The Docker client leaves a socket open when no engine answers; collected here, it fails no test.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        choice = choose(os.environ, docker.from_env)
        gc.collect()
    return choice


@pytest.fixture(scope="session")
def kafka(
    pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalBroker | RemoteBroker]:
    """The broker of this session; ``bootstrap`` is its address. Tests share it: use ``topic_prefix``."""
    choice = pytestconfig.stash[CHOSEN] = _chosen()
    if choice.kind == "named":
        if not answers(choice.bootstrap):
            raise BrokerError(f"no broker answers at {VARIABLE}={choice.bootstrap}: start it, or unset it")
        yield RemoteBroker(choice.bootstrap)
    elif choice.kind == "container":
        container = KafkaContainer().with_kraft()
        for name, value in container_environment().items():
            container.with_env(name, value)
        container.start(timeout=CONTAINER_SECONDS)
        try:
            yield RemoteBroker(container.get_bootstrap_server())
        finally:
            container.stop()
    else:
        with LocalBroker(tmp_path_factory.mktemp("kafka")) as broker:
            yield broker


@pytest.fixture(scope="session")
def _killable(
    kafka: LocalBroker | RemoteBroker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[LocalBroker]:
    if isinstance(kafka, LocalBroker):
        yield kafka
    else:
        with LocalBroker(tmp_path_factory.mktemp("local-kafka")) as broker:
            yield broker


@pytest.fixture
def local_kafka(_killable: LocalBroker) -> Iterator[LocalBroker]:
    """A broker that the test may kill and start again, always a local one; it runs before and after."""
    if _killable.pid is None:
        _killable.start()
    yield _killable
    if _killable.pid is None:
        _killable.start()


@pytest.fixture
def topic_prefix() -> str:
    """A prefix for topics, groups and transactions that no other test has, in this run or another."""
    return f"test-{uuid.uuid4().hex[:12]}."
