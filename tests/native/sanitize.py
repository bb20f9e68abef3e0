"""The C core under the address, leak, undefined-behaviour and memory sanitizers: ``make sanitize``.

First the C tests, on every instruction set, with and without allocations that fail, and where clang is under
its memory sanitizer; then the Python tests of ``native`` on a core that has the others built in. Arguments
are handed to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from native.build_ffi import ffibuilder
from tests.data import ROOT
from tests.native.programs import (
    FAILING,
    MEMORY,
    PATHS,
    SANITIZE,
    BuildError,
    build,
    c_tests,
    compiler,
    core,
    run,
)

PYTHON_FLAGS = (
    "-O1", "-shared", "-fPIC", "-DPy_LIMITED_API", "-Wno-unused-parameter", "-Wno-missing-field-initializers",
)  # fmt: skip
OWN_PROGRAMS = ("test_sanitizers.py", "test_dispatch.py")
"""Tests that build the core themselves: nothing of the sanitized one runs in them."""


def run_c_tests(folder: Path) -> None:
    """Build and run every variant; raises BuildError."""
    for path, define in PATHS.items():
        for name, more in ((path, []), (f"{path}, failing allocations", [FAILING])):
            program = build(folder, "tests", [*core(), *c_tests()], ["-O1", *SANITIZE, define, *more])
            result = run([str(program)], folder)
            if result.returncode:
                raise BuildError(f"C tests ({name}):\n{result.stdout}{result.stderr}")
            print(f"C tests ({name}): passed", flush=True)


def run_c_tests_for_memory(folder: Path, cc: str = "clang") -> None:
    """The same under the memory sanitizer, or a word that it is not here; raises BuildError."""
    if shutil.which(cc) is None:
        print(f"C tests (memory sanitizer): not run, no {cc}", flush=True)
        return
    for path, define in PATHS.items():
        program = build(folder, "tests", [*core(), *c_tests()], ["-O1", *MEMORY, define, FAILING], cc)
        result = run([str(program)], folder)
        if result.returncode:
            raise BuildError(f"C tests (memory sanitizer, {path}):\n{result.stdout}{result.stderr}")
        print(f"C tests (memory sanitizer, {path}): passed", flush=True)


def build_package(folder: Path) -> None:
    """A package ``native`` whose core has the sanitizers built in; raises BuildError."""
    package = folder / "native"
    package.mkdir()
    for path in (ROOT / "native").iterdir():
        if path.suffix in {".py", ".txt"} or path.is_dir():
            (package / path.name).symlink_to(path)
    source = folder / "_octa.c"
    ffibuilder.emit_c_code(str(source))
    flags = [*PYTHON_FLAGS, *SANITIZE, PATHS["avx2"], f"-I{sysconfig.get_paths()['include']}"]
    build(package, "_octa.abi3.so", [source, *core()], flags)


def run_python_tests(folder: Path, arguments: list[str]) -> int:
    """pytest on the sanitized package; returns its exit status."""
    libraries = [
        subprocess.run(
            [compiler(), f"-print-file-name={name}"], check=True, capture_output=True, text=True
        ).stdout.strip()
        for name in ("libasan.so", "libubsan.so")
    ]
    environment = os.environ | {
        "LD_PRELOAD": " ".join(libraries),
        "ASAN_OPTIONS": "detect_leaks=0",  # Python itself leaves much behind
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        "PYTHONSAFEPATH": "1",
    }
    skipped = [f"--ignore=tests/native/{name}" for name in OWN_PROGRAMS]
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "--import-mode=importlib", *skipped, *arguments]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


def main() -> int:
    """All of it; what fails first ends it."""
    if shutil.which(compiler()) is None:
        print(f"no compiler {compiler()!r} (set CC)", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory() as name:
        try:
            run_c_tests(Path(name))
            run_c_tests_for_memory(Path(name))
            build_package(Path(name))
        except BuildError as error:
            print(error, file=sys.stderr)
            return 1
        return run_python_tests(Path(name), sys.argv[1:] or ["tests/native"])


if __name__ == "__main__":
    sys.exit(main())
