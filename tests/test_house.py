"""The house rules that a reader relies on: layers, who may import what, and documentation that keeps up."""

from __future__ import annotations

import ast
import dataclasses
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from stream.config import Config
from tests.data import ROOT

LAYERS = ("native", "stream", "models", "agents")
"""Each may import those before it, and itself."""

MODULES = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    """Full names of imported modules, wherever in the file they are imported."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide the layer"
            yield node.module or ""


def faults(path: str, source: str) -> list[str]:
    """Imports in one file that the house does not allow."""
    layer = path.split("/")[0]
    found = []
    for name in imported(ast.parse(source)):
        top = name.split(".")[0]
        if top in LAYERS and LAYERS.index(top) > LAYERS.index(layer):
            found.append(f"{path}: {layer} imports {name}, which is above it")
        if top in {"cffi", "_cffi_backend"} and layer != "native":
            found.append(f"{path}: imports {name} outside native")
        if name.startswith("native._octa") and layer != "native":
            found.append(f"{path}: imports {name}; use the wrappers")
        if top == "faust" and not path.startswith("agents/kafka/"):
            found.append(f"{path}: imports faust outside agents/kafka")
        if top == "tests":
            found.append(f"{path}: imports {name}")
    return found


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_imports_point_downwards(path: Path) -> None:
    assert faults(relative(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("native/a.py", "import stream.sweep"),
        ("stream/a.py", "def f():\n    from models import graph"),
        ("models/a.py", "from agents.judge import Judge"),
        ("stream/a.py", "import cffi"),
        ("agents/a.py", "from native._octa import lib"),
        ("agents/web.py", "import faust"),
        ("stream/a.py", "from tests.data import data_path"),
    ],
)
def test_the_import_rule_can_fail(path: str, source: str) -> None:
    assert len(faults(path, source)) == 1


def test_the_import_rule_lets_the_house_stand() -> None:
    assert faults("agents/kafka/worker.py", "import faust\nfrom native.pose import matrix") == []
    assert faults("native/a.py", "from native._octa import ffi\nimport cffi") == []


def test_every_package_directory_is_a_package() -> None:
    folders = {path.parent for path in MODULES}
    assert [relative(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_configuration_page_lists_every_key_once() -> None:
    listed = re.findall(r"^\| `([a-z_.0-9]+)` \|", (ROOT / "docs/configuration.md").read_text(), re.MULTILINE)
    keys = []
    for group in dataclasses.fields(Config):
        value = getattr(Config(), group.name)
        if dataclasses.is_dataclass(value):
            keys += [f"{group.name}.{item.name}" for item in dataclasses.fields(value)]
        else:
            keys.append(group.name)
    assert sorted(listed) == sorted(keys)


PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text())
    broken = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert broken == []


def test_constraints_are_names_and_versions_only() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    assert [line for line in pins if not re.fullmatch(r"[a-z0-9._-]+==[A-Za-z0-9.!+]+", line)] == []
    assert len({line.split("==")[0] for line in pins}) == len(pins)


def test_constraints_pin_everything_that_is_declared() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    text = re.sub(r"^peers = .*$", "", text, flags=re.M)  # what benchmarks compare with, installed on demand
    declared = {name.lower() for name in re.findall(r'"([A-Za-z0-9_-]+)>=', text)}
    pinned = {line.split("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines()}
    assert declared - pinned == set()


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.py")), ids=relative)
def test_what_an_example_imports_exists(path: Path) -> None:
    assert callable(runpy.run_path(str(path), run_name="example")["main"])
