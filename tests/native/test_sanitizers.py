"""The C tests under the address, leak and undefined-behaviour sanitizers, also with allocations that fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.native.programs import (
    FAILING,
    PATHS,
    SANITIZE,
    BuildError,
    build,
    c_tests,
    compiler,
    core,
    run,
)


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


@pytest.mark.parametrize("defines", [[], [FAILING]], ids=["plain", "failing_allocations"])
@pytest.mark.parametrize("path", PATHS)
def test_c_tests_pass_under_the_sanitizers(tmp_path: Path, path: str, defines: list[str]) -> None:
    require_sanitizers(tmp_path)
    program = build(tmp_path, "tests", [*core(), *c_tests()], ["-O1", *SANITIZE, PATHS[path], *defines])
    result = run([str(program)], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == "all C tests passed\n"
