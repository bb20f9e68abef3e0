"""Ends of sweeps, told from records alone, are where Perceive made its forecasts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agents.recorded_run import RecordedRun
from agents.sweep_ends import SweepEnd, with_ends
from stream.container import RollingContainer
from stream.records import Binned, EndOfLog, Outcome, Prediction
from stream.sinks.evidence import Forecast
from tests.agents.test_explain import run_of, tricky_logs
from tests.agents.worlds import config_of, feed, joined, of_type, perceive_of

CONFIG = config_of()


def named(record: Binned | Prediction | SweepEnd) -> tuple[Any, ...]:
    if isinstance(record, Binned):
        return "binned", record.seq
    return "forecast", (record.record if isinstance(record, SweepEnd) else record).prediction_id


@pytest.mark.parametrize("name", list(tricky_logs()))
def test_a_sweep_ends_where_it_was_forecast(name: str) -> None:
    made = joined(feed(perceive_of(CONFIG), [*tricky_logs()[name], EndOfLog()]))
    records = [record for record in made if isinstance(record, Binned)]
    steps = list(with_ends(records, RollingContainer(CONFIG).keep_ns))
    assert list(map(named, steps)) == list(map(named, made))
    assert any(isinstance(step, SweepEnd) for step in steps)


def test_a_sweep_is_over_with_the_one_that_leaves_it_behind() -> None:
    made = feed(perceive_of(CONFIG), [*tricky_logs()["lost parts"], EndOfLog()])
    ends = {
        end.record.stamp_ns: end.at_ns
        for end in with_ends([r for r in made if isinstance(r, Binned)], RollingContainer(CONFIG).keep_ns)
        if isinstance(end, SweepEnd)
    }
    stamps = sorted(ends)
    assert [ends[stamp] - stamp for stamp in stamps[:-1]] == [0, 100_000_000] * (len(stamps) // 2 - 1) + [0]
    assert ends[stamps[-1]] == stamps[-1]  # nothing came after it


def test_nothing_ends_without_records() -> None:
    assert list(with_ends([], 10**9)) == []


def test_a_stored_run_has_every_forecast_and_outcome(tmp_path: Path) -> None:
    """Of sweeps that lack a part, too: they were forecast and scored like the others."""
    loop = run_of(tmp_path, tricky_logs()["lost parts"])
    stored = list(RecordedRun(tmp_path))
    made = loop.perceive.outputs(Prediction)
    forecasts = [(record.stream_id, record.stamp_ns) for record in of_type(stored, Forecast)]
    assert forecasts == [(record.stream_id, record.stamp_ns) for record in made]
    assert len(of_type(stored, Outcome)) == len(loop.judge.outputs(Outcome)) > 0
