"""Where the cluster is, and where workers keep what they share."""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """How to log in; secrets are never shown.

    protocol : PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; mechanism : of SASL, as PLAIN or SCRAM-SHA-512
    ca_file, cert_file, key_file : PEM files of TLS
    """

    protocol: str = "PLAINTEXT"
    mechanism: str = "PLAIN"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    def client_options(self) -> dict[str, Any]:
        """What an aiokafka client is given. Raises OSError for a file that cannot be read"""
        options: dict[str, Any] = {"security_protocol": self.protocol}
        if "SSL" in self.protocol:
            options["ssl_context"] = self._tls()
        if self.protocol.startswith("SASL"):
            options |= {
                "sasl_mechanism": self.mechanism,
                "sasl_plain_username": self.username,
                "sasl_plain_password": self.password,
            }
        return options

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=self.ca_file)
        if self.cert_file:
            context.load_cert_chain(self.cert_file, self.key_file)
        return context


@dataclass(frozen=True, slots=True, kw_only=True)
class KafkaSettings:
    """One deployment.

    bootstrap : host:port of brokers, comma separated
    partitions : of every topic of robots; what ``octastream topics create`` made
    folder : models, snapshots and the archive; every worker must reach it
    content_types : by topic, what messages are in whose producers send no header ``content-type``; the same
        for all workers, as what was folded once must be decoded the same way again
    instance : stable name of a worker in its group, as ``perceive-0``: one that is back soon gets its
        partitions again and nobody else has to stop; two workers with one name fence each other
    """

    bootstrap: str
    partitions: int
    folder: Path
    security: Security = field(default_factory=Security)
    content_types: Mapping[str, str] = field(default_factory=dict)
    instance: str | None = None

    @property
    def snapshots(self) -> str:
        """URI of the folder of snapshots."""
        return f"file://{self.folder.resolve() / 'snapshots'}"

    def clients(self) -> Mapping[str, Any]:
        """Options of every aiokafka client."""
        return {"bootstrap_servers": self.bootstrap, **self.security.client_options()}
