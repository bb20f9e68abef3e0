"""In which order mishaps strike, and from when on memory is read."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.progress import Progress

from tests.soak import __main__ as module
from tests.soak.__main__ import ROUGH, Soak

WHOLE_SECONDS = 0.4


class Noted:
    """Mishaps that take no time and are noted, by a clock that only waiting moves; robots arrive on time."""

    kinds, gentle = ("killed", "silent"), ("silent",)

    def __init__(self) -> None:
        self.now_s = 100.0
        self.begin = self.now_s
        self.done: list[tuple[str, float]] = []
        self.happened: list[Any] = []
        self.wrong: list[str] = []

    @property
    def driving(self) -> bool:
        return self.now_s - self.begin < WHOLE_SECONDS

    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    def recover(self, kind: str, whom: str) -> None:
        self._note(kind)

    def rehearse(self) -> None:
        self._note("rehearsal")

    def strike(self, kinds: Sequence[str]) -> None:
        self._note("any" if kinds == self.kinds else "gentle")

    def _note(self, what: str) -> None:
        self.done.append((what, self.now_s - self.begin))


def struck(monkeypatch: pytest.MonkeyPatch, judged_s: float) -> tuple[Soak, list[str], list[float]]:
    monkeypatch.setattr(module, "GAP_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(module, "JUDGED_SECONDS", judged_s)
    soak, noted = Soak(Path("none"), sweeps=4, hz=4 / WHOLE_SECONDS, seed=1), Noted()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: noted.now_s))
    soak.begin = noted.begin
    pretended: Any = noted
    with Progress(disable=True) as progress:
        soak._strike(pretended, progress)
    names, times = zip(*noted.done, strict=True)
    return soak, list(names), list(times)


def test_after_two_fifths_comes_the_rehearsal_and_then_what_processes_live_through(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    soak, names, times = struck(monkeypatch, WHOLE_SECONDS)
    place = names.index("rehearsal")
    assert names[0] == "start"
    assert set(names[1:place]) == {"any"}
    assert set(names[place + 1 :]) == {"gentle"}
    assert times[place - 1] < ROUGH * WHOLE_SECONDS
    assert times[place] >= ROUGH * WHOLE_SECONDS
    assert times[place] <= soak.read_s <= times[place + 1]


def test_a_short_drive_has_no_rehearsal_and_is_not_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    soak, names, times = struck(monkeypatch, 2 * WHOLE_SECONDS)
    assert not soak.is_judged
    assert names[0] == "start"
    assert set(names[1:]) == {"any"}
    assert max(later - time for time, later in pairwise(times)) <= 0.02 + 1e-9, (
        "something strikes after each wait"
    )
