"""Command lines in files, parsed as the program itself would, without running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import typer

from agents.cli import app
from agents.web.access import Access
from agents.web.options import ListenOptions


@dataclass(frozen=True, slots=True)
class Parsed:
    """name : words that name the command, as ``worker`` or ``topics create``; values : its parameters."""

    name: str
    values: dict[str, Any]


def parse(arguments: Sequence[str]) -> Parsed:
    """What the program makes of its arguments.  Raises TyperException for what it would refuse"""
    command: Any = typer.main.get_command(app)
    names: list[str] = []
    context = command.make_context("octastream", list(arguments))
    rest = list(arguments)
    while hasattr(command, "resolve_command"):
        name, command, rest = command.resolve_command(context, rest)
        context = command.make_context(name, list(rest), parent=context)
        names.append(name)
    return Parsed(" ".join(names), dict(context.params))


def access_of(arguments: Sequence[str]) -> Access:
    """Who may ask a server of these arguments, where no keys are set."""
    values = parse(arguments).values
    return ListenOptions(host=values["host"], allow_host=values["allow_host"] or []).access()
