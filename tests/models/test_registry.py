"""Models on disk: whole or absent, verified before they serve, never more than the cap."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from models.manifest import ModelRefused, sha256_of
from models.registry import ModelRegistry
from models.runtime import OnnxModel
from tests.models.model_files import REQUIREMENTS, manifest_for, model_data

pytestmark = pytest.mark.learn


def stored(folder: Path, seed: int = 0) -> tuple[ModelRegistry, str, bytes]:
    registry, data = ModelRegistry(folder), model_data(seed)
    manifest = manifest_for(data)
    registry.put(data, manifest)
    return registry, manifest.model_id, data


def test_put_get_list(tmp_path: Path) -> None:
    registry, model_id, data = stored(tmp_path / "models")
    assert registry.get(model_id) == (data, manifest_for(data))
    assert ModelRegistry(tmp_path / "models").list() == (model_id,)
    names = sorted(path.name for path in (tmp_path / "models").rglob("*"))
    assert names == sorted([model_id, "manifest.json", "model.onnx"])


def test_put_again_changes_nothing(tmp_path: Path) -> None:
    registry, model_id, data = stored(tmp_path)
    before = (tmp_path / model_id / "manifest.json").stat().st_mtime_ns
    registry.put(data, dataclasses.replace(manifest_for(data), kind="rollback"))
    assert (tmp_path / model_id / "manifest.json").stat().st_mtime_ns == before
    assert registry.get(model_id)[1].kind == "update"


def test_put_refuses_another_models_manifest(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path)
    with pytest.raises(ModelRefused, match="sha256"):
        registry.put(model_data(1), manifest_for(model_data(0)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.fault(31, 32)
def test_load_checks_everything_in_order(tmp_path: Path) -> None:
    registry, model_id, data = stored(tmp_path)
    model = registry.load(model_id, REQUIREMENTS)
    assert (model.model_id, model.feature_count) == (model_id, 5)
    with pytest.raises(ModelRefused, match="lod: model has 7"):
        registry.load(model_id, dataclasses.replace(REQUIREMENTS, lod=6))
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    (tmp_path / model_id / "model.onnx").write_bytes(flipped)
    with pytest.raises(ModelRefused, match=f"{model_id}: sha256 of model.onnx is {sha256_of(flipped)}"):
        registry.load(model_id, REQUIREMENTS)
    registry.put(data, manifest_for(data))  # heals it
    assert registry.load(model_id, REQUIREMENTS).model_id == model_id


def test_load_may_be_given_a_model_of_the_same_bytes_and_checks_it_all_the_same(tmp_path: Path) -> None:
    registry, model_id, data = stored(tmp_path)
    held = OnnxModel(model_id, data)
    asked: list[tuple[str, bytes]] = []

    def make(name: str, read: bytes) -> OnnxModel:
        asked.append((name, read))
        return held

    assert registry.load(model_id, REQUIREMENTS, make) is held
    assert asked == [(model_id, data)]
    held = OnnxModel(model_id, model_data(1))
    with pytest.raises(ModelRefused, match="canary is off by"):
        registry.load(model_id, REQUIREMENTS, make)
    (tmp_path / model_id / "model.onnx").write_bytes(data[:-1])
    with pytest.raises(ModelRefused, match="sha256"):
        registry.load(model_id, REQUIREMENTS, make)
    assert len(asked) == 2


@pytest.mark.fault(31)
def test_another_model_under_a_published_id_is_refused_though_its_manifest_fits_it(tmp_path: Path) -> None:
    registry, model_id, data = stored(tmp_path)
    published, other = sha256_of(data), model_data(1)
    swapped = dataclasses.replace(manifest_for(other), model_id=model_id)
    assert registry.load_published(model_id, published, REQUIREMENTS)[1] == published
    assert registry.load_published(model_id, None, REQUIREMENTS)[1] == published
    (tmp_path / model_id / "model.onnx").write_bytes(other)
    (tmp_path / model_id / "manifest.json").write_text(swapped.to_json())
    opened: list[str] = []

    def make(name: str, read: bytes) -> OnnxModel:
        opened.append(name)
        return OnnxModel(name, read)

    with pytest.raises(ModelRefused) as refused:
        registry.load_published(model_id, published, REQUIREMENTS, make)
    assert str(refused.value) == (
        f"{model_id}: sha256 of model.onnx is {sha256_of(other)}, {published} was published; "
        "put back the model that was published"
    )
    assert opened == [], "refused before a session reads it"
    assert registry.load_published(model_id, None, REQUIREMENTS)[1] == sha256_of(other)


@pytest.mark.fault(31)
def test_canary_catches_what_the_sha_cannot(tmp_path: Path) -> None:
    registry, data, other = ModelRegistry(tmp_path), model_data(0), model_data(1)
    honest = manifest_for(data)
    registry.put(data, dataclasses.replace(honest, canary=manifest_for(other).canary))
    with pytest.raises(ModelRefused, match="canary is off by"):
        registry.load(honest.model_id, REQUIREMENTS)
    wide = dataclasses.replace(REQUIREMENTS, feature_count=6)
    narrow = dataclasses.replace(manifest_for(other), feature_count=6)
    registry.put(other, narrow)
    with pytest.raises(ModelRefused, match="graph has 5 features, manifest 6"):
        registry.load(narrow.model_id, wide)


@pytest.mark.fault(34)
def test_champion_pointer(tmp_path: Path) -> None:
    registry, model_id, _ = stored(tmp_path)
    assert registry.champion() is None
    registry.set_champion(model_id)
    assert registry.champion() == ModelRegistry(tmp_path).champion() == model_id
    assert (tmp_path / "champion").read_text() == f"{model_id}\n"
    with pytest.raises(ModelRefused, match="not in the registry"):
        registry.set_champion("bcc-000000000000")
    assert registry.champion() == model_id
    (tmp_path / "champion").write_text("../elsewhere\n")
    with pytest.raises(ModelRefused, match="not a model id"):
        registry.champion()


@pytest.mark.fault(30, 34)
def test_half_written_folders_are_ignored_and_replaced(tmp_path: Path) -> None:
    registry, model_id, data = stored(tmp_path)
    for name in ("bcc-111111111111", ".writing-old", "bcc-222222222222"):
        (tmp_path / name).mkdir()
    (tmp_path / ".writing-old" / "model.onnx").write_bytes(data)
    (tmp_path / "bcc-222222222222" / "model.onnx").write_bytes(data)
    (tmp_path / "bcc-222222222222" / "manifest.json").write_bytes(b"{")
    fresh = ModelRegistry(tmp_path)
    assert fresh.list() == (model_id,)
    with pytest.raises(ModelRefused, match="not in the registry"):
        fresh.get("bcc-111111111111")
    with pytest.raises(ModelRefused, match="bcc-222222222222: manifest: "):
        fresh.get("bcc-222222222222")
    (tmp_path / model_id / "model.onnx").write_bytes(data[:100])
    registry.put(data, manifest_for(data))
    assert registry.get(model_id)[0] == data
    assert not (tmp_path / ".writing-old").exists()


def test_a_manifest_in_anothers_folder_is_refused(tmp_path: Path) -> None:
    registry, model_id, _ = stored(tmp_path)
    (tmp_path / model_id).rename(tmp_path / "bcc-333333333333")
    with pytest.raises(ModelRefused, match=f"manifest.model_id: is {model_id}"):
        registry.get("bcc-333333333333")


@pytest.mark.parametrize("model_id", ["", "..", "../x", "a/b", ".hidden", "A", "x" * 200])
def test_ids_cannot_leave_the_folder(tmp_path: Path, model_id: str) -> None:
    with pytest.raises(ModelRefused, match="not a model id"):
        ModelRegistry(tmp_path).get(model_id)


@pytest.mark.fault(34)
def test_a_failing_disk_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry, data = ModelRegistry(tmp_path), model_data()
    manifest = manifest_for(data)

    def full(path: Path, data: bytes) -> None:
        if path.name == "manifest.json":
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(registry._store, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        registry.put(data, manifest)
    assert list(tmp_path.iterdir()) == []


def test_keeps_at_most_max_models(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path, max_models=3, sync=False)
    ids = []
    for seed in range(8):
        data = model_data(seed)
        manifest = manifest_for(data, last_stamp_ns=100 + seed)
        registry.put(data, manifest)
        ids.append(manifest.model_id)
        if seed == 0:
            registry.set_champion(ids[0])
        if seed == 1:
            registry.pin(ids[1])
        assert ids[-1] in registry.list()
        assert len(registry.list()) <= 3
    assert registry.list() == (ids[0], ids[1], ids[7])
    registry.unpin(ids[1])
    old = model_data(9)
    registry.put(old, manifest_for(old, last_stamp_ns=1))
    assert registry.list() == (manifest_for(old).model_id, ids[0], ids[7])
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*registry.list(), "champion"])


def test_max_models_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_models"):
        ModelRegistry(tmp_path, max_models=0)


def test_a_kept_model_outlives_any_number_of_newer_ones_in_every_process(tmp_path: Path) -> None:
    registry = ModelRegistry(tmp_path, max_models=2)
    names = []
    for number in range(6):
        data = model_data(number)
        manifest = manifest_for(data, last_stamp_ns=number)
        registry.put(data, manifest)
        names.append(manifest.model_id)
        if number == 1:
            registry.keep(names[0])
            registry = ModelRegistry(tmp_path, max_models=2)
    assert registry.kept() == (names[0],)
    assert names[0] in registry.list()
    assert names[1] not in registry.list()
    registry.let_go(names[0])
    assert registry.kept() == ()
    data = model_data(7)
    registry.put(data, manifest_for(data, last_stamp_ns=7))
    assert names[0] not in registry.list()
    with pytest.raises(ModelRefused, match="not in the registry"):
        registry.keep(names[0])
