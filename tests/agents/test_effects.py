"""Effects done here and now: trainings that keep a budget, models that are not made twice."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest

from agents.effects import LocalEffects
from agents.lineage import Version
from agents.manifests import architecture_of, manifest_of
from agents.pace import Pace
from agents.protocol import (
    Effect,
    Example,
    Labels,
    LoadModel,
    ModelLoaded,
    Request,
    Restore,
    Storage,
    StoreModel,
    Train,
    Trained,
    TrainingFailed,
)
from models import canary
from models.manifest import Manifest
from stream.features import schema_of
from stream.records import ModelPublished
from stream.run_folder import RunFolder
from tests.agents.loops import scripted_loop
from tests.agents.worlds import config_of, drive

pytestmark = pytest.mark.learn

CONFIG = config_of("network.width=4", "network.layers=1", "learn.averaging=0.5")
SCHEMA = schema_of(CONFIG)
ROWS = 60


class Clock:
    """A millisecond passes whenever it is read."""

    now = 0

    def __call__(self) -> float:
        self.now += 1
        return self.now / 1e3


def effects_of(path: Path, pace: Pace | None = None) -> LocalEffects:
    pytest.importorskip("torch")
    folder = RunFolder(path)
    folder.create()
    return LocalEffects(CONFIG, SCHEMA, folder, {"network": CONFIG.network}, {}, pace)


def request(number: int, *, steps: int = 40, budget_ms: float | None = None) -> Train:
    """A training with one more sweep, all of its cells without neighbours."""
    rng = np.random.default_rng(number)
    example = Example(
        prediction_id=str(number),
        stamp_ns=number,
        x=rng.normal(size=(ROWS, SCHEMA.count)).astype(np.float32),
        neighbor_index=np.full((ROWS, 14), ROWS, np.int32),
        azimuth=np.linspace(-3, 3, ROWS, dtype=np.float32),
    )
    labels = Labels(
        prediction_id=str(number),
        horizon=CONFIG.task.primary,
        row=np.arange(ROWS, dtype=np.int32),
        occupied=rng.random(ROWS) < 0.5,
    )
    return Train(
        lineage="network",
        stamp_ns=number,
        examples=(example,),
        labels=(labels,),
        steps=steps,
        budget_ms=budget_ms,
    )


def trained(effects: LocalEffects, train: Train) -> Trained:
    answer = effects.perform(train)
    assert isinstance(answer, Trained)
    return answer


def stored(effects: LocalEffects, answer: Trained) -> ModelLoaded:
    """Store what was trained, and load it."""
    version = Version(model=answer.model, data=answer.data, weights=answer.weights, report=answer.report)
    manifest = manifest_of(
        CONFIG, SCHEMA, version, architecture=architecture_of(CONFIG.network), kind="update", parent_id=""
    )
    effects.perform(StoreModel(data=answer.data, manifest=manifest, champion=True))
    return loaded_as(effects, manifest.model_id, manifest.sha256)


def loaded_as(effects: LocalEffects, model_id: str, sha256: str | None) -> ModelLoaded:
    """Load what was published with a sha256."""
    loaded = effects.perform(LoadModel(model_id=model_id, stamp_ns=1, number=3, sha256=sha256))
    assert isinstance(loaded, ModelLoaded)
    return loaded


def test_a_training_ends_with_its_budget_and_reports_the_steps_it_took(tmp_path: Path) -> None:
    pace = Pace(Clock(), ["network"])
    effects = effects_of(tmp_path, pace)
    taken = [trained(effects, request(number, budget_ms=10)).report["steps"] for number in range(1, 5)]
    assert set(taken) <= {8, 9}  # a reading before each step, one at either end
    assert pace.take_ms() == pytest.approx(4 * 10, abs=4)
    assert trained(effects, request(5, budget_ms=0.5)).report["steps"] == 1
    assert trained(effects, request(6)).report["steps"] == 40
    assert trained(effects, request(7, steps=3, budget_ms=10)).report["steps"] == 3
    assert trained(effects, request(8)).report["total_steps"] == sum(taken) + 1 + 40 + 3 + 40


@pytest.mark.fault(35)
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError("no room"), "out of memory: no room"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory\nat"), "out of memory: "),
    ],
)
def test_a_training_that_runs_out_of_memory_fails_and_the_next_one_goes_on(
    error: Exception, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found by a review: Learn ended, and asked for the same training again, for ever."""
    effects = effects_of(tmp_path)
    first = trained(effects, request(1))

    def fail() -> float:
        raise error

    monkeypatch.setattr(effects._trainers["network"]._trainer, "_step", fail)
    failed = effects.perform(request(2))
    assert isinstance(failed, TrainingFailed)
    assert failed.reason.startswith(reason)
    assert len(failed.reason.splitlines()) == 1
    monkeypatch.undo()
    effects.perform(Restore(lineage="network", weights=first.weights))
    assert trained(effects, request(3)).report["steps"] == 40


def test_another_error_of_a_training_is_not_taken_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects = effects_of(tmp_path)

    def fail() -> float:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(effects._trainers["network"]._trainer, "_step", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        effects.perform(request(1))


def test_storing_and_loading_models_is_part_of_the_budget(tmp_path: Path) -> None:
    pace = Pace(Clock(), ["network"])
    effects = effects_of(tmp_path, pace)
    answer = trained(effects, request(1, budget_ms=10))
    before = answer.report["steps"]
    pace.take_ms()
    for _ in range(3):
        stored(effects, answer)
    assert pace.take_ms() == pytest.approx(6)
    assert trained(effects, request(2, budget_ms=10)).report["steps"] <= before - 5


def test_without_a_pace_all_steps_are_taken(tmp_path: Path) -> None:
    assert trained(effects_of(tmp_path), request(1, steps=7, budget_ms=1e-6)).report["steps"] == 7


def test_the_model_that_was_trained_last_is_not_made_again(tmp_path: Path) -> None:
    effects = effects_of(tmp_path)
    first = trained(effects, request(1))
    assert stored(effects, first).model is first.model
    second = trained(effects, request(2))
    again = stored(effects, first).model
    assert again is not None
    assert again is not first.model
    assert again.model_id == first.model.model_id
    assert stored(effects, second).model is second.model


def test_a_trainer_in_a_new_process_goes_on_from_the_weights_it_is_given(tmp_path: Path) -> None:
    first = effects_of(tmp_path)
    answers = [trained(first, request(number)) for number in (1, 2)]
    assert [answer.report["resumed"] for answer in answers] == [False, False]
    resumed = Restore(lineage="network", weights=answers[-1].weights)
    runs = []
    for _ in range(2):
        second = effects_of(tmp_path)
        second.perform(resumed)
        runs.append([trained(second, request(number, steps=1)) for number in (3, 4)])
    assert [answer.report["resumed"] for answer in runs[0]] == [True, False]
    assert runs[0][0].report["total_steps"] == 1
    assert [answer.data for answer in runs[0]] == [answer.data for answer in runs[1]]  # deterministic
    scratch = trained(effects_of(tmp_path), request(3, steps=1))
    assert distance(runs[0][0], answers[-1]) < 0.1 * distance(scratch, answers[-1])
    first.perform(resumed)  # a rollback is no new process
    assert trained(first, request(3)).report["resumed"] is False


def distance(one: Trained, other: Trained) -> float:
    names = [name for name in one.weights if name not in ("mean", "inv_std")]
    return sum(float(np.abs(one.weights[name] - other.weights[name]).sum()) for name in names)


@pytest.mark.fault(38)
def test_a_model_that_cannot_be_stored_is_not_announced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody may hear of a model that nobody can load: a failed write ends the run before the record."""
    loop, effects = scripted_loop(config_of("learn.gate_sweeps=3"), tmp_path, lambda *_: 1.5)

    def full(effect: StoreModel) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(effects, "store", full)
    with pytest.raises(OSError, match="No space left"):
        loop.run(drive(24))
    assert loop.learn.outputs(ModelPublished) != []
    assert not any(isinstance(record, ModelPublished) for record in loop.perceive.inputs)
    assert not any(isinstance(record, ModelPublished) for record in loop.archive.inputs)


def test_every_effect_is_storage_or_a_request() -> None:
    assert set(get_args(Storage)) | set(get_args(Request)) == set(get_args(Effect))
    assert set(get_args(Storage)) & set(get_args(Request)) == set()


@pytest.mark.fault(30)
def test_a_model_in_memory_does_not_hide_a_damaged_file(tmp_path: Path) -> None:
    effects = effects_of(tmp_path)
    answer = trained(effects, request(1))
    loaded = stored(effects, answer)
    path = RunFolder(tmp_path).models / loaded.model_id / "model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    refused = effects.perform(LoadModel(model_id=loaded.model_id, stamp_ns=2))
    assert isinstance(refused, ModelLoaded)
    assert refused.model is None
    assert "sha256" in refused.reason


def put_in_place(path: Path, of: str, under: str) -> None:
    """A model of the registry under the id of another one: its file, and a manifest that fits."""
    models = RunFolder(path).models
    manifest = Manifest.from_json((models / of / "manifest.json").read_bytes())
    (models / under / "model.onnx").write_bytes((models / of / "model.onnx").read_bytes())
    swapped = dataclasses.replace(manifest, model_id=under)
    (models / under / "manifest.json").write_text(swapped.to_json())


@pytest.mark.fault(31)
def test_what_is_loaded_is_what_was_published_and_not_what_lies_under_its_id(tmp_path: Path) -> None:
    effects = effects_of(tmp_path)
    published, other = (stored(effects, trained(effects, request(number))) for number in (1, 2))
    put_in_place(tmp_path, of=other.model_id, under=published.model_id)
    refused = loaded_as(effects, published.model_id, published.sha256)
    assert (refused.model, refused.sha256, refused.number) == (None, "", 3)
    assert f"{published.sha256} was published" in refused.reason
    unknown = loaded_as(effects, published.model_id, None)  # asked for by an earlier release
    assert (unknown.model is not None, unknown.sha256) == (True, other.sha256)


def test_the_sha256_that_is_announced_is_that_of_the_bytes_that_were_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that of what lies there once the model has been verified."""
    effects = effects_of(tmp_path)
    first, other = (stored(effects, trained(effects, request(number))) for number in (1, 2))
    verify = canary.verify

    def verify_and_replace(*verified: Any) -> None:
        verify(*verified)
        put_in_place(tmp_path, of=other.model_id, under=first.model_id)

    monkeypatch.setattr(canary, "verify", verify_and_replace)
    assert loaded_as(effects, first.model_id, None).sha256 == first.sha256
    assert loaded_as(effects, first.model_id, None).sha256 == other.sha256
