"""How the service listens, what it allows, and who may ask."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from agents.web.access import Access
    from agents.web.limits import Limits

API_KEY = "OCTA_API_KEY"
"""The variable that holds the keys, comma separated: options are seen by everybody who lists processes."""
MIN_KEY = 16

_PANEL = "Who may ask"
_LIMITS = "Limits"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """Where the service listens, and to whom."""

    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any.")] = 8000
    tls_cert: Annotated[
        Path | None, typer.Option(rich_help_panel=_PANEL, help="TLS: the server's certificate (PEM).")
    ] = None
    tls_key: Annotated[
        Path | None, typer.Option(rich_help_panel=_PANEL, help="TLS: the key of --tls-cert (PEM).")
    ] = None
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(rich_help_panel=_PANEL, help="TLS: clients must have a certificate of these (PEM)."),
    ] = None
    cors: Annotated[
        list[str],
        typer.Option(
            metavar="ORIGIN", rich_help_panel=_PANEL,
            help="Pages of this origin may ask, as https://example.org; may be repeated. Default: none.",
        ),
    ] = field(default_factory=list)  # fmt: skip
    allow_host: Annotated[
        list[str],
        typer.Option(
            metavar="NAME", rich_help_panel=_PANEL,
            help="Name that this host may be asked by; on the loopback only localhost is, by default.",
        ),
    ] = field(default_factory=list)  # fmt: skip

    def access(self) -> Access:
        """Rules of who may ask, with the keys of the environment.  Raises ConfigError"""
        from agents.web.access import LOOPBACK_NAMES, Access, is_loopback
        from stream.config import ConfigError

        keys = [key.strip() for key in os.environ.get(API_KEY, "").split(",") if key.strip()]
        if any(len(key) < MIN_KEY for key in keys):
            raise ConfigError(f"{API_KEY}: each key must have at least {MIN_KEY} characters")
        for origin in self.cors:
            if origin != "*" and not (origin.startswith(("http://", "https://")) and origin.count("/") == 2):
                raise ConfigError(f"--cors {origin!r}: must be an origin, as https://example.org, or *")
        names = {name.lower() for name in self.allow_host}
        bound = is_loopback(self.host) or bool(names)
        return Access(
            keys=tuple(keys),
            hosts=frozenset(names | LOOPBACK_NAMES) if bound else None,
            origins=tuple(self.cors),
        )

    def tls(self) -> ssl.SSLContext | None:
        """TLS of the server; clients need a certificate where --tls-client-ca says so.  Raises ConfigError"""
        from stream.config import ConfigError

        given = {
            "--tls-cert": self.tls_cert,
            "--tls-key": self.tls_key,
            "--tls-client-ca": self.tls_client_ca,
        }
        for name, path in given.items():
            if path is not None and not path.is_file():
                raise ConfigError(f"{name} {path}: no such file")
        if self.tls_cert is None:
            rest = next((name for name, path in given.items() if path is not None), None)
            if rest is not None:
                raise ConfigError(f"{rest} {given[rest]}: needs --tls-cert and --tls-key")
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key)
            if self.tls_client_ca is not None:
                context.load_verify_locations(self.tls_client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # of the TLS library
            raise ConfigError(
                f"--tls-cert, --tls-key, --tls-client-ca: not PEM files of TLS: {error}"
            ) from error
        return context

    def warning(self, access: Access) -> str:
        """What is said where anybody who reaches the address may ask; empty where not.

        Without names of hosts that are pages of strangers, too, in browsers that reach it: over plain HTTP,
        names of theirs may lead here
        """
        from agents.web.access import is_loopback

        if is_loopback(self.host) or access.keys or self.tls_client_ca is not None:
            return ""
        said = f"whoever reaches {self.host} may ask: set {API_KEY} or --tls-client-ca"
        if access.hosts is None and self.tls_cert is None:
            said += "; so may any page of a stranger in a browser there: name this host by --allow-host"
        return said


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitOptions:
    """What one client may ask for."""

    max_body: Annotated[
        float, typer.Option(metavar="MIB", rich_help_panel=_LIMITS, help="Of one request.")
    ] = 16.0
    max_cells: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="In one question or answer.")
    ] = 20_000
    max_requests: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Worked on at one time.")
    ] = 64
    max_connections: Annotated[
        int, typer.Option(min=1, rich_help_panel=_LIMITS, help="Open at one time.")
    ] = 512
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", rich_help_panel=_LIMITS, help="For one request.")
    ] = 30.0

    def to_limits(self) -> Limits:
        """The same as the server takes them.  Raises ConfigError"""
        from agents.web.limits import MIB, Limits
        from stream.config import ConfigError

        if not 0 < self.max_body <= 1024:
            raise ConfigError(f"--max-body {self.max_body:g}: must be above 0 and at most 1024 MiB")
        if not 0 < self.timeout <= 3600:
            raise ConfigError(f"--timeout {self.timeout:g}: must be above 0 and at most 3600 s")
        return Limits(
            body_bytes=round(self.max_body * MIB),
            request_s=self.timeout,
            head_s=min(10.0, self.timeout),
            active=self.max_requests,
            connections=self.max_connections,
            cells=self.max_cells,
        )
