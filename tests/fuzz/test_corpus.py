"""The inputs that fuzzing keeps still pass, by any compiler; and fuzzing leaves no entry point out."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.data import ROOT
from tests.fuzz.targets import HERE, build_replay, targets, unpack
from tests.native.programs import C_TESTS, CHECKED, SANITIZE, BuildError, build, core, run
from tests.native.test_cdef import functions
from tests.native.test_sanitizers import require_sanitizers

MOST_INPUTS, MOST_BYTES = 1000, 1024
"""A target keeps few and small inputs: they are run again and again."""

NOTHING_FOREIGN = {"octa_describe_error", "octa_rays_free"}
"""Functions that take no bytes, coordinates, times or options from outside."""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The core with the sanitizers, and the allocator that could fail."""
    folder = tmp_path_factory.mktemp("core")
    require_sanitizers(folder)
    return build(folder, "libocta.so", [*core(), C_TESTS / "failing.c"], ["-shared", *CHECKED])


@pytest.mark.long
@pytest.mark.parametrize("target", targets())
def test_kept_inputs_pass(library: Path, tmp_path: Path, target: str) -> None:
    program = build_replay(target, tmp_path, library)
    files = unpack(target, tmp_path / "kept")
    result = run([str(program), *map(str, files)], tmp_path)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"{len(files)} inputs\n"


@pytest.mark.parametrize("target", targets())
def test_few_and_small_inputs_are_kept(tmp_path: Path, target: str) -> None:
    files = unpack(target, tmp_path)
    assert 3 <= len(files) <= MOST_INPUTS
    assert max(path.stat().st_size for path in files) <= MOST_BYTES


@pytest.mark.long
def test_a_broken_rule_ends_a_run(library: Path, tmp_path: Path) -> None:
    """The checks of a target are alive: a target that requires what is false fails."""
    (tmp_path / "false.c").write_text(
        f'#include "{HERE}/bytes.h"\n'
        "int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {\n"
        "    (void)data;\n    REQUIRE(size == 0);\n    return 0;\n}\n"
    )
    (tmp_path / "input").write_bytes(b"x")
    program = build(tmp_path, "false", [library, HERE / "replay.c", tmp_path / "false.c"], [*SANITIZE])
    result = run([str(program), "input"], tmp_path)
    assert result.returncode != 0 and "failed: size == 0" in result.stderr


def test_every_entry_point_is_fuzzed() -> None:
    source = "\n".join(path.read_text() for path in [HERE / "bytes.h", *(HERE / "targets").glob("*.c")])
    missing = [name for name in functions() if not re.search(rf"\b{name}\b", source)]
    assert set(missing) == NOTHING_FOREIGN


def test_the_verb_names_its_targets() -> None:
    command = [sys.executable, "-m", "tests.fuzz", "no_such_target"]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2 and "no target no_such_target" in result.stderr


def test_a_missing_compiler_is_named(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="no compiler 'no-such-cc'"):
        build(tmp_path, "x", [], [], "no-such-cc")
