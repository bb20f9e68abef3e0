"""docker-compose.yml as Docker Compose itself resolves it."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.data import ROOT

HTTP_PORT = 9400


def tool(name: str) -> str:
    """A program that a package has put beside this Python."""
    return str(Path(sys.executable).parent / name)


@functools.cache
def composition() -> dict[str, Any]:
    """Services, volumes and configs, with anchors and defaults resolved.

    Compose checks the file against the schema of the Compose specification first; needs no Docker engine.
    Raises AssertionError with what Compose says
    """
    command = [tool("docker-compose"), "--project-directory", str(ROOT), "config", "--format", "json"]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr == "", ran.stderr  # warnings
    loaded: dict[str, Any] = json.loads(ran.stdout.replace("$$", "$"))
    return loaded


def services() -> dict[str, dict[str, Any]]:
    """Services by name."""
    return dict(composition()["services"])


def workers() -> dict[str, list[str]]:
    """Arguments by service, of those that run an agent."""
    found = {name: list(service.get("command") or []) for name, service in services().items()}
    return {name: command for name, command in found.items() if command[:1] == ["worker"]}
