"""Everything but learning runs where torch, onnx, river and scikit-learn do not exist."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.data import ROOT

LEARNING_MODULES = (
    "models.nets.", "models.training.", "models.export.", "models.net_export.",
    "models.object_export.", "agents.targets.tasks.",
    "agents.targets.train.", "models.datasets.collate.", "models.datasets.device.", "models.datasets.loader.",
    "models.datasets.module.", "models.datasets.slots.", "agents.networks.settings.",
    "agents.networks.train.", "agents.studies.lattice.", "agents.studies.segmentation.",
)  # fmt: skip
"""Modules that are imported only when learning is on; everything else must do without."""

BLOCK = """
import sys

BLOCKED = {"torch", "onnx", "river", "sklearn"}

class Hide:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            return None
        return self._finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = [Hide(finder) for finder in sys.meta_path]
"""

CHECK = """
leaked = sorted(name for name in sys.modules if name.partition(".")[0] in BLOCKED)
assert not leaked, leaked
"""


def run_blocked(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter in which the learning packages cannot be found."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", BLOCK + code + CHECK, *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def serving_modules() -> list[str]:
    paths = [
        path for layer in ("native", "stream", "models", "agents") for path in (ROOT / layer).rglob("*.py")
    ]
    names = {module_name(path) for path in paths if path.name != "build_ffi.py"}
    return sorted(name for name in names if not f"{name}.".startswith(LEARNING_MODULES))


def test_the_block_works() -> None:
    result = run_blocked("import torch")
    assert result.returncode != 0
    assert "No module named 'torch'" in result.stderr


def test_every_serving_module_imports() -> None:
    names = serving_modules()
    assert {
        "native.binning",
        "stream.frames",
        "models.runtime",
        "agents.perceive",
        "agents.judge",
        "agents.cli",
    } <= set(names)
    code = """
import importlib, traceback
failed = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        failed.append(f"{name}: {error}")
assert not failed, failed
"""
    result = run_blocked(code, *names)
    assert result.returncode == 0, result.stderr


def test_a_replay_without_learning_runs(tmp_path: Path) -> None:
    code = """
from agents.cli import main
location = "sim:city?sweeps=16&beams=32&azimuths=128&seed=2"
code = main(["replay", location, "--out", sys.argv[1], "--no-learn", "--set", "task.warmup_sweeps=3"])
assert code == 0, code
"""
    result = run_blocked(code, str(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "run" / "summary.json").read_text())["scores"]
    assert scores["online"]["n"] > 0
    assert 0 < scores["persistence"]["average_precision"] <= 1


def test_learning_without_torch_is_one_line(tmp_path: Path) -> None:
    code = """
from agents.cli import main
code = main(["replay", "sim:city?sweeps=4&beams=32&azimuths=128", "--out", sys.argv[1]])
assert code == 1, code
"""
    result = run_blocked(code, str(tmp_path / "run"))
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == [
        "octastream: learning needs torch: pip install 'octastream[learn]', or add --no-learn"
    ]
    assert not (tmp_path / "run").exists()
