"""The code of a page of the guide, as its readers would run it."""

from __future__ import annotations

import re
from typing import Any

from tests.data import ROOT


def run_page(page: str, names: dict[str, Any], without: str | None = None) -> dict[str, Any]:
    """Run every block of Python of a page, one after the other, but those marked ``no-run``.

    names : what the page takes for granted; without : leave out blocks that have these words
    Returns all names afterwards
    """
    blocks = re.findall(
        r"^```python\n(.*?)^```", (ROOT / "docs" / page).read_text(), re.DOTALL | re.MULTILINE
    )
    assert blocks, f"{page} has no code"
    for number, code in enumerate(blocks):
        if without is None or without not in code:
            exec(compile(code, f"{page}, block {number}", "exec"), names)
    return names
