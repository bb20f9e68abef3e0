"""Which of the models that came serves next: the one published last, whatever order they are loaded in."""

from __future__ import annotations

import itertools

import pytest

from agents.protocol import LoadModel, ModelLoaded
from agents.served_models import ServedModels
from stream.records import ModelPublished
from tests.agents.loops import ScriptedModel
from tests.agents.worlds import builtin_of, config_of

CONFIG = config_of()
MODELS = [ScriptedModel(CONFIG, skill) for skill in (2.0, 3.0, 4.0)]


def request(models: ServedModels, model: ScriptedModel) -> LoadModel:
    published = ModelPublished(model_id=model.model_id, sha256="s", kind="update", parent_id="", stamp_ns=7)
    asked = models.request(published)
    assert asked is not None
    return asked


def add(models: ServedModels, asked: LoadModel, used: set[str] | None = None) -> None:
    model = next(model for model in MODELS if model.model_id == asked.model_id)
    loaded = ModelLoaded(model_id=asked.model_id, stamp_ns=7, sha256="ab", model=model, number=asked.number)
    models.add(loaded, model, used or set())


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_the_model_published_last_is_staged(order: tuple[int, ...]) -> None:
    models = ServedModels(builtin_of(CONFIG))
    asked = [request(models, model) for model in (*MODELS, MODELS[0])]
    for place in order:
        add(models, asked[place])
    assert models.staged == MODELS[0].model_id
    assert models[models.staged] is MODELS[0]
    assert models.next_for("robot/lidar", 5) == models.next_for("other/rear", 1) == (models.staged,)


def test_the_built_in_model_is_staged_at_once_and_what_was_asked_for_before_stays_behind_it() -> None:
    models = ServedModels(builtin_of(CONFIG))
    early, slow = request(models, MODELS[0]), request(models, MODELS[1])
    add(models, early)
    back = ModelPublished(
        model_id=models.builtin, sha256="builtin", kind="rollback", parent_id="", stamp_ns=8
    )
    assert models.request(back) is None
    assert models.staged == models.builtin
    add(models, slow)
    assert models.staged == models.builtin
    add(models, request(models, MODELS[2]))
    assert models.staged == MODELS[2].model_id


def test_what_serves_no_stream_is_dropped() -> None:
    models = ServedModels(builtin_of(CONFIG))
    ids = [model.model_id for model in MODELS]
    add(models, request(models, MODELS[0]))
    add(models, request(models, MODELS[1]), used={ids[0]})
    add(models, request(models, MODELS[2]), used={ids[0]})
    assert models[ids[0]] is MODELS[0]
    with pytest.raises(KeyError):
        models[ids[1]]


def test_a_model_loaded_again_after_a_restart_changes_nothing() -> None:
    first = ServedModels(builtin_of(CONFIG))
    add(first, request(first, MODELS[0]))
    add(first, request(first, MODELS[1]), used={MODELS[0].model_id})
    again = ServedModels(builtin_of(CONFIG))
    again.restore(first.state())
    used = {MODELS[0].model_id}
    assert again.missing(used) == {model.model_id for model in MODELS[:2]}
    for model in MODELS[:2]:
        add(again, LoadModel(model_id=model.model_id, stamp_ns=0), used)
    assert again.missing(used) == set()
    assert again.state() == first.state()
    assert request(again, MODELS[2]).number == 3
