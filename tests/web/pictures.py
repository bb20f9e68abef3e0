"""Pictures for the documentation: python -m tests.web.pictures docs/pictures"""

from __future__ import annotations

import io
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from stream.records import Event, ModelPublished
from tests.data import data_dir
from tests.web.browsers import Watched, launched
from tests.web.page_questions import a_cell
from tests.web.played import play
from tests.web.show import Show

SIZE = {"width": 1280, "height": 760}
MOST_BYTES = 200_000
LOG = "kitti_0005_000-053.mcap"


def main(folder: Path) -> None:
    """Take every picture."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, launched() as browser:
        played = play([(str(data_dir() / LOG), "kitti")], Path(scratch) / "run", ["learn.enabled=true"])
        with Show(played, lead=30) as show:
            _views(Watched(browser, viewport=SIZE, color_scheme="dark").open(show.url), folder, show)
            light = Watched(browser, viewport=SIZE).open(show.url)
            _news(light, folder, show)
            tablet = Watched(browser, viewport={"width": 820, "height": 1180}, has_touch=True).open(show.url)
            _save(tablet, folder, "live-tablet")


def _views(page: Watched, folder: Path, show: Show) -> None:
    show.go_on()
    page.page.click("#tab-scores")
    page.page.wait_for_timeout(4000)
    _save(page, folder, "live-scores")
    page.page.check("#modes input[value=error]", force=True)
    page.page.click("#tab-system")
    page.page.wait_for_timeout(2500)
    _save(page, folder, "live-error")
    page.page.check("#modes input[value=forecast]", force=True)
    x, y, _ = a_cell(page)
    page.page.mouse.click(x, y)
    page.page.mouse.move(5, 5)
    page.page.wait_for_timeout(2500)
    _save(page, folder, "live-cell")
    page.page.keyboard.press("Escape")
    page.page.check("#modes input[value=outcome]", force=True)
    page.page.focus("#slider")
    page.page.keyboard.press("Home")
    page.page.wait_for_timeout(2000)
    _save(page, folder, "live-past")


def _news(page: Watched, folder: Path, show: Show) -> None:
    page.page.click("#tab-models")
    page.page.wait_for_timeout(3500)
    _save(page, folder, "live-forecast")
    worst = show.world.scoreboard.worst(1, 200)[0]
    stamp_ns = show.world.views()[0].prediction.stamp_ns
    serving = next(iter(show.world.news.serving().values()))
    fields: dict[str, Any] = {
        "detector": "adwin", "stream_id": "kitti/lidar", "region": str(worst.region), "loss": worst.log_loss,
        "before": worst.log_loss / 1.6, "sweeps": 18, "cells": worst.n,
    }  # fmt: skip
    show.fold([
        ModelPublished(
            model_id=serving, sha256="0", kind="promotion", parent_id="frequency", stamp_ns=stamp_ns
        ),
        Event(kind="promoted", stamp_ns=stamp_ns, fields={"model_id": serving}),
        Event(kind="drift", stamp_ns=stamp_ns, robot_id="kitti", fields=fields),
    ])  # fmt: skip
    page.page.click("#tab-events")
    page.page.wait_for_selector("#panel-events button.fly")
    page.page.click("#panel-events button.fly")
    page.page.wait_for_timeout(3000)
    _save(page, folder, "live-alarm")
    page.page.keyboard.press("f")
    page.page.click("#tab-labels")
    page.page.click("text=Most wrong")
    page.page.fill("#label", "car")
    page.page.wait_for_timeout(2500)
    _save(page, folder, "live-label")


def _save(page: Watched, folder: Path, name: str) -> None:
    """A JPEG below MOST_BYTES."""
    image = Image.open(io.BytesIO(page.page.screenshot())).convert("RGB")
    for quality in np.arange(88, 40, -6):
        data = io.BytesIO()
        image.save(data, "JPEG", quality=int(quality), optimize=True)
        if data.tell() < MOST_BYTES:
            break
    (folder / f"{name}.jpg").write_bytes(data.getvalue())
    print(f"{name}: {data.tell():,} bytes, quality {quality}", page.complaints)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
