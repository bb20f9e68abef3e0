"""A finished run as the checkers take it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agents.protocol import Agent, Step
from agents.simulation.cast import Cast
from agents.simulation.cluster import Cluster, Process
from agents.simulation.journal import Host, Receipt
from agents.simulation.log import Entry, Log
from agents.simulation.outside import Outside
from agents.simulation.rebuilt import Rebuilt
from agents.simulation.task import Task
from agents.simulation.topics import BINNED, Identity, TaskId, identity
from agents.simulation.world import World


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
    for entry in cluster.log.all():
        if not entry.place[0].startswith(("order", "answer")):
            kept.setdefault(entry.place[0], {}).setdefault(identity(entry.record), entry)
    world, tasks, host = cluster.world, cluster.tasks(), Process(cluster, "checker")
    return Evidence(
        world=world,
        log=cluster.log,
        outside=cluster.outside,
        task_ids=cluster.task_ids,
        tasks=tasks,
        states={task_id: task.agent.snapshot() for task_id, task in tasks.items()},
        alone={
            task_id: run_alone(task, Cast().agent(task_id.agent, world.config), host)
            for task_id, task in tasks.items()
        },
        rebuilt=Rebuilt(world, [entry.record for entry in kept.get(BINNED, {}).values()]),
        kept=kept,
    )


def run_alone(task: Task, agent: Agent, host: Host) -> Alone:
    """Fold a task's journal, and what it has folded since, with a new agent."""
    calm, log, steps = Task(task.identity, agent, host), host.log, list[tuple[Receipt, Step]]()
    for entry in calm.valid_orders(0, log.end(task.identity.journal)):
        for receipt in entry.record.inputs:
            steps.append((receipt, calm.fold(log.get(*receipt))))
        calm.open_requests(steps[-1][1], entry.offset)
    for receipt in task.pending:
        steps.append((receipt, calm.fold(log.get(*receipt))))
    return Alone(agent, steps)
