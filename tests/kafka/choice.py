"""Which broker the tests use: a named one, a container, or a Java process of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from docker.errors import DockerException

from tests.kafka.broker import read_settings
from tests.kafka.libraries import BrokerError

VARIABLE = "OCTA_KAFKA"
PLACES = {"process.roles", "node.id", "listeners", "advertised.listeners", "controller.listener.names",
          "controller.quorum.voters", "listener.security.protocol.map", "inter.broker.listener.name",
          "log.dirs"}  # fmt: skip
"""Settings that say where a broker lives; a container has its own."""


@dataclass(frozen=True, slots=True)
class Choice:
    """kind : which of the three; bootstrap : address of a named one, else ""; reason : a line for the log."""

    kind: Literal["named", "container", "local"]
    bootstrap: str
    reason: str


def choose(environment: Mapping[str, str], connect: Callable[[], Any]) -> Choice:
    """The broker that tests use.

    environment : variables; OCTA_KAFKA names a broker, ``host:port`` or several joined by commas
    connect : makes a client of a Docker engine (``docker.from_env``); asked only when no broker is named
    Raises BrokerError for an OCTA_KAFKA that is no address. The named broker is not called here.
    """
    if VARIABLE in environment:
        named = environment[VARIABLE]
        if not all(re.fullmatch(r"[^\s:,/]+:\d{1,5}", address) for address in named.split(",")):
            raise BrokerError(f"{VARIABLE}={named!r} is not HOST:PORT; correct it, or unset it")
        return Choice("named", named, f"the one that {VARIABLE} names, {named}; container path not run")
    try:
        client = connect()
        try:
            client.ping()
        finally:
            client.close()
    except (DockerException, OSError) as error:
        why = (str(error).splitlines() or [type(error).__name__])[0]
        return Choice("local", "", f"local Java process; container path not run, no Docker engine: {why}")
    return Choice("container", "", "container, through testcontainers")


def container_environment() -> dict[str, str]:
    """The settings of ``deploy/kafka/server.properties`` as a container takes them, but for its addresses."""
    settings = {key: value for key, value in read_settings().items() if key not in PLACES}
    return {"KAFKA_" + key.upper().replace(".", "_"): value for key, value in settings.items()}
