"""Which recorded model serves which sweep, and what becomes of activations that cannot be followed."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agents.archive import event_of
from agents.perceive import Perceive
from agents.protocol import ModelLoaded
from agents.recorded_models import (
    HELD_MODELS,
    ActivationLog,
    ActivationsError,
    RecordedModels,
    load_activated,
    read_activations,
)
from models.manifest import ModelRefused, ModelRequirements
from models.model import Model
from models.registry import ModelRegistry
from models.runtime import ModelFailed
from stream.records import EndOfLog, Event, ModelActivated, ModelPublished, Prediction
from tests.agents.agent_checks import CHECKS, Case
from tests.agents.loops import ScriptedModel
from tests.agents.test_agent_checks import perceive_case
from tests.agents.worlds import STREAM, builtin_of, config_of, drive, feed, of_type, plain, stamp_of

CONFIG = config_of()
MODELS = [ScriptedModel(CONFIG, skill) for skill in (2.0, 3.0, 4.0)]
BY_ID: dict[str, Model] = {model.model_id: model for model in MODELS}
FIRST, SECOND, THIRD = BY_ID


def activation(stamp_ns: int, model_id: str, stream_id: str = STREAM) -> ModelActivated:
    return ModelActivated(
        robot_id=stream_id.split("/")[0],
        stream_id=stream_id,
        first_stamp_ns=stamp_ns,
        model_id=model_id,
        sha256="builtin" if model_id == "frequency" else f"sha256 of {model_id}",
    )


def models_of(*activated: ModelActivated) -> RecordedModels:
    return RecordedModels(builtin_of(CONFIG), activated, BY_ID.__getitem__)


# ---- which model serves --------------------------------------------------------------------------------


def test_the_newest_activation_up_to_the_stamp_serves_and_the_built_in_model_before_the_first() -> None:
    models = models_of(activation(10, FIRST), activation(20, SECOND), activation(30, "frequency"))
    served = {stamp: models.next_for(STREAM, stamp) for stamp in (1, 9, 10, 11, 19, 20, 29, 30, 10**18)}
    assert served == {
        1: ("frequency",), 9: ("frequency",), 10: (FIRST,), 11: (FIRST,), 19: (FIRST,), 20: (SECOND,),
        29: (SECOND,), 30: ("frequency",), 10**18: ("frequency",),
    }  # fmt: skip
    assert models.next_for("robot/rear", 25) == ("frequency",)


def test_streams_have_activations_of_their_own() -> None:
    models = models_of(activation(10, FIRST), activation(12, SECOND, "robot/rear"))
    assert models.next_for(STREAM, 15) == (FIRST,)
    assert models.next_for("robot/rear", 11) == ("frequency",)
    assert models.next_for("robot/rear", 15) == (SECOND,)


def test_order_and_repetition_do_not_matter() -> None:
    activated = [activation(10 * place, model_id) for place, model_id in enumerate([*BY_ID, FIRST, SECOND])]
    ordered = models_of(*activated)
    for seed in range(5):
        mixed = models_of(*random.Random(seed).sample(2 * activated, 10))
        for stamp in range(0, 60, 5):
            assert mixed.next_for(STREAM, stamp) == ordered.next_for(STREAM, stamp)


def test_a_model_that_failed_at_its_first_sweep_is_activated_again_and_does_not_predict() -> None:
    for activated in ([FIRST, "frequency"], ["frequency", FIRST]):
        models = models_of(*(activation(10, model_id) for model_id in activated))
        assert models.next_for(STREAM, 10) == (FIRST, "frequency")
        assert models.next_for(STREAM, 11) == ("frequency",)


def test_two_models_at_one_stamp_are_of_two_runs() -> None:
    with pytest.raises(ActivationsError, match=rf"{STREAM} has several models at stamp 10: .*one run only"):
        models_of(activation(10, FIRST), activation(10, SECOND))
    models_of(activation(10, FIRST), activation(10, SECOND, "robot/rear"))


def test_what_is_published_or_loaded_changes_nothing() -> None:
    models = models_of(activation(10, FIRST))
    published = ModelPublished(model_id=SECOND, sha256="s", kind="update", parent_id="", stamp_ns=7)
    assert models.request(published) is None
    loaded = ModelLoaded(model_id=SECOND, stamp_ns=7, sha256="ab", model=MODELS[1], number=1)
    models.add(loaded, MODELS[1], {FIRST})
    assert models.next_for(STREAM, 11) == (FIRST,)
    assert models[FIRST] is MODELS[0]
    assert models["frequency"].model_id == "frequency"
    assert models.sha256(FIRST) == f"sha256 of {FIRST}"
    assert models.sha256("frequency") == "builtin"


# ---- in Perceive ---------------------------------------------------------------------------------------


def perceive_with(load: Callable[[str], Model], *activated: ModelActivated) -> Perceive:
    builtin = builtin_of(CONFIG)
    return Perceive(CONFIG, builtin, recorded=RecordedModels(builtin, activated, load))


def test_perceive_repeats_predictions_and_activations_from_the_activations_alone() -> None:
    loads = {
        number: ModelLoaded(
            model_id=model.model_id, stamp_ns=1, sha256=f"sha256 of {model.model_id}", model=model
        )
        for number, model in zip((20, 28, 45), MODELS, strict=True)
    }
    log = drive(16)
    live = Perceive(CONFIG, builtin_of(CONFIG))
    first: list[Any] = []
    for number, item in enumerate(log):
        first += feed(live, [loads[number]] if number in loads else []) + feed(live, [item])
    activated = of_type(first, ModelActivated)
    assert len(activated) == 4
    again = feed(perceive_with(BY_ID.__getitem__, *activated), log)
    assert plain(again) == plain(first)


def test_a_fall_back_at_the_first_sweep_of_a_model_is_repeated_though_it_would_not_fail_now() -> None:
    class Failing(ScriptedModel):
        """Fails at once."""

        def predict(self, x: Any, neighbor_index: Any) -> Any:
            raise ModelFailed("output is not finite")

    model, log = Failing(CONFIG, 2.0), drive(4)
    loaded = ModelLoaded(model_id=FIRST, stamp_ns=1, sha256=f"sha256 of {FIRST}", model=model)
    first = feed(Perceive(CONFIG, builtin_of(CONFIG)), [loaded, *log])
    activated = of_type(first, ModelActivated)
    assert [record.model_id for record in activated] == [FIRST, "frequency"]
    assert len({record.first_stamp_ns for record in activated}) == 1
    again = feed(perceive_with(BY_ID.__getitem__, *activated), log)
    for kind in (ModelActivated, Prediction):
        assert plain(of_type(again, kind)) == plain(of_type(first, kind))


def test_a_recorded_model_that_fails_gives_way_for_that_sweep_and_says_so() -> None:
    class Failing(ScriptedModel):
        """Fails at its second answer."""

        answers = 0

        def predict(self, x: Any, neighbor_index: Any) -> Any:
            self.answers += 1
            if self.answers == 2:
                raise ModelFailed("output is not finite")
            return super().predict(x, neighbor_index)

    model = Failing(CONFIG, 2.0)
    agent = perceive_with({FIRST: model}.__getitem__, activation(stamp_of(1), FIRST))
    outputs = feed(agent, [*drive(5), EndOfLog()])
    ids = [record.model_id for record in of_type(outputs, Prediction)]
    assert ids == ["frequency", FIRST, "frequency", FIRST, FIRST]
    (event,) = of_type(outputs, Event)
    assert (event.kind, event.stamp_ns) == ("model_failed", stamp_of(2))


def recorded_case() -> Case:
    """What Perceive's case is fed, with activations of the first robot decided before."""
    activated = [
        activation(stamp_of(place), model_id) for place, model_id in zip((1, 3, 6), BY_ID, strict=True)
    ]
    return dataclasses.replace(
        perceive_case(), name="recorded", make=lambda: perceive_with(BY_ID.__getitem__, *activated)
    )


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__.removeprefix("check_"))
def test_a_perceive_that_follows_activations_passes_every_check(check: Callable[[Case], None]) -> None:
    check(recorded_case())


# ---- files ---------------------------------------------------------------------------------------------


def line_of(record: ModelActivated, **changed: Any) -> str:
    return json.dumps(event_of(record) | changed)


def write(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def test_activations_are_read_from_a_file_or_a_run_folder(tmp_path: Path) -> None:
    first, second = activation(10, FIRST), activation(2**53 + 1, SECOND)
    file = write(
        tmp_path / "events.jsonl",
        '{"event": "trained", "stamp_ns": 3, "loss": 0.5}', line_of(first), "", '{"event": "new kind"}',
        line_of(second, stamp_ns=str(2**53 + 1)), line_of(second), line_of(first, later="field"),
    )  # fmt: skip
    log = read_activations(file)
    assert log.activated == (first, second)
    assert (log.path, log.models) == (file, tmp_path / "models")
    assert read_activations(tmp_path) == log
    assert len(log.sha256) == 64


GOOD = activation(10, FIRST)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ('{"event": "activ', "not JSON"),
        ("hello", "not JSON"),
        ("[1, 2]", r"\[1, 2\] is no event"),
        (line_of(GOOD, stamp_ns=None), "stamp_ns: None must be a whole number"),
        (line_of(GOOD, stamp_ns=1.5), "stamp_ns: 1.5 must"),
        (line_of(GOOD, stamp_ns=-1), "stamp_ns: -1 must"),
        (line_of(GOOD, stamp_ns=True), "stamp_ns: True must"),
        (line_of(GOOD, stamp_ns="1e9"), "stamp_ns: '1e9' must"),
        (line_of(GOOD, stamp_ns="9" * 5000), "stamp_ns: '9+ must"),
        (line_of(GOOD, stream_id=""), "stream_id: '' must be a text"),
        (line_of(GOOD, robot_id=None), "robot_id: None must be a text"),
        (line_of(GOOD, model_id=7), "model_id: 7 must be a text"),
        ('{"event": "activated", "stamp_ns": 1, "robot_id": "a", "stream_id": "a/b", "model_id": "m"}',
         "sha256: None must be a text"),
    ],
)  # fmt: skip
def test_a_line_that_makes_no_sense_is_named(line: str, words: str, tmp_path: Path) -> None:
    file = write(tmp_path / "events.jsonl", line_of(GOOD), line)
    with pytest.raises(ActivationsError, match=rf"events\.jsonl, line 2: .*{words}"):
        read_activations(file)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(b'{"event": "\xff"}\n')
    with pytest.raises(ActivationsError, match=r"line 1: not JSON"):
        read_activations(tmp_path)


def test_a_file_without_activations_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "events.jsonl", '{"event": "gap", "stamp_ns": 3}')
    with pytest.raises(ActivationsError, match="holds no activation"):
        read_activations(tmp_path)
    with pytest.raises(FileNotFoundError, match="else"):
        read_activations(tmp_path / "else")


# ---- models --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[ModelActivated]]:
    """A run folder with three models, and their activations 10 ns apart."""
    pytest.importorskip("torch")
    from tests.models.model_files import manifest_for, model_data

    run = tmp_path_factory.mktemp("stored")
    registry, activated = ModelRegistry(run / "models", sync=False), []
    for seed in range(3):
        data = model_data(seed)
        manifest = manifest_for(data)
        registry.put(data, manifest)
        record = activation(10 * seed + 10, manifest.model_id)
        activated.append(dataclasses.replace(record, sha256=manifest.sha256))
    return run, activated


def log_of(run: Path, *activated: ModelActivated) -> ActivationLog:
    return ActivationLog(path=run / "events.jsonl", sha256="", activated=activated)


def requirements() -> ModelRequirements:
    from tests.models.model_files import REQUIREMENTS

    return REQUIREMENTS


Stored = tuple[Path, list[ModelActivated]]


@pytest.mark.learn
def test_models_are_found_beside_the_file_or_where_they_are_said_to_be(
    stored: Stored, tmp_path: Path
) -> None:
    run, activated = stored
    begin = activation(1, "frequency")
    for log, models in (
        (log_of(run, begin, *activated), None), (log_of(tmp_path, begin, *activated), run / "models")
    ):  # fmt: skip
        load = load_activated([log], models, requirements())
        for record in activated:
            assert load(record.model_id).model_id == record.model_id
            assert load(record.model_id) is load(record.model_id)
    assert not (tmp_path / "models").exists()


@pytest.mark.learn
def test_several_files_each_have_their_registry(stored: Stored, tmp_path: Path) -> None:
    run, activated = stored
    other = tmp_path / "other"
    shutil.copytree(run / "models" / activated[2].model_id, other / "models" / activated[2].model_id)
    logs = [log_of(run, *activated[:2]), log_of(other, activated[2])]
    load = load_activated(logs, None, requirements())
    assert [load(record.model_id).model_id for record in activated] == [r.model_id for r in activated]


@pytest.mark.learn
@pytest.mark.parametrize(
    "harm", ["missing", "another sha256", "damaged", "requirements", "no folder", "builtin"]
)
def test_a_model_that_cannot_serve_is_named_with_stream_and_stamp(
    harm: str, stored: Stored, tmp_path: Path
) -> None:
    activated, needed, run = stored[1], requirements(), tmp_path / "run"
    shutil.copytree(stored[0], run)
    bad = activated[1]
    file = run / "models" / bad.model_id / "model.onnx"
    words = "sha256 of model.onnx is"
    if harm == "missing":
        shutil.rmtree(file.parent)
        words = "not in the registry"
    elif harm == "damaged":
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    elif harm == "requirements":
        needed, bad = dataclasses.replace(needed, lod=5), activated[0]
        words = "lod: model has 7, this run needs 5"
    elif harm == "no folder":
        shutil.rmtree(run / "models")
        bad, words = activated[0], "there is no folder"
    elif harm == "another sha256":
        bad = dataclasses.replace(bad, sha256="ab" * 32)
        words = f"sha256 of model.onnx is .*{bad.sha256} was published"
    else:
        bad = dataclasses.replace(bad, model_id="frequency", sha256="ab" * 32)
        words = f"its sha256 is builtin, the activation says {bad.sha256}"
    log = log_of(run, activated[2], bad, activated[0])
    where = f"model {bad.model_id}, activated for {STREAM} at stamp {bad.first_stamp_ns}, cannot serve"
    with pytest.raises(ActivationsError, match=f"{where}: .*{words}.*--models DIR"):
        load_activated([log], None, needed)


@pytest.mark.learn
def test_a_model_that_another_one_replaced_since_does_not_serve(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agents.recorded_models.HELD_MODELS", 1)
    run, activated = tmp_path / "run", stored[1]
    shutil.copytree(stored[0], run)
    load = load_activated([log_of(run, *activated)], None, requirements())
    load(activated[1].model_id)
    place, other = (run / "models" / record.model_id for record in activated[:2])
    shutil.copy(other / "model.onnx", place)
    told = (place / "manifest.json").read_text().replace(activated[0].sha256, activated[1].sha256)
    (place / "manifest.json").write_text(told)
    with pytest.raises(ModelRefused, match=f"sha256 .*{activated[0].sha256} was published"):
        load(activated[0].model_id)


@pytest.mark.learn
def test_only_some_models_are_held_and_the_others_come_again(
    stored: Stored, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, activated = stored
    assert HELD_MODELS > 2
    monkeypatch.setattr("agents.recorded_models.HELD_MODELS", 2)
    load = load_activated([log_of(run, *activated)], None, requirements())
    ids = [record.model_id for record in activated]
    last = load(ids[2])
    first = load(ids[0])
    assert load(ids[2]) is last
    load(ids[1])
    assert load(ids[0]) is not first
    assert load(ids[0]).model_id == ids[0]
