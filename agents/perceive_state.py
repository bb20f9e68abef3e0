"""Perceive's state as bytes and back. The window is rebuilt by folding its records again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from stream.codecs.state import from_dict, pack, to_dict, unpack_fields
from stream.frames import FrameRegistry
from stream.records import Binned
from stream.sweep import Sweep

if TYPE_CHECKING:
    from agents.perceive import RobotState


def with_evicted(record: Binned, evicted: int) -> Binned:
    """The record with the number of cells its own fold evicted."""
    return dataclasses.replace(record, evicted=evicted) if evicted else record


def save(robots: dict[str, RobotState], staged: str) -> bytes:
    """Every robot's transforms, held sweeps, retained records and streams."""
    return pack(
        {
            "staged": staged,
            "robots": {
                robot_id: {
                    "frames": robot.frames.state(),
                    "records": [to_dict(record) for record in robot.container.records()],
                    "held": [to_dict(sweep) for sweep in robot.held],
                    "seen": [[list(key), stamp] for key, stamp in robot.seen.items()],
                    "streams": {name: _stream(stream) for name, stream in robot.streams.items()},
                    "seq": robot.seq,
                    "newest_input_ns": robot.newest_input_ns,
                }
                for robot_id, robot in robots.items()
            },
        }
    )


def _stream(stream: Any) -> dict[str, Any]:
    return {
        "newest_ns": stream.newest_ns,
        "parts_seen": sorted(stream.parts_seen),
        "open_record": to_dict(stream.open_record) if stream.open_record else None,
        "model_id": stream.model_id,
    }


def load(data: bytes, new_robot: Callable[[], RobotState]) -> tuple[dict[str, RobotState], str]:
    """The robots and the staged model of a snapshot; raises StateError on foreign bytes."""
    tree = unpack_fields(data, frozenset({"staged", "robots"}))
    robots = {}
    for robot_id, state in tree["robots"].items():
        robot = robots[robot_id] = new_robot()
        robot.frames = FrameRegistry.from_state(state["frames"])
        for values in state["records"]:
            robot.container.fold(from_dict(Binned, values))
        robot.held = [from_dict(Sweep, values) for values in state["held"]]
        robot.seen = {tuple(key): stamp for key, stamp in state["seen"]}
        robot.seq, robot.newest_input_ns = state["seq"], state["newest_input_ns"]
        for name, values in state["streams"].items():
            robot.streams[name] = _load_stream(values, robot)
    return robots, tree["staged"]


def _load_stream(values: dict[str, Any], robot: RobotState) -> Any:
    from agents.perceive import StreamState

    opened = values["open_record"]
    return StreamState(
        newest_ns=values["newest_ns"],
        parts_seen=set(values["parts_seen"]),
        open_record=from_dict(Binned, opened) if opened else None,
        model_id=values["model_id"],
    )
