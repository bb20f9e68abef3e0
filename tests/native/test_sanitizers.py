"""The C tests under the address, leak and undefined-behaviour sanitizers, also with allocations that fail."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.data import ROOT

SOURCES = ROOT / "native" / "src"
C_TESTS = ROOT / "tests" / "native" / "c"
SANITIZE = ["-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all"]
FLAGS = ["-std=gnu11", "-O1", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-Wall", "-Wextra"]
STRICT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}


def compiler() -> str:
    return os.environ.get("CC", "gcc")


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | STRICT
    environment.pop("LD_PRELOAD", None)
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


def require_sanitizers(folder: Path) -> None:
    """Without a compiler that has them: fail in CI, skip with the reason elsewhere."""
    reason = f"no compiler {compiler()!r} (set CC)"
    if shutil.which(compiler()):
        (folder / "probe.c").write_text("int main(void) { return 0; }\n")
        built = run([compiler(), *SANITIZE, "probe.c", "-o", "probe"], folder)
        if built.returncode == 0:
            return
        reason = f"{compiler()} has no sanitizers: {built.stderr.strip()[-200:]}"
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.mark.parametrize("defines", [[], ["-DOCTA_TEST_ALLOC"]], ids=["plain", "failing_allocations"])
def test_c_tests_pass_under_the_sanitizers(tmp_path: Path, defines: list[str]) -> None:
    require_sanitizers(tmp_path)
    files = [str(path) for folder in (SOURCES, C_TESTS) for path in sorted(folder.glob("*.c"))]
    includes = [f"-I{ROOT / 'native' / 'include'}", f"-I{SOURCES}", f"-I{C_TESTS}"]
    command = [
        compiler(),
        *FLAGS,
        *SANITIZE,
        "-DOCTA_NO_DISPATCH",
        *defines,
        *includes,
        *files,
        "-lm",
        "-o",
        "tests",
    ]
    built = run(command, tmp_path)
    assert built.returncode == 0, built.stderr
    result = run(["./tests"], tmp_path)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout == "all C tests passed\n"
