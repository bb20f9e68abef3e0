"""Ends of sweeps, told from records alone, are where Perceive made its forecasts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agents.explain import ExplainError, features_at, run_config
from agents.recorded_run import RecordedRun
from agents.sweep_ends import SweepEnd, with_ends
from agents.targets.stored import stored_sweeps
from agents.web.stored_feed import StoredRun
from stream.records import Binned, EndOfLog, Outcome, Prediction
from stream.run_folder import RunFolder
from stream.sinks.evidence import Forecast
from tests.agents.test_explain import run_of
from tests.agents.tricky import tricky_logs
from tests.agents.worlds import STREAM, config_of, feed, joined, of_type, perceive_of, stamp_of

CONFIG = config_of()


def named(record: Binned | Prediction | SweepEnd) -> tuple[Any, ...]:
    if isinstance(record, Binned):
        return "binned", record.seq
    return "forecast", (record.record if isinstance(record, SweepEnd) else record).prediction_id, record.seq


@pytest.mark.parametrize("name", list(tricky_logs()))
def test_a_sweep_ends_where_it_was_forecast(name: str) -> None:
    made = joined(feed(perceive_of(CONFIG), [*tricky_logs()[name], EndOfLog()]))
    records = [record for record in made if isinstance(record, Binned)]
    steps = list(with_ends(records, CONFIG.keep_ns))
    assert list(map(named, steps)) == list(map(named, made))
    assert any(isinstance(step, SweepEnd) for step in steps)


def test_a_sweep_is_over_with_the_one_that_leaves_it_behind() -> None:
    made = feed(perceive_of(CONFIG), [*tricky_logs()["lost parts"], EndOfLog()])
    ends = {
        end.record.stamp_ns: end.at_ns
        for end in with_ends([r for r in made if isinstance(r, Binned)], CONFIG.keep_ns)
        if isinstance(end, SweepEnd)
    }
    stamps = sorted(ends)
    assert [ends[stamp] - stamp for stamp in stamps[:-1]] == [0, 100_000_000] * (len(stamps) // 2 - 1) + [0]
    assert ends[stamps[-1]] == stamps[-1]  # nothing came after it


def test_no_sweep_ends_twice() -> None:
    """As stored by releases that did not mark a part that came after the forecast as late."""
    made = feed(perceive_of(CONFIG), [*tricky_logs()["halves in two maps"], EndOfLog()])
    records = [dataclasses.replace(r, late=False) for r in made if isinstance(r, Binned)]
    ends = [step for step in with_ends(records, CONFIG.keep_ns) if isinstance(step, SweepEnd)]
    names = [end.record.prediction_id for end in ends]
    assert names == [record.prediction_id for record in of_type(made, Prediction)]


def test_nothing_ends_without_records() -> None:
    assert list(with_ends([], 10**9)) == []


@pytest.mark.parametrize("name", list(tricky_logs()))
def test_whoever_reads_a_run_has_every_forecast_and_outcome(tmp_path: Path, name: str) -> None:
    loop = run_of(tmp_path, tricky_logs()[name])
    made = sorted((record.prediction_id, record.seq) for record in loop.perceive.outputs(Prediction))
    names = [prediction_id for prediction_id, _ in made]
    recorded, played = list(RecordedRun(tmp_path)), [record for _, record in StoredRun(tmp_path)]
    told = of_type(recorded, Forecast)
    assert sorted(f"{forecast.stream_id}/{forecast.stamp_ns}" for forecast in told) == names
    assert sorted((record.prediction_id, record.seq) for record in of_type(played, Prediction)) == made
    for records in (recorded, played):
        assert len(of_type(records, Outcome)) == len(loop.judge.outputs(Outcome))
    stored = list(stored_sweeps(RunFolder(tmp_path), run_config(RunFolder(tmp_path))))
    assert sorted(sweep.prediction_id for sweep in stored) == names
    assert all(sweep.matches for sweep in stored)


def test_a_sweep_that_is_not_there_is_not_looked_for_in_the_rest() -> None:
    made = feed(perceive_of(CONFIG), [*tricky_logs()["late"], EndOfLog()])
    records = [record for record in made if isinstance(record, Binned) and record.stamp_ns != stamp_of(2)]
    read: list[Binned] = []

    def reading() -> Iterator[Binned]:
        for record in records:
            read.append(record)
            yield record

    with pytest.raises(ExplainError, match="no stored container"):
        features_at(reading(), CONFIG, STREAM, stamp_of(2))
    assert read[-1].stamp_ns == stamp_of(4)
