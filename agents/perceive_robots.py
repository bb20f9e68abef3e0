"""Every robot and stream that Perceive knows: so many at most, and how far those had got that it forgot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from agents.forgotten import REMEMBERED
from agents.in_order import first_seq
from agents.newest import Newest
from agents.perceive_robot import RobotState, StreamState
from agents.roster import Roster
from stream.config import Config

STATE = frozenset({"robots", "roster", "done", "epoch"})
"""What ``state`` gives."""


class Robots:
    """Robots by id. The one that was silent longest makes room when another one is heard.

    One that comes back begins anew, in a later epoch: nothing is known of it but its newest stamp, so that
    no sweep becomes evidence twice.
    """

    def __init__(self, config: Config) -> None:
        self._config = config
        self._robots: dict[str, RobotState] = {}
        self._roster = Roster(config.limits.max_robots)
        self._done = Newest(REMEMBERED)  # newest stamps of robots and streams that were forgotten
        self._epoch = 0  # of robots that are heard from now on

    def __getitem__(self, robot_id: str) -> RobotState:
        """A robot that is known; raises KeyError."""
        return self._robots[robot_id]

    def __iter__(self) -> Iterator[RobotState]:
        """Every robot, in the order in which they became known."""
        return iter(self._robots.values())

    def hear(self, robot_id: str) -> list[tuple[str, RobotState]]:
        """Note that a robot was heard; returns those that are forgotten for it."""
        left = [(silent, self._robots.pop(silent)) for silent in self._roster.hear(robot_id)]
        for silent, robot in left:
            if robot.seq > first_seq(robot.epoch):
                self._epoch = max(self._epoch, robot.epoch + 1)
            done_ns = max(robot.newest_input_ns, robot.done_ns)
            if done_ns > 0:
                self._done.note(silent, done_ns)
        if robot_id not in self._robots:
            self._robots[robot_id] = RobotState(self._config, self._epoch, self._done.pop(robot_id))
        return left

    def hear_stream(self, robot: RobotState, stream_id: str) -> list[tuple[str, StreamState]]:
        """Note that a stream of a robot was heard; returns those that are forgotten for it."""
        left = [(silent, robot.streams.pop(silent)) for silent in robot.roster.hear(stream_id)]
        for silent, stream in left:
            self._done.note(silent, stream.newest_ns)
        if stream_id not in robot.streams:
            done_ns = self._done.pop(stream_id)
            robot.streams[stream_id] = StreamState(newest_ns=done_ns)
        return left

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "robots": [[name, robot.state()] for name, robot in self._robots.items()],
            "roster": self._roster.names(),
            "done": self._done.items(),
            "epoch": self._epoch,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], config: Config) -> Robots:
        """Rebuild from ``state``."""
        robots = cls(config)
        robots._robots = {name: RobotState.from_state(values, config) for name, values in state["robots"]}
        robots._roster = Roster(config.limits.max_robots, state["roster"])
        robots._done, robots._epoch = Newest(REMEMBERED, state["done"]), state["epoch"]
        return robots
