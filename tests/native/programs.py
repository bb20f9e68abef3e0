"""Builds programs of the C core for its proofs: C tests, sanitizers, coverage, fuzzing."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path

from tests.data import ROOT

INCLUDE = ROOT / "native" / "include"
SOURCES = ROOT / "native" / "src"
C_TESTS = ROOT / "tests" / "native" / "c"
INCLUDES = (INCLUDE, SOURCES, C_TESTS, ROOT / "tests" / "fuzz")
OBJECTS = ROOT / "build" / "objects"
"""What was compiled, by a checksum of all that decides it: proofs of the same flags share it."""

FLAGS = ("-std=gnu11", "-g", "-fno-omit-frame-pointer", "-ffp-contract=off", "-Wall", "-Wextra", "-Werror")
SANITIZE = ("-fsanitize=address,undefined,float-cast-overflow", "-fno-sanitize-recover=all")
MEMORY = ("-fsanitize=memory", "-fsanitize-memory-track-origins", "-fno-sanitize-recover=all")
"""Reads of memory that nothing was written to; clang alone has it."""
STRICT = {
    "ASAN_OPTIONS": "detect_leaks=1:detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "print_stacktrace=1",
}

PATHS = {"portable": "-DOCTA_NO_DISPATCH", "avx2": "-DOCTA_NO_CLONES"}
"""Instruction sets a proof runs on. The choice between clones of a function happens before a sanitizer has
started, so neither build has any; the second has the kernels for AVX2, where the machine has it."""

FAILING = "-DOCTA_TEST_ALLOC"
"""Allocations go through the C tests, which let each of them fail in turn."""

CHECKED = ("-O1", "-fPIC", *SANITIZE, PATHS["avx2"], FAILING)
"""What ``make test`` builds, so that its tests share one build."""


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
    """Compile and link sources, objects and libraries to ``folder/name``; raises BuildError."""
    cc = require(cc or compiler())
    compiling = [flag for flag in flags if flag != "-shared"]  # clang refuses it there
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = pool.map(partial(object_of, cc=cc, flags=compiling), sources)
        call([cc, *FLAGS, *flags, *map(str, objects), "-lm", "-o", str(folder / name)])
    return folder / name


def object_of(source: Path, cc: str, flags: Sequence[str]) -> Path:
    """What a C file compiles to, made unless it is there; other files as they are.  Raises BuildError"""
    if source.suffix != ".c":
        return source
    command = [cc, *FLAGS, *flags, *(f"-I{place}" for place in INCLUDES)]
    decides = hashlib.sha256("\0".join([*command, version(cc), headers()]).encode())
    decides.update(source.read_bytes())
    kept = OBJECTS / f"{source.stem}-{decides.hexdigest()[:32]}.o"
    OBJECTS.mkdir(parents=True, exist_ok=True)
    with kept.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another test may be making the same
        if not kept.exists():
            made = kept.with_suffix(".new")
            call([*command, "-c", str(source), "-o", str(made)])
            made.replace(kept)
    return kept


def require(cc: str) -> str:
    """A compiler that is there; raises BuildError."""
    if shutil.which(cc) is None:
        raise BuildError(f"no compiler {cc!r}")
    return cc


def call(command: Sequence[str], folder: Path = ROOT) -> None:
    """Run a compiler; raises BuildError with what it says."""
    result = run(command, folder)
    if result.returncode:
        raise BuildError(f"{' '.join(command)}\n{result.stderr}")


@cache
def version(cc: str) -> str:
    """What the compiler says it is."""
    return run([cc, "--version"], ROOT).stdout


@cache
def headers() -> str:
    """A checksum of all headers."""
    found = hashlib.sha256()
    for place in INCLUDES:
        for path in sorted(place.glob("*.h")):
            found.update(path.read_bytes())
    return found.hexdigest()


def core() -> list[Path]:
    """Sources of the C core."""
    return sorted(SOURCES.glob("*.c"))


def c_tests() -> list[Path]:
    """Sources of the C tests."""
    return sorted(C_TESTS.glob("*.c"))
