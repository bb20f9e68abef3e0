"""deploy/Dockerfile: linted, with extras that exist, no torch where it is not needed, and no root."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

from agents.failure import LEARNING_PACKAGES
from tests.data import ROOT
from tests.deploy.composition import HTTP_PORT, services, tool

DOCKERFILE = ROOT / "deploy" / "Dockerfile"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def hadolint(path: Path) -> subprocess.CompletedProcess[str]:
    command = [tool("hadolint"), "--no-color", str(path)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def stages() -> dict[str, str]:
    """Instructions of a stage by its name, the first line its FROM; continued lines are joined."""
    text = DOCKERFILE.read_text().replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    found: dict[str, str] = {}
    name = "global"
    for line in lines:
        begun = re.fullmatch(r"FROM \S+ AS (\S+)", line)
        name = begun.group(1) if begun else name
        found[name] = f"{found.get(name, '')}{line}\n"
    return found


def extras(stage: str) -> set[str]:
    (listed,) = re.findall(r"\.whl\)\[([a-z,]+)\]", stages()[stage])
    return set(listed.split(","))


def test_hadolint_has_nothing_to_say() -> None:
    ran = hadolint(DOCKERFILE)
    assert (ran.returncode, ran.stdout) == (0, "")


def test_hadolint_would_say_it(tmp_path: Path) -> None:
    bad = tmp_path / "Dockerfile"
    bad.write_text(DOCKERFILE.read_text().replace("--no-install-recommends ", ""))
    assert "DL3015" in hadolint(bad).stdout


def test_every_target_that_compose_builds_is_a_stage() -> None:
    built = {
        service["build"]["target"]: service["image"].partition(":")
        for service in services().values()
        if "build" in service
    }
    assert built.keys() == {"perceive", "learn"}
    for target, (image, _, tag) in built.items():
        assert target in stages()
        assert image == f"octastream-{target}"
        assert tag == PROJECT["version"]


def test_extras_exist_and_perceive_does_without_those_of_learning() -> None:
    optional = PROJECT["optional-dependencies"]
    for stage in ("perceive-environment", "learn-environment"):
        assert extras(stage) <= optional.keys()
    assert extras("learn-environment") - extras("perceive-environment") == {"learn"}
    named = " ".join(line for extra in extras("perceive-environment") for line in optional[extra])
    named += " ".join(PROJECT["dependencies"])
    assert [package for package in LEARNING_PACKAGES if re.search(rf"\b{package}\b", named)] == []


def test_what_runs_has_neither_compiler_nor_root() -> None:
    runtime = stages()["runtime"]
    assert not re.search(r"\b(apt-get|gcc|pip|COPY)\b", runtime)
    users = re.findall(r"^USER (\S+)$", runtime, re.MULTILINE)
    assert users == ["10001:10001"]
    for target in ("perceive", "learn"):
        lines = stages()[target].splitlines()
        assert lines[0] == f"FROM runtime AS {target}"
        assert lines[1:] == [f"COPY --from={target}-environment /opt/octastream /opt/octastream"]


def test_bases_are_pinned_and_the_same() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE.read_text(), re.MULTILINE))
    assert bases - stages().keys() == {"${PYTHON_IMAGE}"}
    (image,) = re.findall(r"^ARG PYTHON_IMAGE=(\S+)$", stages()["global"], re.MULTILINE)
    assert re.fullmatch(r"python:3\.\d+\.\d+-slim-[a-z]+", image)


def test_the_image_asks_where_workers_answer() -> None:
    runtime = stages()["runtime"]
    assert f"http://127.0.0.1:{HTTP_PORT}/health" in runtime
    assert f"EXPOSE {HTTP_PORT}" in runtime


def test_the_builder_gets_all_that_the_wheel_is_made_of() -> None:
    lines = (ROOT / "deploy" / "Dockerfile.dockerignore").read_text().splitlines()
    assert lines[1] == "*"
    sent = {line[1:] for line in lines if line.startswith("!")}
    assert [name for name in sent if not (ROOT / name).exists()] == []
    found = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    needed = {name.rstrip("*") for name in found["include"]} | {PROJECT["readme"], *PROJECT["license-files"]}
    assert needed | {"pyproject.toml", "setup.py", "constraints.txt"} == sent


def test_no_file_holds_a_secret() -> None:
    files = [ROOT / "docker-compose.yml", *(path for path in (ROOT / "deploy").rglob("*") if path.is_file())]
    pattern = re.compile(
        r"(?<![a-z])(?i:password|secret|token|api_?key)[A-Z_]*\s*[:=]\s*[\"']?[^\s\"'{$]|PRIVATE KEY-----"
    )
    found = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in files
        if path.suffix in ("", ".yml", ".yaml", ".json", ".properties")
        for line in path.read_text().splitlines()
        if pattern.search(line)
    ]
    assert found == []
    assert pattern.search("GF_SECURITY_ADMIN_PASSWORD: hunter2")
    assert pattern.search("OCTA_PASSWORD=hunter2")
