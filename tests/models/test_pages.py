"""The pages on networks and training: their code runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.guide import run_page

pytestmark = pytest.mark.learn


@pytest.mark.parametrize("page", ["networks.md", "training.md", "objects.md"])
def test_the_code_of_a_page_runs(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    names = run_page(page, {"__name__": "page"})  # no program, so nothing is launched
    if page == "training.md":
        from models.training.ranks import ALONE

        names["work"](ALONE, "cpu", tmp_path / "alone")
        assert (tmp_path / "alone" / "best_model.pt").exists()
