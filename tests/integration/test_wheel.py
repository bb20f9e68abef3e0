"""The wheel: built from the sdist alone, fit for other machines, and at work in an empty environment."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
import venv
import zipfile
from email import message_from_string
from io import BytesIO
from pathlib import Path

import pytest
from elftools.elf.elffile import ELFFile

from native.build_ffi import FLAGS
from tests.data import ROOT

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

SOURCES = ("native", "stream", "models", "agents", "pyproject.toml", "setup.py", "README.md", "LICENSE")
EXTRAS = {"learn", "kafka", "formats", "bridge", "odometry"}
"""What an installation may add, by purpose; all others are for work on octastream."""


def run(*command: str | Path, cwd: Path, timeout: int = 600) -> str:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    result = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment | {"PATH": path},
        capture_output=True, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built as ``make wheel`` does, from a copy without what was built in place."""
    tree = tmp_path_factory.mktemp("tree")
    ignored = shutil.ignore_patterns("*.so", "_octa.c", "__pycache__")
    for name in SOURCES:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tree / name, ignore=ignored)
        else:
            shutil.copy(source, tree)
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", tree / "plain", ".", cwd=tree)
    (plain,) = (tree / "plain").glob("*.whl")
    run(sys.executable, "-m", "auditwheel", "repair", "--only-plat", "-w", tree / "dist", plain, cwd=tree)
    (path,) = (tree / "dist").glob("*.whl")
    return path


def test_one_wheel_fits_other_machines(wheel: Path) -> None:
    assert "-cp311-abi3-" in wheel.name and f"manylinux_2_17_{platform.machine()}" in wheel.name
    with zipfile.ZipFile(wheel) as file:
        libraries = [name for name in file.namelist() if name.endswith(".so")]
        assert libraries == ["native/_octa.abi3.so"]
        elf = ELFFile(BytesIO(file.read(libraries[0])))
        names = set(file.namelist())
    tags = [tag.entry.d_tag for tag in elf.get_section_by_name(".dynamic").iter_tags()]
    assert "DT_NEEDED" in tags and not {"DT_RPATH", "DT_RUNPATH"} & set(tags)
    assert [flag for flag in FLAGS if flag.startswith(("-march", "-mtune", "-mavx"))] == []
    assert {"models/prior/model.onnx", "agents/report/page.html.j2"} <= names
    assert not [name for name in names if name.startswith(("tests/", "deploy/", "docs/"))]


def test_extras_are_named_by_purpose(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as file:
        (name,) = (name for name in file.namelist() if name.endswith(".dist-info/METADATA"))
        metadata = message_from_string(file.read(name).decode())
    assert set(metadata.get_all("Provides-Extra") or ()) >= EXTRAS
    needed = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    assert needed and not [line for line in needed if line.startswith(("torch", "faust", "laspy", "rosbags"))]


def test_it_replays_in_an_empty_environment(wheel: Path, tmp_path: Path) -> None:
    """Without the extras, from another folder: what it imports is what was installed."""
    venv.create(tmp_path / "env", with_pip=False)
    python = tmp_path / "env" / "bin" / "python"
    run("uv", "pip", "install", "-q", "--python", python, "-c", ROOT / "constraints.txt", wheel, cwd=tmp_path)
    where = run(python, "-c", "import native._octa, agents.cli; print(agents.cli.__file__)", cwd=tmp_path)
    assert where.startswith(str(tmp_path / "env"))
    octastream = python.with_name("octastream")
    log, out = "sim:city?sweeps=12&beams=32&azimuths=128&seed=3", tmp_path / "run"
    quick = ("--no-learn", "--set", "task.warmup_sweeps=3")
    run(octastream, "replay", log, "--out", out, *quick, cwd=tmp_path)
    here = Path(sys.executable).with_name("octastream")
    run(here, "replay", log, "--out", tmp_path / "here", *quick, cwd=tmp_path)
    digests = [
        json.loads((run / "summary.json").read_text())["run_digest"] for run in (out, tmp_path / "here")
    ]
    assert digests[0] == digests[1]
    assert (out / "report.html").stat().st_size > 10_000
