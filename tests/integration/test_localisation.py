"""A simulated log with a planted loop closure through the whole loop."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from agents.explain import explain
from agents.in_order import epoch_of
from agents.replay import ReplayOptions, replay
from stream.config import load_config
from stream.run_folder import RunFolder
from stream.sources import open_source

SWEEPS, JUMP, WARMUP = 26, 14, 4
LOG = f"sim:yard?sweeps={SWEEPS}&beams=32&azimuths=128&seed=3"
SETTINGS = ("grid.lod=5", f"task.warmup_sweeps={WARMUP}", "learn.enabled=false")
PERIOD_NS, FIRST_NS = 100_000_000, 1_000_000_000


def run_of(path: Path, events: str, *settings: str) -> Path:
    config = load_config(None, [*SETTINGS, *settings])
    replay([open_source(f"{LOG}&events={events}")], config, path, ReplayOptions(), lambda *_: None)
    return path


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The loop closes at sweep 14."""
    return run_of(tmp_path_factory.mktemp("jump") / "run", f"jump@{JUMP}")


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


def events_of(run: Path, kind: str) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def test_one_map_ends_and_another_begins(run: Path) -> None:
    [event] = events_of(run, "map_reset")
    assert (event["reason"], event["epoch"]) == ("jump", 1)
    assert event["metres"] == pytest.approx(13**0.5, abs=0.2)
    assert event["degrees"] == pytest.approx(5, abs=0.2)
    records = RunFolder(run).records("robot", 0, 2**62)
    assert [epoch_of(record.seq) for record in records] == [0] * JUMP + [1] * (SWEEPS - JUMP)
    assert summary_of(run)["dead_letters"] == {}


def test_every_prediction_is_rebuilt_and_explained(run: Path) -> None:
    rebuild = summary_of(run)["rebuild"]
    assert rebuild["identical"] == rebuild["checked"] > 0
    ids = pq.read_table(run / "sweeps.parquet")["prediction_id"].to_pylist()
    assert len(ids) == SWEEPS
    assert all(explain(run, name).matches for name in ids[JUMP - 2 : JUMP + 3])


def test_no_outcome_was_seen_in_another_map(run: Path) -> None:
    rows = pq.read_table(run / "outcomes").to_pylist()
    border = FIRST_NS + JUMP * PERIOD_NS
    for row in rows:
        stamp = int(row["prediction_id"].rsplit("/", 1)[1])
        assert (stamp < border) == (row["observed_stamp_ns"] < border)
    missed = events_of(run, "outcome_missed")
    assert len(missed) == 2 + 5 + 10
    assert {event["reason"] for event in missed} == {"another epoch"}


def test_scores_are_better_than_those_of_a_smeared_map(run: Path, tmp_path: Path) -> None:
    smeared = run_of(tmp_path / "run", f"jump@{JUMP}", "pose.jump_m=null", "pose.jump_deg=null")
    assert events_of(smeared, "map_reset") == []
    ours, theirs = (summary_of(folder)["scores"]["online"]["average_precision"] for folder in (run, smeared))
    assert ours > theirs + 0.01
