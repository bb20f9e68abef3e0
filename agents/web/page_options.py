"""What the live page may cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import typer

_PANEL = "Live page"


@dataclass(frozen=True, slots=True, kw_only=True)
class PageOptions:
    """Bounds of the live page and of its tape."""

    tape: Annotated[
        float,
        typer.Option(min=0, max=3600, metavar="SECONDS", rich_help_panel=_PANEL, help="It goes back so far."),
    ] = 120.0
    tape_mb: Annotated[
        int, typer.Option(min=1, max=65_536, rich_help_panel=_PANEL, help="Megabytes for that, at most.")
    ] = 96
    page_hz: Annotated[
        float, typer.Option(min=0.1, max=60, rich_help_panel=_PANEL, help="Updates a second, at most.")
    ] = 10.0
    page_viewers: Annotated[
        int, typer.Option(min=0, rich_help_panel=_PANEL, help="Pages that may be open at once.")
    ] = 16
