"""What strikes workers, broker and topics while robots drive: one mishap at a time, drawn at random."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from aiokafka.errors import KafkaError

from agents.failure import EXIT_INTERNAL
from agents.kafka.admin import ClusterError
from agents.kafka.lag import Lag, lags
from agents.kafka.messages import record_of
from agents.kafka.partitions import Partitions
from agents.kafka.produce import Message, Producer
from agents.kafka.settings import KafkaSettings
from agents.task import Undecodable
from deploy.composition import Composition
from deploy.up import WEB, partitions_of, workers_and_fleet
from stream.topics import AGENTS, PERCEIVE, SWEEPS
from tests.kafka.broker import LocalBroker

SERVES = "; Ctrl-C ends it"
"""What the server says when it has begun to serve."""
LOOK_SECONDS = 2.0
PAUSE_SECONDS = 20.0
"""Longer than a group waits for a member: others take over, and who was stopped begins a new life."""
SHORT_PAUSE_SECONDS = 10.0
SILENT_SECONDS = (1.0, 10.0)
AWAY_SECONDS = 3.0
MARGIN_SECONDS = 15.0
"""A mishap counts until all has been well for so long: a worker that goes on after a pause joins its group
again with its next heartbeat, and partitions move for some seconds."""
LASTS_SECONDS = 60.0
"""Of a mishap, in which sweeps may wait. In three soaks of an hour each of 148 was over by then, margin
included: those that stopped a worker for 20 s after 59.6 s at most, all others after 54.3 s."""
PATIENCE_SECONDS = 240.0
FATAL = frozenset({"killed", "told to end", "stopped for 20 s"})
"""Kinds that may end a life."""
TAKEN_OVER = "claimed by another process"
"""What a worker says that ends because another has its partitions. Only who was stopped may, once a mishap:
nobody takes over from who can be heard, and while the broker is away nobody takes over at all."""
NONSENSE = 20
"""Messages at a time."""
NEWEST = 2 * NONSENSE
"""Messages among which the newest sweep of a partition is looked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mishap:
    """kind : what it was; whom : it struck; begin_s, end_s : since the beginning, the latter with recovery"""

    kind: str
    whom: str
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Lagging:
    """Messages that agents had not acknowledged, by agent, at a time since the beginning."""

    at_s: float
    left: dict[str, int]


class Mishaps:
    """Strikes, waits until all has recovered, and keeps a list.

    may_wait : sweeps that Perceive may not have acknowledged when all is well
    begin : on the monotonic clock, from which times are counted

    happened : in order; lagging : as it was looked at; restarts : of workers that were stopped and ended (70)
        as another had taken over; wrong : what should not have been
    nonsense : messages sent that are no sweeps
    """

    def __init__(
        self,
        processes: Composition,
        broker: LocalBroker,
        settings: KafkaSettings,
        dice: random.Random,
        *,
        may_wait: int,
        begin: float,
    ) -> None:
        self.happened: list[Mishap] = []
        self.lagging: list[Lagging] = []
        self.restarts = Counter[str]()
        self.wrong: list[str] = []
        self.nonsense = 0
        self._processes, self._broker, self._settings, self._dice = processes, broker, settings, dice
        self._may_wait, self._begin = may_wait, begin
        self._stopped = ""  # who may find itself taken over, until the mishap is over
        self._workers, self._fleet = workers_and_fleet(processes.names)
        self._own = (*self._workers, WEB)
        self._strikes: dict[str, tuple[int, Callable[[], str]]] = {
            "killed": (6, self._kill),
            "told to end": (3, self._terminate),
            "stopped for 20 s": (3, lambda: self._pause(dice.choice(self._own), PAUSE_SECONDS)),
            "stopped for 10 s": (3, lambda: self._pause(dice.choice(self._own), SHORT_PAUSE_SECONDS)),
            "broker silent": (3, lambda: self._silence(dice.uniform(*SILENT_SECONDS))),
            "broker killed": (1, self._crash),
            "no sweeps": (2, self._send_nonsense),
            "sweeps twice": (2, self._send_again),
        }

    @property
    def kinds(self) -> tuple[str, ...]:
        """All."""
        return tuple(self._strikes)

    @property
    def gentle(self) -> tuple[str, ...]:
        """Those that processes live through."""
        return tuple(kind for kind in self._strikes if kind not in FATAL)

    @property
    def driving(self) -> bool:
        """Whether robots drive; one that ended with an error is wrong."""
        ended = self._processes.ended()
        for name in self._fleet:
            if ended.get(name):
                self._add_wrong(f"{name} ended with {ended[name]}")
        return not set(self._fleet) <= set(ended)

    def strike(self, kinds: Sequence[str]) -> None:
        """One mishap of these kinds, and all that comes of it."""
        if not self._all_is_well():  # or it would be blamed for what came before
            return
        [kind] = self._dice.choices(kinds, [self._strikes[kind][0] for kind in kinds])
        self._strike(kind, self._strikes[kind][1])

    def rehearse(self) -> None:
        """Each that lets sweeps pile up, at its worst, and of each process in turn.

        What a process has needed for a backlog it keeps, so memory that is read before has not had its fill.
        One that is stopped may be taken over and begin a new life, so what strikes all comes last.
        """
        for name in self._own:
            self._strike("stopped for 20 s", partial(self._pause, name, PAUSE_SECONDS))
        self._strike("broker silent", partial(self._silence, SILENT_SECONDS[1]))
        self._strike("broker killed", self._crash)

    def _strike(self, kind: str, strike: Callable[[], str]) -> None:
        begin_s = self._now()
        self.recover(kind, strike(), begin_s)

    def recover(self, kind: str, whom: str, begin_s: float = 0.0) -> None:
        """Wait until workers run and lag has gone, and has not come again; then the mishap is over."""
        end, well = time.monotonic() + PATIENCE_SECONDS, 0.0
        while not well or time.monotonic() < well + MARGIN_SECONDS:
            if not self._all_is_well():
                well = 0.0
            elif not well:
                well = time.monotonic()
            if time.monotonic() > end:
                self._add_wrong(f"not recovered in {PATIENCE_SECONDS:g} s from: {kind} ({whom})")
                break
            time.sleep(LOOK_SECONDS)
        self._stopped = ""
        self.happened.append(Mishap(kind=kind, whom=whom, begin_s=begin_s, end_s=self._now()))

    def wait(self, seconds: float) -> None:
        """Let time pass, and look after the processes; shorter when the robots have arrived."""
        end = time.monotonic() + seconds
        while self.driving and time.monotonic() < end:
            self._all_is_well()
            time.sleep(min(LOOK_SECONDS, seconds))

    def rest(self, seconds: float) -> None:
        """Once the robots have arrived: wait until nobody lags, twice in a row; too long is wrong."""
        end, quiet = time.monotonic() + seconds, 0
        while quiet < 2:
            well = self._all_is_well() and not any(self.lagging[-1].left.values())
            quiet = quiet + 1 if well else 0
            if time.monotonic() > end:
                self._add_wrong(f"not at rest {seconds:g} s after the robots: {self.lagging[-1:]}")
                return
            time.sleep(LOOK_SECONDS)

    def _all_is_well(self) -> bool:
        """Whether all run and nobody lags; what has ended is started again, as operators do."""
        for name, code in self._processes.ended().items():
            if name in self._own:
                self._note_end(name, code)
                self._processes.start([name])
        left = self._lag()
        return (
            left is not None
            and left[PERCEIVE] <= self._may_wait
            and all(partitions_of(self._processes.lines(name)) for name in self._workers)
            and any(SERVES in line for line in self._processes.lines(WEB))
        )

    def _note_end(self, name: str, code: int) -> None:
        """Whether it ended as it may: it was stopped in this mishap, and another has taken over from it."""
        lines = self._processes.lines(name)
        taken_over = code == EXIT_INTERNAL and any(TAKEN_OVER in line for line in lines)
        if taken_over and name == self._stopped:
            self._stopped = ""
            self.restarts[name] += 1
        elif taken_over:
            self._add_wrong(
                f"{name} ended with {code}: taken over at {self._now():.0f} s, and was not stopped"
            )
        else:
            self._add_wrong(f"{name} ended with {code}: {lines[-1] if lines else 'without a word'}")

    def _lag(self) -> dict[str, int] | None:
        try:
            found = asyncio.run(lags(self._settings))
        except (ClusterError, KafkaError, OSError):
            return None  # while the broker is away nobody knows
        left = {agent: _left(found, agent) for agent in AGENTS}
        self.lagging.append(Lagging(self._now(), left))
        return left

    def _now(self) -> float:
        return time.monotonic() - self._begin

    def _add_wrong(self, what: str) -> None:
        if what not in self.wrong:
            self.wrong.append(what)

    # ---- kinds -----------------------------------------------------------------------------------------

    def _kill(self) -> str:
        return self._end(signal.SIGKILL, -signal.SIGKILL)

    def _terminate(self) -> str:
        return self._end(signal.SIGTERM, 0)

    def _end(self, number: signal.Signals, expected: int) -> str:
        name = self._dice.choice(self._own)
        self._processes.signal(name, number)
        end = time.monotonic() + PATIENCE_SECONDS
        while name not in self._processes.ended() and time.monotonic() < end:
            time.sleep(0.05)
        code = self._processes.ended().get(name)
        if code != expected:
            self._add_wrong(f"{name} ended with {code} on {number.name}")
        if code is not None:
            self._processes.start([name])
        return name

    def _pause(self, name: str, seconds: float) -> str:
        self._stopped = name
        self._processes.signal(name, signal.SIGSTOP)
        try:
            time.sleep(seconds)
        finally:
            self._processes.signal(name, signal.SIGCONT)
        return name

    def _silence(self, seconds: float) -> str:
        with self._broker.silent():
            time.sleep(seconds)
        return f"{seconds:.0f} s"

    def _crash(self) -> str:
        self._broker.kill()
        time.sleep(AWAY_SECONDS)
        self._broker.start()
        return "broker"

    def _send_nonsense(self) -> str:
        robots = [f"robot-{number}" for number in range(NONSENSE)]
        messages = [(SWEEPS, robot.encode(), self._dice.randbytes(200), []) for robot in robots]
        asyncio.run(_send(self._settings, messages))
        self.nonsense += len(messages)
        return f"{len(messages)} messages"

    def _send_again(self) -> str:
        newest = asyncio.run(_newest(self._settings))
        asyncio.run(_send(self._settings, newest))
        return f"{len(newest)} sweeps"


def _left(found: Sequence[Lag], agent: str) -> int:
    """Sweeps that Perceive has not acknowledged; of other agents, messages."""
    return sum(
        lag.left for lag in found if lag.agent == agent and (agent != PERCEIVE or lag.place[0] == SWEEPS)
    )


async def _newest(settings: KafkaSettings) -> list[Message]:
    """The last sweep of each partition that has one among its last messages."""
    places = [(SWEEPS, partition) for partition in range(settings.partitions)]
    found: dict[int, Message] = {}
    async with Partitions.open(settings) as partitions:
        for place, span in (await partitions.spans(places)).items():
            async for message in partitions.messages(place, span[-NEWEST:]):
                if not isinstance(record_of(message), Undecodable):
                    assert message.key is not None
                    assert message.value is not None
                    found[place[1]] = (SWEEPS, message.key, message.value, list(message.headers))
    return list(found.values())


async def _send(settings: KafkaSettings, messages: Sequence[Message]) -> None:
    async with Producer.open(settings) as producer:
        for message in messages:
            await producer.send(message)
