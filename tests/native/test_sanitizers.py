"""The C tests under the address, leak and undefined-behaviour sanitizers, each allocation failing in turn.

One build of the core; ``make sanitize`` also runs the others.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.native.programs import CHECKED, SANITIZE, SOURCES, BuildError, build, c_tests, compiler, core, run


def require_sanitizers(folder: Path) -> None:
    """Without a compiler that has them: fail in CI, skip with the reason elsewhere."""
    (folder / "probe.c").write_text("int main(void) { return 0; }\n")
    try:
        build(folder, "probe", [folder / "probe.c"], SANITIZE)
    except BuildError as error:
        reason = f"{compiler()} has no sanitizers (set CC): {str(error)[-200:]}"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What the C tests said, and where in the core an allocation has failed: lines by file."""

    result: subprocess.CompletedProcess[str]
    failed: dict[str, set[int]]


@pytest.fixture(scope="module")
def c_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("c_tests")
    require_sanitizers(folder)
    program = build(folder, "tests", [*core(), *c_tests()], CHECKED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OCTA_FAILED_SITES", str(folder / "sites"))
        result = run([str(program)], folder)
    failed = defaultdict(set)
    for line in (folder / "sites").read_text().splitlines() if not result.returncode else ():
        file, number = line.rsplit(":", 1)
        failed[Path(file).name].add(int(number))
    return Run(result=result, failed=failed)


def test_the_reader_of_sites_sees_them() -> None:
    found = sites()
    assert len(found) > 40 and {"window_push.c", "celltable.c", "binner.c"} <= {file for file, *_ in found}
    assert not any("malloc(" in path.read_text() for path in SOURCES.glob("*.c"))


@pytest.mark.fault(27)
@pytest.mark.long
def test_c_tests_pass_under_the_sanitizers(c_run: Run) -> None:
    assert c_run.result.returncode == 0, c_run.result.stdout + c_run.result.stderr
    assert c_run.result.stdout == "all C tests passed\n"


@pytest.mark.fault(27)
@pytest.mark.long
def test_every_allocation_has_failed(c_run: Run) -> None:
    assert [site for site in sites() if not c_run.failed[site[0]] & set(range(site[1], site[2] + 1))] == []
