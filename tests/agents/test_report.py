"""The report says what the run folder holds, and says plainly what it lacks."""

from __future__ import annotations

import base64
import dataclasses
import html
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.report import ReportError, build_report
from agents.report.curves import by_horizon
from agents.report.figure import MAX_POINTS, thinned, typed
from agents.report.path import ego_path
from agents.report.rows import PredictionRows
from agents.report.scored import scored_sweeps
from agents.report.source import RunEvent, read_run
from agents.report.space import MAX_DRAWN
from agents.report.tables import score_rows
from agents.report.tally import CellLosses
from agents.report.wording import Verdict, number, rounded, verdict
from tests.agents.page import Page
from tests.agents.run_folder import FIRST_NS, RunSpec, ego_of, encode, prediction_id, stamp_of, write_run

SMALL = RunSpec(sweeps=24, cells=120, warmup=10)
TRAINED = RunEvent(name="trained", stamp_ns=FIRST_NS, seconds=0.0, fields={"model_id": "frequency"})
FILES = ("summary.json", "config.yaml", "sweeps.parquet", "events.jsonl")
HOSTILE = "<img src=x onerror=alert(1)></script><b>&"


def _build(folder: Path, spec: RunSpec = SMALL) -> Page:
    return _page(write_run(folder / "run", spec))


def _page(run: Path) -> Page:
    return Page(build_report(run).read_text(encoding="utf-8"))


def _summary_of(run: Path, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((run / "summary.json").read_text()) | changes
    (run / "summary.json").write_text(json.dumps(values))
    return values


def _verdict(tmp_path: Path, **scores: tuple[float, float]) -> Verdict:
    run = write_run(tmp_path / "run", RunSpec(sweeps=2, cells=10, warmup=0))
    _summary_of(
        run,
        models={"activated": 3, "trained": 3},
        scores={name: {"average_precision": ap, "log_loss": loss} for name, (ap, loss) in scores.items()},
    )
    folder = read_run(run)
    return verdict(dataclasses.replace(folder, events=[*folder.events, TRAINED]), {})


def test_every_section_is_drawn_from_a_whole_run(tmp_path: Path) -> None:
    page = _build(tmp_path)
    drawn = {
        "curves", "horizon", "range", "reliability", "scene", "regions", "latency", "latency-time", "lineage",
    }  # fmt: skip
    assert set(page.figures) == drawn
    assert drawn <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "Not everything is here" not in page.text


def test_it_is_one_file_without_references(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    text = build_report(run).read_text(encoding="utf-8")
    page = Page(text)
    assert page.references == []
    assert "default-src 'none'" in text
    assert len(text) < 8_000_000
    assert not {"link", "iframe", "object", "img"} & set(page.tags)


def test_the_same_folder_gives_the_same_bytes_where_it_is_asked_to(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    first = build_report(run, tmp_path / "a.html")
    assert first == tmp_path / "a.html"
    assert not (run / "report.html").exists()
    assert build_report(run).read_bytes() == first.read_bytes()


def test_recomputed_scores_agree_with_the_oracle_that_wrote_the_summary(tmp_path: Path) -> None:
    assert "all 10 values agree" in _build(tmp_path).text


def test_a_summary_that_the_rows_do_not_support_is_called_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    summary = json.loads((run / "summary.json").read_text())
    summary["scores"]["linear"]["log_loss"] += 0.01
    _summary_of(run, scores=summary["scores"])
    assert "differ from summary.json by up to 0.01 (log loss of linear)" in _page(run).text


def test_curves_hold_each_sweep_that_has_an_outcome(tmp_path: Path) -> None:
    traces = _build(tmp_path).figures["curves"]["data"]
    online = next(t for t in traces if t["name"] == "online" and t["yaxis"] == "y2")
    expected = [round((stamp_of(i) - FIRST_NS) / 1e9, 3) for i in range(SMALL.sweeps - 5)]
    assert online["x"] == expected
    frozen = next(t for t in traces if t["name"] == "frozen")
    assert len(frozen["x"]) == SMALL.sweeps - 5 - SMALL.warmup
    assert {t["line"]["color"] for t in traces if t["name"] == "online"} == {"@s-online"}


def test_text_from_the_run_stays_text(tmp_path: Path) -> None:
    run = write_run(
        tmp_path / "run",
        RunSpec(sweeps=24, cells=60, warmup=10, events=[
            {"event": HOSTILE, "stamp_ns": str(FIRST_NS), "model_id": HOSTILE, "reason": HOSTILE},
            {"event": "activated", "stamp_ns": FIRST_NS, "model_id": HOSTILE},
            {"event": "damage", "stamp_ns": FIRST_NS, "detail": HOSTILE},
        ]),
    )  # fmt: skip
    _summary_of(run, dead_letters={HOSTILE: 2}, run_digest=HOSTILE)
    (run / "config.yaml").write_text(f"logs: ['{HOSTILE}']\n")
    text = build_report(run).read_text(encoding="utf-8")
    assert "<img" not in text.replace(html.escape(HOSTILE), "")
    page = Page(text)
    assert "img" not in page.tags
    assert HOSTILE in page.text
    assert html.escape(HOSTILE, quote=False) in json.dumps(page.figures["curves"])


def test_events_alarms_and_dead_letters_are_listed(tmp_path: Path) -> None:
    page = _build(
        tmp_path,
        RunSpec(sweeps=24, cells=60, warmup=10, events=[
            {"event": "drift", "stamp_ns": str(stamp_of(3)), "region": "i3d1x", "rise": 0.123456789}]),
    )  # fmt: skip
    assert "region i3d1x, rise 0.12346" in page.text
    assert "no_pose" in page.text
    assert "No drift alarm" not in page.text


def test_without_alarms_and_dead_letters_it_says_so(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    _summary_of(run, dead_letters={})
    page = _page(run)
    assert "No drift alarm is recorded" in page.text
    assert "No sweep was rejected" in page.text


def test_without_outcomes_the_charts_that_need_them_are_replaced_by_words(tmp_path: Path) -> None:
    page = _build(tmp_path, RunSpec(sweeps=24, cells=60, warmup=10, outcomes=False))
    assert set(page.figures) == {"latency", "latency-time", "lineage"}
    assert "Nothing was scored" in page.text
    assert "outcomes/ holds no rows" in page.text


def test_without_models_the_frequency_model_is_named(tmp_path: Path) -> None:
    page = _build(tmp_path, RunSpec(sweeps=24, cells=60, warmup=10, models=False))
    assert "lineage" not in page.figures
    assert "No learned model served" in page.text


def test_one_sweep_renders(tmp_path: Path) -> None:
    page = _build(tmp_path, RunSpec(sweeps=1, cells=60, warmup=30, models=False))
    assert "The run has 1 sweep and the first 30 are warm-up" in page.text
    assert set(page.figures) == {"latency"}


@pytest.mark.parametrize("name", [*FILES, "predictions", "shadows", "outcomes", "models", "containers"])
def test_any_part_may_be_absent(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", RunSpec(sweeps=16, cells=40, warmup=6))
    gone = run / name
    gone.unlink() if gone.is_file() else shutil.rmtree(gone)
    page = _page(run)
    if name not in ("models", "containers"):
        assert "Not everything is here" in page.text
        assert name in page.text


@pytest.mark.parametrize("name", FILES)
def test_any_file_may_be_cut_off(tmp_path: Path, name: str) -> None:
    run = write_run(tmp_path / "run", RunSpec(sweeps=16, cells=40, warmup=6))
    data = (run / name).read_bytes()
    (run / name).write_bytes(data[: len(data) // 2] + b"\n{[ :")
    assert "Not everything is here" in _page(run).text


def test_a_chunk_that_is_cut_off_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", RunSpec(sweeps=24, cells=120, warmup=10, rows_per_file=1_500))
    chunk = sorted((run / "predictions").iterdir())[-1]
    chunk.write_bytes(chunk.read_bytes()[:-10])
    page = _page(run)
    assert f"predictions/{chunk.name} is cut off" in page.text
    assert "curves" in page.figures


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ReportError, match="not a run folder"):
        build_report(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("scores", "tone", "words"),
    [
        ({"online": (0.92, 0.40), "linear": (0.90, 0.44)}, "good", "beat every baseline"),
        ({"online": (0.92, 0.44), "linear": (0.90, 0.44)}, "good", "level on log loss"),
        ({"online": (0.92, 0.48), "linear": (0.90, 0.44)}, "mixed", "lost to linear"),
        ({"online": (0.90, 0.44), "frozen": (0.9004, 0.4405)}, "mixed", "no gain beyond noise"),
        ({"online": (0.89, 0.45), "frozen": (0.90, 0.44)}, "bad", "did not beat frozen"),
        (
            {"online": (0.92, 0.45), "linear": (0.91, 0.46), "frozen": (0.93, 0.44)},
            "bad",
            "did not beat frozen",
        ),
        ({"online": (0.92, 0.45)}, "none", "nothing to compare"),
    ],
)
def test_the_headline_is_honest(tmp_path: Path, scores: Any, tone: str, words: str) -> None:
    found = _verdict(tmp_path, **scores)
    assert found.tone == tone
    assert words in found.title


def test_the_best_of_each_column_is_marked_and_null_is_a_dash() -> None:
    rows = score_rows({
        "frozen": {"average_precision": 0.91, "log_loss": 0.42, "ece": None, "n": 5},
        "online": {"average_precision": 0.90, "log_loss": 0.41, "n": 5},
        "challenger-a": {"average_precision": 0.91},
    })  # fmt: skip
    assert [row.name for row in rows] == ["online", "frozen", "challenger-a"]
    assert [row.cells[0] for row in rows] == [("0.9000", False), ("0.9100", True), ("0.9100", True)]
    assert [row.cells[2] for row in rows] == [("0.4100", True), ("0.4200", False), ("\u2013", False)]
    assert not any(best for row in rows for _, best in row.cells[4:5])


@given(st.floats(-1e6, 1e6))
def test_numbers_keep_their_value(value: float) -> None:
    assert float(number(value).replace("\u2212", "-")) == pytest.approx(value, abs=5.1e-5)


def test_numbers_without_support_are_dashes() -> None:
    assert {number(None), number(float("nan")), rounded(None)} == {"\u2013"}
    assert rounded(6_372_000) == "6.37\u202fM"


def test_typed_arrays_survive_the_page() -> None:
    values = np.array([1.5, -2.0, np.nan], np.float32)
    found = np.frombuffer(base64.b64decode(typed(values)["bdata"]), np.float32)
    assert np.array_equal(found, values, equal_nan=True)


@given(st.integers(1, 4 * MAX_POINTS))
def test_thinned_lines_keep_their_ends_and_mean(count: int) -> None:
    x = np.arange(count, dtype=np.float64)
    seen, mean = thinned(x, 2 * x)
    assert len(seen) <= MAX_POINTS
    assert np.allclose(mean, 2 * seen)
    assert seen[0] < 4 and seen[-1] > count - 5


def test_horizons_are_read_whichever_way_they_nest() -> None:
    row = {"average_precision": 0.9}
    expected = {"online": {200: row}}
    assert by_horizon({"scores_by_horizon": {"200": {"online": row}}}) == expected
    assert by_horizon({"scores_by_horizon": {"online": {"200": row}}}) == expected
    assert by_horizon({"scores_by_horizon": {"200": row}}) == expected


def test_the_path_is_that_of_the_poses(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    assert np.allclose(ego_path(run), [ego_of(i) for i in range(SMALL.sweeps)])
    assert ego_path(tmp_path).shape == (0, 3)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=60), st.integers(1, 9), st.integers(1, 7))
def test_rows_are_found_however_they_are_scattered(
    tmp_path_factory: pytest.TempPathFactory, owner: list[int], file_rows: int, group_rows: int
) -> None:
    folder = tmp_path_factory.mktemp("rows")
    for start in range(0, len(owner), file_rows):
        part = owner[start : start + file_rows]
        table = pa.table({
            "prediction_id": [f"p{i}" for i in part],
            "cell_id": np.arange(start, start + len(part)).astype("u8"),
        })  # fmt: skip
        pq.write_table(table, folder / f"part-{start:05d}.parquet", row_group_size=group_rows)
    rows = PredictionRows(folder)
    for name in set(owner):
        table = rows.table(f"p{name}")
        assert table is not None
        found = table.column("cell_id").to_pylist()
        assert sorted(found) == [i for i, other in enumerate(owner) if other == name]
    assert rows.table("p9") is None


def test_rows_written_twice_count_once(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    before = list(scored_sweeps(read_run(run), []))
    for name in ("predictions", "outcomes", "shadows"):
        first = sorted((run / name).iterdir())[0]
        shutil.copy(first, first.with_name("part-99999.parquet"))
    after = list(scored_sweeps(read_run(run), []))
    assert len(before) == len(after) == SMALL.sweeps - 5
    for one, other in zip(before, after, strict=True):
        assert np.array_equal(one.cell_id, other.cell_id)
        assert np.array_equal(one.observed, other.observed)
        assert np.array_equal(one.probability["online"], other.probability["online"])


def test_the_join_is_that_of_a_dictionary(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", SMALL)
    outcomes = pq.read_table(run / "outcomes").to_pylist()
    sweep = list(scored_sweeps(read_run(run), []))[7]
    truth = {
        row["cell_id"]: row["occupied"]
        for row in outcomes
        if row["prediction_id"] == prediction_id(7) and row["horizon_ns"] == 500_000_000
    }
    observed = sweep.cell_id[sweep.observed].tolist()
    assert dict(zip(observed, sweep.occupied[sweep.observed].tolist(), strict=True)) == truth


@given(st.integers(1, 200), st.integers(1, 5))
def test_cell_losses_are_bounded_and_unbiased_by_order(cap: int, parts: int) -> None:
    sites = np.stack([np.arange(300), np.arange(300) % 7, np.zeros(300)], 1).astype(np.int64) * 2
    ids = np.sort(encode(sites))
    split, whole_ = CellLosses(cap), CellLosses(cap)
    for part in np.array_split(np.arange(300), parts):
        split.add(ids[part], np.full(len(part), 0.5))
    whole_.add(ids, np.full(300, 0.5))
    assert len(split.cell_id) <= cap
    assert np.array_equal(split.cell_id, whole_.cell_id)
    assert np.allclose(split.mean, 0.5)
    assert (split.kept == 1.0) == (cap >= 300) or split.kept < 1.0


def test_the_map_is_sampled(tmp_path: Path) -> None:
    page = _build(tmp_path, RunSpec(sweeps=7, cells=3 * MAX_DRAWN // 2, warmup=0, rows_per_file=40_000))
    views = {trace["meta"]["view"]: trace for trace in page.figures["scene"]["data"]}
    assert set(views) == {"loss", "probability", "outcome", "run", "all"}
    drawn = base64.b64decode(views["run"]["x"]["bdata"])
    assert len(drawn) == 4 * MAX_DRAWN
    xyz = np.stack(
        [np.frombuffer(base64.b64decode(views["loss"][axis]["bdata"]), np.float32) for axis in "xyz"], 1
    )
    half = xyz / 0.4
    assert np.allclose(half, np.round(half), atol=1e-3)
    assert np.all(np.ptp(np.round(half).astype(int) % 2, axis=1) == 0)
