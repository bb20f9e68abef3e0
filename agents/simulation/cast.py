"""Who plays in a simulated run: the real agents over small models, and the runtime's contract.

A test plants a bug by putting another maker in one of these places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from agents.archive import Archive
from agents.judge import Judge
from agents.learn import Learn
from agents.perceive import Perceive
from agents.protocol import Agent
from agents.simulation.dice import ENABLED_SHARE, Dice
from agents.simulation.driver import Driver, Host
from agents.simulation.faults import RATES
from agents.simulation.models import loader, prior_of
from agents.simulation.outside import Outside
from agents.simulation.world import World
from agents.task import Task
from agents.task_id import TaskId
from models.online.builtin import builtin_of
from stream.config import Config, NetworkConfig
from stream.features import schema_of
from stream.topics import ARCHIVE, JUDGE, LEARN, PERCEIVE

CHUNK_SWEEPS = 4


def make_perceive(config: Config) -> Agent:
    """A Perceive that serves the built-in model."""
    return Perceive(config, builtin_of(config))


def make_judge(config: Config) -> Agent:
    """A Judge."""
    return Judge(config)


def make_learn(config: Config) -> Agent:
    """A Learn with one lineage and no linear baseline, which needs a library."""
    builtin, prior = builtin_of(config), prior_of(config)
    return Learn(
        config,
        schema_of(config),
        builtin,
        networks={"network": NetworkConfig(width=4, layers=1)},
        priors={"network": prior} if prior else {},
        linear=None,
        load=loader(builtin),
    )


def make_archive(config: Config) -> Agent:
    """An Archive with small chunks."""
    return Archive(CHUNK_SWEEPS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cast:
    """Makers of agents, tasks, drivers and the outside; and how often what goes wrong.

    rates : by kind of fault; enabled_share : share of the kinds that one seed uses
    """

    perceive: Callable[[Config], Agent] = make_perceive
    judge: Callable[[Config], Agent] = make_judge
    learn: Callable[[Config], Agent] = make_learn
    archive: Callable[[Config], Agent] = make_archive
    task: type[Task] = Task
    driver: type[Driver] = Driver
    outside: Callable[[World, Dice], Outside] = Outside
    rates: Mapping[str, float] = field(default_factory=lambda: RATES)
    enabled_share: float = ENABLED_SHARE

    def drive(self, task_id: TaskId, config: Config, host: Host) -> Driver:
        """A new agent, the contract over it, and what drives that."""
        return self.driver(self.task(task_id, self.agent(task_id.agent, config), host.process), host)

    def agent(self, name: str, config: Config) -> Agent:
        """A new agent by name."""
        makers = {
            PERCEIVE: self.perceive,
            JUDGE: self.judge,
            LEARN: self.learn,
            ARCHIVE: self.archive,
        }
        return makers[name](config)
