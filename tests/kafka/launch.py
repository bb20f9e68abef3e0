"""One worker in a process of its own: ``python -m tests.kafka.launch AGENT SETTINGS``, the latter as JSON."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from agents.kafka.play import play_of
from agents.kafka.settings import KafkaSettings
from agents.kafka.worker import Worker
from stream.config import load_config


def main(agent: str, text: str) -> None:
    """Run until told to stop."""
    given = json.loads(text)
    config = load_config(None, given.pop("set"))
    settings = KafkaSettings(**given | {"folder": Path(given["folder"])})
    Worker(agent, settings, play_of(agent, config, settings)).run()


if __name__ == "__main__":
    main(*sys.argv[1:])
