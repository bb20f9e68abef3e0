"""A person holds a model: pinned, frozen; and what a model says it has learnt from is what the run stored."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from agents.cli import main
from agents.holds import load_pinned
from agents.origin import check_sources
from agents.replay import ReplayOptions, RunResult, replay
from models.registry import ModelRegistry
from stream.config import ConfigError, load_config
from stream.sources import open_source

SWEEPS = 40
LOG = f"sim:city?sweeps={SWEEPS}&beams=32&azimuths=96&seed=3"
SETTINGS = (
    "grid.lod=5", "task.warmup_sweeps=8", "network.width=8", "network.layers=1", "learn.prior=none",
    "learn.steps_per_sweep=6", "learn.gate_sweeps=2", "learn.averaging=0.9", "learn.learning_rate=0.01",
)  # fmt: skip

pytestmark = pytest.mark.learn


def run_into(path: Path, *settings: str, **options: Any) -> RunResult:
    config = load_config(None, [*SETTINGS, *settings])
    return replay([open_source(LOG)], config, path, ReplayOptions(report=False, **options), lambda *_: None)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns."""
    pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("learnt") / "run"
    run_into(path)
    return path


def served(run: Path) -> list[str]:
    table = pq.read_table(run / "sweeps.parquet", columns=["stamp_ns", "model_id"])
    names: list[str] = table.sort_by("stamp_ns")["model_id"].to_pylist()
    return names


def events(run: Path, *kinds: str) -> list[dict[str, Any]]:
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    return [event for event in map(json.loads, lines) if event["event"] in kinds]


def newest(run: Path) -> str:
    return ModelRegistry(run / "models").list()[-1]


# ---- held ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("learning", ["true", "false"])
def test_a_pinned_model_makes_every_forecast(learnt: Path, tmp_path: Path, learning: str) -> None:
    model_id, out = newest(learnt), tmp_path / "run"
    result = run_into(out, f"learn.enabled={learning}", pin=learnt / "models" / model_id)
    assert served(out) == [model_id] * SWEEPS
    (held,) = events(out, "held")
    assert (held["kind"], held["model_id"]) == ("pin", model_id)
    assert model_id in ModelRegistry(out / "models").list()
    if learning == "true":
        assert result.summary["models"]["trained"] > 5  # it goes on, and is not served
    assert "pin: " + model_id in (out / "config.yaml").read_text()


def test_a_pinned_model_repeats_what_it_forecast_when_it_served(learnt: Path, tmp_path: Path) -> None:
    names = served(learnt)
    model_id = names[-1]
    run_into(tmp_path / "run", pin=learnt / "models" / model_id)

    def forecasts(run: Path) -> pa.Table:
        table = pq.read_table(run / "predictions").sort_by(
            [("prediction_id", "ascending"), ("horizon_ns", "ascending"), ("cell_id", "ascending")]
        )
        return table.filter(pc.equal(table["stamp_ns"], pc.max(table["stamp_ns"])))

    before, after = forecasts(learnt), forecasts(tmp_path / "run")
    for column in ("prediction_id", "cell_id", "probability"):
        assert before[column].equals(after[column])


def test_after_a_freeze_no_other_model_is_activated(learnt: Path, tmp_path: Path) -> None:
    names = served(learnt)
    first = next(place for place, name in enumerate(names) if name != "frequency") + 3
    out = tmp_path / "run"
    run_into(out, freeze_after=first)
    frozen = served(out)
    assert frozen[:first] == names[:first]  # until then it is the same run
    assert len(set(frozen[first:])) == 1
    assert frozen[-1] == names[first] != names[-1]  # staged by then, as in the other run
    (held,) = events(out, "held")
    assert held["kind"] == "freeze"
    assert max(event["stamp_ns"] for event in events(out, "activated")) <= held["stamp_ns"] + 100_000_000
    assert "freeze_after: " + str(first) in (out / "config.yaml").read_text()


def test_a_model_that_does_not_fit_is_not_pinned(learnt: Path, tmp_path: Path) -> None:
    model = learnt / "models" / newest(learnt)
    other = load_config(None, [*SETTINGS, "grid.lod=6", "grid.map_frame=odom"])
    with pytest.raises(ConfigError, match=r"--pin .*lod: model has 5, this run needs 6; name a folder"):
        load_pinned(model, other)
    with pytest.raises(ConfigError, match=r"(?i)no such file"):
        run_into(tmp_path / "run", pin=learnt / "models" / "none")
    assert not (tmp_path / "run").exists()


def test_flags_that_contradict_each_other_are_refused(
    learnt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["replay", LOG, "--out", str(tmp_path / "run"), "--activations", str(learnt)]
    assert main([*given, "--freeze-after", "3"]) == 1
    assert "says which model serves; leave out --pin and --freeze-after" in capsys.readouterr().err


# ---- what a model has learnt from ----------------------------------------------------------------------


def test_every_model_of_a_run_has_learnt_from_what_the_run_stored(learnt: Path) -> None:
    registry = ModelRegistry(learnt / "models")
    sweeps = []
    for model_id in registry.list():
        manifest = registry.manifest(model_id)
        (checked,) = check_sources(learnt, manifest)
        assert checked.matches, checked
        source = checked.source
        assert source.robot_id == "robot"
        assert source.first_seq == 0
        assert source.last_seq == source.sweeps - 1  # one record a sweep, none skipped
        assert source.last_stamp_ns >= manifest.training.last_stamp_ns
        sweeps.append(source.sweeps)
    assert sweeps == sorted(set(sweeps))
    assert len(sweeps) > 5


def test_another_run_is_not_what_a_model_has_learnt_from(learnt: Path, tmp_path: Path) -> None:
    manifest = ModelRegistry(learnt / "models").manifest(newest(learnt))
    run_into(tmp_path / "run", "learn.enabled=false", "window.bins=9")
    (checked,) = check_sources(tmp_path / "run", manifest)
    assert checked.sweeps == checked.source.sweeps
    assert not checked.matches
    (source,) = manifest.training.sources
    wrong = dataclasses.replace(source, sweeps=source.sweeps + 1)
    assert not dataclasses.replace(checked, source=wrong).matches


def test_commands_list_and_show_models(
    learnt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry = ModelRegistry(learnt / "models")
    names, champion = registry.list(), registry.champion()
    assert main(["models", "list", str(learnt)]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in names)
    assert [line for line in shown.splitlines() if "champion" in line and str(champion) in line]
    assert main(["models", "show", str(learnt), names[-1]]) == 0
    shown = capsys.readouterr().out
    assert registry.manifest(names[-1]).parent_id in shown
    assert "as stored" in shown
    assert main(["models", "show", str(learnt), "bcc-none"]) == 1
    assert "not in the registry" in capsys.readouterr().err
    assert main(["models", "list", str(tmp_path)]) == 1
    assert "has no models/" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
