"""Drift in the loop: a world that changes raises alarms that say where; a calm one hardly any."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from agents.drift_alarms import DriftAlarms
from native.index64 import decode
from stream.records import Event, Outcome, Prediction
from tests.agents.loops import Loop, learn_of, loop_of
from tests.agents.worlds import config_of, drive, feed, of_type, perceived, plain

pytest.importorskip("river")
pytestmark = pytest.mark.learn

CONFIG = config_of(
    "learn.enabled=false", "drift.region_levels=[3, 4]", "drift.min_cells=10",

)  # fmt: skip
BEGIN = 40


def upset(loop: Loop, begin: int = BEGIN) -> Loop:
    """The outcomes of all cells left of the sensor's path are turned round from a sweep on."""
    inner = loop.judge.agent.handle

    def handle(record: object) -> object:
        step = inner(record)
        outputs = tuple(_turned(item, begin) if isinstance(item, Outcome) else item for item in step.outputs)
        return dataclasses.replace(step, outputs=outputs)

    loop.judge.agent.handle = handle
    return loop


def _turned(outcome: Outcome, begin: int) -> Outcome:
    wrong = decode(outcome.cell_id).sites[:, 0] > 0
    if outcome.stamp_ns < 5_000_000_000 + begin * 100_000_000:
        return outcome
    return dataclasses.replace(outcome, occupied=np.where(wrong, ~outcome.occupied, outcome.occupied))


def alarms(loop: Loop) -> list[Event]:
    return [event for event in loop.learn.outputs(Event) if event.kind == "drift"]


def test_a_change_raises_alarms_that_say_where_and_by_how_much(tmp_path: Path) -> None:
    loop = upset(loop_of(CONFIG, tmp_path)).run(drive(80))
    found = alarms(loop)
    assert {event.fields["detector"] for event in found} == {"adwin", "page_hinkley"}
    assert {event.fields.get("lod") for event in found} == {None, 3, 2}
    first = min(event.stamp_ns for event in found)
    assert 5_000_000_000 + BEGIN * 100_000_000 < first <= 5_000_000_000 + (BEGIN + 20) * 100_000_000
    for event in found:
        fields = event.fields
        assert event.robot_id == "robot"
        assert fields["stream_id"] == "robot/lidar"
        assert fields["loss"] > fields["before"]
        assert fields["cells"] >= CONFIG.drift.min_cells
        assert fields["sweeps"] >= 1
        if "region" in fields:
            parts = decode(np.array([int(fields["region"])], np.uint64))
            assert int(parts.lod[0]) == fields["lod"]
            half_edge_m = CONFIG.grid.half_edge_lod0_m / 2 ** fields["lod"]
            assert [fields[name] for name in ("x_m", "y_m", "z_m")] == pytest.approx(
                parts.sites[0] * half_edge_m
            )
    events = (tmp_path / "events.jsonl").read_text()
    assert events.count('"event": "drift"') == len(found)


def test_where_nothing_changes_hardly_anything_is_said(tmp_path: Path) -> None:
    calm = loop_of(CONFIG, tmp_path / "calm").run(drive(80))
    wild = upset(loop_of(CONFIG, tmp_path / "wild")).run(drive(80))
    summary = calm.learn.agent.drift.summary()
    assert summary["values"] > 300
    assert summary["always"] == summary["values"]
    assert len(alarms(calm)) <= len(alarms(wild)) / 4


def test_the_warm_up_is_not_watched(tmp_path: Path) -> None:
    config = dataclasses.replace(CONFIG, task=dataclasses.replace(CONFIG.task, warmup_sweeps=70))
    loop = upset(loop_of(config, tmp_path)).run(drive(80))
    assert alarms(loop) == []
    assert loop.learn.agent.drift.summary()["by_level"]["stream"]["values"] <= 10


def test_the_loss_is_that_of_what_was_served_and_is_known_without_detectors() -> None:
    config = config_of("drift.enabled=false")
    records = perceived(config, 8)
    made = of_type(records, Prediction)[0]
    row = np.array([0, 3, 4], np.int32)
    outcome = Outcome(
        prediction_id=made.prediction_id, robot_id=made.robot_id, stream_id=made.stream_id,
        stamp_ns=made.stamp_ns, horizon_ns=config.task.primary_horizon_ns,
        observed_stamp_ns=made.stamp_ns + 5,
        row=row, cell_id=made.cell_id[row], occupied=np.array([True, False, True]),
        before=made.before[row],
    )  # fmt: skip
    p = made.probability[row, config.task.primary].astype(float)
    look = DriftAlarms(config).look(made, outcome, predictions=100)
    assert look.loss == pytest.approx(-np.log([p[0], 1 - p[1], p[2]]).mean(), rel=1e-6)
    assert (look.events, look.detectors) == ((), frozenset())
    nothing = dataclasses.replace(
        outcome,
        row=row[:0],
        cell_id=outcome.cell_id[:0],
        occupied=outcome.occupied[:0],
        before=outcome.before[:0],
    )
    assert DriftAlarms(config).look(made, nothing, predictions=100).loss is None


@pytest.mark.parametrize("cut", [100, 150, 170])
def test_a_restored_learn_raises_the_same_alarms(tmp_path: Path, cut: int) -> None:
    loop = upset(loop_of(CONFIG, tmp_path)).run(drive(70))
    first, second = learn_of(CONFIG), learn_of(CONFIG)
    feed(first, loop.learn.inputs[:cut])
    second.restore(first.snapshot())
    outputs = [feed(learn, loop.learn.inputs[cut:]) for learn in (first, second)]
    assert plain(outputs[0]) == plain(outputs[1])
    assert [event for event in of_type(outputs[0], Event) if event.kind == "drift"]
    assert second.snapshot() == first.snapshot()


def test_without_river_a_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "river", None)
    blind = DriftAlarms(config_of())
    assert "needs river" in blind.unwatched
    assert blind.summary() == {"values": 0, "by_level": {}}
    assert DriftAlarms(config_of("drift.enabled=false")).unwatched == ""
