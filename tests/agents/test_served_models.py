"""Which of the models that came serves next: the one published last, whatever order they are loaded in."""

from __future__ import annotations

import itertools

import pytest

from agents.protocol import LoadModel, ModelLoaded
from agents.served_models import ServedModels
from models.manifest import ModelRefused, sha256_of
from stream.records import FREEZE, PIN, RELEASE, ModelPublished
from tests.agents.loops import ScriptedModel
from tests.agents.worlds import builtin_of, config_of

CONFIG = config_of()
MODELS = [ScriptedModel(CONFIG, skill) for skill in (2.0, 3.0, 4.0)]


def published(model: ScriptedModel) -> ModelPublished:
    sha256 = sha256_of(model.data)
    return ModelPublished(model_id=model.model_id, sha256=sha256, kind="update", parent_id="", stamp_ns=7)


def hold(kind: str, model_id: str = "", sha256: str = "") -> ModelPublished:
    return ModelPublished(model_id=model_id, sha256=sha256, kind=kind, parent_id="", stamp_ns=9)


def request(models: ServedModels, model: ScriptedModel) -> LoadModel:
    asked = models.request(published(model))
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


# ---- the sha256 that a model was published with --------------------------------------------------------


def test_a_model_is_asked_for_with_the_sha256_that_it_was_published_with() -> None:
    models = ServedModels(builtin_of(CONFIG))
    digests = [sha256_of(model.data) for model in MODELS]
    assert request(models, MODELS[0]).sha256 == digests[0]
    pinned = models.request(hold(PIN, MODELS[1].model_id, digests[1]))
    assert pinned is not None and pinned.sha256 == digests[1]
    assert models.request(published(MODELS[2])) is None
    again = ServedModels(builtin_of(CONFIG))
    again.restore(models.state())
    for released in (models.request(hold(RELEASE)), again.request(hold(RELEASE))):
        assert released is not None
        assert (released.model_id, released.sha256) == (MODELS[2].model_id, digests[2])
    unnamed = models.request(hold(PIN, MODELS[1].model_id))
    assert unnamed is not None and unnamed.sha256 is None


def restarted(first: ServedModels, *lost: str) -> ServedModels:
    """From a snapshot, of an earlier release where some of it is lost."""
    again = ServedModels(builtin_of(CONFIG))
    again.restore({name: value for name, value in first.state().items() if name not in lost})
    return again


def test_after_a_restart_no_other_file_serves_under_the_id_that_served() -> None:
    first = ServedModels(builtin_of(CONFIG))
    add(first, request(first, MODELS[0]))
    again = restarted(restarted(first))  # a snapshot before the model is there again
    swapped = ModelLoaded(model_id=MODELS[0].model_id, stamp_ns=0, sha256="cd", model=MODELS[1])
    with pytest.raises(ModelRefused, match="served before with sha256 ab, its file has cd now; put back"):
        again.add(swapped, MODELS[1], set())
    with pytest.raises(KeyError):
        again[MODELS[0].model_id]
    add(again, LoadModel(model_id=MODELS[0].model_id, stamp_ns=0))
    assert again[again.staged] is MODELS[0]
    assert again.state() == first.state()


def test_a_snapshot_of_an_earlier_release_knows_no_sha256() -> None:
    first = ServedModels(builtin_of(CONFIG))
    add(first, request(first, MODELS[0]))
    add(first, first.request(hold(PIN, MODELS[1].model_id)) or request(first, MODELS[1]))
    again = restarted(first, "staged_sha256", "newest_sha256")
    add(again, LoadModel(model_id=MODELS[1].model_id, stamp_ns=0))
    assert again.state() == first.state() | {"newest_sha256": None}
    released = again.request(hold(RELEASE))
    assert released is not None
    assert (released.model_id, released.sha256) == (MODELS[0].model_id, None)


# ---- what is held --------------------------------------------------------------------------------------


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
    assert again.missing() == {MODELS[1].model_id}, "what served a stream before serves it no more"
    add(again, LoadModel(model_id=MODELS[1].model_id, stamp_ns=0), {MODELS[0].model_id})
    assert again.missing() == set()
    assert again.state() == first.state()
    assert request(again, MODELS[2]).number == 3


# ---- held by a person ----------------------------------------------------------------------------------


def staged(models: ServedModels, asked: LoadModel | None) -> str:
    """What serves once a load has come back."""
    if asked is not None:
        add(models, asked)
    return models.staged


def test_a_pinned_model_serves_until_it_is_released_and_then_the_newest() -> None:
    models = ServedModels(builtin_of(CONFIG))
    add(models, request(models, MODELS[0]))
    pinned = models.request(hold(PIN, MODELS[1].model_id))
    assert staged(models, pinned) == MODELS[1].model_id
    for model in (MODELS[0], MODELS[2]):
        assert models.request(published(model)) is None
        assert models.staged == MODELS[1].model_id
    assert staged(models, models.request(hold(RELEASE))) == MODELS[2].model_id
    assert staged(models, request(models, MODELS[0])) == MODELS[0].model_id


def test_what_was_being_loaded_when_a_model_was_pinned_stays_behind() -> None:
    models = ServedModels(builtin_of(CONFIG))
    slow = request(models, MODELS[0])
    pinned = models.request(hold(PIN, MODELS[1].model_id))
    add(models, slow)
    assert models.staged == models.builtin
    assert staged(models, pinned) == MODELS[1].model_id


def test_frozen_means_what_is_staged_and_nothing_else() -> None:
    models = ServedModels(builtin_of(CONFIG))
    add(models, request(models, MODELS[0]))
    slow = request(models, MODELS[1])
    assert models.request(hold(FREEZE)) is None
    add(models, slow)
    assert models.request(published(MODELS[2])) is None
    assert models.staged == MODELS[0].model_id
    assert staged(models, models.request(hold(RELEASE))) == MODELS[2].model_id


def test_after_a_release_what_was_given_up_by_a_freeze_is_loaded_again() -> None:
    models = ServedModels(builtin_of(CONFIG))
    add(models, request(models, MODELS[0]))
    add_late = request(models, MODELS[1])
    models.request(hold(FREEZE))
    add(models, add_late)
    assert staged(models, models.request(hold(RELEASE))) == MODELS[1].model_id


def test_the_built_in_model_can_be_pinned_and_a_release_without_a_hold_changes_nothing() -> None:
    models = ServedModels(builtin_of(CONFIG))
    add(models, request(models, MODELS[0]))
    assert models.request(hold(RELEASE)) is None
    assert models.staged == MODELS[0].model_id
    assert models.request(hold(PIN, models.builtin)) is None
    assert models.staged == models.builtin
    assert models.request(published(MODELS[1])) is None
    assert models.staged == models.builtin


def test_a_rollback_of_learning_is_ignored_while_a_model_is_pinned_and_followed_afterwards() -> None:
    models = ServedModels(builtin_of(CONFIG))
    assert staged(models, models.request(hold(PIN, MODELS[1].model_id))) == MODELS[1].model_id
    back = ModelPublished(
        model_id=models.builtin, sha256="builtin", kind="rollback", parent_id="", stamp_ns=8
    )
    assert models.request(back) is None
    assert models.staged == MODELS[1].model_id
    assert models.request(hold(RELEASE)) is None
    assert models.staged == models.builtin


@pytest.mark.parametrize("kind", [PIN, FREEZE])
def test_a_hold_outlives_a_restart(kind: str) -> None:
    first = ServedModels(builtin_of(CONFIG))
    add(first, request(first, MODELS[0]))
    asked = first.request(hold(kind, MODELS[1].model_id if kind == PIN else ""))
    serving = staged(first, asked)
    first.request(published(MODELS[2]))
    again = ServedModels(builtin_of(CONFIG))
    again.restore(first.state())
    assert again.missing() == {serving}
    add(again, LoadModel(model_id=serving, stamp_ns=0))
    assert again.request(published(MODELS[0])) is None
    assert again.staged == serving
    assert staged(again, again.request(hold(RELEASE))) == MODELS[0].model_id
