"""The in-process runtime: one fixed order, damage passed on, trouble not swallowed."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from agents.effects import LocalEffects
from agents.protocol import StoreModel, WriteEvent, WriteTable
from stream.records import (
    Binned,
    EndOfLog,
    ModelActivated,
    ModelPublished,
    Outcome,
    Prediction,
    Shadow,
    SweepRejected,
)
from stream.sources.base import Damage
from stream.sweep import Sweep
from stream.sweep_rows import read_sweeps
from tests.agents.loops import loop_of, scripted_loop
from tests.agents.worlds import (
    config_of,
    drive,
    interleave,
    parts_of,
    plain,
    stamp_of,
    sweep_of,
    transforms_to,
)

CONFIG = config_of("learn.gate_sweeps=3", "learn.guard_sweeps=4")


def files(path: Path) -> dict[str, bytes]:
    return {
        item.relative_to(path).as_posix(): item.read_bytes()
        for item in sorted(path.rglob("*"))
        if item.is_file()
    }


def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        scripted_loop(CONFIG, tmp_path / name, lambda request, number: 1.5)[0].run(drive(24))
    first, second = files(tmp_path / "a"), files(tmp_path / "b")
    assert list(first) == list(second)
    assert first == second


def test_every_record_reaches_the_agents_that_read_it(tmp_path: Path) -> None:
    loop, _ = scripted_loop(CONFIG, tmp_path, lambda request, number: 1.5)
    loop.run(drive(24))
    made = [
        output
        for agent in (loop.perceive, loop.judge, loop.learn)
        for s in agent.steps
        for output in s.outputs
    ]
    readers: dict[type, tuple[Any, ...]] = {
        Binned: (loop.judge, loop.learn, loop.archive),
        Prediction: (loop.judge, loop.learn, loop.archive),
        Shadow: (loop.judge, loop.archive),
        Outcome: (loop.learn, loop.archive),
        ModelActivated: (loop.learn, loop.archive),
        ModelPublished: (loop.perceive, loop.archive),
    }
    for kind, agents in readers.items():
        expected = [record for record in made if type(record) is kind]
        assert expected, kind
        for agent in agents:
            found = [record for record in agent.inputs if type(record) is kind]
            assert len(found) == len(expected)
            assert all(a is b for a, b in zip(found, expected, strict=True)), kind
    for agent in (loop.perceive, loop.judge, loop.learn, loop.archive):
        assert [type(record) for record in agent.inputs].count(EndOfLog) == 1
        assert type(agent.inputs[-1]) is EndOfLog or agent is loop.archive


def test_an_activation_reaches_the_archive_before_its_prediction(tmp_path: Path) -> None:
    loop, _ = scripted_loop(CONFIG, tmp_path, lambda request, number: 1.5)
    loop.run(drive(24))
    serving = None
    for record in loop.archive.inputs:
        if isinstance(record, ModelActivated):
            serving = record.model_id
        elif isinstance(record, Prediction):
            assert record.model_id == serving


def test_a_model_is_stored_before_it_is_loaded(tmp_path: Path) -> None:
    order: list[str] = []
    loop, effects = scripted_loop(CONFIG, tmp_path, lambda request, number: 1.5)
    perform = effects.perform

    def watch(effect: Any) -> Any:
        order.append(type(effect).__name__)
        return perform(effect)

    effects.perform = watch  # type: ignore[method-assign]
    loop.run(drive(24))
    models = [name for name in order if name in ("StoreModel", "LoadModel")]
    assert len(models) > 10
    assert models == ["StoreModel", "LoadModel"] * (len(models) // 2)


def test_sweeps_are_counted_whatever_becomes_of_them(tmp_path: Path) -> None:
    seen: list[int] = []
    loop = loop_of(CONFIG, tmp_path)
    loop.runtime._on_sweep = lambda sweep: seen.append(sweep.stamp_ns)
    log = [*drive(3), sweep_of(0, stamp_ns=-1), sweep_of(1)]
    loop.run(log)
    assert sorted(seen) == sorted(item.stamp_ns for item in log if isinstance(item, Sweep))
    assert loop.archive.agent.dead_letters == {"bad_stamp": 1}
    assert loop.archive.agent.counts["duplicate"] == 1


def test_damage_is_passed_on_after_all_before_it(tmp_path: Path) -> None:
    loop = loop_of(CONFIG, tmp_path)
    damage = Damage(location="log.mcap", detail="chunk 7 is cut off")
    assert loop.runtime.run([*drive(5), damage]) is damage
    loop.runtime.finish()
    assert len(loop.perceive.outputs(Prediction)) == 5
    assert loop_of(CONFIG, tmp_path / "b").runtime.run(drive(1)) is None


def test_messages_that_no_source_could_decode_are_dead_letters(tmp_path: Path) -> None:
    loop = loop_of(CONFIG, tmp_path)
    bad = SweepRejected(
        robot_id="robot",
        stream_id="robot/lidar",
        stamp_ns=stamp_of(1),
        part=0,
        reason="undecodable",
        detail="x",
    )
    loop.run([*drive(2), bad])
    assert loop.archive.agent.dead_letters == {"undecodable": 1}
    assert '"undecodable"' in (tmp_path / "events.jsonl").read_text()


def test_a_log_without_sweeps_ends_in_an_empty_run(tmp_path: Path) -> None:
    loop = loop_of(CONFIG, tmp_path).run([])
    assert loop.archive.agent.counts == {}
    assert list((tmp_path / "predictions").iterdir()) == []


def test_what_only_the_end_brings_about_is_stored_too(tmp_path: Path) -> None:
    """A last sweep whose second part never comes is predicted from at the end of the log."""
    loop = loop_of(CONFIG, tmp_path).run([*transforms_to(6), *drive(6), *parts_of(6, 2)[:1]])
    made = [prediction.prediction_id for prediction in loop.perceive.outputs(Prediction)]
    assert len(made) == 7
    assert read_sweeps(tmp_path, ["prediction_id"])["prediction_id"].to_pylist() == made
    for name in ("predictions", "shadows"):
        assert set(pq.read_table(tmp_path / name)["prediction_id"].to_pylist()) == set(made)


def test_robots_in_one_log_are_scored_apart(tmp_path: Path) -> None:
    logs = [drive(10, robot_id="anna"), drive(12, robot_id="bert")]
    together = loop_of(CONFIG, tmp_path / "both").run(interleave(2, *logs))
    for robot, log in zip(("anna", "bert"), logs, strict=True):
        alone = loop_of(CONFIG, tmp_path / robot).run(log)
        for agent, kind in (("perceive", Prediction), ("judge", Outcome)):
            found = [r for r in getattr(together, agent).outputs(kind) if r.robot_id == robot]
            assert plain(found) == plain(getattr(alone, agent).outputs(kind))
    assert together.learn.agent.skewed == 0


class FullDisk(LocalEffects):
    """Writes nothing any more."""

    which: type = WriteTable

    def perform(self, effect: Any) -> Any:
        """Fail as a full disk does."""
        if isinstance(effect, self.which):
            raise OSError(errno.ENOSPC, "No space left on device")
        return super().perform(effect)


class FullForEvents(FullDisk):
    """Fails on the first event."""

    which = WriteEvent


@pytest.mark.fault(38)
@pytest.mark.parametrize("effects", [FullDisk, FullForEvents])
def test_a_full_disk_ends_the_run(tmp_path: Path, effects: type[LocalEffects]) -> None:
    with pytest.raises(OSError, match="No space left on device"):
        loop_of(CONFIG, tmp_path, effects=effects).run(drive(4))


def test_a_model_that_cannot_be_stored_ends_the_run(tmp_path: Path) -> None:
    loop, effects = scripted_loop(CONFIG, tmp_path, lambda request, number: 1.5)
    perform = effects.perform

    def full(effect: Any) -> Any:
        if isinstance(effect, StoreModel):
            raise OSError(errno.ENOSPC, "No space left on device")
        return perform(effect)

    effects.perform = full  # type: ignore[method-assign]
    with pytest.raises(OSError, match="No space left on device"):
        loop.run(drive(24))


def test_latency_adds_up_from_the_clock_alone(tmp_path: Path) -> None:
    """One tick a reading, so every stage is a whole number of seconds."""
    ticks = iter(range(10**9))
    found: list[dict[str, float]] = []
    loop = loop_of(CONFIG, tmp_path, clock=lambda: float(next(ticks)))
    loop.runtime._on_latency = lambda milliseconds: found.append(dict(milliseconds))
    loop.run(drive(4))
    assert len(found) == 4
    for stages in found:
        assert set(stages) == {"decode", "bin", "visibility", "features", "inference", "total"}
        assert all(value > 0 and value % 1000 == 0 for value in stages.values())
        parts = sum(value for name, value in stages.items() if name != "total")
        assert stages["total"] >= parts


def test_tables_are_what_the_folder_was_given(tmp_path: Path) -> None:
    loop = loop_of(CONFIG, tmp_path).run(drive(6))
    written = [
        effect for step in loop.archive.steps for effect in step.effects if isinstance(effect, WriteTable)
    ]
    assert {type(effect.table) for effect in written} == {pa.Table}
    assert [effect.dataset for effect in written] == [
        "containers", "outcomes", "predictions", "shadows", "sweeps"
    ]  # fmt: skip
