"""The live page: its states, for half a minute, by keys, in both themes, on small screens."""

from __future__ import annotations

from typing import Any

import pytest

from stream.records import Prediction
from tests.web.browsers import Watched
from tests.web.conftest import Open
from tests.web.page_questions import a_cell, contrast, pinch, table_of, text, unnamed
from tests.web.played import Played
from tests.web.show import Show

pytestmark = pytest.mark.browser

MIB = 1 << 20


def last_stamp_ns(played: Played, robot: str) -> int:
    return max(item.stamp_ns for item in played.of(Prediction) if item.robot_id == robot)


# ---- states --------------------------------------------------------------------------------------------


def test_the_page_comes_back_after_the_server_was_started_again(long: Played, browser: Any) -> None:
    page = Watched(browser)
    with Show(long, lead=40) as show:
        page.open(show.url)
        port = show.port
    page.page.wait_for_selector("#cover >> text=Disconnected")
    assert page.page.get_attribute("#state", "data-state") == "disconnected"
    with Show(long, lead=10, port=port) as again:
        stamp = table_of(again).stamp_ns
        page.wait(f"octastream.scene.frame.stampNs === {stamp}n")
        assert text(page, "#cover") == ""
        again.go_on()
        page.page.wait_for_selector("#state[data-state=live]")
        assert page.complaints == []
    page.close()


def test_nothing_to_show_yet(city: Played, open_page: Open) -> None:
    with Show(city, lead=0) as show:
        show.world.begin_again()
        page = open_page(show.url, cells=False)
        page.page.wait_for_selector("#cover >> text=No forecast yet")
        for tab in ("cell", "scores", "models", "events", "labels"):
            page.page.click(f"#tab-{tab}")
            assert text(page, f"#panel-{tab} .empty")
        show.go_on()
        page.wait("octastream.scene.frame !== null")
        page.page.wait_for_selector("#cover:empty", state="attached")


def test_half_a_minute_at_ten_hertz_without_growing(long: Played, open_page: Open) -> None:
    with Show(long, lead=60, times=5) as show:
        page = open_page(show.url)
        x, y, _ = a_cell(page)
        page.page.mouse.click(x, y)
        devtools = page.context.new_cdp_session(page.page)
        show.go_on()

        def used() -> tuple[float, int]:
            devtools.send("HeapProfiler.collectGarbage")
            nodes = devtools.send("Memory.getDOMCounters")["nodes"]
            return devtools.send("Runtime.getHeapUsage")["usedSize"] / MIB, nodes

        page.page.wait_for_timeout(5000)
        heap, nodes = used()
        frames = page.js("octastream.link.frames")
        page.page.wait_for_timeout(25_000)
        heap_after, nodes_after = used()
        assert page.js("octastream.link.frames") - frames > 100
        assert heap_after - heap < 3
        assert nodes_after - nodes < 500
        assert show.service.live.viewers == 1


# ---- keys, themes, screens -----------------------------------------------------------------------------


def test_everything_can_be_reached_with_keys(city: Played, open_page: Open) -> None:
    with Show(city, lead=4) as show:
        page = open_page(show.url)
        show.go_on()
        page.wait(f"octastream.scene.frame.stampNs === {last_stamp_ns(city, 'ant')}n")
        page.wait("!document.getElementById('slider').disabled")
        reached = []
        for _ in range(40):
            page.page.keyboard.press("Tab")
            reached.append(page.js("document.activeElement.id || document.activeElement.name || ''"))
        wanted = ["robot", "theme", "map", "mode", "horizon", "level", "fit", "above", "follow", "nearer",
                  "farther", "tab-cell", "panel-cell", "play", "back", "on", "slider", "live"]  # fmt: skip
        assert [name for name in wanted if name not in reached] == []
        assert unnamed(page) == []
        page.page.focus("#map")
        yaw = page.js("octastream.scene.camera.yaw")
        page.page.keyboard.press("ArrowRight")
        assert page.js("octastream.scene.camera.yaw") != yaw
        far = page.js("octastream.scene.camera.distance")
        page.page.keyboard.press("+")
        assert page.js("octastream.scene.camera.distance") < far
        page.page.keyboard.press("t")
        page.wait("octastream.scene.camera.pitch > 1.5")
        page.page.keyboard.press("f")
        page.wait("octastream.scene.camera.flight === null && octastream.scene.camera.pitch < 1")
        for _ in range(40):
            if page.js("octastream.scene.pick(0, 0, 0)") >= 0:
                break
            page.page.keyboard.press("Shift+ArrowUp")
        page.page.keyboard.press("Enter")
        page.wait("octastream.scene.marked.picked !== null")
        page.page.focus("#tab-cell")
        page.page.keyboard.press("ArrowRight")
        assert page.js("document.activeElement.id") == "tab-scores"
        assert page.page.is_visible("#panel-scores")


def test_light_and_dark(city: Played, open_page: Open) -> None:
    with Show(city) as show:
        page = open_page(show.url, color_scheme="dark")

        def now() -> tuple[str, str, float]:
            theme, back = page.js("document.documentElement.dataset.theme"), page.js(
                "getComputedStyle(document.body).backgroundColor")  # fmt: skip
            return theme, back, page.js("octastream.scene.light().back[0]")

        dark = now()
        assert dark[0] == "dark"
        page.page.emulate_media(color_scheme="light")
        page.wait("document.documentElement.dataset.theme === 'light'")
        light = now()
        assert light[0] == "light"
        assert light[1] != dark[1]
        assert light[2] > 0.8 > 0.2 > dark[2]
        page.page.click("#theme")
        page.page.click("#theme")
        assert now()[0] == "dark"
        page.open(show.url)
        assert now()[0] == "dark"
        assert contrast(page, "#panel-cell .empty") > 4.5


def test_screens_that_are_touched(city: Played, open_page: Open) -> None:
    with Show(city) as show:
        page = open_page(show.url, viewport={"width": 820, "height": 1180}, has_touch=True)
        for width, height in ((1180, 820), (390, 844), (820, 1180)):
            page.page.set_viewport_size({"width": width, "height": height})
            page.wait(f"document.documentElement.clientWidth === {width}")
            assert page.js("document.documentElement.scrollWidth") <= width
            assert page.js("document.documentElement.scrollHeight") <= height
            for selector in ("#map", "#tabs", "#slider", "#live", "#state", "#follow"):
                box = page.page.locator(selector).bounding_box()
                assert box is not None
                assert -1 < box["x"] <= width + 1 - box["width"], (selector, width)
                assert -1 < box["y"] <= height + 1 - box["height"], (selector, height)
        x, y, _ = a_cell(page)
        page.page.touchscreen.tap(x, y)
        page.page.wait_for_selector("#panel-cell .mono")
        distance = page.js("octastream.scene.camera.distance")
        pinch(page)
        assert page.js("octastream.scene.camera.distance") < 0.7 * distance
