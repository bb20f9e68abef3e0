"""What strikes, and who looks after the processes meanwhile; on processes that are only pretended."""

from __future__ import annotations

import random
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from agents.failure import EXIT_INTERNAL
from agents.kafka.admin import ClusterError
from agents.kafka.lag import Lag
from agents.kafka.settings import KafkaSettings
from deploy.up import WEB
from stream.topics import AGENTS, SWEEPS, TRANSFORMS
from tests.soak import mishaps as module
from tests.soak.mishaps import SERVES, Mishaps
from tests.soak.plot import KINDS

RUNNING = "perceive: runs on partitions [0, 1]"
TAKEN_OVER_LINE = "perceive-1-of-4: claimed by another process"


@dataclass
class Processes:
    """Processes that end when they are told to, each in its own way."""

    names: tuple[str, ...] = ("perceive-1", "judge", WEB, "robot-ant")
    codes: dict[str, int] = field(default_factory=dict)
    started: list[str] = field(default_factory=list)
    signals: list[tuple[str, int]] = field(default_factory=list)
    said: str = ""

    def ended(self) -> dict[str, int]:
        return dict(self.codes)

    def lines(self, name: str) -> list[str]:
        return [f"serves{SERVES}"] if name == WEB else [RUNNING, *([self.said] if self.said else [])]

    def start(self, names: list[str]) -> None:
        for name in names:
            self.started.append(name)
            self.codes.pop(name, None)

    def signal(self, name: str, number: int) -> None:
        self.signals.append((name, number))
        if number in (signal.SIGKILL, signal.SIGTERM):
            self.codes[name] = -number if number == signal.SIGKILL else 0


@dataclass
class Broker:
    """A broker that notes what is done to it."""

    done: list[str] = field(default_factory=list)

    @contextmanager
    def silent(self) -> Iterator[None]:
        self.done.append("silent")
        yield

    def kill(self) -> None:
        self.done.append("killed")

    def start(self) -> None:
        self.done.append("started")


@pytest.fixture
def lag(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What is said of lag, a list a look, the last one for ever; an error where one stands there."""
    said: list[Any] = [0]

    async def lags(_: KafkaSettings) -> list[Lag]:
        left = said[0] if len(said) == 1 else said.pop(0)
        if isinstance(left, Exception):
            raise left
        places = [("perceive", SWEEPS, left), ("perceive", TRANSFORMS, 999), ("judge", SWEEPS, 0)]
        return [
            Lag(agent=agent, place=(topic, 0), committed=0, first=0, end=end) for agent, topic, end in places
        ]

    slept = [0.0]  # a clock of its own, which no other work on the machine holds up
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "lags", lags)
    for name, seconds in (
        ("LOOK", 0.002),
        ("MARGIN", 0.05),
        ("PAUSE", 0.01),
        ("SHORT_PAUSE", 0.01),
        ("AWAY", 0.01),
    ):
        monkeypatch.setattr(module, f"{name}_SECONDS", seconds)
    monkeypatch.setattr(module, "SILENT_SECONDS", (0.0, 0.01))
    return said


def mishaps_of(processes: Processes, broker: Broker, seed: int = 1) -> Mishaps:
    settings = KafkaSettings(bootstrap="127.0.0.1:1", partitions=1, folder=Path("none"))
    begin = module.time.monotonic()
    pretended: Any = (processes, broker)
    return Mishaps(*pretended, settings, random.Random(seed), may_wait=6, begin=begin)


def test_a_killed_one_is_started_again_and_the_mishap_ends_when_lag_has_gone(lag: list[Any]) -> None:
    processes = Processes()
    mishaps = mishaps_of(processes, Broker())
    lag[:] = [0, 50, ClusterError("away"), 7, 6]
    mishaps.strike(["killed"])
    [(name, number)] = processes.signals
    assert number == signal.SIGKILL
    assert processes.started == [name]
    assert mishaps.wrong == []
    [mishap] = mishaps.happened
    assert (mishap.kind, mishap.whom) == ("killed", name)
    assert 0 <= mishap.begin_s < mishap.end_s
    assert [row.left["perceive"] for row in mishaps.lagging][:4] == [0, 50, 7, 6]
    assert set(mishaps.lagging[0].left) == set(AGENTS)


class TakenOver(Processes):
    """Who goes on after a pause finds itself taken over and ends, and with it the processes in ``others``."""

    others: tuple[str, ...] = ()

    def lines(self, name: str) -> list[str]:
        return [*super().lines(name), TAKEN_OVER_LINE]

    def signal(self, name: str, number: int) -> None:
        super().signal(name, number)
        if number == signal.SIGCONT:
            self.codes |= dict.fromkeys((name, *self.others), EXIT_INTERNAL)


@pytest.mark.parametrize("kind", ["stopped for 20 s", "stopped for 10 s"])
def test_who_was_stopped_and_ends_with_70_is_started_again_and_counted(lag: list[Any], kind: str) -> None:
    processes = TakenOver()
    mishaps = mishaps_of(processes, Broker())
    for _ in range(2):
        mishaps.strike([kind])
    assert mishaps.restarts == Counter(processes.started)
    assert mishaps.restarts.total() == 2
    assert mishaps.wrong == []


def test_who_was_not_stopped_may_not_be_taken_over(lag: list[Any]) -> None:
    processes = TakenOver(names=("judge", WEB))
    processes.others = ("judge", WEB)
    mishaps = mishaps_of(processes, Broker())
    mishaps.strike(["stopped for 20 s"])
    [(stopped, _), _] = processes.signals
    [bystander] = {"judge", WEB} - {stopped}
    assert mishaps.restarts == {stopped: 1}
    [wrong] = mishaps.wrong
    assert wrong.startswith(f"{bystander} ended with 70: taken over at ")
    assert wrong.endswith(", and was not stopped")
    assert sorted(processes.started) == sorted(processes.names)


def test_a_pause_that_is_over_excuses_nobody(lag: list[Any]) -> None:
    processes = Processes(said=TAKEN_OVER_LINE)
    mishaps = mishaps_of(processes, Broker())
    mishaps.strike(["stopped for 20 s"])
    [(stopped, _), _] = processes.signals
    processes.codes[stopped] = EXIT_INTERNAL
    mishaps.wait(0.02)
    assert len(mishaps.wrong) == 1
    assert not mishaps.restarts


def test_one_pause_excuses_one_end(lag: list[Any]) -> None:
    class Again(TakenOver):
        def start(self, names: list[str]) -> None:
            super().start(names)
            if len(self.started) == 1:
                self.codes[names[0]] = EXIT_INTERNAL

    mishaps = mishaps_of(Again(), Broker())
    mishaps.strike(["stopped for 20 s"])
    assert mishaps.restarts.total() == 1
    assert len(mishaps.wrong) == 1


def test_who_is_taken_over_while_nothing_strikes_is_wrong(lag: list[Any]) -> None:
    mishaps = mishaps_of(Processes(codes={"judge": EXIT_INTERNAL}, said=TAKEN_OVER_LINE), Broker())
    mishaps.wait(0.02)
    assert mishaps.wrong == ["judge ended with 70: taken over at 0 s, and was not stopped"]
    assert not mishaps.restarts


@pytest.mark.parametrize("code", [1, -signal.SIGSEGV, 0, EXIT_INTERNAL])
def test_who_ends_for_another_reason_is_wrong(lag: list[Any], code: int) -> None:
    mishaps = mishaps_of(Processes(codes={"judge": code}, said="KeyError: 'x'"), Broker())
    mishaps.wait(0.02)
    assert mishaps.wrong == [f"judge ended with {code}: KeyError: 'x'"]
    assert not mishaps.restarts


def test_nobody_is_struck_while_something_else_is_not_over(lag: list[Any]) -> None:
    lag[:] = [7]
    processes = Processes()
    mishaps = mishaps_of(processes, Broker())
    mishaps.strike(["killed"])
    assert (processes.signals, mishaps.happened) == ([], [])


def test_lag_that_comes_again_goes_on_with_the_mishap(lag: list[Any]) -> None:
    lag[:] = [0, 0, 7, 0]
    mishaps = mishaps_of(Processes(), Broker())
    mishaps.recover("start", "all")
    assert [row.left["perceive"] for row in mishaps.lagging][:4] == [0, 0, 7, 0]
    assert len(mishaps.lagging) > 4


def test_rest_is_when_nobody_lags_twice(lag: list[Any]) -> None:
    lag[:] = [3, 0, 1, 0]
    mishaps = mishaps_of(Processes(), Broker())
    mishaps.rest(5)
    assert [row.left["perceive"] for row in mishaps.lagging] == [3, 0, 1, 0, 0]
    assert mishaps.wrong == []
    lag[:] = [1]
    mishaps.rest(0.01)
    assert "not at rest" in mishaps.wrong[0]


def test_who_is_told_to_end_must_end_with_0(lag: list[Any]) -> None:
    class Stubborn(Processes):
        def signal(self, name: str, number: int) -> None:
            self.codes[name] = 1

    mishaps = mishaps_of(Stubborn(), Broker())
    mishaps.strike(["told to end"])
    [wrong] = mishaps.wrong
    assert wrong.endswith("ended with 1 on SIGTERM")


def test_lag_that_stays_is_wrong(lag: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.05)
    lag[:] = [7]
    mishaps = mishaps_of(Processes(), Broker())
    mishaps.recover("start", "all")
    assert mishaps.wrong == ["not recovered in 0.05 s from: start (all)"]
    assert len(mishaps.happened) == 1


def test_robots_that_have_arrived_end_the_drive_and_one_that_failed_is_wrong(lag: list[Any]) -> None:
    processes = Processes()
    mishaps = mishaps_of(processes, Broker())
    assert mishaps.driving
    processes.codes["robot-ant"] = 2
    assert not mishaps.driving
    assert not mishaps.driving
    assert mishaps.wrong == ["robot-ant ended with 2"]


def test_gentle_mishaps_end_no_process(lag: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    async def send(_: KafkaSettings, messages: list[Any]) -> None:
        assert len(messages) == module.NONSENSE

    async def newest(_: KafkaSettings) -> list[Any]:
        return [object()] * module.NONSENSE

    monkeypatch.setattr(module, "_send", send)
    monkeypatch.setattr(module, "_newest", newest)
    processes, broker = Processes(), Broker()
    mishaps = mishaps_of(processes, broker)
    for kind in mishaps.gentle:
        mishaps.strike([kind])
    assert {number for _, number in processes.signals} == {signal.SIGSTOP, signal.SIGCONT}
    assert broker.done == ["silent", "killed", "started"]
    assert mishaps.nonsense == module.NONSENSE
    assert {"start", *mishaps.kinds} == set(KINDS)
    assert set(mishaps.kinds) - set(mishaps.gentle) == {"killed", "told to end", "stopped for 20 s"}


def test_one_seed_strikes_the_same(lag: list[Any]) -> None:
    found = []
    for _ in range(2):
        processes = Processes()
        mishaps = mishaps_of(processes, Broker(), seed=9)
        for _ in range(6):
            mishaps.strike(["killed", "told to end", "stopped for 20 s"])
        found.append([(item.kind, item.whom) for item in mishaps.happened])
    assert found[0] == found[1]
    assert len(set(found[0])) > 2


def test_a_rehearsal_strikes_everybody_at_its_worst(lag: list[Any]) -> None:
    processes, broker = Processes(), Broker()
    mishaps = mishaps_of(processes, broker)
    mishaps.rehearse()
    assert broker.done == ["silent", "killed", "started"]
    assert [name for name, number in processes.signals if number == signal.SIGSTOP] == [*processes.names[:3]]
    kinds = [item.kind for item in mishaps.happened]
    assert kinds == ["stopped for 20 s"] * 3 + ["broker silent", "broker killed"]
    assert all(item.begin_s < item.end_s for item in mishaps.happened)
