"""The pages on networks and training: their code runs, as one program a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.data import ROOT

pytestmark = pytest.mark.learn


@pytest.mark.parametrize("page", ["networks", "training"])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / f"docs/{page}.md").read_text(), re.DOTALL)
    assert blocks
    exec(compile("\n".join(blocks), f"docs/{page}.md", "exec"), {"__name__": page})
