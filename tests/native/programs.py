"""Builds programs of the C core for its proofs: C tests, sanitizers, coverage, fuzzing."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tests.data import ROOT

INCLUDE = ROOT / "native" / "include"
SOURCES = ROOT / "native" / "src"
C_TESTS = ROOT / "tests" / "native" / "c"

FLAGS = ("-std=gnu11", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
STRICT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}

PATHS = {"portable": "-DOCTA_NO_DISPATCH", "avx2": "-DOCTA_NO_CLONES"}
"""Instruction sets a proof runs on. The choice between clones of a function happens before a sanitizer has
started, so neither build has any; the second has the kernels for AVX2, where the machine has it."""

FAILING = "-DOCTA_TEST_ALLOC"
"""Allocations go through the C tests, which let each of them fail in turn."""


class BuildError(RuntimeError):
    """A compiler is missing or refused a program; holds what it said."""


def compiler() -> str:
    """``CC``, else gcc."""
    return os.environ.get("CC", "gcc")


def run(command: Sequence[str], folder: Path, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
    """Run a program with strict sanitizers; its output is in the result."""
    environment = os.environ | STRICT
    environment.pop("LD_PRELOAD", None)
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s
    )


def build(folder: Path, name: str, sources: Sequence[Path], flags: Sequence[str], cc: str = "") -> Path:
    """Compile C sources to ``folder/name``, beside which gcc leaves its notes for coverage.

    Raises BuildError
    """
    cc = cc or compiler()
    if shutil.which(cc) is None:
        raise BuildError(f"no compiler {cc!r}")
    includes = [f"-I{place}" for place in (INCLUDE, SOURCES, C_TESTS)]
    command = [cc, *FLAGS, *flags, *includes, *map(str, sources), "-lm", "-o", name]
    built = run(command, folder)
    if built.returncode:
        raise BuildError(f"{' '.join(command)}\n{built.stderr}")
    return folder / name


def core() -> list[Path]:
    """Sources of the C core."""
    return sorted(SOURCES.glob("*.c"))


def c_tests() -> list[Path]:
    """Sources of the C tests."""
    return sorted(C_TESTS.glob("*.c"))
