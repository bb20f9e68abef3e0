"""A finished run as the checkers take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.journal import Receipt
from agents.protocol import Agent, Step
from agents.simulation.cast import Cast
from agents.simulation.cluster import Cluster
from agents.simulation.log import Entry, Log
from agents.simulation.outside import Outside
from agents.simulation.rebuilt import Rebuilt
from agents.simulation.topics import Identity, identity
from agents.simulation.world import World
from agents.task import Task
from agents.task_id import TaskId
from stream.topics import BINNED


@dataclass(frozen=True, slots=True, eq=False)
class Alone:
    """An agent that has folded without a break what a task has, in its order; its step for each input."""

    agent: Agent
    steps: list[tuple[Receipt, Step]]


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """A finished run: what was sent, what is in the log and the store, and the tasks as they stand.

    kept : by topic and identity, the first record in the log: what a reader keeps of records that come again
    states : snapshots of the tasks' agents in the end; alone : the same agents, each run alone
    rebuilt : what follows from binned records
    """

    world: World
    log: Log
    outside: Outside
    task_ids: tuple[TaskId, ...]
    tasks: dict[TaskId, Task]
    kept: dict[str, dict[Identity, Entry]]
    states: Mapping[TaskId, bytes]
    alone: Mapping[TaskId, Alone]
    rebuilt: Rebuilt

    def first(self, topic: str) -> dict[Identity, Any]:
        """Records of a topic by identity, in the order of the log."""
        return {name: entry.record for name, entry in self.kept.get(topic, {}).items()}


def evidence_of(cluster: Cluster) -> Evidence:
    """A finished run as checkers take it."""
    kept: dict[str, dict[Identity, Entry]] = {}
    private = {place for task_id in cluster.task_ids for place in (task_id.journal, task_id.answers)}
    for entry in cluster.log.all():
        if entry.place not in private:
            kept.setdefault(entry.place[0], {}).setdefault(identity(entry.record), entry)
    world, tasks = cluster.world, cluster.tasks()
    return Evidence(
        world=world,
        log=cluster.log,
        outside=cluster.outside,
        task_ids=cluster.task_ids,
        tasks=tasks,
        states={task_id: task.agent.snapshot() for task_id, task in tasks.items()},
        alone={
            task_id: run_alone(task, Cast().agent(task_id.agent, world.config), cluster.log)
            for task_id, task in tasks.items()
        },
        rebuilt=Rebuilt(world, [entry.record for entry in kept.get(BINNED, {}).values()]),
        kept=kept,
    )


def run_alone(task: Task, agent: Agent, log: Log) -> Alone:
    """Fold a task's journal, and what it has folded since, with a new agent."""
    calm, steps = Task(task.identity, agent, "alone"), list[tuple[Receipt, Step]]()

    def fold(receipt: Receipt) -> None:
        record = calm.admit(log.get(*receipt))
        steps.append((receipt, agent.handle(record) if record is not None else Step()))

    for entry in calm.valid_orders(log.read(task.identity.journal)):
        for receipt in entry.record.inputs:
            fold(receipt)
        calm.open_requests(steps[-1][1], entry.offset)
    for receipt in task.pending:
        fold(receipt)
    return Alone(agent, steps)
