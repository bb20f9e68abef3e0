"""Given the activations of a run that learned, a replay that does not learn is that run to the bit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from agents.cli import main
from agents.explain import explain
from agents.recorded_models import ActivationsError
from agents.replay import ReplayOptions, RunResult, replay
from stream.config import ConfigError, load_config
from stream.sources import open_source
from stream.sources.base import SourceOptions

pytestmark = pytest.mark.learn

LOG = "sim:city?sweeps=30&beams=32&azimuths=128&seed=3"
GRID = ("grid.lod=5", "task.warmup_sweeps=8")
LEARNING = (
    "network.width=8", "network.layers=1", "learn.prior=none", "learn.steps_per_sweep=6",
    "learn.gate_sweeps=3", "learn.averaging=0.9", "learn.learning_rate=0.01",
)  # fmt: skip
KEYS = {
    "predictions": ("prediction_id", "horizon_ns", "cell_id"),
    "outcomes": ("prediction_id", "horizon_ns", "cell_id"),
}


def run_into(path: Path, *settings: str, robot: str = "robot", **options: Any) -> RunResult:
    source = open_source(LOG, SourceOptions(robot_id=robot))
    config = load_config(None, [*GRID, *settings])
    return replay([source], config, path, ReplayOptions(**options), lambda *_: None)


def follow(path: Path, *activations: Path, settings: tuple[str, ...] = (), **options: Any) -> RunResult:
    return run_into(path, "learn.enabled=false", *settings, activations=activations, **options)


@pytest.fixture(scope="module")
def learnt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that learns, and whose models come to serve."""
    pytest.importorskip("torch")
    path = tmp_path_factory.mktemp("learnt") / "run"
    run_into(path, *LEARNING)
    served = set(pq.read_table(path / "predictions")["model_id"].to_pylist())
    assert len(served) > 3
    return path


@pytest.fixture(scope="module")
def followed(learnt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The replay of its activations."""
    path = tmp_path_factory.mktemp("followed") / "run"
    follow(path, learnt)
    return path


def table_of(run: Path, name: str) -> pa.Table:
    return pq.read_table(run / name).sort_by([(key, "ascending") for key in KEYS[name]])


def lines_of(run: Path) -> list[str]:
    return (run / "events.jsonl").read_text().splitlines()


def activations_of(run: Path) -> list[str]:
    return [line for line in lines_of(run) if json.loads(line)["event"] == "activated"]


def summary_of(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "summary.json").read_text())
    return found


# ---- the same run --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KEYS)
def test_tables_are_equal_to_the_bit(name: str, learnt: Path, followed: Path) -> None:
    first, second = table_of(learnt, name), table_of(followed, name)
    assert len(first) > 1000
    assert first.schema == second.schema
    assert first.equals(second)


def test_digest_activations_and_scores_are_equal(learnt: Path, followed: Path) -> None:
    first, second = summary_of(learnt), summary_of(followed)
    assert first["run_digest"] == second["run_digest"]
    assert first["scores"]["online"] == second["scores"]["online"]
    assert activations_of(learnt) == activations_of(followed)
    assert len(activations_of(learnt)) > 3


def test_nothing_is_learned_and_the_run_says_what_it_followed(learnt: Path, followed: Path) -> None:
    models = summary_of(followed)["models"]
    assert {name: count for name, count in models.items() if count} == {"activated": models["activated"]}
    assert sorted((followed / "models").iterdir()) == []
    config = yaml.safe_load((followed / "config.yaml").read_text())
    assert config["learn"]["enabled"] is False
    (entry,) = config["versions"]["activations"]
    assert entry["file"] == "run/events.jsonl"
    assert len(entry["sha256"]) == 64
    assert "activations" not in yaml.safe_load((learnt / "config.yaml").read_text())["versions"]
    assert (followed / "report.html").is_file()
    name = pq.read_table(followed / "sweeps.parquet")["prediction_id"][-1].as_py()
    assert explain(followed, name).matches


def test_without_its_activations_the_run_is_another(learnt: Path, tmp_path: Path) -> None:
    result = run_into(tmp_path / "run", "learn.enabled=false")
    assert result.summary["run_digest"] != summary_of(learnt)["run_digest"]


def test_activations_in_several_files_in_any_order_and_more_than_once(learnt: Path, tmp_path: Path) -> None:
    lines = lines_of(learnt)
    cut = next(place for place, line in enumerate(lines) if "bcc-" in line and "activated" in line) + 2
    files = [tmp_path / name for name in ("late.jsonl", "early.jsonl")]
    for file, part in zip(files, (lines[cut - 1 :], lines[:cut]), strict=True):
        file.write_text("".join(f"{line}\n" for line in reversed(part)))
    result = follow(tmp_path / "run", *files, models=learnt / "models")
    assert result.summary["run_digest"] == summary_of(learnt)["run_digest"]


# ---- errors --------------------------------------------------------------------------------------------


@pytest.fixture
def copy(learnt: Path, tmp_path: Path) -> Path:
    """Events and models of the run, to be damaged."""
    run = tmp_path / "copy"
    shutil.copytree(learnt / "models", run / "models")
    shutil.copy(learnt / "events.jsonl", run)
    return run


def last_activation(run: Path) -> dict[str, Any]:
    event: dict[str, Any] = json.loads(activations_of(run)[-1])
    assert event["model_id"].startswith("bcc-")
    return event


def test_a_missing_model_stops_the_replay_before_it_starts(copy: Path, tmp_path: Path) -> None:
    event = last_activation(copy)
    shutil.rmtree(copy / "models" / event["model_id"])
    where = f"model {event['model_id']}, activated for robot/lidar at stamp {event['stamp_ns']}, cannot serve"
    with pytest.raises(ActivationsError, match=f"{where}: .*not in the registry"):
        follow(tmp_path / "run", copy)
    assert not (tmp_path / "run").exists()


def test_a_wrong_sha256_stops_the_replay_before_it_starts(copy: Path, tmp_path: Path) -> None:
    event = last_activation(copy)
    text = (copy / "events.jsonl").read_text().replace(event["sha256"], "ab" * 32)
    (copy / "events.jsonl").write_text(text)
    where = f"model {event['model_id']}, activated for robot/lidar at stamp [0-9]+, cannot serve"
    with pytest.raises(ActivationsError, match=f"{where}: .* is {event['sha256']}, abab.* was published"):
        follow(tmp_path / "run", copy)
    assert not (tmp_path / "run").exists()


def test_another_configuration_stops_the_replay_before_it_starts(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ActivationsError, match="lod: model has 5, this run needs 6"):
        follow(tmp_path / "run", copy, settings=("grid.lod=6",))


def test_activations_of_another_robot_are_not_passed_over(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ActivationsError, match=r"of robot 'robot', .* as robot 'r2'; give --robot robot"):
        follow(tmp_path / "run", copy, robot="r2")


def test_a_replay_that_follows_does_not_learn(copy: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"learn\.enabled: True: .*set learn\.enabled=false"):
        run_into(tmp_path / "run", activations=(copy,))


# ---- as a user types it --------------------------------------------------------------------------------


def command(out: Path, *more: str) -> list[str]:
    settings = [word for setting in GRID for word in ("--set", setting)]
    return ["replay", LOG, "--out", str(out), *settings, *more]


def test_the_command_follows_activations(
    learnt: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "moved.jsonl"
    shutil.copy(learnt / "events.jsonl", file)
    options = ("--activations", str(file), "--models", str(learnt / "models"))
    assert main(command(tmp_path / "run", *options)) == 0
    assert capsys.readouterr().err == ""
    assert summary_of(tmp_path / "run")["run_digest"] == summary_of(learnt)["run_digest"]


def test_errors_of_the_command_are_one_line_and_remove_nothing(
    copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    new, nonsense = tmp_path / "run", tmp_path / "nonsense.jsonl"
    nonsense.write_text("hello\n")
    given = ("--activations", str(copy))
    cases = {
        "nonsense.jsonl, line 1: not JSON": (new, "--activations", str(nonsense)),
        "which is to be followed; name another folder": (copy, *given, "--force"),
        "only --activations FILE needs it": (new, "--models", str(copy / "models")),
        "nowhere: no such file": (new, "--activations", str(tmp_path / "nowhere")),
        "cannot serve: there is no folder": (new, *given, "--models", "none"),
        "follows activations does not learn": (new, *given, "--set", "learn.enabled=true"),
    }
    before = sorted(tmp_path.rglob("*"))
    for words, (out, *more) in cases.items():
        assert main(command(out, *more)) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
        assert sorted(tmp_path.rglob("*")) == before
