"""A browser, and what a page of it says that it should not."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

ARGUMENTS = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")
"""Without a graphics processor WebGL is done in software."""
NAMES = ("chromium", "chromium-browser", "google-chrome")
WAIT_MS = 30_000


@contextmanager
def launched() -> Iterator[Any]:
    """The system's Chromium.  Skips where there is none, and fails where it says that there must be (CI)"""
    import os

    from playwright.sync_api import sync_playwright

    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        if os.environ.get("CI"):
            pytest.fail(f"no browser: none of {', '.join(NAMES)} is installed")
        pytest.skip(f"no browser: install one of {', '.join(NAMES)}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """A page that is open, with its complaints and the addresses that it asked for."""

    def __init__(self, browser: Any, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1280, "height": 800}} | options))
        self.context.set_default_timeout(WAIT_MS)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.on("websocket", lambda socket: self.asked.append(socket.url))

    def _console(self, message: Any) -> None:
        """Chromium itself says each time that a server cannot be reached; the page shows that it is away."""
        away = "ERR_CONNECTION_REFUSED" in message.text
        if message.type in ("error", "warning") and not away:
            self.complaints.append(message.text)

    def open(self, url: str, *, cells: bool = True) -> Watched:
        """Open an address; with ``cells``, wait until there are some."""
        self.page.goto(url)
        if cells:
            self.wait("octastream.scene.frame !== null && octastream.scene.pictures > 1")
        return self

    def wait(self, expression: str) -> None:
        """Until something is true in the page."""
        self.page.wait_for_function(f"() => {expression}")

    def js(self, expression: str) -> Any:
        """What an expression is in the page."""
        return self.page.evaluate(f"() => {expression}")

    def close(self) -> None:
        """End."""
        self.context.close()
