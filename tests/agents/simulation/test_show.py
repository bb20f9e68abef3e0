"""`octastream simulate` as a person meets it."""

from __future__ import annotations

from collections import Counter

import pytest

from agents import cli
from agents.simulation import many, run, shrink
from agents.simulation.cast import Cast
from agents.simulation.faults import RATES, Violation
from agents.simulation.run import Cut, Result
from tests.agents.simulation.planted import BUGS


def result(seed: int, *broken: str) -> Result:
    return Result(
        seed=seed,
        violations=[Violation(name, f"what broke in {seed}") for name in broken],
        faults=[("worker leaves", 3), ("worker leaves", 9)],
        robots=["robot0"],
        inputs=[1, 2],
        counts=Counter({"sweep.received": 1234}),
        steps=10,
        history=[(12.5, "worker1.0", "dies", "perceive-0 sent")],
    )


def test_many_seeds_that_hold(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(many, "simulate", result)
    assert cli.main(["simulate", "--seeds", "5", "--first", "7"]) == 0
    text = capsys.readouterr().out
    assert "violations: 0" in text
    assert "5 seeds, 50 steps, 6,170 records, 10 faults" in text
    assert all(name in text for name in RATES)


def test_many_seeds_of_which_one_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(many, "simulate", lambda seed: result(seed, *(["lost"] if seed == 3 else [])))
    assert cli.main(["simulate", "--seeds", "5"]) == 1
    text = capsys.readouterr().out
    assert "lost: broken by 1 seeds" in text
    assert "octastream simulate --seed 3 --trace" in text


def test_one_seed_with_its_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run, "simulate", result)
    assert cli.main(["simulate", "--seed", "4", "--trace"]) == 0
    text = capsys.readouterr().out
    assert "seed 4: holds (1,234 records, 2 faults)" in text
    assert "12.5  worker1.0    dies: perceive-0 sent" in text


def test_a_seed_that_fails_shows_its_shortest_history(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bug = BUGS["never release a rejected sweep"]
    real = run.simulate

    def planted(seed: int, cast: Cast | None = None, cut: Cut | None = None) -> Result:
        return real(seed, bug.focused, cut)

    monkeypatch.setattr(run, "simulate", planted)
    monkeypatch.setattr(shrink, "simulate", planted)
    assert cli.main(["simulate", "--seed", "0", "--trace"]) == 1
    text = capsys.readouterr().out
    assert "shortest history:" in text
    assert "BROKEN  unreleased" in text
