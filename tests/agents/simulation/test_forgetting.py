"""Robots that take turns where an agent may know one: each is forgotten for the next, and all come back."""

from __future__ import annotations

import dataclasses
from collections import Counter
from functools import cache

import pytest

from agents.in_order import epoch_of
from agents.simulation import world
from agents.simulation.log import partition_of
from agents.simulation.run import check, evidence_of, stage
from agents.simulation.world import Input, pose_at
from stream.config import Config, load_config
from stream.records import Event
from stream.topics import ALARMS, BINNED
from stream.transform import Transform

TURN_MS = 8000.0
"""Longer than any delay of a fault: a robot says no more in the turn of another one."""

RETURN = 10
"""Turns after which robots come back; so many at most come before."""

LATER_NS = 8_000_000_000
"""Between what a robot says when it is back and what it says in the end."""

NAMES = [name for name in (f"robot{number}" for number in range(30)) if partition_of(name) == 0]


@cache
def _one_robot(prior: str) -> Config:
    return load_config(None, [*world.SETTINGS, f"learn.prior={prior}", "limits.max_robots=1"])


def _robot(build: world._Builder, robot: str) -> None:
    """A robot in its turn, and back in another one; when all were, the last one closes the story."""
    number = int(robot.removeprefix("robot"))
    robot, first, earlier = NAMES[number], len(build.inputs), list(build.closing)
    drive(build, robot)
    mounts = [i for i in build.inputs[first:] if isinstance(i.record, Transform) and i.record.static]
    build.inputs[first:] = [_later(item, number * TURN_MS) for item in build.inputs[first:]]
    back = [*mounts, *build.closing[len(earlier) :]]
    build.closing.clear()
    for item in back:
        due = (RETURN + number) * TURN_MS + (0 if isinstance(item.record, Transform) else 300)
        build.send(due, item.record)
        build.send(0.0, _once_more(item), "" if item in mounts else item.fault, closing=True)


drive = world._robot


def _later(item: Input, delay_ms: float) -> Input:
    return dataclasses.replace(item, due_ms=item.due_ms + delay_ms)


def _once_more(item: Input) -> world.Message:
    record = item.record
    if isinstance(record, Transform):
        return record if record.static else pose_at(record.robot_id, record.stamp_ns + LATER_NS)
    return dataclasses.replace(record, stamp_ns=record.stamp_ns + LATER_NS)


@pytest.mark.parametrize("seed", range(8))
def test_every_rule_holds_when_robots_take_turns(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(world, "_config", _one_robot)
    monkeypatch.setattr(world, "_robot", _robot)
    cluster = stage(seed)
    cluster.run()
    assert (cluster.violations or check(evidence_of(cluster))) == []
    robots = {item.robot for item in cluster.world.story if item.robot}
    forgotten = Counter(
        entry.record.fields["agent"]
        for entry in cluster.log.topic(ALARMS)
        if isinstance(entry.record, Event) and entry.record.kind == "robot_forgotten"
    )
    epochs = {epoch_of(entry.record.seq) for entry in cluster.log.topic(BINNED)}
    cluster.close()
    if len(robots) > 1:
        assert min(forgotten[name] for name in ("perceive", "judge", "learn")) >= len(robots)
        assert len(epochs) >= len(robots)
    else:
        assert (forgotten, epochs) == (Counter(), {0})
