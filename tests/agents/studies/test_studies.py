"""Every study on a tiny simulated drive: it ends, says what it must, and says the same when asked again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.cli import main
from agents.studies import ablation, poison, recovery
from agents.studies.conduct import PAGE, RESULT, STUDIES, claim_study, conduct
from agents.studies.drives import StudyError, StudyOptions, locations
from agents.studies.page import page_of
from agents.studies.result import Chart, Finding, Line, Mark, StudyResult, Table
from stream.config import load_config
from stream.sources.simulation.events import DRIFTS

LOG = "sim:city?seed=3&beams=32&azimuths=64"
SETTINGS = (
    "grid.lod=5", "network.width=4", "learn.prior=none", "learn.steps_per_sweep=3", "learn.gate_sweeps=3",
    "learn.averaging=0.9", "learn.learning_rate=0.01", "drift.min_cells=10",
)  # fmt: skip
OPTIONS = StudyOptions(logs=(LOG,), sweeps=14, begin=7, settings=SETTINGS, oracle_steps=40, periodic=4)


def silent(done: int, total: int | None, note: str) -> None:
    """Nobody watches."""


class Watched:
    """A progress bar that remembers."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, int | None, str]] = []

    def __call__(self, done: int, total: int | None, note: str) -> None:
        self.calls.append((done, total, note))


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """One drift, one seed, two variants: the others are of the same kind."""
    monkeypatch.setattr("agents.studies.drift.DRIFTS", ("rain",))
    monkeypatch.setattr("agents.studies.online.SEEDS", (0,))
    monkeypatch.setattr("agents.studies.delay.DELAYS", (0, 5))
    monkeypatch.setattr("agents.studies.ablation.VARIANTS", ablation.VARIANTS[:2])


def read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((out / RESULT).read_text(encoding="utf-8"))
    return found


@pytest.mark.learn
@pytest.mark.slow
@pytest.mark.parametrize("name", list(STUDIES))
def test_a_study_ends_with_findings_and_leaves_nothing_else(tmp_path: Path, name: str) -> None:
    pytest.importorskip("torch")
    watched = Watched()
    result = conduct(name, OPTIONS, tmp_path / "a", watched)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]  # nothing of the replays is left
    replayed = STUDIES[name].replays(OPTIONS) * OPTIONS.sweeps
    assert {total for _, total, _ in watched.calls} == {replayed}
    assert max(done for done, _, _ in watched.calls) == replayed
    assert result.findings
    assert result.charts
    for table in result.tables:
        assert table.rows
        assert {len(row) for row in table.rows} == {len(table.columns)}
    found = read(tmp_path / "a")
    assert found["study"] == name
    assert found["settings"]["sweeps"] == OPTIONS.sweeps
    assert all(LOG.partition("?")[0] in log for log in found["logs"])


@pytest.mark.learn
@pytest.mark.slow
def test_a_study_repeats_to_the_byte(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    for folder in ("a", "b"):
        conduct("online", OPTIONS, tmp_path / folder, silent)
    for file in (RESULT, PAGE):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.learn
@pytest.mark.slow
def test_contestants_are_compared_on_the_same_sweeps(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    result = conduct("drift", OPTIONS, tmp_path / "out", silent)
    losses = next(table for table in result.tables if table.title.startswith("Log loss"))
    by_name = {(row[0], row[1]): row[2:] for row in losses.rows}
    assert set(by_name) == {(e, c) for e in ("rain",) for c in recovery.CONTESTANTS}
    for event in ("rain",):
        values = [by_name[event, name][0] for name in ("online", "oracle", "frozen")]
        assert all(isinstance(value, float) for value in values)
        assert by_name[event, "oracle"][0] <= by_name[event, "frozen"][0] * 1.1  # type: ignore[operator]
    for chart in result.charts[:1]:
        lines = {line.name: line for line in chart.lines}
        assert set(lines) == set(recovery.CONTESTANTS)
        assert [value is None for value in lines["oracle"].y[: OPTIONS.begin]] == [True] * OPTIONS.begin


@pytest.mark.learn
@pytest.mark.slow
@pytest.mark.long
def test_false_labels_do_little_harm_where_the_guard_stands(tmp_path: Path) -> None:
    """Most labels are turned round, and learning is hasty, so that a short drive shows it."""
    pytest.importorskip("torch")
    hasty = (
        "learn.steps_per_sweep=4",
        "learn.learning_rate=0.01",
        "learn.averaging=0.9",
        "learn.guard_sweeps=3",
    )
    options = dataclasses.replace(OPTIONS, sweeps=36, begin=12, settings=hasty)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("agents.studies.poison.SHARE", 0.9)
        patch.setattr("agents.studies.poison.ATTACKS", poison.ATTACKS[:3])
        result = conduct("poison", options, tmp_path / "out", silent)
    (table,) = result.tables
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    guarded, naked = rows["false labels"], rows["false labels, no guard"]
    assert isinstance(guarded["relative, everywhere"], float)
    assert isinstance(naked["relative, everywhere"], float)
    assert rows["true labels"]["relative, all"] == 0
    assert guarded["held back"]
    assert naked["relative, everywhere"] > 0.2
    assert guarded["relative, everywhere"] < naked["relative, everywhere"] / 2


# ---- what needs no training ----------------------------------------------------------------------------


def test_drives_are_seed_after_seed_with_the_event_in_them() -> None:
    options = dataclasses.replace(OPTIONS, drives=2)
    assert locations(options, "rain") == [
        f"sim:city?seed={seed}&sweeps=14&beams=32&rate=10&azimuths=64&robots=1&events=rain@7"
        for seed in (3, 4)
    ]
    assert all("events" not in log for log in locations(options))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"begin": 14}, "--begin 14: must be above 0 and below --sweeps 14"),
        ({"logs": ("drive.mcap",), "drives": 2}, "--drives 2: drive.mcap is one log"),
    ],
)
def test_options_that_make_no_study_are_refused(changes: dict[str, Any], error: str) -> None:
    with pytest.raises(StudyError) as raised:
        dataclasses.replace(OPTIONS, **changes)
    assert error in str(raised.value)


def test_events_cannot_be_planted_in_recorded_logs_or_twice() -> None:
    with pytest.raises(StudyError, match="rain can be planted in a simulated drive only"):
        locations(StudyOptions(logs=("drive.mcap",)), "rain")
    assert locations(StudyOptions(logs=("drive.mcap",))) == ["drive.mcap"]
    with pytest.raises(StudyError, match="leave its events out"):
        locations(StudyOptions(logs=("sim:city?events=rain@3&sweeps=9",)))


def test_a_folder_of_other_things_is_not_written_into(tmp_path: Path) -> None:
    claim_study(tmp_path / "new", force=False)
    (tmp_path / RESULT).write_text("{}")
    with pytest.raises(StudyError, match="add --force"):
        claim_study(tmp_path, force=False)
    claim_study(tmp_path, force=True)
    (tmp_path / "thesis.txt").write_text("")
    with pytest.raises(StudyError, match=r"holds thesis\.txt, which is of no study"):
        claim_study(tmp_path, force=True)


def test_every_variant_is_a_configuration_that_can_be_used() -> None:
    names = [variant.name for variant in ablation.VARIANTS]
    assert len(set(names)) == len(names)
    for variant in ablation.VARIANTS:
        load_config(None, [ablation.SCRATCH, *variant.settings])


def test_the_simulator_has_every_drift_that_is_studied() -> None:
    assert set(DRIFTS) == {"rain", "tilt", "dropped-beams", "thinning", "district"}
    assert set(recovery.WANTED) <= set(DRIFTS)


RESULT_OF_NOTHING = StudyResult(
    study="x", title="A <b>title</b>", question="Why?", method="So.", logs=("sim:city",),
    findings=(Finding(text="good & true", holds=True), Finding(text="bad", holds=False), Finding(text="so")),
    tables=(Table(title="T", columns=("a", "b"), rows=(("x", None), ("y", 0.25))),),
    charts=(Chart(title="C", x_title="x", y_title="y", lines=(Line(name="online", x=(0, 1), y=(1.0, None)),),
                  marks=(Mark(x=1, text="<i>"),)),),
    settings={"sweeps": 3},
)  # fmt: skip


def test_the_page_holds_all_of_a_result_and_no_text_of_it_as_markup() -> None:
    page = page_of(RESULT_OF_NOTHING)
    for text in ("A &lt;b&gt;title", "✓ good &amp; true", "✗ bad", "<td>-</td>", "<td>0.25</td>", "sim:city"):
        assert text in page
    assert "<b>title" not in page
    assert "&lt;i&gt;" in page or "\\u0026lt;i" in page
    assert "mixed" in page
    assert page == page_of(RESULT_OF_NOTHING)
    assert "http://" not in page.partition("<script>")[0].replace("http://www.w3.org", "")


@pytest.mark.learn
@pytest.mark.slow
def test_the_command_shows_what_was_found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("torch")
    out = tmp_path / "study"
    arguments = ["study", "delay", "--log", LOG, "--sweeps", "16", "--begin", "8", "--out", str(out)]
    for setting in SETTINGS:
        arguments += ["--set", setting]
    assert main(arguments) == 0
    shown = capsys.readouterr()
    assert "Labels 5 sweeps late cost" in shown.out
    assert str(out / PAGE) in shown.out
    assert main(arguments) == 1
    assert "holds a study; name another folder or add --force" in capsys.readouterr().err
    assert np.isfinite(read(out)["tables"][0]["rows"][0][1])
