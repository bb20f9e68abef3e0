"""The live page in a browser."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agents.web.cells import CellTable
from native.index64 import to_text
from stream.features import schema_of
from stream.records import Event, ModelPublished, Prediction
from tests.web.conftest import Open
from tests.web.page_questions import a_cell, picked_before, share_painted, table_of, text
from tests.web.played import Played
from tests.web.show import Show

pytestmark = pytest.mark.browser

VALUES = """async (mode) => {
  const { valuesOf } = await import("/page/colour.js");
  return Array.from(valuesOf(octastream.scene.frame, mode, octastream.scene.horizon));
}"""


# ---- cells ---------------------------------------------------------------------------------------------


def test_cells_of_real_sweeps_are_drawn_and_nothing_is_asked_elsewhere(
    kitti: Played, open_page: Open
) -> None:
    with Show(kitti) as show:
        page = open_page(show.url)
        table = table_of(show)
        assert page.js("octastream.scene.frame.cells") == len(table) > 10_000
        assert [int(name) for name in page.js("Array.from(octastream.scene.frame.id, String)")] == (
            table.cell_id.tolist()
        )
        centre = np.array(page.js("Array.from(octastream.scene.frame.centre)"), np.float32).reshape(-1, 3)
        assert centre.tobytes() == table.centre.tobytes()
        half = np.array(page.js("Array.from(octastream.scene.frame.half)"))
        assert np.unique(half).tolist() == pytest.approx([0.4])
        assert share_painted(page) > 0.2
        assert f"{len(table):,}".replace(",", "\u2009") in text(page, "#count")
        page.page.wait_for_timeout(1500)
        assert all(url.split("://")[1].startswith(f"127.0.0.1:{show.port}/") for url in page.asked)
        assert f"ws://127.0.0.1:{show.port}/live" in page.asked


def test_colours_follow_the_values(city: Played, open_page: Open) -> None:
    with Show(city) as show:
        page = open_page(show.url)
        modes = page.page.locator("#modes input").evaluate_all("inputs => inputs.map(input => input.value)")
        assert modes == ["occupancy", "forecast", "uncertainty", "outcome", "error", "age", "level"]
        for mode in modes:
            page.page.check(f"#modes input[value={mode}]", force=True)
            page.wait(f"octastream.scene.mode === '{mode}'")
            values = np.array(page.page.evaluate(VALUES, mode))
            expected = expected_values(table_of(show), mode)
            assert ((values < 0) == np.isnan(expected)).all(), mode
            known = ~np.isnan(expected)
            assert np.abs(values[known] - expected[known]).max() <= 1.6, mode
            colours = np.array(page.js("Array.from(octastream.scene.shown.colour)"))
            assert len(np.unique(colours[known])) == len(np.unique(values[known])) or mode != "outcome"
            assert text(page, "#legend").strip(), mode


def expected_values(table: CellTable, mode: str) -> np.ndarray[Any, Any]:
    """0..255, NaN where unknown, made of the table."""
    p, outcome = table.probability[:, 1].astype(float), table.outcome[:, 1].astype(float)
    outcome[outcome < 0] = np.nan
    seen = table.hits + table.passes
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = -(p * np.log2(p) + (1 - p) * np.log2(1 - p))
        found = {
            "occupancy": np.where(seen > 0, 255 * table.hits / seen, np.nan),
            "forecast": 255 * p,
            "uncertainty": 255 * entropy,
            "outcome": 255 * outcome,
            "error": 255 * (outcome - table.forecast[:, 1] + 1) / 2,
            "age": np.where(table.age_ns < 0, np.nan, np.minimum(255, table.age_ns / 2e9 * 255)),
            "level": np.zeros(len(table)),
        }
    return np.asarray(found[mode])


def test_levels(city: Played, open_page: Open) -> None:
    with Show(city) as show:
        page = open_page(show.url)
        fine = page.js("octastream.scene.frame.cells")
        page.page.select_option("#level", "6")
        page.wait("octastream.scene.frame.level === 6")
        assert page.js("octastream.scene.frame.cells") < fine
        assert page.js("octastream.scene.frame.half[0]") == pytest.approx(0.8)
        page.page.select_option("#level", "mixed")
        page.wait("octastream.scene.frame.level === 'mixed'")
        assert page.js("new Set(octastream.scene.frame.levels).size") > 1


# ---- a cell --------------------------------------------------------------------------------------------


def test_a_click_shows_the_history_of_a_cell(kitti: Played, open_page: Open) -> None:
    with Show(kitti) as show:
        page = open_page(show.url)
        x, y, cell = a_cell(page)
        page.page.mouse.click(x, y)
        page.page.wait_for_selector(f"#panel-cell >> text={to_text(cell)}")
        shown = text(page, "#panel-cell")
        table = table_of(show)
        row = int(np.searchsorted(table.cell_id, np.uint64(cell)))
        assert f"{round(100 * float(table.probability[row, 1]))} %" in shown
        assert "frequency" in shown
        made = [item for item in kitti.of(Prediction) if cell in item.cell_id and item.stamp_ns > 0][-12:]
        assert page.page.locator("#panel-cell table >> nth=1 >> tbody tr").count() == min(len(made), 12)
        page.page.click("#panel-cell summary")
        assert "hit_share" in text(page, "#panel-cell details")
        page.page.fill("#panel-cell input[type=search]", "passes")
        names = page.page.locator("#panel-cell details tbody tr:not([hidden]) th").all_inner_texts()
        schema = schema_of(show.world.config).names
        assert names == [name for name in schema if "passes" in name]
        assert 1 < len(names) < len(schema)
        page.page.keyboard.press("Escape")


def test_what_lies_before_hides_what_lies_behind(city: Played, open_page: Open) -> None:
    with Show(city) as show:
        page = open_page(show.url)
        page.page.check("#modes input[value=level]", force=True)
        seen, hit = picked_before(page)
        assert seen > 100
        assert hit == seen


# ---- time ----------------------------------------------------------------------------------------------


def test_the_slider_goes_back_in_time_and_live_comes_back(long: Played, open_page: Open) -> None:
    with Show(long, lead=10) as show:
        page = open_page(show.url)
        show.go_on()
        page.wait("octastream.timeline.range?.[1] - octastream.timeline.range?.[0] > 3000000000n")
        page.page.focus("#slider")
        page.page.keyboard.press("Home")
        page.wait(
            "octastream.scene.frame.past && octastream.scene.frame.stampNs === octastream.timeline.range[0]"
        )
        assert page.page.get_attribute("#live", "aria-pressed") == "false"
        assert "\u2212" in text(page, "#clock")
        first = int(page.js("String(octastream.scene.frame.stampNs)"))
        cells = page.js("octastream.scene.frame.cells")
        page.page.click("#on")
        tape = show.service.live.studio.tape.frames("ant")
        assert tape[0].stamp_ns == first
        page.wait(f"octastream.scene.frame.stampNs === {tape[1].stamp_ns}n")
        page.page.select_option("#level", "5")
        page.wait("octastream.scene.frame.level === 5")
        assert page.js("octastream.scene.frame.past && octastream.scene.frame.cells") < cells
        page.page.click("#play")
        page.wait(f"octastream.scene.frame.stampNs > {first + 1_000_000_000}n")
        page.page.click("#live")
        page.wait("!octastream.scene.frame.past")
        page.wait("octastream.timeline.range[1] - octastream.scene.frame.stampNs < 500000000n")
        assert page.page.get_attribute("#live", "aria-pressed") == "true"


# ---- news ----------------------------------------------------------------------------------------------


def test_a_promotion_and_an_alarm_appear_and_the_camera_flies_there(long: Played, open_page: Open) -> None:
    with Show(long, lead=40) as show:
        page = open_page(show.url)
        page.page.wait_for_timeout(1500)
        table = table_of(show)
        far = int(np.argmax(np.linalg.norm(table.centre - table.centre.mean(axis=0), axis=1)))
        region = int(table.cell_id[far])
        show.fold([
            ModelPublished(model_id="bcc-new", sha256="ab" * 32, kind="promotion", parent_id="frequency",
                           stamp_ns=table.stamp_ns),
            Event(kind="promoted", stamp_ns=table.stamp_ns, fields={"model_id": "bcc-new"}),
            Event(kind="drift", stamp_ns=table.stamp_ns, fields={"region": str(region), "loss": 0.9}),
            Event(kind="triggered", stamp_ns=table.stamp_ns, fields={"when": "amount", "trigger": "planned"}),
            Event(kind="triggered", stamp_ns=table.stamp_ns, fields={"when": "drift", "trigger": "alarmed"}),
        ])  # fmt: skip
        page.page.wait_for_selector("#toasts >> text=A model was promoted")
        page.page.wait_for_selector("#toasts >> text=Drift")
        assert text(page, "#tab-events .badge") == "1"
        page.page.click("#toasts >> text=Show")
        centre = table.centre[far].tolist()
        page.wait("octastream.scene.camera.flight === null && !octastream.scene.follow")
        assert page.js("octastream.scene.camera.target") == pytest.approx(centre, abs=1e-3)
        page.page.click("#tab-events")
        assert "loss 0.9" in text(page, "#panel-events")
        assert "alarmed" in (important := text(page, "#panel-events")) and "planned" not in important
        page.page.check("#panel-events input[value=all]")
        assert "planned" in text(page, "#panel-events")
        assert page.page.locator("#tab-events .badge").count() == 0
        page.page.click("#tab-models")
        page.page.wait_for_selector("#panel-models .promoted >> text=bcc-new")
        assert "promoted" in text(page, "#panel-models")


def test_scores_stand_beside_the_baselines(long: Played, open_page: Open) -> None:
    with Show(long) as show:
        page = open_page(show.url)
        page.page.click("#tab-scores")
        page.page.wait_for_selector("#panel-scores table")
        shown = text(page, "#panel-scores")
        scores = show.world.scoreboard.summary()["scores"]
        for name, said in (("online", "served"), ("persistence", "persistence"), ("linear", "linear")):
            assert said in shown
            assert f"{scores[name]['log_loss']:.4f}" in shown
        assert page.page.locator("#panel-scores path.curve").count() >= 8
        assert page.page.locator("#panel-scores circle").count() == 15
        page.page.click("#panel-scores button.fly >> nth=0")
        page.wait("octastream.scene.camera.flight !== null || !octastream.scene.follow")


def test_latency_and_lag_are_shown(city: Played, open_page: Open) -> None:
    with Show(city) as show:
        show.fold(city.records[-1:])
        page = open_page(show.url)
        page.page.click("#tab-system")
        page.page.wait_for_selector("#panel-system >> text=inference")
        assert "p99" in text(page, "#panel-system")
