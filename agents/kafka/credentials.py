"""Logging in, as Faust wants to be told."""

from __future__ import annotations

from typing import Any

import faust

from agents.kafka.settings import Security


def credentials_of(security: Security) -> Any:
    """The same as an aiokafka client is given; None for a cluster that asks for nothing."""
    context = security.client_options().get("ssl_context")
    if security.protocol.startswith("SASL"):
        return faust.SASLCredentials(
            mechanism=security.mechanism,
            username=security.username,
            password=security.password,
            ssl_context=context,
        )
    return faust.SSLCredentials(context) if context is not None else None
