"""octastream models promote | rollback | split | verify, on a registry as a run leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest

from agents.cli import main
from models.registry import ModelRegistry
from tests.models.model_files import manifest_for, model_data

pytestmark = pytest.mark.learn

Run = tuple[str, list[str]]
Capture = pytest.CaptureFixture[str]


@pytest.fixture
def run(tmp_path: Path) -> tuple[str, list[str]]:
    registry, ids = ModelRegistry(tmp_path / "models", sync=False), []
    for seed in range(2):
        data = model_data(seed)
        manifest = manifest_for(data, last_stamp_ns=10 + seed)
        registry.put(data, manifest)
        ids.append(manifest.model_id)
    return str(tmp_path), ids


def said(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    assert main(["models", *arguments]) == code
    found = capsys.readouterr()
    return found.out if code == 0 else found.out + found.err


def test_names_are_moved_and_moved_back(
    run: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (old, new) = run
    assert f"champion: {old}, before none" in said(capsys, "promote", folder, old)
    assert f"champion: {new}, before {old}" in said(capsys, "promote", folder, new)
    assert "challenger" in said(capsys, "promote", folder, "champion", "--alias", "challenger")
    shown = said(capsys, "list", folder)
    assert "champion, challenger" in shown or "challenger" in shown
    assert f"champion: {old}, no longer {new}" in said(capsys, "rollback", folder)
    assert old in said(capsys, "show", folder, "champion")
    assert "nothing to go back to" in said(capsys, "rollback", folder, code=1)
    assert "not in the registry" in said(capsys, "promote", folder, "bcc-000000000000", code=1)


def test_traffic_is_split_and_whole_again(
    run: tuple[str, list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, (old, new) = run
    assert "traffic is not split" in said(capsys, "split", folder)
    said(capsys, "promote", folder, old)
    said(capsys, "promote", folder, new, "--alias", "challenger")
    shown = said(capsys, "split", folder, "champion=0.9", "challenger=0.1", "--key", "user-1")
    split = ModelRegistry(Path(folder) / "models").split()
    assert split is not None
    assert "90 %" in shown and "10 %" in shown and f"user-1: {split.name_of('user-1')}" in shown
    assert "other: no alias" in said(capsys, "split", folder, "other=1", code=1)
    assert "ALIAS=WEIGHT" in said(capsys, "split", folder, "champion", code=1)
    assert "traffic is not split" in said(capsys, "split", folder, "--off")


def test_damage_is_found(run: Run, capsys: Capture) -> None:
    folder, (old, new) = run
    said(capsys, "promote", folder, old)
    assert said(capsys, "verify", folder).splitlines() == [f"{old}: whole", f"{new}: whole"]
    assert said(capsys, "verify", Path(folder, "models").as_uri(), "champion").strip() == f"{old}: whole"
    model = Path(folder) / "models" / new / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1])
    shown = said(capsys, "verify", folder, code=1)
    assert f"{new}: sha256 of model.onnx" in shown.replace("\n", " ") and f"{old}: whole" in shown
