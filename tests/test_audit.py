"""What ``make audit`` makes of pip-audit's answers, and of none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.audit import CLEAN, FOUND, NOT_RUN, PINNED, main

KNOWN = {"id": "PYSEC-2024-60", "fix_versions": ["3.7"], "aliases": [], "description": "slow"}
SOUND: dict[str, Any] = {"name": "attrs", "version": "26.1.0", "vulns": []}


def answering(tmp_path: Path, *dependencies: Any, code: int = 0) -> list[str]:
    """A program that answers as pip-audit does."""
    text = json.dumps({"dependencies": dependencies, "fixes": []})
    path = tmp_path / "answer.py"
    path.write_text(f"import sys\nprint({text!r})\nsys.exit({code})\n")
    return [sys.executable, str(path)]


@pytest.mark.parametrize(
    ("dependencies", "code", "said"),
    [
        ([SOUND], CLEAN, "no advisory is known"),
        ([SOUND, {"name": "idna", "version": "3.6", "vulns": [KNOWN]}], FOUND, "PYSEC-2024-60"),
        ([SOUND, {"name": "own", "skip_reason": "not on the index"}], CLEAN, "own: not audited: not on the"),
    ],
)
def test_advisories_are_listed_and_decide_the_exit_code(
    dependencies: list[Any], code: int, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(answering(tmp_path, *dependencies, code=code), PINNED) == code
    assert said in capsys.readouterr().out


def test_an_index_that_knows_no_advisories_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    unknown = {"name": "attrs", "skip_reason": "Dependency not found on PyPI"}
    assert main(answering(tmp_path, unknown), PINNED) == NOT_RUN
    assert (
        "not audited: advisories came for none of 1 packages: Dependency not found" in capsys.readouterr().out
    )


def test_where_nobody_answers_it_says_why_and_is_no_success(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "silent.py"
    path.write_text("import sys\nsys.exit('ERROR: no route to the index')\n")
    assert main([sys.executable, str(path)], PINNED) == NOT_RUN
    assert "not audited: ERROR: no route to the index" in capsys.readouterr().out
