"""The targets of fuzzing: one C file each, and the inputs kept for it."""

from __future__ import annotations

import zipfile
from pathlib import Path

from tests.data import ROOT
from tests.native.programs import CHECKED, PATHS, SANITIZE, build, core

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
"""A zip file a target: few and small inputs that reach all it has ever reached."""
WORK = ROOT / "build" / "fuzz"
"""What runs find and leave, not kept: a folder a target with its program, inputs and failures."""


def targets() -> list[str]:
    """Names of all targets."""
    return sorted(path.stem for path in (HERE / "targets").glob("*.c"))


def sources(target: str) -> list[Path]:
    """C sources of a target without the core's."""
    return [HERE / "targets" / f"{target}.c"]


def unpack(target: str, folder: Path) -> list[Path]:
    """Write the kept inputs of a target into a folder; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = CORPUS / f"{target}.zip"
    if not kept.exists():
        return []
    with zipfile.ZipFile(kept) as archive:
        archive.extractall(folder)
        return [folder / name for name in archive.namelist()]


def pack(target: str, folder: Path) -> int:
    """Keep the files of a folder as the inputs of a target, and tell how many; equal files, equal archive."""
    CORPUS.mkdir(exist_ok=True)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    with zipfile.ZipFile(CORPUS / f"{target}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in files:
            archive.writestr(zipfile.ZipInfo(path.name[:16]), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return len(files)


def build_core(folder: Path, cc: str) -> Path:
    """The core with the sanitizers, and with the counters by which libFuzzer steers.  Raises BuildError"""
    flags = ["-O2", "-shared", "-fPIC", "-fsanitize=fuzzer-no-link", *SANITIZE, PATHS["avx2"]]
    return build(folder, "libocta.so", core(), flags, cc)


def build_fuzzer(target: str, folder: Path, library: Path, cc: str) -> Path:
    """The target with libFuzzer and the sanitizers; ``cc`` must be a clang.  Raises BuildError"""
    flags = ["-O2", "-fsanitize=fuzzer", *SANITIZE, PATHS["avx2"]]
    return build(folder, f"fuzz_{target}", [library, *sources(target)], flags, cc)


def build_replay(target: str, folder: Path, library: Path) -> Path:
    """The target as a program that runs files, with the sanitizers, by any compiler.  Raises BuildError"""
    return build(folder, f"replay_{target}", [library, HERE / "replay.c", *sources(target)], CHECKED)
