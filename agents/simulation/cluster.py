"""A cluster on a virtual clock: processes that host tasks, and everything that happens to them, by seed."""

from __future__ import annotations

import dataclasses
import math
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from agents.simulation.dice import Dice
from agents.simulation.driver import Driver
from agents.simulation.faults import Died, Violation
from agents.simulation.log import Log
from agents.simulation.outside import Job, Outside, Snapshots
from agents.simulation.topics import place_of, tasks_of
from agents.simulation.world import World
from agents.task import Answer, TakenOver, Task
from agents.task_id import TaskId

SESSION_MS = 300.0
"""A process that is silent for so long has lost its tasks."""
COMMIT_MS = 50.0
BURST = 6
"""Steps that one task takes at most before another may."""
MAX_STEPS = 100_000
PATIENCE_MS = 10_000.0
"""Faults end at the latest so long after the story's last message: where a process dies more often than one
long step takes to deliver, nothing would come to rest."""

Line = tuple[float, str, str, Any]
"""Of the history: when, who, what, and the record or text it was about."""


@dataclass(slots=True, eq=False)
class Worker:
    """One process; its next incarnation has the same name, and takes up the same tasks.

    down_until : while it is dead; paused_until : while it is stopped and does not know it
    notices_at : when it learns that it was taken for dead; member : it counts as alive
    """

    name: str
    incarnation: int = 0
    member: bool = True
    down_until: float | None = None
    paused_until: float = 0.0
    notices_at: float = 0.0
    silent_since: float | None = None
    tasks: dict[TaskId, Driver] = field(default_factory=dict)

    @property
    def process(self) -> str:
        """Names one incarnation."""
        return f"{self.name}.{self.incarnation}"

    def runs(self, now: float) -> bool:
        """Neither dead nor stopped."""
        return self.down_until is None and self.paused_until <= now


class Process:
    """What a task sees of its process."""

    def __init__(self, cluster: Cluster, process: str) -> None:
        self.process, self._cluster = process, cluster
        self.log, self.outside, self.dice = cluster.log, cluster.outside, cluster.dice
        self.snapshots = cluster.snapshots

    @property
    def now(self) -> float:
        """Milliseconds."""
        return self._cluster.now

    def note(self, who: str, what: str, detail: Any = "") -> None:
        """Add a line to the history."""
        self._cluster.note(who, what, detail)


class Cluster:
    """Runs a world to its end. ``history`` says what happened; ``violations`` what was seen on the way.

    make_driver : the runtime's contract over a new agent and what drives it, or one with a planted bug
    """

    def __init__(
        self,
        world: World,
        dice: Dice,
        outside: Outside,
        *,
        make_driver: Callable[[TaskId, Process], Driver],
    ) -> None:
        self.world, self.dice, self.outside = world, dice, outside
        self._make_driver = make_driver
        self.log, self.snapshots = Log(), Snapshots()
        self.now = 0.0
        self.steps = 0
        self.history: list[Line] = []
        self.violations: list[Violation] = []
        self.task_ids = tasks_of(item.robot for item in (*world.story, *world.closing) if item.robot)
        self._unsent = list(reversed(world.story))
        self._workers = [Worker(f"worker{number}") for number in range(2 + dice.pick(2))]
        self._owners: dict[TaskId, Worker] = {}
        self._next_commit = COMMIT_MS
        self._rebalance()

    def note(self, who: str, what: str, detail: Any = "") -> None:
        """Add a line to the history."""
        self.history.append((self.now, who, what, detail))

    def run(self) -> None:
        """The story with its faults; then peace, until everything has come to rest; then the closing."""
        last = max((item.due_ms for item in self.world.story), default=0.0)
        self._until_rest(last + PATIENCE_MS)
        self.dice.calm = True
        self._until_rest()
        self._unsent = [dataclasses.replace(item, due_ms=self.now) for item in reversed(self.world.closing)]
        self._until_rest()
        self._commit()
        if self.steps >= MAX_STEPS:
            self.violations.append(Violation("unreleased", f"no rest after {MAX_STEPS} steps"))

    def tasks(self) -> dict[TaskId, Task]:
        """The tasks as they are at the end."""
        return {
            task_id: owner.tasks[task_id].task
            for task_id, owner in self._owners.items()
            if task_id in owner.tasks
        }

    def close(self) -> None:
        """Let go of tasks and processes, which refer to each other, so that their memory is free at once."""
        self._owners.clear()
        for worker in self._workers:
            worker.tasks.clear()

    # ---- time ------------------------------------------------------------------------------------------

    def _until_rest(self, end_ms: float = math.inf) -> None:
        while self.now < end_ms and self.steps < MAX_STEPS and not self.violations and self._step():
            self.steps += 1

    def _step(self) -> bool:
        self._timers()
        actions = self._actions()
        if actions:
            self.now += 0.05 + 0.5 * self.dice.share()
            action, subject = actions[self.dice.pick(len(actions))]
            action(subject)
            return True
        later = min((moment for moment in self._moments() if moment > self.now), default=None)
        if later is None:
            return False
        self.now = later
        return True

    def _actions(self) -> list[tuple[Callable[[Any], None], Any]]:
        actions: list[tuple[Callable[[Any], None], Any]] = []
        if self._unsent and self._unsent[-1].due_ms <= self.now:
            actions.append((self._produce, None))
        actions += [(self._finish, job) for job in self.outside.due(self.now)]
        for worker in self._workers:
            if worker.runs(self.now):
                actions += [
                    (self._resume, (worker, task_id))
                    for task_id, driver in worker.tasks.items()
                    if driver.ready
                ]
        return actions

    def _moments(self) -> Iterator[float]:
        """When something will happen by itself."""
        if self._unsent:
            yield self._unsent[-1].due_ms
        yield from (job.due_ms for job in self.outside.jobs)
        for worker in self._workers:
            if worker.down_until is not None:
                yield worker.down_until
            if worker.silent_since is not None:
                yield worker.silent_since + SESSION_MS
            yield from (worker.paused_until, worker.notices_at)
            yield from (driver.wakes_ms for driver in worker.tasks.values())

    def _timers(self) -> None:
        for worker in self._workers:
            if worker.down_until is not None and worker.down_until <= self.now:
                worker.down_until, worker.silent_since = None, None
                worker.incarnation += 1
                self._join(worker, "starts")
            elif worker.silent_since is not None and worker.runs(self.now):
                worker.silent_since = None
                self._start(worker)
            elif worker.silent_since is not None and self.now >= worker.silent_since + SESSION_MS:
                worker.silent_since, worker.member = None, False
                self.note(worker.process, "is taken for dead")
                self._rebalance()
            elif not worker.member and worker.runs(self.now) and worker.notices_at <= self.now:
                self._drop(worker)
                self._join(worker, "joins again")
        if self.now >= self._next_commit:
            self._commit()

    # ---- what happens ----------------------------------------------------------------------------------

    def _produce(self, _: None) -> None:
        item = self._unsent.pop()
        place = place_of(item.record)
        offset = self.log.append(place, item.record, self.now)
        self.note("producer", f"sends to {place[0]}-{place[1]}@{offset}", item)

    def _finish(self, job: Job) -> None:
        result, done = self.outside.finish(job, self.now)
        if not done:
            return
        answer = Answer(job.request, result)
        self.note("outside", f"answers {job.request}", result)
        for _ in range(2 if self.dice.fires("answer twice") else 1):
            self.log.append(job.task.answers, answer, self.now)

    def _resume(self, subject: tuple[Worker, TaskId]) -> None:
        worker, task_id = subject
        driver = worker.tasks[task_id]
        for _ in range(1 + self.dice.pick(BURST)):
            if self._strikes(worker, driver):
                return
            try:
                label = driver.step()
            except (Died, TakenOver) as error:
                self._kill(worker, str(error))
                return
            except Exception as error:
                self.violations.append(Violation("crash", f"{task_id}: {type(error).__name__}: {error}"))
                self.note(worker.process, "fails", traceback.format_exc())
                return
            if label == "waiting":
                return

    def _strikes(self, worker: Worker, driver: Driver) -> bool:
        """Whether a fault hits the process now."""
        dice = self.dice
        if driver.label != "new" and dice.fires(f"killed when {driver.label}"):
            self._kill(worker, f"{driver.task.identity} {driver.label}")
        elif dice.fires("process paused"):
            pause = 100 + 800 * dice.share()
            worker.silent_since, worker.paused_until = self.now, self.now + pause
            worker.notices_at = worker.paused_until + 30 * dice.share()
            self.note(worker.process, f"stops for {pause:.0f} ms", "")
        elif dice.fires("worker leaves"):
            self.note(worker.process, "leaves", "")
            self._leave(worker)
            self._kill(worker, "asked to")
            worker.member, worker.silent_since = False, None
            self._rebalance()
        else:
            return False
        return True

    def _leave(self, worker: Worker) -> None:
        """Last snapshots, as a worker writes them that is told to stop."""
        for driver in worker.tasks.values():
            if driver.label == "waiting":
                with suppress(TakenOver):
                    driver.leave()

    def _kill(self, worker: Worker, why: str) -> None:
        self.note(worker.process, "dies", why)
        self._drop(worker)
        worker.down_until = self.now + 30 + 600 * self.dice.share()
        worker.silent_since = self.now

    def _drop(self, worker: Worker) -> None:
        self.outside.die(worker.process)
        worker.tasks.clear()

    def _join(self, worker: Worker, what: str) -> None:
        self.note(worker.process, what, "")
        if worker.member:
            self._start(worker)
        else:
            worker.member = True
            self._rebalance()

    # ---- groups ----------------------------------------------------------------------------------------

    def _rebalance(self) -> None:
        """Tasks of the dead go to the least busy; a process without a task gets one of the busiest."""
        members = [worker for worker in self._workers if worker.member]
        if not members:
            return
        load = {worker.name: 0 for worker in members}
        for owner in self._owners.values():
            load[owner.name] = load.get(owner.name, 0) + owner.member
        for task_id in self.task_ids:
            now = self._owners.get(task_id)
            least = min(members, key=lambda worker: load[worker.name])
            if now is None or not now.member or load[now.name] > load[least.name] + 1:
                if now is not None and now.member:
                    load[now.name] -= 1
                self._owners[task_id] = least
                load[least.name] += 1
        for worker in members:
            self._start(worker)

    def _start(self, worker: Worker) -> None:
        """Give a process its tasks, and take away what is another's now."""
        if worker.down_until is not None:
            return
        mine = {task_id for task_id, owner in self._owners.items() if owner is worker}
        if worker.runs(self.now):
            for task_id in [task_id for task_id in worker.tasks if task_id not in mine]:
                del worker.tasks[task_id]
        for task_id in sorted(mine - set(worker.tasks)):
            self.note(worker.process, f"is given {task_id}", "")
            worker.tasks[task_id] = self._make_driver(task_id, Process(self, worker.process))

    def _commit(self) -> None:
        self._next_commit = self.now + COMMIT_MS
        for task_id, owner in self._owners.items():
            if task_id not in owner.tasks or not owner.runs(self.now) or self.dice.fires("commit lost"):
                continue
            for place, offset in owner.tasks[task_id].task.acknowledged().items():
                if offset > self.log.committed(task_id.agent, place):
                    self.log.commit(task_id.agent, place, offset)
