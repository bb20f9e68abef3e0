"""How the service listens, what it allows, and who may ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

API_KEY = "OCTA_API_KEY"
"""The variable that holds the keys, comma separated: options are seen by everybody who lists processes."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
MIN_KEY = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenOptions:
    """Where the service listens."""

    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 is every one.")] = "127.0.0.1"
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 is any.")] = 8000
