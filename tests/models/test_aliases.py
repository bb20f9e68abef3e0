"""Names of models: promoted, rolled back, traffic split between them; many writers; behind a URI."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from models.canary import canary_batch
from models.manifest import ModelRefused
from models.registry import ModelRegistry
from native.window import CellFeatures
from tests.data import ROOT
from tests.models.model_files import FEATURES, REQUIREMENTS, manifest_for, model_data

pytestmark = pytest.mark.learn


def filled(place: Path | str, count: int = 3, **options: int) -> tuple[ModelRegistry, list[str]]:
    registry = ModelRegistry(place, sync=False, **options)
    ids = []
    for seed in range(count):
        data = model_data(seed)
        manifest = manifest_for(data, last_stamp_ns=10 + seed)
        registry.put(data, manifest)
        ids.append(manifest.model_id)
    return registry, ids


@pytest.fixture(params=["folder", "uri"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    folder = tmp_path / "models"
    return folder if request.param == "folder" else folder.as_uri()


def test_what_is_promoted_can_be_rolled_back(place: Path | str) -> None:
    registry, ids = filled(place)
    with pytest.raises(ModelRefused, match="nothing to go back to"):
        registry.rollback()
    registry.promote(ids[0], at_ns=1)
    registry.promote(ids[1], at_ns=2)
    registry.promote(ids[2], "challenger", at_ns=3)
    again = ModelRegistry(place)
    assert again.champion() == again.resolve("champion") == ids[1]
    assert again.aliases() == {"champion": ids[1], "challenger": ids[2]}
    assert [change.at_ns for change in again.changes()] == [1, 2, 3]
    undone = again.rollback()
    assert (undone.model_id, undone.before) == (ids[1], ids[0])
    assert registry.aliases() == {"champion": ids[0], "challenger": ids[2]}
    with pytest.raises(ModelRefused, match="champion: was never promoted from another model"):
        registry.rollback()


def test_only_what_is_whole_is_promoted(place: Path | str, tmp_path: Path) -> None:
    registry, ids = filled(place, 2)
    registry.promote(ids[0])
    (tmp_path / "models" / ids[1] / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ModelRefused, match="sha256"):
        registry.promote(ids[1])
    with pytest.raises(ModelRefused, match="not in the registry"):
        registry.promote("bcc-000000000000")
    for name in ("../champion", "Champion", "", "a/b", ".", "x" * 65):
        with pytest.raises(ModelRefused, match="no alias"):
            registry.promote(ids[0], name)
    assert registry.aliases() == {"champion": ids[0]}


def test_a_rollback_to_a_model_that_is_gone_changes_nothing(place: Path | str, tmp_path: Path) -> None:
    registry, ids = filled(place, 2)
    registry.promote(ids[0])
    registry.promote(ids[1])
    (tmp_path / "models" / ids[0] / "model.onnx").unlink()
    with pytest.raises(ModelRefused, match=f"{ids[0]}: model.onnx cannot be read"):
        registry.rollback()
    assert registry.champion() == ids[1]
    assert [change.model_id for change in registry.changes()] == ids


def test_models_with_a_name_are_never_collected(place: Path | str) -> None:
    registry, ids = filled(place, 6)
    registry.promote(ids[0], "challenger")
    registry.promote(ids[1])
    registry.promote(ids[3])
    assert registry.collect(2) == (ids[2], ids[4], ids[5])
    assert registry.list() == (ids[0], ids[1], ids[3]), "a rollback may need the one before"
    with pytest.raises(ModelRefused, match="is challenger"):
        registry.remove(ids[0])


def test_registered_models_share_traffic_and_answer_for_cells(tmp_path: Path) -> None:
    for seed in range(2):
        data = model_data(seed)
        (tmp_path / f"m{seed}").mkdir()
        (tmp_path / f"m{seed}" / "model.onnx").write_bytes(data)
        (tmp_path / f"m{seed}" / "manifest.json").write_text(manifest_for(data).to_json())
    registry = ModelRegistry(tmp_path / "models")
    with pytest.raises(ModelRefused, match="no features to predict from"):
        registry.predict_ab(np.zeros(1, np.uint64), "user-1")
    first = registry.register_model("old", tmp_path / "m0", 0.9)
    second = registry.register_model("new", tmp_path / "m1", 0.1)
    split = ModelRegistry(tmp_path / "models").split()
    assert split is not None
    assert [float(split.share_of(name)) for name in ("old", "new")] == [0.9, 0.1]
    x, neighbor_index = canary_batch(FEATURES, seed=0)
    cells = np.arange(10, 10 + 2 * len(x), 2, dtype=np.uint64)
    features = CellFeatures(
        cell_id=cells, x=x, neighbor_index=neighbor_index, before=np.zeros(len(x), np.uint8)
    )
    registry.serve_from(lambda: features, REQUIREMENTS)
    wanted = np.array([14, 11, 10, 10**6], np.uint64)
    seen = {}
    for number in range(60):
        answer, name = registry.predict_ab(wanted, f"user-{number}")
        again, same = registry.predict_ab(wanted, f"user-{number}")
        assert same == name and again.tobytes() == answer.tobytes()
        seen[name] = answer
    assert set(seen) == {"old", "new"}
    for name, model_id in (("old", first), ("new", second)):
        expected = registry.load(model_id, REQUIREMENTS).predict(x, neighbor_index)
        assert seen[name][[0, 2]].tobytes() == expected[[2, 0]].tobytes()
        assert np.isnan(seen[name][[1, 3]]).all()


def test_what_cannot_share_traffic_is_refused(place: Path | str, tmp_path: Path) -> None:
    registry, ids = filled(place, 2)
    registry.promote(ids[0])
    with pytest.raises(ModelRefused, match="other: no alias"):
        registry.set_split({"champion": 1, "other": 1})
    with pytest.raises(ModelRefused, match="weight 'x' is no number"):
        registry.set_split({"champion": "x"})
    with pytest.raises(ModelRefused, match="traffic is not split"):
        registry.route("user-1")
    registry.set_split({"champion": 1})
    assert registry.route("user-1") == ("champion", ids[0])
    (tmp_path / "models" / "split.json").write_text('{"arms": []}')
    with pytest.raises(ModelRefused, match="delete the file"):
        registry.split()
    registry.set_split({})
    assert registry.split() is None
    with pytest.raises(ModelRefused, match=r"needs model.onnx and manifest.json"):
        registry.register_model("old", tmp_path / "nothing", 1)


WRITER = """
import sys
from pathlib import Path
from models.registry import ModelRegistry
registry = ModelRegistry(Path(sys.argv[1]), max_models=4, sync=False)
folders = sorted(Path(sys.argv[2]).iterdir())
for turn in range(3):
    for folder in folders if int(sys.argv[3]) % 2 else reversed(folders):
        registry.register_model(f"arm{sys.argv[3]}", folder, 1)
"""


@pytest.mark.fault(34)
@pytest.mark.slow
def test_many_processes_write_at_one_time(tmp_path: Path) -> None:
    """None fails, nothing is half there, and no more is kept than may be."""
    for seed in range(6):
        data, folder = model_data(seed), tmp_path / "source" / str(seed)
        folder.mkdir(parents=True)
        (folder / "model.onnx").write_bytes(data)
        (folder / "manifest.json").write_text(manifest_for(data, last_stamp_ns=seed).to_json())
    place = tmp_path / "models"
    command = [sys.executable, "-c", WRITER, str(place), str(tmp_path / "source")]
    writers = [
        subprocess.Popen([*command, str(number)], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        for number in range(3)
    ]
    assert [writer.communicate()[1] for writer in writers] == ["", "", ""]
    registry = ModelRegistry(place, max_models=4)
    assert not [path for path in place.iterdir() if path.name.startswith(".writing-")]
    for model_id in registry.list():
        registry.load(model_id, REQUIREMENTS)
    assert set(registry.aliases()) == {"arm0", "arm1", "arm2"}
    assert len(json.loads((place / "aliases.json").read_text())) == 3 * 6 * 3
