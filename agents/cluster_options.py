"""Options of commands that talk to a Kafka cluster."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agents.kafka.settings import KafkaSettings, Security
    from stream.sources.base import Source

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
PASSWORD = "OCTA_PASSWORD"
"""The variable that holds the password: options are seen by everybody who lists processes."""
KAFKA_PREFIX = "kafka://"
"""Begins the location of a topic; files and simulations begin otherwise."""

MAX_PORT = 65535

_kafka_option = functools.partial(typer.Option, rich_help_panel="Kafka")
"""An option that is shown apart, where a command has many others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterOptions:
    """Where the cluster is, and how to log in."""

    bootstrap: Annotated[
        str,
        _kafka_option(metavar="HOST:PORT", envvar="OCTA_BOOTSTRAP", help="Brokers, comma separated."),
    ] = "127.0.0.1:9092"
    security_protocol: Annotated[
        str,
        _kafka_option(metavar="PROTOCOL", help=f"One of {', '.join(PROTOCOLS)}."),
    ] = "PLAINTEXT"
    sasl_mechanism: Annotated[
        str,
        _kafka_option(metavar="MECHANISM", help=f"One of {', '.join(MECHANISMS)}."),
    ] = "PLAIN"
    username: Annotated[
        str | None,
        _kafka_option(help=f"Of SASL; the password is read from {PASSWORD}."),
    ] = None
    ca_file: Annotated[
        Path | None,
        _kafka_option(help="TLS: who may sign for brokers (PEM)."),
    ] = None
    cert_file: Annotated[Path | None, _kafka_option(help="TLS: our own certificate (PEM).")] = None
    key_file: Annotated[Path | None, _kafka_option(help="TLS: the key of --cert-file (PEM).")] = None
    content_type: Annotated[
        list[str],
        _kafka_option(
            metavar="TOPIC=TYPE",
            help="What messages without the header content-type are in; may be repeated.",
        ),
    ] = field(default_factory=list)

    def to_settings(self) -> KafkaSettings:
        """The same as clients take it, with the password of the environment.

        Partitions and folder are left empty: who only reads is told by the cluster, and shares nothing
        Raises ConfigError for what is no address, contradicts itself or cannot be read
        """
        from agents.kafka.settings import KafkaSettings
        from stream.config import ConfigError

        if "@" in self.bootstrap:  # not repeated: before the @ stands a password, most likely
            raise ConfigError(f"--bootstrap: must be HOST:PORT; log in by --username and {PASSWORD}")
        if not all(re.fullmatch(r"\s*[^\s:,/]+:\d{1,5}\s*", item) for item in self.bootstrap.split(",")):
            raise ConfigError(
                f"--bootstrap {self.bootstrap!r}: must be HOST:PORT, or several joined by commas"
            )
        return KafkaSettings(
            bootstrap=self.bootstrap,
            partitions=0,
            folder=Path(),
            security=self._security(),
            content_types=self._content_types(),
        )

    def _content_types(self) -> dict[str, str]:
        from stream.codecs.inputs import require_content_type
        from stream.codecs.wire import WireError
        from stream.config import ConfigError
        from stream.topics import STATIC, SWEEPS, TRANSFORMS

        found: dict[str, str] = {}
        for text in self.content_type:
            topic, _, kind = text.partition("=")
            if topic.startswith("octa.") and topic not in (SWEEPS, TRANSFORMS, STATIC):
                raise ConfigError(
                    f"--content-type {text!r}: producers send to {SWEEPS}, {TRANSFORMS} and {STATIC}"
                )
            if topic in found:
                raise ConfigError(f"--content-type {text!r}: {topic} is there twice")
            try:
                require_content_type(kind, transforms=topic in (TRANSFORMS, STATIC))
            except WireError as error:
                raise ConfigError(f"--content-type {text!r}: must be TOPIC=TYPE: {error.detail}") from error
            except ModuleNotFoundError as error:
                raise ConfigError(f"--content-type {text!r}: {error}") from error
            found[topic] = kind
        return found

    def _security(self) -> Security:
        from agents.kafka.settings import Security
        from stream.config import ConfigError

        password = os.environ.get(PASSWORD)
        self._check_login(password)
        security = Security(
            protocol=self.security_protocol.upper(),
            mechanism=self.sasl_mechanism.upper(),
            username=self.username,
            password=password,
            ca_file=_text(self.ca_file),
            cert_file=_text(self.cert_file),
            key_file=_text(self.key_file),
        )
        try:
            security.client_options()
        except OSError as error:  # of the TLS library
            raise ConfigError(f"--ca-file, --cert-file, --key-file: not PEM files of TLS: {error}") from error
        return security

    def _check_login(self, password: str | None) -> None:
        """Options of a login that would have no effect are an error, too: it would be in the clear."""
        from stream.config import ConfigError

        protocol = self.security_protocol.upper()
        if protocol not in PROTOCOLS:
            known = ", ".join(PROTOCOLS)
            raise ConfigError(f"--security-protocol {self.security_protocol!r}: must be one of {known}")
        for name in ("ca_file", "cert_file", "key_file"):
            path: Path | None = getattr(self, name)
            option = f"--{name.replace('_', '-')} {path}"
            if path is not None and "SSL" not in protocol:
                raise ConfigError(f"{option}: needs --security-protocol SSL or SASL_SSL")
            if path is not None and not path.is_file():
                raise ConfigError(f"{option}: no such file")
        if self.key_file is not None and self.cert_file is None:
            raise ConfigError(f"--key-file {self.key_file}: needs --cert-file, whose key it is")
        if "SASL" not in protocol:
            if self.username is not None:
                way_out = "needs --security-protocol SASL_SSL or SASL_PLAINTEXT"
                raise ConfigError(f"--username {self.username!r}: {way_out}")
            return
        if self.sasl_mechanism.upper() not in MECHANISMS:
            known = ", ".join(MECHANISMS)
            raise ConfigError(f"--sasl-mechanism {self.sasl_mechanism!r}: must be one of {known}")
        if not (self.username and password):
            raise ConfigError(f"--security-protocol {protocol}: needs --username and the variable {PASSWORD}")

    def arguments(self) -> list[str]:
        """What has to be typed to get these options again; defaults are left out, the password always is."""
        given: list[str] = []
        for item in dataclasses.fields(self):
            value = getattr(self, item.name)
            if value != item.default:
                name = _NAMES.get(item.name, f"--{item.name.replace('_', '-')}")
                for one in value if isinstance(value, list) else [value]:
                    given += [name, str(one)]
        return given


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicOptions(ClusterOptions):
    """Which stretch of a topic, and on which cluster."""

    begin: Annotated[
        str | None,
        _kafka_option(
            "--from",
            metavar="TIME|OFFSET",
            help="Of kafka://: sweeps appended at this time (ISO 8601, UTC) or later, or an offset.",
        ),
    ] = None
    end: Annotated[
        str | None,
        _kafka_option(
            "--to",
            metavar="TIME|OFFSET",
            help="Of kafka://: sweeps appended before this time, or below this offset.",
        ),
    ] = None

    def open(self, location: str) -> Source:
        """What a topic retains.  Raises SourceError, ConfigError, ClusterError, KafkaError"""
        from agents.kafka.retained import open_retained

        return open_retained(location, self.to_settings(), begin=self.begin, end=self.end)

    def refuse_for(self, location: str) -> None:
        """Raises ConfigError for a stretch of what is no topic."""
        from stream.config import ConfigError

        given = [("--from", self.begin), ("--to", self.end)]
        for option, value in [*given, *(("--content-type", kind) for kind in self.content_type)]:
            if value is not None:
                raise ConfigError(
                    f"{option} {value}: only for {KAFKA_PREFIX}TOPIC, and {location} is none; leave it out"
                )

    def arguments_for(self, location: str) -> list[str]:
        """``arguments`` where the log is a topic, nothing where it is not."""
        return self.arguments() if location.startswith(KAFKA_PREFIX) else []


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaOptions(ClusterOptions):
    """Where the cluster is, how to log in, and where workers keep what they share."""

    partitions: Annotated[int, typer.Option(min=1, help="Of every topic of robots.")] = 4
    folder: Annotated[Path, typer.Option(help="Models, snapshots and archive of the workers.")] = Path(
        "runs/kafka-state"
    )

    def to_settings(self, instance: str | None = None) -> KafkaSettings:
        """As in ClusterOptions, with what workers share.  instance : stable name of a worker in its group"""
        # super() does not work in a dataclass with slots, which is another class than the one written here
        settings = ClusterOptions.to_settings(self)
        return dataclasses.replace(
            settings, partitions=self.partitions, folder=self.folder, instance=instance
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeOptions:
    """Where a worker says how it is."""

    http: Annotated[
        str | None,
        typer.Option(
            metavar="[HOST:]PORT",
            help="Answer GET /health, /ready and /metrics there; without HOST on 127.0.0.1.",
        ),
    ] = None

    def address(self, place: int = 0) -> tuple[str, int] | None:
        """Host and port; None where it says nothing.  place : of several workers, each has the next port

        Raises ConfigError for what is no address
        """
        from stream.config import ConfigError

        if self.http is None:
            return None
        found = re.fullmatch(r"(?:([^\s:,/]+):)?(\d{1,5})", self.http)
        port = int(found[2]) if found else -1
        port += place if port else 0  # 0 is any that is free
        if found is None or port > MAX_PORT:
            raise ConfigError(
                f"--http {self.http!r}: must be HOST:PORT or PORT, for example 127.0.0.1:8080"
                + (f", with {place} more ports behind it" if place else "")
            )
        return found[1] or "127.0.0.1", port

    def arguments(self, place: int) -> list[str]:
        """What has to be typed for one of several workers."""
        address = self.address(place)
        return ["--http", f"{address[0]}:{address[1]}"] if address else []


_NAMES = {"begin": "--from", "end": "--to"}
"""Options whose field has another name: ``from`` is a word of Python."""


def _text(path: Path | None) -> str | None:
    return None if path is None else str(path)
