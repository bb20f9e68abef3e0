"""``octastream errors``: the worst regions on the terminal, and a page that stands alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.cli import main
from agents.errors.page import region_row, write_errors
from agents.errors.ranking import MEASURES, enough, ranked, worst
from agents.errors.read import RunErrors, read_errors
from native.index64 import to_text
from tests.agents.page import Page
from tests.agents.run_folder import FIRST_NS, RunSpec, write_run

SPEC = RunSpec(sweeps=40, cells=500, warmup=10)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("errors") / "run", SPEC)


@pytest.fixture(scope="module")
def errors(run: Path) -> RunErrors:
    return read_errors(run)


def test_the_page_stands_alone_and_draws_every_picture(errors: RunErrors, tmp_path: Path) -> None:
    page = Page(write_errors(errors, 5, out=tmp_path / "errors.html").read_text(encoding="utf-8"))
    assert page.references == []
    assert set(page.figures) == {"map", "against", "courses"} <= set(page.ids)
    views = [trace["meta"]["view"] for trace in page.figures["map"]["data"]]
    assert views[:3] == ["loss", "calibration", "coverage"]
    for region in worst(errors.table, 5):
        assert to_text(region.region) in page.text


def test_the_same_run_gives_the_same_page(errors: RunErrors, run: Path, tmp_path: Path) -> None:
    one = write_errors(errors, 5, out=tmp_path / "one.html").read_bytes()
    assert write_errors(read_errors(run), 5, out=tmp_path / "two.html").read_bytes() == one


@pytest.mark.parametrize("by", MEASURES)
def test_regions_are_ranked_by_their_measure(errors: RunErrors, by) -> None:
    found = worst(errors.table, 8, by)
    values = [MEASURES[by](region) for region in found]
    assert found
    assert values == sorted(values, reverse=True)
    best = max(
        value for region in errors.table.regions
        if (region.due if by == "coverage" else region.observed) >= enough(errors.table)
        and (value := MEASURES[by](region)) is not None
    )  # fmt: skip
    assert values[0] == best
    assert len(ranked(errors.table, by)) == len(errors.table.regions)


def test_shares_of_loss_add_up_to_one(errors: RunErrors) -> None:
    rows = [region_row(errors, region, 0) for region in errors.table.regions]
    assert sum(row["share"] for row in rows) == pytest.approx(1.0)


def test_the_command_prints_the_worst_and_writes_the_page(
    run: Path, errors: RunErrors, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["errors", str(run), "--worst", "3", "--by", "calibration"]) == 0
    shown = capsys.readouterr().out
    for region in worst(errors.table, 3, "calibration"):
        assert to_text(region.region) in shown
    assert (run / "errors.html").is_file()


def test_alarms_count_where_they_name_a_region(errors: RunErrors, tmp_path: Path) -> None:
    region = errors.table.regions[0].region
    alarm = {"event": "drift", "stamp_ns": str(FIRST_NS)}
    other = write_run(
        tmp_path / "run",
        RunSpec(sweeps=40, cells=500, warmup=10, events=[
            alarm | {"region": to_text(region)}, alarm | {"region": str(region)}, alarm,
            alarm | {"region": "nowhere"},
        ]),
    )  # fmt: skip
    assert read_errors(other).alarms == {region: 2}


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--horizon", "0.3"], "the run has outcomes at 0.2, 0.5, 1 s"),
        (["--levels", "-1"], "levels"),
    ],
)
def test_what_cannot_be_had_is_one_line(run: Path, arguments, words, capsys) -> None:
    assert main(["errors", str(run), *arguments]) != 0
    assert words in capsys.readouterr().err


def test_a_folder_without_a_run_and_a_run_without_outcomes(tmp_path: Path, capsys) -> None:
    assert main(["errors", str(tmp_path)]) == 1
    assert "not a run folder" in capsys.readouterr().err
    short = write_run(tmp_path / "short", RunSpec(sweeps=5, cells=30, warmup=10))
    assert main(["errors", str(short)]) == 1
    assert "warm-up of 10 sweeps" in capsys.readouterr().err
