"""One robot as Perceive sees it: transforms, sweeps that wait for theirs, and the rolling container."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.clock_guard import ClockGuard
from agents.protocol import Key
from stream.codecs.state import from_dict, to_dict
from stream.config import Config
from stream.container import RollingContainer
from stream.frames import MAX_FRAMES, FrameRegistry
from stream.records import Binned
from stream.sweep import Sweep
from stream.transform import Transform


@dataclass(slots=True)
class StreamState:
    """One sensor of a robot: its newest stamp, the parts still missing, and the model that serves it."""

    newest_ns: int = -1
    parts_seen: set[int] = field(default_factory=set)
    open_record: Binned | None = None  # last part of a sweep whose other parts have not come yet
    model_id: str = ""

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "newest_ns": self.newest_ns,
            "parts_seen": sorted(self.parts_seen),
            "open_record": to_dict(self.open_record) if self.open_record else None,
            "model_id": self.model_id,
        }

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> StreamState:
        """Rebuild from ``state``."""
        opened = state["open_record"]
        return cls(
            newest_ns=state["newest_ns"],
            parts_seen=set(state["parts_seen"]),
            open_record=from_dict(Binned, opened) if opened else None,
            model_id=state["model_id"],
        )


class RobotState:
    """One robot: transforms, sweeps that wait for theirs, and the rolling container."""

    def __init__(self, config: Config) -> None:
        window_ns = (config.window.bins + config.keep_bins) * config.window.bin_ns
        self.frames = FrameRegistry(
            max_gap_ns=config.pose.max_gap_ns,
            horizon_ns=config.pose.max_wait_ns + config.pose.max_gap_ns + 2 * window_ns,
        )
        self.container = RollingContainer(config)
        self.held: list[Sweep] = []
        self.seen: dict[Key, int] = {}
        self.streams: dict[str, StreamState] = {}
        self.seq = 0
        self.newest_input_ns = 0
        self.clock: ClockGuard[Sweep] = ClockGuard()
        self.edge_clocks: dict[str, ClockGuard[Transform]] = {}

    def admit_transform(self, transform: Transform) -> tuple[list[Transform], list[Transform]]:
        """Transforms to go on with now, and those whose stamps are wrong; each edge has its own clock."""
        child = transform.child
        if transform.static or (child not in self.edge_clocks and len(self.edge_clocks) >= MAX_FRAMES):
            return [transform], []
        return self.edge_clocks.setdefault(child, ClockGuard()).admit(transform.stamp_ns, transform)

    def admit_sweep(self, sweep: Sweep) -> tuple[list[Sweep], list[Sweep]]:
        """Sweeps to go on with now, and those whose stamps are wrong; the first must suit the transforms."""
        if not self.clock.newest_ns:
            self.clock.newest_ns = max((edge.newest_ns for edge in self.edge_clocks.values()), default=0)
        return self.clock.admit(sweep.stamp_ns, sweep)

    def state(self) -> dict[str, Any]:
        """Plain values; the window is rebuilt by folding its records again."""
        return {
            "frames": self.frames.state(),
            "records": [to_dict(record) for record in self.container.records()],
            "held": [to_dict(sweep) for sweep in self.held],
            "seen": [[list(key), stamp] for key, stamp in self.seen.items()],
            "streams": {name: stream.state() for name, stream in self.streams.items()},
            "seq": self.seq,
            "newest_input_ns": self.newest_input_ns,
            "clock": self.clock.state(),
            "edge_clocks": {child: clock.state() for child, clock in self.edge_clocks.items()},
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], config: Config) -> RobotState:
        """Rebuild from ``state``."""
        robot = cls(config)
        robot.frames = FrameRegistry.from_state(state["frames"])
        for values in state["records"]:
            robot.container.fold(from_dict(Binned, values))
        robot.held = [from_dict(Sweep, values) for values in state["held"]]
        robot.seen = {tuple(key): stamp for key, stamp in state["seen"]}
        robot.streams = {name: StreamState.from_state(values) for name, values in state["streams"].items()}
        robot.seq, robot.newest_input_ns = state["seq"], state["newest_input_ns"]
        robot.clock = ClockGuard.from_state(state["clock"], Sweep)
        robot.edge_clocks = {
            child: ClockGuard.from_state(clock, Transform) for child, clock in state["edge_clocks"].items()
        }
        return robot
