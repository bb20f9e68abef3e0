"""What the service does without: Faust, torch, and, where no cluster is followed, a client of Kafka."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.data import ROOT


@pytest.mark.parametrize(
    ("modules", "without"),
    [
        ("agents.web.server, agents.web.stored_feed, agents.web.replay_feed", "faust torch aiokafka aiohttp"),
        ("agents.cli", "faust torch aiokafka fastapi uvicorn pyarrow"),
    ],
)
def test_what_is_not_needed_is_not_loaded(modules: str, without: str) -> None:
    code = f"import sys, {modules}; print(*(set(sys.modules) & set({without.split()!r})))"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == ""
