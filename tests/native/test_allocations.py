"""Every place in the core that allocates has failed in a test, with the core holding what it held."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

import pytest

from tests.native.programs import FAILING, PATHS, SOURCES, build, c_tests, core, run


def sites() -> list[tuple[str, int, int]]:
    """File, and first and last line of every statement that allocates."""
    found = []
    for path in sorted(SOURCES.glob("*.c")):
        lines = path.read_text().splitlines()
        for number, line in enumerate(lines, 1):
            if re.search(r"\bOCTA_(MALLOC|REALLOC)\(", line):
                last = next(at for at in range(number, len(lines) + 1) if ";" in lines[at - 1])
                found.append((path.name, number, last))
    return found


def test_the_reader_of_sites_sees_them() -> None:
    found = sites()
    assert len(found) > 40 and {"window_push.c", "celltable.c", "binner.c"} <= {file for file, *_ in found}
    assert not any("malloc(" in path.read_text() for path in SOURCES.glob("*.c"))


def test_every_allocation_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = build(tmp_path, "tests", [*core(), *c_tests()], ["-O1", PATHS["portable"], FAILING])
    monkeypatch.setenv("OCTA_FAILED_SITES", str(tmp_path / "sites"))
    result = run([str(program)], tmp_path)
    assert result.returncode == 0, result.stderr
    failed = defaultdict(set)
    for line in (tmp_path / "sites").read_text().splitlines():
        file, number = line.rsplit(":", 1)
        failed[Path(file).name].add(int(number))
    missing = [site for site in sites() if not failed[site[0]] & set(range(site[1], site[2] + 1))]
    assert missing == []
