"""One robot as Perceive sees it: transforms, sweeps that wait for theirs, and the rolling container."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from agents.clock_guard import ClockGuard
from agents.in_order import first_seq
from agents.localisation import Localisation
from agents.protocol import Key
from agents.roster import Roster
from stream.codecs.state import from_dict, to_dict
from stream.config import Config
from stream.container import RollingContainer
from stream.frames import FrameRegistry
from stream.jumps import Jump
from stream.records import Binned
from stream.sweep import Sweep
from stream.transform import Transform

TOO_OLD = "older than the rolling container reaches"
OLD_MAP = "from before its robot's localisation jumped: the map that it belongs to has ended"
DONE_WITH = "not newer than what its robot had sent before it was forgotten (limits.max_robots)"


@dataclass(slots=True)
class StreamState:
    """One sensor of a robot: its newest stamp, the parts still missing, and the model that serves it.

    newest_ns : also of a stream that was forgotten and is back: sweeps up to there are not predicted again
    """

    newest_ns: int = -1
    parts_seen: set[int] = field(default_factory=set)
    open_record: Binned | None = None  # last part of a sweep whose other parts have not come yet
    model_id: str = ""

    def is_late(self, stamp_ns: int) -> bool:
        """Whether a sweep was predicted, or a newer one has begun: parts that come now change no forecast."""
        return stamp_ns <= self.newest_ns and (self.open_record is None or stamp_ns < self.newest_ns)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "newest_ns": self.newest_ns,
            "done_ns": -1,  # a field of the same snapshot version, for a worker of an earlier release
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
    """One robot: transforms, sweeps that wait for theirs, and the rolling container.

    epoch : above those in which it was known before; a map that begins anew is another epoch
    done_ns : how far it had got when it was forgotten; sweeps up to there may have become evidence then
    """

    def __init__(self, config: Config, epoch: int = 0, done_ns: int = -1) -> None:
        self.frames = FrameRegistry(
            max_gap_ns=config.pose.max_gap_ns,
            horizon_ns=config.pose.max_wait_ns + config.pose.max_gap_ns + 2 * config.reach_ns,
            max_frames=config.limits.max_frames,
        )
        self._config = config
        self.container = RollingContainer(config)
        self.localisation = Localisation(config)
        self.held: list[Sweep] = []
        self.seen: dict[Key, int] = {}
        self.streams: dict[str, StreamState] = {}
        self.roster = Roster(config.limits.max_streams)
        self.epoch, self.done_ns = epoch, done_ns
        self.seq = first_seq(epoch)
        self.newest_input_ns = 0
        self.clock: ClockGuard[Sweep] = ClockGuard()
        self.edge_clocks: dict[str, ClockGuard[Transform]] = {}

    @property
    def newest_ns(self) -> int:
        """Newest stamp of anything that was believed, 0 before."""
        return max([self.newest_input_ns, *(clock.newest_ns for clock in self.edge_clocks.values())])

    def admit_transform(self, transform: Transform) -> tuple[list[Transform], list[Transform]]:
        """Transforms to go on with now, and those whose stamps are wrong; each edge has its own clock."""
        child = transform.child
        full = len(self.edge_clocks) >= self._config.limits.max_frames
        if transform.static or (child not in self.edge_clocks and full):
            return [transform], []
        return self.edge_clocks.setdefault(child, ClockGuard()).admit(transform.stamp_ns, transform)

    def admit_sweep(self, sweep: Sweep) -> tuple[list[Sweep], list[Sweep]]:
        """Sweeps to go on with now, and those whose stamps are wrong; the first must suit the transforms."""
        if not self.clock.newest_ns:
            self.clock.newest_ns = max((edge.newest_ns for edge in self.edge_clocks.values()), default=0)
        return self.clock.admit(sweep.stamp_ns, sweep)

    def too_late(self, stamp_ns: int) -> str:
        """Why a sweep of this stamp can no longer become evidence; empty where it can."""
        if stamp_ns <= self.done_ns:
            return DONE_WITH
        if stamp_ns < self.container.newest_ns - self.container.keep_ns:
            return TOO_OLD
        return OLD_MAP if stamp_ns < self.localisation.since_ns else ""

    def forget_old_keys(self) -> None:
        """Keys older than the container are refused as late anyway, so they need not be remembered."""
        oldest = self.container.newest_ns - self.container.keep_ns
        while self.seen and (key := next(iter(self.seen))) and self.seen[key] < oldest:
            del self.seen[key]

    def begin_map(self, jump: Jump) -> bool:
        """Forget what was seen in the map before a jump; whether anything was. Transforms stay."""
        self.localisation.begin(jump)
        if self.seq == first_seq(self.epoch):
            return False
        self.container = RollingContainer(self._config)
        self.epoch += 1
        self.seq = first_seq(self.epoch)
        return True

    def state(self) -> dict[str, Any]:
        """Plain values; the window is rebuilt by folding its records again."""
        return {
            "frames": self.frames.state(),
            "localisation": self.localisation.state(),
            "records": [to_dict(record) for record in self.container.records()],
            "held": [to_dict(sweep) for sweep in self.held],
            "seen": [[list(key), stamp] for key, stamp in self.seen.items()],
            "streams": [[name, stream.state()] for name, stream in self.streams.items()],
            "roster": self.roster.names(),
            "epoch": self.epoch,
            "done_ns": self.done_ns,
            "seq": self.seq,
            "newest_input_ns": self.newest_input_ns,
            "clock": self.clock.state(),
            "edge_clocks": [[child, clock.state()] for child, clock in self.edge_clocks.items()],
        }

    @classmethod
    def from_state(cls, state: dict[str, Any], config: Config) -> RobotState:
        """Rebuild from ``state``."""
        robot = cls(config, state["epoch"], state["done_ns"])
        robot.frames = FrameRegistry.from_state(state["frames"])
        robot.localisation = Localisation.from_state(state["localisation"], config)
        for values in state["records"]:
            robot.container.fold(from_dict(Binned, values))
        robot.held = [from_dict(Sweep, values) for values in state["held"]]
        robot.seen = {tuple(key): stamp for key, stamp in state["seen"]}
        robot.streams = {name: StreamState.from_state(values) for name, values in state["streams"]}
        robot.roster = Roster(config.limits.max_streams, state["roster"])
        robot.seq, robot.newest_input_ns = state["seq"], state["newest_input_ns"]
        robot.clock = ClockGuard.from_state(state["clock"], Sweep)
        robot.edge_clocks = {
            child: ClockGuard.from_state(clock, Transform) for child, clock in state["edge_clocks"]
        }
        return robot
