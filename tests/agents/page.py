"""A written page as tests read it."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from typing import Any


class Page(HTMLParser):
    """Ids, text outside of scripts, references to the outside, and the figures of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.figures: dict[str, Any] = {}
        self._script: str | None = None
        self.feed(text)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.tags.append(tag)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.references += [
            v or "" for k, v in attrs if k in ("src", "href") and not (v or "").startswith("#")
        ]
        if tag in ("script", "style"):
            self._script = values.get("id") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._script = None

    def handle_data(self, data: str) -> None:
        if self._script is None:
            self.words.append(data)
        elif self._script.startswith("data-"):
            self.figures[self._script.removeprefix("data-")] = json.loads(data)
