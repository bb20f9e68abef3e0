"""The contract of a runtime, one clause at a time, on a cluster that is stepped by hand."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from agents.journal import Claim, Order
from agents.operations import Snapshot
from agents.protocol import Agent, Key, LoadModel, ModelLoaded, Restore, Step, WriteEvent
from agents.simulation.dice import Dice
from agents.simulation.driver import Driver
from agents.simulation.faults import RATES
from agents.simulation.log import Log
from agents.simulation.models import publication
from agents.simulation.outside import Outside, Snapshots
from agents.simulation.world import make_world
from agents.task import BUSY, MAX_SKEW_MS, SNAPSHOT_ENTRIES, Answer, TakenOver, Task, together
from agents.task_id import TaskId
from stream.codecs.state import Frozen, unpack
from stream.records import Event, ModelActivated, ModelPublished, SweepRejected
from stream.sweep import Sweep
from stream.topics import ALARMS, BINNED, JUDGE, PERCEIVE, PREDICTIONS, PUBLISHED, SWEEPS


class Holder(Agent):
    """Holds every sweep until the next one comes; says what it released, loads what is published."""

    def __init__(self) -> None:
        self.held: list[Key] = []
        self.loaded: list[str] = []

    def handle(self, record: Any) -> Step:
        if isinstance(record, ModelPublished):
            return Step(effects=(LoadModel(model_id=record.model_id, stamp_ns=1),))
        if isinstance(record, ModelLoaded):
            self.loaded.append(record.model_id)
            return Step()
        if not isinstance(record, Sweep):
            return Step()
        released, self.held = tuple(self.held), [("sweep", record.stream_id, record.stamp_ns, record.part)]
        outputs = tuple(Event(kind="out", stamp_ns=int(key[2]), robot_id=record.robot_id) for key in released)
        return Step(outputs=outputs, released=released)

    def state(self) -> dict[str, Any]:
        return {"held": [list(key) for key in self.held], "loaded": self.loaded}

    def restore(self, data: bytes) -> None:
        tree = unpack(data)
        self.held, self.loaded = [tuple(key) for key in tree["held"]], tree["loaded"]


@dataclass
class Bench:
    """A log and an outside without faults, and processes by name."""

    now: float = 0.0
    log: Log = field(default_factory=Log)
    snapshots: Snapshots = field(default_factory=Snapshots)
    process: str = "a"

    def __post_init__(self) -> None:
        self.dice = Dice(1, RATES)
        self.dice.calm = True
        self.outside = Outside(make_world(Dice(0, RATES)), self.dice)
        self.sweeps = [sweep_of(number) for number in range(8)]
        self.identity = TaskId(PERCEIVE, 0, 2)

    def note(self, who: str, what: str, detail: Any = "") -> None:
        pass

    def driver(self, agent: Any = None) -> Driver:
        return Driver(Task(self.identity, agent or Holder(), self.process), self)

    def task(self, agent: Any = None) -> tuple[Task, Iterator[str]]:
        driver = self.driver(agent)
        return driver.task, iter(driver.step, None)

    def send(self, count: int) -> None:
        first = self.log.end((SWEEPS, 0))
        for sweep in self.sweeps[first : first + count]:
            self.log.append((SWEEPS, 0), sweep, self.now)

    def outs(self) -> list[int]:
        return [entry.record.stamp_ns for entry in self.log.topic(ALARMS)]


def sweep_of(number: int) -> Sweep:
    points = np.zeros((0, 3), np.float32)
    return Sweep(
        stream_id="robot/lidar", stamp_ns=number + 1, frame="lidar", points=points, intensity=points[:, 0]
    )


def until(steps: Iterator[str], label: str) -> None:
    """Step until just after a label."""
    for _ in range(1000):
        if next(steps) == label:
            return
    raise AssertionError(f"{label} never came")


def test_only_what_is_journaled_released_and_delivered_is_acknowledged() -> None:
    bench = Bench()
    task, steps = bench.task()
    bench.send(3)
    place = (SWEEPS, 0)
    until(steps, "handled")
    assert task.acknowledged()[place] == 0
    until(steps, "handled")
    assert (task.positions[place], task.acknowledged()[place]) == (2, 0)
    until(steps, "sent")
    assert task.acknowledged()[place] == 0
    until(steps, "acknowledged")
    assert task.acknowledged()[place] == 1  # the second is held
    until(steps, "waiting")
    assert (task.positions[place], task.acknowledged()[place]) == (3, 2)


def test_the_journal_comes_before_outputs() -> None:
    bench = Bench()
    _, steps = bench.task()
    bench.send(2)
    until(steps, "journaled")
    assert bench.outs() == []
    entry = [entry.record for entry in bench.log.read(bench.identity.journal)][-1]
    assert entry == Order(0, (((SWEEPS, 0), 0), ((SWEEPS, 0), 1)))


@pytest.mark.parametrize("label", ["handled", "journaled", "sent", "acknowledged"])
def test_a_process_that_dies_anywhere_is_followed_by_one_that_says_the_same(label: str) -> None:
    bench = Bench()
    _, steps = bench.task()
    bench.send(4)
    until(steps, "acknowledged")
    until(steps, label)
    task, steps = bench.task()
    until(steps, "waiting")
    assert list(dict.fromkeys(bench.outs())) == [sweep.stamp_ns for sweep in bench.sweeps[:3]]
    assert task.acknowledged()[SWEEPS, 0] == 3


@pytest.mark.fault(14, 44)
def test_a_process_that_was_replaced_ends_at_its_next_step() -> None:
    bench = Bench()
    old, old_steps = bench.task()
    bench.send(2)
    until(old_steps, "waiting")
    new, new_steps = bench.task()
    until(new_steps, "waiting")
    bench.send(2)
    with pytest.raises(TakenOver, match="perceive-0") as taken:
        until(old_steps, "sent")
    assert taken.value.by == new._process
    until(new_steps, "waiting")
    assert bench.outs() == [sweep.stamp_ns for sweep in [bench.sweeps[0], *bench.sweeps[:3]]]
    valid = [entry.offset for entry in new.valid_orders(bench.log.read(bench.identity.journal))]
    claims = [e.offset for e in bench.log.read(bench.identity.journal) if isinstance(e.record, Claim)]
    assert len(claims) == 2
    assert len(valid) == bench.log.end(bench.identity.journal) - 3  # two claims, one void entry
    assert old.positions != new.positions


def test_a_snapshot_saves_folding_and_changes_nothing_else() -> None:
    bench = Bench()
    task, steps = bench.task()
    bench.send(3)
    until(steps, "waiting")
    bench.snapshots.write(bench.identity, Snapshot.of(Frozen(task.agent.state()), task.memory()))
    again, steps = bench.task()
    until(steps, "restored")
    assert again.agent.snapshot() == task.agent.snapshot()
    assert again.acknowledged() == task.acknowledged()
    assert again.positions == task.positions


def test_outputs_go_together_but_for_activations_and_those_of_one_topic() -> None:
    one, other = (
        ModelActivated(
            robot_id="robot", stream_id=f"robot/{sensor}", first_stamp_ns=1, model_id="m", sha256="s"
        )
        for sensor in "ab"
    )
    event, again = (Event(kind=kind, stamp_ns=1) for kind in "xy")
    letter = SweepRejected(
        robot_id="robot", stream_id="robot/a", stamp_ns=1, part=0, reason="no_pose", detail=""
    )
    assert together([]) == []
    assert together([event, letter]) == [(event, letter)]
    assert together([event, again, letter]) == [(event,), (again, letter)]
    assert together([one, event, letter, other, again]) == [(one,), (event, letter), (other,), (again,)]


class Echo(Holder):
    """Every sweep leads to a step of its own."""

    def handle(self, record: Any) -> Step:
        key = ("sweep", record.stream_id, record.stamp_ns, record.part)
        return Step(outputs=(Event(kind="out", stamp_ns=record.stamp_ns),), released=(key,))


@pytest.mark.parametrize("spare", [0, 3])
def test_a_snapshot_waits_until_nothing_has_to_be_folded_but_not_for_ever(spare: int) -> None:
    bench = Bench()
    _, steps = bench.task(Echo())
    bench.sweeps = [sweep_of(number) for number in range((2 * BUSY + 1) * SNAPSHOT_ENTRIES)]
    bench.send(SNAPSHOT_ENTRIES + spare)
    labels = [*itertools.takewhile(lambda label: label != "saved", steps)]
    assert labels.count("handled") == SNAPSHOT_ENTRIES + spare
    assert labels[-2:] == ["asked", "half saved"]
    until(steps, "waiting")
    bench.send(BUSY * SNAPSHOT_ENTRIES + spare)
    labels = [*itertools.takewhile(lambda label: label != "saved", steps)]
    assert labels.count("handled") == BUSY * SNAPSHOT_ENTRIES


def test_a_task_that_is_left_has_nothing_to_fold_again() -> None:
    bench = Bench()
    driver = bench.driver(Holder())
    bench.send(2)
    until(iter(driver.step, None), "waiting")
    assert bench.snapshots.newest(bench.identity) is None
    driver.leave()
    saved = bench.snapshots.newest(bench.identity)
    assert saved is not None
    assert saved.memory.journal == bench.log.end(bench.identity.journal)
    driver.leave()
    assert bench.snapshots.newest(bench.identity) is saved


@pytest.mark.fault(6)
def test_a_torn_snapshot_is_passed_over() -> None:
    bench = Bench()
    task, steps = bench.task()
    bench.send(2)
    until(steps, "waiting")
    whole = Snapshot.of(Frozen(task.agent.state()), task.memory())
    bench.snapshots.write(bench.identity, whole)
    bench.send(1)
    until(steps, "waiting")
    torn = Snapshot.of(Frozen(task.agent.state()), task.memory())
    bench.snapshots.write(bench.identity, dataclasses.replace(torn, agent=torn.agent[:9]))
    assert bench.snapshots.newest(bench.identity) is whole


class Publisher(Holder):
    """Stores a line, says so and asks for a model with every sweep; resumes a trainer."""

    def handle(self, record: Any) -> Step:
        if not isinstance(record, Sweep):
            return Step()
        return Step(
            outputs=(Event(kind="stored", stamp_ns=record.stamp_ns),),
            released=(("sweep", record.stream_id, record.stamp_ns, record.part),),
            effects=(LoadModel(model_id="m", stamp_ns=1), WriteEvent(event={"stamp_ns": record.stamp_ns})),
        )

    def resume(self) -> tuple[Restore, ...]:
        return (Restore(lineage="network", weights={"labels": np.ones(1, np.float32)}),)


@pytest.mark.fault(3)
def test_what_a_step_stores_is_there_before_its_outputs_and_requests_come_last() -> None:
    bench = Bench()
    _, steps = bench.task(Publisher())
    bench.send(1)
    until(steps, "stored")
    assert (len(bench.outside.files), bench.outs(), bench.outside.jobs) == (1, [], [])
    until(steps, "sent")
    assert (len(bench.outs()), bench.outside.jobs) == (1, [])
    until(steps, "asked")
    assert len(bench.outside.jobs) == 1


def test_new_trainers_are_given_weights_before_requests_are_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = Bench()
    _, steps = bench.task(Publisher())
    bench.send(1)
    until(steps, "waiting")
    bench.outside.die("a")
    bench.process = "b"
    done: list[str] = []
    outside = bench.outside
    monkeypatch.setattr(outside, "restore", lambda process, effect: done.append(f"restored in {process}"))
    monkeypatch.setattr(outside, "ask", lambda *_: done.append("asked"))
    until(bench.task(Publisher())[1], "asked")
    assert done == ["restored in b", "asked"]


def test_requests_are_made_again_and_answered_once() -> None:
    bench = Bench()
    record = ModelPublished(model_id="m", sha256="", kind="update", parent_id="", stamp_ns=1)
    bench.log.append((PUBLISHED, 0), record, 0.0)
    _, steps = bench.task()
    until(steps, "asked")
    until(steps, "asked")
    (job,) = bench.outside.jobs
    bench.outside.die("a")
    bench.process = "b"
    agent = Holder()
    task, steps = bench.task(agent)
    until(steps, "waiting")
    assert [again.request for again in bench.outside.jobs] == [job.request]
    loaded = ModelLoaded(model_id="m", stamp_ns=1, sha256="", model=None)
    for _ in range(2):
        bench.log.append(bench.identity.answers, Answer(job.request, loaded), 0.0)
    until(steps, "waiting")
    assert agent.loaded == ["m"]
    assert task.open == {}


@pytest.mark.fault(41)
def test_no_partition_runs_ahead_of_one_that_has_records_waiting() -> None:
    bench = Bench()
    bench.identity = TaskId(JUDGE, 0, 2)
    driver = bench.driver()
    bench.log.append((BINNED, 0), "old", 0.0)
    bench.log.append((PREDICTIONS, 0), "new", MAX_SKEW_MS + 1)
    assert [entry.record for entry in driver.heads()] == ["old"]
    bench.log.append((PREDICTIONS, 0), "newer", MAX_SKEW_MS + 2)
    driver.task.positions[BINNED, 0] = 1
    assert [entry.record for entry in driver.heads()] == ["new"]


@pytest.mark.fault(41)
def test_an_answer_may_be_folded_however_long_before_it_inputs_wait() -> None:
    """Workers fold answers first, so seeds must try that order as well."""
    bench = Bench()
    driver = bench.driver()
    bench.log.append((SWEEPS, 0), sweep_of(0), 9 * MAX_SKEW_MS)
    bench.log.append(bench.identity.answers, Answer("no one's", None), 99 * MAX_SKEW_MS)
    assert {entry.place for entry in driver.heads()} == {(SWEEPS, 0), bench.identity.answers}
    driver.task.positions[SWEEPS, 0] = 1
    bench.log.append((SWEEPS, 0), sweep_of(1), 999 * MAX_SKEW_MS)
    assert {entry.place for entry in driver.heads()} == {(SWEEPS, 0), bench.identity.answers}


@pytest.mark.fault(31)
def test_the_outside_loads_no_other_model_than_was_published() -> None:
    outside = Bench().outside
    config = make_world(Dice(0, RATES)).config
    data, record, manifest = publication(config, 1.5, "published")
    outside.models[record.model_id] = (data, manifest)
    asked = LoadModel(model_id=record.model_id, stamp_ns=1, sha256=record.sha256)
    assert outside.load(asked).sha256 == record.sha256
    other, _, fitting = publication(config, 0.5, "put in its place")
    outside.models[record.model_id] = (other, dataclasses.replace(fitting, model_id=record.model_id))
    refused = outside.load(asked)
    assert (refused.model, refused.reason) == (None, f"{record.model_id}: sha256 is not the published one")
    assert outside.load(dataclasses.replace(asked, sha256=None)).sha256 == fitting.sha256
