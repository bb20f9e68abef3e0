"""The four agents as workers run them, from a configuration."""

from __future__ import annotations

import time

from agents.archive import Archive
from agents.effects import LocalEffects
from agents.judge import Judge
from agents.kafka.settings import KafkaSettings
from agents.kafka.worker import Play
from agents.pace import Pace
from agents.perceive import Perceive
from agents.protocol import Agent
from agents.replay import learn_of, load_version, networks_of, priors_of
from agents.task_id import TaskId
from models.online.builtin import builtin_of
from stream.config import Config
from stream.features import schema_of
from stream.run_folder import RunFolder
from stream.topics import ARCHIVE, JUDGE, LEARN, PERCEIVE

MAX_MODELS = 10_000
"""In the registry, 50 kB each: what a worker served must be there when it starts again, hours later."""


def play_of(agent: str, config: Config, settings: KafkaSettings) -> Play:
    """What a worker of an agent needs; the configuration must name its map frame."""
    schema, builtin = schema_of(config), builtin_of(config)
    networks = networks_of(config) if agent == LEARN else {}
    priors = priors_of(config, schema)[0] if agent == LEARN else {}

    def make_agent() -> Agent:
        if agent == PERCEIVE:
            return Perceive(config, builtin)
        if agent == JUDGE:
            return Judge(config)
        if agent == ARCHIVE:
            return Archive()
        return learn_of(config, networks, priors)

    def make_effects(identity: TaskId) -> LocalEffects:
        folder = settings.folder
        if agent == ARCHIVE:
            folder = folder / "archive" / f"{identity.partition:03d}"
        run = RunFolder(folder)
        run.create()
        pace = Pace(time.monotonic, networks) if agent == LEARN else None
        return LocalEffects(config, schema, run, networks, priors, pace, MAX_MODELS, durable=True)

    return Play(make_agent=make_agent, make_effects=make_effects, make_model=load_version(builtin))
