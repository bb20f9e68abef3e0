"""The command line as a user meets it: options, one-line errors, exit codes."""

from __future__ import annotations

import errno
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import typer

from agents.cli import app, main
from agents.failure import describe
from agents.options import LIVE_BUDGET_MS, ConfigOptions, LogOptions, ReplayFlags, spread
from agents.outfolder import claim
from stream.config import ConfigError
from stream.run_folder import RunFolder
from tests.data import ROOT, data_path

COMMANDS = {
    "demo", "replay", "doctor", "errors", "explain", "info", "prior", "record", "report", "sample", "serve",
    "simulate", "version", "topics", "worker", "produce", "bridge", "label", "lag", "dead-letters", "data",
    "cell", "compare", "dataset", "models", "objects", "paint", "predict", "study", "surprise", "trace",
    "train", "tune",
}  # fmt: skip
CITY = "sim:city?sweeps=3&beams=32&azimuths=64"


def one_line(text: str) -> str:
    """The only line of a stderr, which starts with the program's name."""
    lines = text.splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("octastream: ")
    assert "Traceback" not in text
    return lines[0].removeprefix("octastream: ")


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert {name for name in COMMANDS if re.search(rf"\b{name}\b", shown)} == COMMANDS
    names = {command.name or command.callback.__name__ for command in app.registered_commands}
    assert names | {group.name for group in app.registered_groups} == COMMANDS


def test_no_command_shows_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    shown = capsys.readouterr()
    assert "replay" in shown.out + shown.err


def test_version_is_plain_and_imports_nothing_heavy() -> None:
    code = (
        "import sys; from agents.cli import main; code = main(['version']);"
        "heavy = {'numpy', 'torch', 'onnxruntime', 'pyarrow', 'river', 'aiokafka', 'faust'};"
        "heavy &= set(sys.modules);"
        "assert not heavy, heavy; sys.exit(code)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    names = [line.split()[0] for line in result.stdout.splitlines()]
    assert names == ["octastream", "numpy", "onnxruntime", "torch", "river", "python"]


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["info", "nowhere.mcap"], 1, "nowhere.mcap: no such file"),
        (["info", "empty.mcap"], 1, "empty"),
        (["info", "text.log"], 1, "unknown format"),
        (["info", "sim:moon"], 1, "moon"),
        (["replay", "nowhere.mcap", "--out", "a"], 1, "nowhere.mcap: no such file"),
        (["replay", CITY, "--out", "a", "--set", "grid.lod=99"], 1, "grid.lod: 99 must be 0..15"),
        (["replay", CITY, "--out", "a", "--set", "grid.size=1"], 1, "grid.size"),
        (["replay", CITY, "--out", "a", "--set", "lod"], 1, "expected key=value"),
        (["replay", CITY, "--out", "a", "--config", "no.yaml"], 1, "no.yaml"),
        (["replay", CITY, "--out", "a", "--rate-hz", "0"], 1, "--rate-hz 0: must be above 0"),
        (
            ["replay", CITY, "--out", "a", "--robot", "a/b"],
            1,
            "--robot: 'a/b' must be a name without a slash",
        ),
        (
            ["replay", CITY, "--out", "a", "--robot", "a\nb"],
            1,
            "--robot: 'a\\nb' holds what cannot be printed",
        ),
        (["replay", CITY, "--out", "text.log"], 1, "text.log: is a file"),
        (["replay", CITY, "--out", "old"], 1, "old: already holds a run"),
        (["replay", CITY, "--out", "other"], 1, "other: is not empty"),
        (["replay", CITY, "--out", "other", "--force"], 1, "other: is not empty"),
        (["replay", CITY], 2, "Missing option '--out'"),
        (["replay", CITY, "--out", "a", "--sweeps", "0"], 2, "--sweeps"),
        (["replay", CITY, "--out", "a", "--log-features", "2"], 2, "--log-features"),
        (["doctor", "nowhere.mcap"], 1, "nowhere.mcap: no such file"),
        (["info"], 2, "Missing argument 'LOG'"),
        (["produce", CITY, "--rate", "fast"], 1, "--rate 'fast': must be real, max, or"),
        (["lag", "--bootstrap", "kafka"], 1, "--bootstrap 'kafka': must be HOST:PORT"),
        (["lag", "--partitions", "0"], 2, "--partitions"),
        (["worker", "judge"], 1, "grid.map_frame: 'auto' cannot be found without a log"),
        (["worker", "fly"], 2, "'fly' is not one of 'perceive', 'judge', 'learn', 'archive', 'all'"),
        (["dead-letters", "replay"], 1, "name letters, or --reason REASON"),
        (["topics", "fly"], 2, "No such command 'fly'"),
        (["fly"], 2, "No such command 'fly'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_line(
    arguments: list[str],
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.mcap").touch()
    Path("text.log").write_text("hello")
    for name, file in (("old", "summary.json"), ("other", "thesis.tex")):
        Path(name).mkdir()
        Path(name, file).touch()
    before = sorted(tmp_path.rglob("*"))
    assert main(arguments) == code
    shown = capsys.readouterr()
    assert words in one_line(shown.err)
    assert shown.out == ""
    assert sorted(tmp_path.rglob("*")) == before


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OCTA_DEBUG", "1")
    with pytest.raises(ConfigError, match="expected key=value"):
        main(["doctor", CITY, "--set", "lod"])


def test_info_shows_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", CITY]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"sweeps +3\b", shown)
    assert re.search(r"root frame +odom", shown)


@pytest.mark.parametrize(
    ("error", "line", "code"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk full: free some space", 1),
        (OSError(errno.ENOSPC, "No space left", "runs/a/x"), "runs/a/x: disk full", 1),
        (FileNotFoundError(errno.ENOENT, "No such file", "a"), "a: no such file or folder", 1),
        (PermissionError(errno.EACCES, "Permission denied", "a"), "a: permission denied; name a place", 1),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "learning needs torch:", 1),
        (ModuleNotFoundError("No module named 'faust'", name="faust"), "Kafka needs faust: pip install", 1),
        (ModuleNotFoundError("No module named 'lz4'", name="lz4.frame"), "the package lz4 is not", 1),
        (ConfigError("a: 1\nmust be 2"), "a: 1 must be 2", 1),
        (KeyError("x"), "internal error: KeyError: 'x' (OCTA_DEBUG=1 shows where)", 70),
        (ModuleNotFoundError("No module named 'agents.x'", name="agents.x"), "internal error:", 70),
        (KeyboardInterrupt(), "interrupted", 130),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
def test_every_error_has_a_line_and_a_code(error: BaseException, line: str, code: int) -> None:
    described, exit_code = describe(error)
    assert described.startswith(line)
    assert "\n" not in described
    assert exit_code == code


def test_claim_replaces_a_run_and_nothing_else(tmp_path: Path) -> None:
    run = claim(tmp_path / "deep" / "run")
    assert not run.exists()
    run.mkdir(parents=True)
    (run / "config.yaml").touch()
    (run / "predictions").mkdir()
    (run / "predictions" / "part-00000.parquet").touch()
    with pytest.raises(FileExistsError, match="already holds a run"):
        claim(run)
    assert sorted(path.name for path in claim(run, force=True).iterdir()) == []
    (run / "notes.md").touch()
    with pytest.raises(FileExistsError, match="is not empty"):
        claim(run, force=True)
    assert (run / "notes.md").exists()


def test_a_run_beside_something_else_is_left_as_it_is(tmp_path: Path) -> None:
    for name in ("config.yaml", "notes.md"):
        (tmp_path / name).touch()
    with pytest.raises(FileExistsError, match=r"holds more than a run: notes\.md; move it away"):
        claim(tmp_path, force=True)
    assert (tmp_path / "config.yaml").exists()


def test_a_run_whose_removal_was_cut_off_can_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.yaml", "events.jsonl", "summary.json", "predictions/part-00000.parquet"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with monkeypatch.context() as killed:
        killed.setattr(shutil, "rmtree", raises(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            claim(tmp_path, force=True)
    assert list(claim(tmp_path, force=True).iterdir()) == []


def raises(error: BaseException) -> Callable[..., None]:
    """Raises an error, whatever it is given."""

    def do(*_: object, **__: object) -> None:
        raise error

    return do


def test_damaged_files_and_what_a_killed_process_left_go_with_their_run(tmp_path: Path) -> None:
    for name in ("config.yaml", ".summary.json.tmp", "quarantine/sweeps.parquet.1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert list(claim(tmp_path, force=True).iterdir()) == []


def test_option_groups_become_options() -> None:
    seen: list[object] = []
    command = typer.Typer()

    @command.command()
    @spread
    def run(
        log: LogOptions,
        settings: ConfigOptions,
        flags: ReplayFlags,
        name: Annotated[str, typer.Option()] = "x",
    ) -> None:
        seen.extend([log, settings, flags, name])

    words = "--robot r2 --poses p.txt --rate-hz 5 --topic /t --set a=1 --set b=2 --no-learn --name y"
    command(args=words.split(), standalone_mode=False)
    log = LogOptions(robot="r2", poses=Path("p.txt"), rate_hz=5.0, topic="/t")
    assert seen == [log, ConfigOptions(set=["a=1", "b=2"]), ReplayFlags(no_learn=True), "y"]
    assert log.arguments() == ["--rate-hz", "5", "--poses", "p.txt", "--topic", "/t", "--robot", "r2"]
    assert log.to_source_options().robot_id == "r2"
    made = LogOptions(odometry=True, topic="/t")
    assert made.arguments() == ["--odometry", "--topic", "/t"]
    assert made.to_source_options().odometry and not log.to_source_options().odometry
    assert ReplayFlags(no_learn=True, log_features=0.5).overrides() == [
        "learn.enabled=false",
        "log_features=0.5",
    ]


def test_pace_is_a_budget_that_the_user_may_change() -> None:
    paced = ReplayFlags(pace=True).overrides()
    assert ConfigOptions().load(*paced).learn.budget_ms == LIVE_BUDGET_MS < 100
    assert ConfigOptions(set=["learn.budget_ms=33"]).load(*paced).learn.budget_ms == 33
    assert ConfigOptions().load(*ReplayFlags().overrides()).learn.budget_ms is None


def test_the_users_settings_win_over_flags() -> None:
    settings = ConfigOptions(set=["learn.enabled=true", "seed=7"])
    config = settings.load("learn.enabled=false")
    assert config.learn.enabled
    assert config.seed == 7
    assert settings.arguments() == ["--set", "learn.enabled=true", "--set", "seed=7"]


SMALL = "sim:city?sweeps=14&beams=32&azimuths=128&seed=2"


def replay_small(out: Path, *more: str) -> int:
    return main(["replay", SMALL, "--out", str(out), "--no-learn", "--set", "task.warmup_sweeps=3", *more])


def test_a_run_is_shown_explained_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    assert replay_small(run) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert f"report: {run / 'report.html'}" in shown.out.replace("\n", "")
    summary = json.loads((run / "summary.json").read_text())
    assert f"{summary['scores']['online']['average_precision']:.3f}" in shown.out
    assert "14 sweeps" in shown.out

    (run / "report.html").unlink()
    assert main(["report", str(run)]) == 0
    assert (run / "report.html").exists()

    prediction_id = pq.read_table(run / "sweeps.parquet")["prediction_id"][9].as_py()
    capsys.readouterr()
    assert main(["explain", str(run), prediction_id, "--cells", "2", "--features"]) == 0
    shown = capsys.readouterr()
    assert "the same bits" in shown.out
    assert len(re.findall(r"i3d11[02-9ac-hj-np-z]{19}", shown.out)) == 2
    assert main(["explain", str(run), "robot/lidar/1"]) == 1
    assert "not in this run" in one_line(capsys.readouterr().err)

    assert replay_small(run) == 1
    assert "already holds a run" in one_line(capsys.readouterr().err)
    assert replay_small(run, "--force", "--sweeps", "6") == 0
    assert "nothing to score: 6 sweeps" in capsys.readouterr().out


def test_explain_exits_with_an_error_when_the_digest_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert replay_small(tmp_path / "run", "--sweeps", "5") == 0
    path = tmp_path / "run" / "sweeps.parquet"
    table = pq.read_table(path)
    column = table.schema.get_field_index("feature_digest")
    wrong = pa.array(["0" * 64] * len(table), pa.string())
    pq.write_table(table.set_column(column, "feature_digest", wrong), path)
    capsys.readouterr()
    assert main(["explain", str(tmp_path / "run"), table["prediction_id"][2].as_py()]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_a_full_disk_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(self: RunFolder, dataset: str, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(self.path / dataset))

    monkeypatch.setattr(RunFolder, "write_table", full)
    assert replay_small(tmp_path / "run", "--sweeps", "3") == 1
    assert "disk full: free some space" in one_line(capsys.readouterr().err)


def test_a_folder_that_may_not_be_written_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: RunFolder) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self.path))

    monkeypatch.setattr(RunFolder, "create", refuse)
    assert replay_small(tmp_path / "run") == 1
    assert "run: permission denied; name a place you may use" in one_line(capsys.readouterr().err)


def test_odometry_and_poses_of_another_place_exclude_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", "sim:city?sweeps=1", "--odometry", "--poses", "p.txt"]) == 1
    assert "--poses p.txt: --odometry makes poses" in one_line(capsys.readouterr().err)
    assert main(["info", "kafka://x", "--odometry"]) == 1
    assert "--odometry: the transforms of a topic" in one_line(capsys.readouterr().err)


def test_sweeps_without_poses_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "log").mkdir()
    (tmp_path / "log" / "0.bin").write_bytes(bytes(160))
    arguments = [str(tmp_path / "log"), "--rate-hz", "10"]
    assert main(["replay", *arguments, "--out", str(tmp_path / "run"), "--no-learn"]) == 1
    assert "--poses" in one_line(capsys.readouterr().err)
    assert not (tmp_path / "run").exists()


def test_doctor_shows_the_measurements_and_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", SMALL, "--sweeps", "4", "--robot", "r2", "--set", "seed=3"]) == 0
    shown = capsys.readouterr()
    assert shown.err == ""
    assert re.search(r"would predict +4 of 4 sweeps", shown.out)
    assert re.search(r"cost a sweep +\d+ ms", shown.out)
    command = shlex.split(shown.out.splitlines()[-1])
    assert command == [
        "octastream", "replay", SMALL, "--out", "runs/sim-city", "--robot", "r2", "--set", "seed=3",
    ]  # fmt: skip


@pytest.mark.learn
@pytest.mark.long
def test_the_demo_replaces_its_own_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("agents.cli.DEMO_LOG", "sim:city?sweeps=7&beams=32&azimuths=64")
    demo = tmp_path / "demo"
    (demo / "predictions").mkdir(parents=True)
    for name in ("config.yaml", "predictions/part-00009.parquet"):
        (demo / name).touch()
    assert main(["demo", "--out", str(demo)]) == 0
    shown = capsys.readouterr()
    assert "7 sweeps" in shown.out
    assert shown.err == ""
    assert (demo / "report.html").exists()
    assert not (demo / "predictions" / "part-00009.parquet").exists()


@pytest.mark.data
@pytest.mark.parametrize("harm", ["truncated", "corrupt"])
def test_a_damaged_log_is_processed_up_to_the_damage(
    harm: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with data_path("kitti_0005_000-053.mcap").open("rb") as file:
        content = bytearray(file.read(9_000_000))
    if harm == "corrupt":
        content[8_000_000:8_000_400] = bytes(400)
    log = tmp_path / "drive.mcap"
    log.write_bytes(content)
    run = tmp_path / "run"
    assert main(["replay", str(log), "--out", str(run), "--no-learn"]) == 3
    line = one_line(capsys.readouterr().err)
    assert line.startswith(f"processed up to the damage: {log}: ")
    summary = json.loads((run / "summary.json").read_text())
    assert 3 <= summary["sweeps"] <= 7
    assert pq.read_table(run / "sweeps.parquet").num_rows == summary["sweeps"]
    assert (run / "report.html").exists()
