"""Pinned versions beside the advisories that are known of them: ``make audit``.

Asks pip-audit, which lives in an environment of its own so that it changes no version of ours, and which asks
the package index for advisories. Exit code 0: none known; 1: some are; 2: nobody could be asked, and why.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.data import ROOT

TOOL = "pip-audit==2.10.1"
PLACE = ROOT / "build" / "audit"
PINNED = ROOT / "constraints.txt"
SECONDS = 600
CLEAN, FOUND, NOT_RUN = 0, 1, 2


class NotRunError(Exception):
    """Nobody could be asked; says why in one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """What is known of one pinned version; ``fixed`` are versions without it."""

    name: str
    version: str
    id: str
    fixed: Sequence[str]


def tool(place: Path = PLACE) -> list[str]:
    """The command, installed where it is not.  Raises NotRunError"""
    python = place / "bin" / "python"
    if not (place / "bin" / "pip-audit").is_file():
        venv.create(place, with_pip=True, clear=True)
        ran = subprocess.run([python, "-m", "pip", "install", "-q", TOOL], capture_output=True, text=True)
        if ran.returncode:
            raise NotRunError(f"{TOOL} could not be installed: {last_line(ran.stderr)}")
    return [str(place / "bin" / "pip-audit")]


def audit(command: Sequence[str], pinned: Path) -> tuple[list[Advisory], dict[str, str]]:
    """Advisories of the versions in a file, and packages of which nothing could be found out, with why.

    Raises NotRunError
    """
    options = ["-r", str(pinned), "--no-deps", "--disable-pip", "--format", "json"]
    try:
        ran = subprocess.run(
            [*command, *options, "--progress-spinner", "off"],
            capture_output=True, text=True, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise NotRunError(f"no answer within {SECONDS} s") from error
    try:
        found = json.loads(ran.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:  # it says JSON only when it got answers
        raise NotRunError(last_line(ran.stderr) or f"exit code {ran.returncode}") from error
    skipped = {item["name"]: item["skip_reason"] for item in found if "skip_reason" in item}
    if len(skipped) == len(found) > 0:
        why = next(iter(skipped.values()))
        raise NotRunError(f"advisories came for none of {len(found)} packages: {why}")
    advisories = [
        Advisory(name=item["name"], version=item["version"], id=one["id"], fixed=one["fix_versions"])
        for item in found
        for one in item.get("vulns", [])
    ]
    return advisories, skipped


def last_line(text: str) -> str:
    """The last line that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def table_of(advisories: Sequence[Advisory]) -> Table:
    """One line an advisory."""
    table = Table("package", "version", "advisory", "fixed in")
    for item in advisories:
        table.add_row(*map(escape, (item.name, item.version, item.id, ", ".join(item.fixed) or "none yet")))
    return table


def main(command: Sequence[str] | None = None, pinned: Path = PINNED) -> int:
    """Say what is known of the pinned versions; the exit code."""
    console = Console()
    try:
        advisories, skipped = audit(tool() if command is None else command, pinned)
    except NotRunError as error:
        console.print(escape(f"not audited: {error}"))
        return NOT_RUN
    for name, why in skipped.items():
        console.print(escape(f"{name}: not audited: {why}"))
    console.print(table_of(advisories) if advisories else "no advisory is known of the pinned versions")
    return FOUND if advisories else CLEAN


if __name__ == "__main__":
    sys.exit(main())
